"""Layer features made by the machines of a Ray cluster: the bytes of one machine, whatever dies in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.detection.features import layer_features
from sourcetracing.detection.features.layer_features import extract_layers
from sourcetracing.detection.features.layer_store import find_layers
from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.rows import open_store
from sourcetracing.features.store import StoreWriter
from sourcetracing.layout import Layout
from sourcetracing.settings.paths import Executor
from sourcetracing.settings.schema import Settings
from sourcetracing.training.loop import train_run
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.runs import TrainingRun, load_run
from tests.support.layer_audio import settings_for, write_layer_audio
from tests.support.machines import Machines, started_machines
from tests.support.small_experiment import SmallExperiment
from tests.support.tiny_ssl import save_tiny

pytestmark = pytest.mark.slow  # machines start, and one dies
COPIES = "layer_features.copies=[clean,rawboost]"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with started_machines(tmp_path_factory.mktemp("machines"), 3) as machines:
        yield machines


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return write_layer_audio(tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("xls-r", tmp_path_factory.mktemp("model") / "xls-r")


@pytest.fixture(scope="module")
def alone(audio: pd.DataFrame, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """All stores, made by one machine."""
    settings = settings_for(tmp_path_factory.mktemp("alone"), audio, model, COPIES)
    extract_layers(settings)
    return settings


@pytest.fixture
def together(audio: pd.DataFrame, model: Path, machines: Machines, tmp_path: Path) -> Settings:
    machines.forget()
    settings = settings_for(tmp_path, audio, model, COPIES)
    settings.executor = Executor("ray", machines.address)
    return settings


def require_same(ours: Settings, theirs: Settings) -> None:
    for corpus, copy in (("for", "clean"), ("itw", "clean"), ("for", "rawboost")):
        folders = [find_layers(settings, corpus, copy).folder for settings in (ours, theirs)]
        assert len({folder.name for folder in folders}) == 1
        for name in ("features.npy", "index.csv"):
            assert len({(folder / name).read_bytes() for folder in folders}) == 1, name


def test_a_machine_that_dies_under_features_layer_features_and_a_run_at_once(machines, alone, together, tmp_path):
    """Each is certain to be under way: a block of layer features and an epoch are held up, and features go on beside them."""
    experiment = SmallExperiment.write(tmp_path / "experiment", num_utterances=36)
    lonely, settings = experiment.settings("alone"), experiment.settings("together")
    settings.executor = together.executor
    experiment.prepare(lonely)
    train_run(run_of_seed_1(lonely), open_store(lonely), torch.device("cpu"))
    experiment.prepare(settings)  # what the run is trained on
    machines.forget()
    more = experiment.settings("more")
    more.executor = together.executor
    experiment.write_lists(more)
    machines.hold("layers2", beginning=1)
    machines.hold("run1", beginning=3)
    with ThreadPoolExecutor(3) as pool:
        layers = pool.submit(extract_layers, together)
        lost = machines.wait_until_held("layers2")
        run = run_of_seed_1(settings)
        training = pool.submit(train_runs, [run])
        epoch = machines.wait_until_held("run1")
        features = pool.submit(extract_features, more, experiment.utterances, experiment.protocol)
        machines.wait_for("block")
        assert lost.raylet != epoch.raylet and not any(job.done() for job in (layers, training, features))
        machines.kill_the_one_of(lost)
        machines.release("run1")
        for job in (layers, training, features):
            job.result()
    require_same(together, alone)
    assert (run.folder / "model.safetensors").read_bytes() == (run_of_seed_1(lonely).folder / "model.safetensors").read_bytes()
    assert len({next(Layout.of(each).features.glob("*/features.npy")).read_bytes() for each in (lonely, settings, more)}) == 1
    assert [note.raylet == lost.raylet for note in machines.notes("layers2")][:2] == [True, False]  # done again, elsewhere
    machines.add(1)


def assert_same_arrays(ours: list[Path], theirs: list[Path]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one / "features.npy").read_bytes() == (other / "features.npy").read_bytes()


def run_of_seed_1(settings: Settings) -> TrainingRun:
    return load_run(replace(settings, train=replace(settings.train, seed=1)))


def test_workers_use_one_core_and_the_record_says_where_it_was(machines, alone, together):
    assert together.compute.workers == 2
    extract_layers(together)
    require_same(together, alone)
    assert {note.threads for note in machines.notes("layers")} == {1}
    assert {note.work for note in machines.notes("workers")} == {"workers1"}
    assert len({note.raylet for note in machines.notes("layers")}) > 1
    facts, theirs = (find_layers(settings, "for").facts for settings in (together, alone))
    timed = {"seconds"}
    assert {**facts["extraction"], **dict.fromkeys(timed)} == {**theirs["extraction"], **dict.fromkeys(timed)}
    assert {**facts, "extraction": 0} == {**theirs, "extraction": 0}


def test_a_killed_script_goes_on_where_its_cluster_was(machines, alone, together, monkeypatch):
    """Counted by what is written: work that was handed out before the kill may still begin after it, to no use."""
    commit, kept = StoreWriter.commit, []

    def commit_two(self, block, crc):
        if len(kept) == 2:
            raise KeyboardInterrupt
        commit(self, block, crc)
        kept.append(block)

    monkeypatch.setattr(StoreWriter, "commit", commit_two)
    with pytest.raises(KeyboardInterrupt):
        extract_layers(together)
    more = []
    monkeypatch.setattr(StoreWriter, "commit", lambda self, block, crc: more.append(block) or commit(self, block, crc))
    extract_layers(together)
    require_same(together, alone)
    assert len(kept) + len(more) == 6 + 6 + 3  # blocks of 2 and of 1 file: twice as many as workers, at least
    assert sorted(kept + more) == sorted([*range(6), *range(6), *range(3)])


def test_batches_are_cut_as_on_one_machine(audio, model, machines, together, tmp_path):
    """As on GPUs: so blocks may not become smaller for the sake of more tasks."""
    words = ["layer_features.batch_seconds=2"]
    ours, theirs = (settings_for(tmp_path / name, audio, model, *words) for name in ("ours", "theirs"))
    ours.executor = together.executor
    folders = [extract_layers(settings) for settings in (ours, theirs)]
    assert_same_arrays(*folders)
    assert {note.work for note in machines.notes("layers")} == {"layers0", "layers4", "layers8"}


def test_a_bad_file_is_one_line_here(audio, machines, together, model, tmp_path):
    rows = audio.assign(digest=np.where(audio["file_id"] == "for/4", "0" * 32, audio["digest"]))
    rows.attrs = audio.attrs
    settings = settings_for(tmp_path / "bad", rows, model)
    settings.executor = together.executor
    with pytest.raises(UserError, match=r"clips/4\.wav: has changed") as caught:
        extract_layers(settings)
    assert "\n" not in str(caught.value)


def test_lfcc_needs_no_gpu_there_either(audio, machines, together, tmp_path, monkeypatch):
    asked = []
    original = layer_features.cluster.map_unordered
    monkeypatch.setattr(
        layer_features.cluster, "map_unordered", lambda *args, on_gpu: asked.append(on_gpu) or original(*args, on_gpu=on_gpu)
    )
    words = ["layer_features.kind=lfcc", "compute.device=cpu"]
    ours, theirs = (settings_for(tmp_path / name, audio, tmp_path, *words) for name in ("ours", "theirs"))
    ours.executor = together.executor
    folders = [extract_layers(settings) for settings in (ours, theirs)]
    assert_same_arrays(*folders)
    assert asked == [False, False]
