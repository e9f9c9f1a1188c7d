"""Several runs that share a GPU: how many at once, each with its part of the memory, and the same results. A CPU plays the GPU."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sourcetracing.features import rows as feature_rows
from sourcetracing.features.ray_cluster import map_unordered
from sourcetracing.features.rows import select_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.runtime import parallel
from sourcetracing.settings.paths import Compute
from sourcetracing.training import matrix
from sourcetracing.training.loop import train_run
from sourcetracing.training.matrix import each_run
from sourcetracing.training.plan import runs_at_once
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.interrupted_training import weights_of
from tests.support.second_device import second_device
from tests.support.small_store import small_settings, write_store

LANGUAGES = ("[en]", "[de]", "[en,de]")


def runs_in(folder: Path, at_once: int) -> list[TrainingRun]:
    words = ["train.epochs=1", f"compute.runs_per_gpu={at_once}"]
    return [run_of(small_settings(folder, f"train.languages={names}", *words), "some-store") for names in LANGUAGES]


def train_there(store: Path, num_sharing: int, run: TrainingRun) -> None:
    """Trains on the second device, in whichever process this is."""
    assert parallel.share_of_device(1000) == 1000 // (2 * num_sharing)
    with second_device() as device:
        train_run(run, FeatureStore.open(store), device)


@pytest.fixture
def with_memory(monkeypatch):
    """Gives the second device so many bytes of free memory."""
    return lambda num_bytes: monkeypatch.setattr(feature_rows, "free_bytes", lambda device: num_bytes if device.type == "meta" else 0)


def test_a_gpu_trains_as_many_at_once_as_the_setting_says_and_a_cpu_one_on_each_core(monkeypatch):
    assert runs_at_once(Compute(device="cpu", workers=2, runs_per_gpu=5)) == 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runs_at_once(Compute(device="cuda", workers=2)) == 1
    assert runs_at_once(Compute(device="auto", workers=2, runs_per_gpu=5)) == 5


def test_rows_lie_on_the_device_where_they_fit_beside_those_of_the_others(store, run, with_memory, monkeypatch):
    with second_device() as device:
        num_bytes = select_rows(store, run.settings, "train", ["en"], device).resident.nbytes
        with_memory(4 * num_bytes + 2)
        places = {}
        for num_sharing in (1, 2, 3):
            monkeypatch.setattr(parallel, "_num_on_device", num_sharing)
            places[num_sharing] = select_rows(store, run.settings, "train", ["en"], device).resident.device.type
    assert places == {1: "meta", 2: "cpu", 3: "cpu"}  # half of what is free is 2, then 1, then 2/3 times what the rows need and a little
    assert select_rows(store, run.settings, "train", ["en"], torch.device("cpu")).resident.device.type == "cpu"


def test_training_from_rows_on_the_device_gives_what_training_from_rows_on_the_cpu_gives(store, tmp_path, with_memory):
    runs = [runs_in(tmp_path / place, 1)[0] for place in ("there", "here")]
    for run, num_bytes in zip(runs, (10**9, 0), strict=True):
        with_memory(num_bytes)
        train_there(store.folder, 1, run)
    one, other = map(weights_of, runs)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_two_at_once_give_what_one_after_the_other_gives(tmp_path, monkeypatch):
    store = write_store(tmp_path / "features")
    monkeypatch.setattr(matrix, "runs_at_once", lambda compute: compute.runs_per_gpu)  # as where there is a GPU
    together, alone = runs_in(tmp_path / "together", 2), runs_in(tmp_path / "alone", 1)
    assert len(list(each_run(partial(train_there, store.folder, 2), together))) == len(LANGUAGES)
    for run in alone:
        train_there(store.folder, 1, run)
    assert [run.folder.name for run in together] == [run.folder.name for run in alone]  # the setting is no part of what is learned
    for one, other in zip(together, alone, strict=True):
        assert one.files.weights.read_bytes() == other.files.weights.read_bytes()


@pytest.mark.parametrize(("per_gpu", "asked"), [(1, 1.0), (4, 0.25)])
def test_ray_gives_each_its_part_of_a_gpu(monkeypatch, per_gpu, asked):
    """Ray's own accounting is Ray's; what is asked of it, and what a task is told, is ours."""
    options, told = {}, []

    def remote(function):
        run = SimpleNamespace(remote=lambda *args: told.append(args[3:]) or len(told))
        return SimpleNamespace(options=lambda **given: options.update(given) or run)

    ray = SimpleNamespace(
        remote=remote,
        cluster_resources=lambda: {"GPU": 2.0, "CPU": 8.0},
        nodes=lambda: [{"Alive": True, "Resources": {"GPU": 2.0, "CPU": 8.0}}],
        wait=lambda references: (references[:1], references[1:]),
        get=lambda reference: f"result {reference}",
        cancel=lambda *_, **__: None,
        exceptions=SimpleNamespace(RayError=RuntimeError),
    )
    monkeypatch.setattr("sourcetracing.features.ray_cluster.connect", lambda settings: ray)
    settings = small_settings(Path("unused"), "compute.device=auto", f"compute.runs_per_gpu={per_gpu}")
    items = list("abcdefghij")
    assert dict(map_unordered(len, items, settings, on_gpu=True)) == {
        item: f"result {number}" for number, item in enumerate(items, start=1)
    }
    assert options["num_gpus"] == asked
    assert set(told) == {(2 * per_gpu, per_gpu)}  # those beside it on the machine, and those on its GPU
