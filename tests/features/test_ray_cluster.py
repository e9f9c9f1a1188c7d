"""A Ray cluster of several machines: the same bytes as on one, also when one of them dies in the middle."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.features import ray_cluster as cluster
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.rows import open_store
from sourcetracing.features.store import StoreWriter, write_block
from sourcetracing.layout import Layout, StoreLayout
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.scoring.scores import score_run
from sourcetracing.settings.paths import Executor
from sourcetracing.settings.schema import Settings
from sourcetracing.training.loop import train_run
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.runs import TrainingRun, load_run
from tests.support.machines import Machines, started_machines
from tests.support.small_experiment import SmallExperiment

pytestmark = pytest.mark.slow  # each test waits for machines to start, die or answer


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with started_machines(tmp_path_factory.mktemp("machines"), 2) as machines:
        yield machines


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> SmallExperiment:
    return SmallExperiment.write(tmp_path_factory.mktemp("experiment"), num_utterances=36)


@pytest.fixture(scope="module")
def alone(experiment: SmallExperiment) -> Settings:
    """The experiment as one machine does it, with one thread: features, and two trained and scored runs."""
    settings = experiment.settings("alone")
    experiment.prepare(settings)
    for run in cells_of(settings, [1, 2]):
        train_run(run, open_store(run.settings), torch.device("cpu"))
        score_run(run, open_store(run.settings), torch.device("cpu"))
    return settings


@pytest.fixture
def together(experiment: SmallExperiment, machines: Machines) -> Settings:
    """The same for the machines of the cluster."""
    machines.forget()
    settings = experiment.settings("together")
    settings.executor = Executor("ray", machines.address)
    return settings


def cells_of(settings: Settings, seeds: list[int]) -> list[TrainingRun]:
    return [load_run(replace(settings, train=replace(settings.train, seed=seed))) for seed in seeds]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"127\.0\.0\.1:1: no Ray cluster answers .*refused.*Start one: `ray start --head`"),
        ("auto", r"127\.0\.0\.2:1: no Ray cluster answers"),
        ("somewhere", r"somewhere: auto, local or host:port is expected"),
        ("ray://127.0.0.1:10001", r"auto, local or host:port is expected"),
        ("127.0.0.1:99999", r"no Ray cluster answers"),
    ],
)
def test_without_a_cluster_the_line_says_how_to_start_one(address, message, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.2:1")
    with pytest.raises(UserError, match=message) as caught:
        cluster.connect(Settings(executor=Executor("ray", address)))
    assert "\n" not in str(caught.value)


def test_a_machine_that_dies_while_features_are_made(machines, experiment, alone, together, monkeypatch):
    journal, killed = [], []
    commit, finish = StoreWriter.commit, StoreWriter.finish

    def commit_then_kill(self, block, crc):
        commit(self, block, crc)
        if machines.held("block6") and not killed:
            killed.append(machines.notes("block6")[0])
            machines.kill_the_one_of(killed[0])

    def read_then_finish(self, *args):
        journal.extend(json.loads(line) for line in StoreLayout(self.folder).progress.read_text().splitlines()[1:])
        finish(self, *args)

    monkeypatch.setattr(StoreWriter, "commit", commit_then_kill)
    monkeypatch.setattr(StoreWriter, "finish", read_then_finish)
    machines.hold("block6", beginning=1)
    experiment.prepare(together)
    ours, theirs = (next(Layout.of(each).features.glob("*/features.npy")) for each in (together, alone))
    assert ours.read_bytes() == theirs.read_bytes()
    assert sorted(line["block"] for line in journal) == list(range(18))  # each once
    begun = machines.notes("block6")
    assert [note.raylet == killed[0].raylet for note in begun] == [True, False]  # done again, elsewhere
    assert len({note.raylet for note in machines.notes()}) == 2


def test_a_block_that_is_not_what_was_written_is_noticed_and_made_again(experiment, alone, together, monkeypatch):
    together.name = "spoiled"
    commit = StoreWriter.commit

    def commit_then_spoil(self, block, crc):
        commit(self, block, crc)
        if block == 3:
            write_block(self.path, self.header_bytes, self.block_rows(block).start, np.zeros((1, *self.shape[1:]), self.dtype))

    monkeypatch.setattr(StoreWriter, "commit", commit_then_spoil)
    with pytest.raises(UserError, match=r"block 3 is not what a worker wrote.*Run the same command again"):
        experiment.prepare(together)
    monkeypatch.undo()
    ours = extract_features(together, experiment.utterances, experiment.protocol)
    assert (ours / "features.npy").read_bytes() == next(Layout.of(alone).features.glob("*/features.npy")).read_bytes()


def test_a_machine_that_dies_while_cells_are_trained(machines, alone, together):
    machines.add(1)
    runs = cells_of(together, [1, 2])
    machines.hold("run1", beginning=3)
    killer = threading.Thread(target=lambda: machines.kill_the_one_of(machines.wait_until_held("run1")), daemon=True)
    killer.start()
    train_runs(runs)
    killer.join(timeout=10)
    score_runs(runs)
    where = [note.raylet for note in machines.notes("run1")]
    assert where[0] == where[1] == where[2] != where[3]
    assert len(where) == 5  # it went on at its last whole epoch: of the four only the third was begun twice
    for ours, theirs in zip(runs, cells_of(alone, [1, 2]), strict=True):
        for name in ("model.safetensors", "scores/eval.parquet"):
            assert (ours.folder / name).read_bytes() == (theirs.folder / name).read_bytes()


def test_a_users_mistake_in_a_worker_is_one_line_here(machines, alone, together):
    together.train.lr = 1e30
    with pytest.raises(UserError, match=r"loss became .* lower train\.lr") as caught:
        train_runs(cells_of(together, [3]))
    assert "\n" not in str(caught.value)


def test_a_worker_that_dies_whenever_it_begins_is_one_line_here(machines, together, monkeypatch):
    monkeypatch.setattr(cluster, "MOST_RETRIES", 1)
    with pytest.raises(UserError, match=r"a task was lost 2 times.*logs") as caught:
        list(cluster.map_unordered(os._exit, [1], together, on_gpu=False))
    assert "\n" not in str(caught.value)


def test_a_machine_that_sees_other_folders_is_named(machines, together, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getcwd", lambda: str(tmp_path / "only_here"))
    with pytest.raises(UserError, match=f"does not see {tmp_path}/only_here: all machines"):
        list(cluster.map_unordered(len, ["word"], together, on_gpu=False))
