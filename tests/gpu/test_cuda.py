"""What only a CUDA device can show; `make test-gpu` runs these alone, and says so where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from sourcetracing.features.extracting import extract_features
from sourcetracing.features.front_end import build_front_end
from sourcetracing.features.rows import select_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.runtime.compute import empty_cache, has_bf16, mark, pick_device, prepare_device, seconds_between, to_host
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.process_group import joined_group
from sourcetracing.scoring.scores import read_scores, score_run
from sourcetracing.settings.frontends import Ssl
from sourcetracing.settings.paths import Compute
from sourcetracing.tracing.system import TracingSystem, run_in_folder
from sourcetracing.training import loop
from sourcetracing.training.loop import train_run
from sourcetracing.training.matrix import each_run
from sourcetracing.training.run_folder import environment
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.audio_files import small_audio_settings, write_corpus, write_noises, write_responses
from tests.support.interrupted_training import CPU, Killed, die_after, dying_at_step
from tests.support.places import ROOT
from tests.support.small_backends import FITTED_BACKENDS, SMALL_BACKENDS
from tests.support.small_store import small_settings, write_store
from tests.support.tiny_ssl import save_tiny
from tests.support.traced_runs import random_run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="not run here: there is no CUDA device"),
]
GPU = torch.device("cuda")
LOGITS = ["logit_0", "logit_1", "logit_2"]
EACH_BACKEND = {**SMALL_BACKENDS, **FITTED_BACKENDS}


def new_run(folder, *words: str) -> TrainingRun:
    words = ("train.languages=[en]", "train.epochs=2", "compute.device=cuda", *words)
    return run_of(small_settings(folder, *words), "some-store")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", EACH_BACKEND)
def test_training_gives_the_same_bytes_twice_and_after_a_kill(name, precision, tmp_path):
    store = write_store(tmp_path / "features", utterances_per_group=9)
    runs = [new_run(tmp_path / folder, f"compute.precision={precision}", *EACH_BACKEND[name]) for folder in ("a", "b", "c")]
    device = prepare_device(runs[0].settings.compute)
    train_run(runs[0], store, device)
    train_run(runs[1], store, device)
    with pytest.raises(Killed):
        train_run(runs[2], store, device, on_epoch=die_after(1))
    train_run(runs[2], store, device)
    assert len({run.files.weights.read_bytes() for run in runs}) == 1


@pytest.mark.parametrize("name", SMALL_BACKENDS)
def test_killed_within_an_epoch_it_ends_with_the_same_bytes(name, tmp_path, monkeypatch):
    store = write_store(tmp_path / "features", utterances_per_group=9)
    runs = [new_run(tmp_path / folder, "train.checkpoint_minutes=1e-9", *SMALL_BACKENDS[name]) for folder in ("a", "b")]
    device = prepare_device(runs[0].settings.compute)
    train_run(runs[0], store, device)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop, "train_step", dying_at_step(3))
        train_run(runs[1], store, device)
    assert runs[1].files.num_epochs_done() == 0 and runs[1].files.last.is_file()
    train_run(runs[1], store, device)
    assert len({run.files.weights.read_bytes() for run in runs}) == 1


@pytest.mark.parametrize("name", EACH_BACKEND)
def test_scores_of_the_same_weights_are_those_of_the_cpu(name, tmp_path):
    store = write_store(tmp_path / "features", utterances_per_group=9)
    run = new_run(tmp_path, "compute.precision=float32", "evaluation.splits=[eval]", *EACH_BACKEND[name])
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
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
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


# --- frozen encoders


@pytest.fixture
def utterances(tmp_path):
    """(settings, utterances, protocol): nine utterances, a tiny encoder."""
    made = write_corpus(tmp_path / "corpus", 9)
    write_noises(tmp_path / "musan")
    write_responses(tmp_path / "RIRS_NOISES")
    settings = small_audio_settings(tmp_path)
    settings.paths.corpus, settings.paths.exp = str(tmp_path / "corpus"), str(tmp_path / "exp")
    settings.frontend, settings.ssl = "ssl", Ssl(model=str(save_tiny("xls-r", tmp_path / "model")), layer=2)
    settings.store.dtype, settings.store.block_rows, settings.compute.encoder_batch = "float32", 20, 10
    return settings, *made


def rows_by(utterances, folder: str, **compute) -> np.ndarray:
    settings, *tables = utterances
    settings = replace(settings, paths=replace(settings.paths, exp=folder), compute=replace(settings.compute, **compute))
    store = FeatureStore.open(extract_features(settings, *tables))
    return store.load(range(store.shape[0]))


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()))


def test_a_store_of_the_gpu_is_near_that_of_the_cpu_and_the_same_twice(utterances, tmp_path):
    wanted = rows_by(utterances, str(tmp_path / "cpu"), device="cpu", precision="float32")
    for precision, largest in {"float32": 1e-4, "bf16": 3e-2, "fp16": 5e-3}.items():
        made = [rows_by(utterances, str(tmp_path / f"{precision}{n}"), device="cuda", encoder_precision=precision) for n in range(2)]
        assert np.array_equal(*made), precision
        assert relative_error(made[0], wanted) < largest, precision


def test_an_encoder_as_cuda_graphs_gives_what_it_gives_without(utterances, tmp_path):
    plain, compiled = (
        rows_by(utterances, str(tmp_path / str(wanted)), device="cuda", encoder_precision="bf16", compile=wanted)
        for wanted in (False, True)
    )
    assert relative_error(compiled, plain) < 3e-2


def test_an_encoder_that_finds_no_room_halves_its_batch(utterances, monkeypatch):
    settings = replace(utterances[0], compute=replace(utterances[0].compute, device="cuda", precision="float32"))
    front_end = build_front_end(settings)
    most = torch.cuda.get_device_properties(GPU).total_memory
    forward = front_end.module.forward

    def hungry(rows):
        torch.empty(most if len(rows) > 3 else 1, dtype=torch.float32, device=GPU)  # four times what there is
        return forward(rows)

    monkeypatch.setattr(front_end.module, "forward", hungry)
    assert len(front_end(torch.randn(10, 8000))) == 10
    assert front_end.size == 2


def test_a_recording_is_traced_on_the_gpu_as_on_the_cpu(tmp_path):
    folder = random_run(tmp_path / "run", "system=lfcc_ecapa_tdnn")
    systems = [
        TracingSystem(run_in_folder(folder, [f"compute.device={device.type}", "compute.precision=float32"]), device)
        for device in (GPU, CPU)
    ]
    waveforms = np.random.default_rng(2).normal(0, 0.1, (4, systems[0].window_samples)).astype(np.float32)
    for found, wanted in zip(*(system(waveforms) for system in systems), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


# --- several runs, several GPUs


def train_here(store: Path, run: TrainingRun) -> None:
    train_run(run, FeatureStore.open(store), prepare_device(run.settings.compute))


def test_runs_that_share_the_gpu_give_what_they_give_alone(tmp_path):
    store = write_store(tmp_path / "features")
    made = []
    for at_once in (1, 3):
        runs = [new_run(tmp_path / str(at_once), f"train.seed={seed}", f"compute.runs_per_gpu={at_once}") for seed in (1, 2, 3)]
        assert len(list(each_run(partial(train_here, store.folder), runs))) == len(runs)
        made.append([run.files.weights.read_bytes() for run in runs])
    assert made[0] == made[1]


def test_a_run_says_which_gpu_it_was_made_on():
    assert environment(GPU)["device_name"] == torch.cuda.get_device_name()


TOGETHER = """
import sys
from pathlib import Path
from sourcetracing.features.store import FeatureStore
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.process_group import joined_group
from sourcetracing.training.loop import train_run
from tests.gpu.test_cuda import new_run
run = new_run(Path(sys.argv[2]), "compute.precision=float32", "train.languages=[en]")
with joined_group(run.settings.compute) as (group, device):
    train_run(run, FeatureStore.open(sys.argv[1]), device, group=group)
"""


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="not run here: there are no two CUDA devices")
def test_two_gpus_train_together_what_one_trains(tmp_path):
    """NCCL, LOCAL_RANK and SyncBatchNorm; ended after the first epoch once (all_gather_object of CUDA tensors)."""
    store = write_store(tmp_path / "features", utterances_per_group=9)
    (tmp_path / "together.py").write_text(TOGETHER, encoding="utf-8")
    words = ["--standalone", "--nproc-per-node=2", str(tmp_path / "together.py"), str(store.folder), str(tmp_path / "two")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "torch.distributed.run", *words], env=environment, cwd=ROOT, check=True, timeout=300)
    one = new_run(tmp_path / "one", "compute.precision=float32")
    train_run(one, store, prepare_device(one.settings.compute))
    two = new_run(tmp_path / "two", "compute.precision=float32")
    history = [read_csv(run.files.history, texts=()) for run in (one, two)]
    np.testing.assert_allclose(history[1]["train_loss"], history[0]["train_loss"], rtol=1e-2)
