"""What only a CUDA device can show; `make test-gpu` runs these alone, and says so where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sourcetracing.features import rows as feature_rows
from sourcetracing.features.rows import select_rows
from sourcetracing.runtime.compute import empty_cache, has_bf16, mark, pick_device, prepare_device, seconds_between, to_host
from sourcetracing.runtime.process_group import joined_group
from sourcetracing.scoring.scores import read_scores, score_run
from sourcetracing.settings.paths import Compute
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.interrupted_training import CPU, Killed, die_after
from tests.support.small_backends import SMALL_BACKENDS
from tests.support.small_store import small_settings, write_store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="not run here: there is no CUDA device"),
]
GPU = torch.device("cuda")
LOGITS = ["logit_0", "logit_1", "logit_2"]


def new_run(folder, *words: str) -> TrainingRun:
    words = ("train.languages=[en]", "train.epochs=2", "compute.device=cuda", *words)
    return run_of(small_settings(folder, *words), "some-store")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", SMALL_BACKENDS)
def test_training_gives_the_same_bytes_twice_and_after_a_kill(name, precision, tmp_path):
    store = write_store(tmp_path / "features", utterances_per_group=9)
    runs = [new_run(tmp_path / folder, f"compute.precision={precision}", *SMALL_BACKENDS[name]) for folder in ("a", "b", "c")]
    device = prepare_device(runs[0].settings.compute)
    train_run(runs[0], store, device)
    train_run(runs[1], store, device)
    with pytest.raises(Killed):
        train_run(runs[2], store, device, on_epoch=die_after(1))
    train_run(runs[2], store, device)
    assert len({run.files.weights.read_bytes() for run in runs}) == 1


@pytest.mark.parametrize("name", SMALL_BACKENDS)
def test_scores_of_the_same_weights_are_those_of_the_cpu(name, tmp_path):
    store = write_store(tmp_path / "features", utterances_per_group=9)
    run = new_run(tmp_path, "compute.precision=float32", "evaluation.splits=[eval]", *SMALL_BACKENDS[name])
    train_run(run, store, CPU)
    score_run(run, store, prepare_device(run.settings.compute))
    on_gpu = read_scores(run, "eval")[LOGITS].to_numpy()
    run.files.scores("eval").unlink()
    score_run(run, store, CPU)
    np.testing.assert_allclose(on_gpu, read_scores(run, "eval")[LOGITS].to_numpy(), rtol=1e-3, atol=1e-3)


def test_rows_lie_on_the_gpu_where_they_fit_and_give_the_same_batches(tmp_path, monkeypatch):
    store = write_store(tmp_path / "features")
    settings = small_settings(tmp_path, "train.languages=[en]")
    resident = select_rows(store, settings, "train", ["en"], GPU)
    assert resident.resident.device.type == "cuda"
    monkeypatch.setattr(feature_rows.torch.cuda, "mem_get_info", lambda device: (0, 0))
    elsewhere = select_rows(store, settings, "train", ["en"], GPU)
    assert elsewhere.resident.device.type == "cpu"
    for one, other in zip(resident.batch(np.array([3, 0, 7])), elsewhere.batch(np.array([3, 0, 7])), strict=True):
        assert one.device.type == other.device.type == "cuda"
        assert torch.equal(one, other)


def test_marks_measure_the_gpu_s_work_and_a_copy_is_there_behind_its_mark():
    start, made = mark(GPU), torch.full((4096, 4096), 2.0, device=GPU)
    for _ in range(20):
        made = made @ made / 8192
    copy, end = to_host(made), mark(GPU)
    assert seconds_between(start, end) > 0
    assert copy.is_pinned() and torch.equal(copy, made.cpu())
    empty_cache(GPU)


def test_auto_is_this_gpu_and_bf16_from_ampere_on():
    assert pick_device("auto").type == "cuda"
    assert has_bf16(GPU) == (torch.cuda.get_device_capability()[0] >= 8)


def test_a_group_of_one_process_uses_this_gpu(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_group(Compute(device="cuda")) as (group, device):
        assert group.size == 1 and device.type == "cuda"
        assert group.gather(torch.ones(2))[0].sum() == 2
