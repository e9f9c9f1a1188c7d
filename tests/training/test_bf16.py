"""bf16 on a CPU: each back-end trains, goes on after a kill with the same bits, is scored and exported; weights stay float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sourcetracing.metrics.calibration import Calibration
from sourcetracing.scoring.scores import read_scores, score_run
from sourcetracing.tracing.onnx_export import export_onnx
from sourcetracing.tracing.system import TracingSystem, run_in_folder
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.interrupted_training import CPU, Killed, die_after, weights_of
from tests.support.small_backends import SMALL_BACKENDS
from tests.support.small_store import small_settings, write_store
from tests.support.traced_runs import random_run

BF16 = "compute.precision=bf16"
# aasist has no slow part of its own here, but takes several times as long as the others.
BACKENDS = [pytest.param(name, marks=[pytest.mark.slow] * (name == "aasist")) for name in SMALL_BACKENDS]


def new_run(folder, *words: str) -> TrainingRun:
    words = ("train.languages=[en]", "train.epochs=2", "evaluation.splits=[eval]", *words)
    return run_of(small_settings(folder, *words), "some-store")


@pytest.mark.parametrize("name", BACKENDS)
def test_training_in_bf16_goes_on_after_a_kill_and_is_scored(name, tmp_path):
    store = write_store(tmp_path / "features", utterances_per_group=9)
    through, killed, exact = (
        new_run(tmp_path / folder, *SMALL_BACKENDS[name], *words) for folder, words in (("a", [BF16]), ("b", [BF16]), ("c", []))
    )
    train_run(through, store, CPU)
    with pytest.raises(Killed):
        train_run(killed, store, CPU, on_epoch=die_after(1))
    train_run(killed, store, CPU)
    train_run(exact, store, CPU)
    assert killed.files.weights.read_bytes() == through.files.weights.read_bytes() != exact.files.weights.read_bytes()
    assert {tensor.dtype for tensor in weights_of(through).values() if tensor.is_floating_point()} == {torch.float32}
    assert through.folder.name != exact.folder.name  # another precision makes another run
    score_run(through, store, CPU)
    scores = read_scores(through, "eval")
    logits = scores[["logit_0", "logit_1", "logit_2"]].to_numpy()
    assert logits.dtype == np.float32 and np.isfinite(logits).all()
    assert (scores["prediction"] == logits.argmax(axis=1)).all()


SLOW_SYSTEMS = [pytest.param(name, marks=pytest.mark.slow) for name in ("lfcc_aasist", "lfcc_resnet18")]


@pytest.mark.parametrize("system", ["lfcc_ecapa_tdnn", *SLOW_SYSTEMS])
def test_bf16_is_near_float32_on_the_same_weights_and_the_exported_file_is_float32(system, tmp_path):
    folder = random_run(tmp_path / "run", f"system={system}")
    coarse, exact = (TracingSystem(run_in_folder(folder, words), CPU) for words in ([BF16], ["compute.precision=float32"]))
    waveforms = np.random.default_rng(2).normal(0, 0.1, (4, exact.window_samples)).astype(np.float32)
    found, wanted = coarse(waveforms), exact(waveforms)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == np.float32
        assert 0 < np.abs(one - other).max() <= 0.05 * np.abs(other).max()
    assert export_onnx(exact, Calibration("", 1.0, ["en"], 15, {}, {}), tmp_path / "a.onnx") < 1e-3
