"""A Ray cluster of several machines: the same bytes as on one, also when one of them dies in the middle."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
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
from tests.support.small_experiment import SmallExperiment

pytestmark = pytest.mark.slow  # each test waits for machines to start, die or answer

MEGABYTE = 1024 * 1024
# Python runs this first in each worker of the cluster: work leaves a note of who began it, and takes its time. What the file `hold` names
# (a work, and the how-manieth beginning of it) never gets done: its machine is certain to be at it when it is killed.
SLOW_WORK = """
import dataclasses, os, time
from pathlib import Path
from sourcetracing.features.blocks import BlockMaker
from sourcetracing.training import loop

notes, hold = Path({notes!r}), Path({hold!r})

def slowed(function, what):
    def slow(*args, **kwargs):
        work = str(what(*args))
        with notes.open("a") as file:
            file.write(f"{{os.getppid()}} {{os.getpid()}} {{work}}\\n")
        begun = [line.split()[2] for line in notes.read_text().splitlines()].count(work)
        if hold.exists() and hold.read_text().split() == [work, str(begun)]:
            hold.rename(hold.with_name("held"))
            time.sleep(600)
        time.sleep(0.2)
        return function(*args, **kwargs)
    return slow

BlockMaker.__call__ = slowed(BlockMaker.__call__, lambda self, block: block)
loop.train_epoch = slowed(loop.train_epoch, lambda *args: args[3].train.seed)
"""


@dataclass
class Note:
    """A worker process of the machine `raylet` began some work: a block, or an epoch of the run with this seed."""

    raylet: int
    worker: int
    work: int


class Machines:
    """A cluster on this machine: a head without cores, and others of one core each."""

    def __init__(self, notes: Path):
        from ray.cluster_utils import Cluster

        self.notes_path = notes
        self.hold_path, self.held_path = notes.with_name("hold"), notes.with_name("held")
        quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * MEGABYTE, "_system_config": quick}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)

    def add(self, count: int) -> None:
        for _ in range(count):
            self.cluster.add_node(num_cpus=1, object_store_memory=80 * MEGABYTE)

    def notes(self) -> list[Note]:
        if not self.notes_path.exists():
            return []
        return [Note(*map(int, line.split())) for line in self.notes_path.read_text().splitlines()]

    def hold(self, work: int, beginning: int) -> None:
        """The next workers stay for ever at this work when it begins for the so-manieth time; `held` says whether one does."""
        self.held_path.unlink(missing_ok=True)
        self.hold_path.write_text(f"{work} {beginning}")

    def held(self) -> bool:
        return self.held_path.exists()

    def kill_the_one_of(self, note: Note) -> None:
        """Pulls the plug of the machine on which some work is being done."""
        node = next(node for node in self.cluster.worker_nodes if psutil.pid_exists(note.raylet) and raylet_of(node) == note.raylet)
        self.cluster.remove_node(node, allow_graceful=False)
        if psutil.pid_exists(note.worker):
            os.kill(note.worker, signal.SIGKILL)


def raylet_of(node: object) -> int:
    return node.all_processes["raylet"][0].process.pid


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    import ray

    folder, patch = tmp_path_factory.mktemp("machines"), pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.delenv("RAY_ADDRESS", raising=False)
    started = Machines(folder / "notes")
    started.add(2)
    (folder / "sitecustomize.py").write_text(SLOW_WORK.format(notes=str(started.notes_path), hold=str(started.hold_path)))
    patch.setenv("PYTHONPATH", str(folder))  # workers get it behind the checkout
    yield started
    ray.shutdown()
    started.cluster.shutdown()
    patch.undo()


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
    machines.notes_path.unlink(missing_ok=True)
    settings = experiment.settings("together")
    settings.executor = Executor("ray", machines.cluster.address)
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
        if machines.held() and not killed:
            killed.append(next(note for note in machines.notes() if note.work == 6))
            machines.kill_the_one_of(killed[0])

    def read_then_finish(self, *args):
        journal.extend(json.loads(line) for line in StoreLayout(self.folder).progress.read_text().splitlines()[1:])
        finish(self, *args)

    monkeypatch.setattr(StoreWriter, "commit", commit_then_kill)
    monkeypatch.setattr(StoreWriter, "finish", read_then_finish)
    machines.hold(6, beginning=1)
    experiment.prepare(together)
    ours, theirs = (next(Layout.of(each).features.glob("*/features.npy")) for each in (together, alone))
    assert ours.read_bytes() == theirs.read_bytes()
    assert sorted(line["block"] for line in journal) == list(range(18))  # each once
    begun = [note for note in machines.notes() if note.work == killed[0].work]
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
    machines.hold(1, beginning=3)

    def kill_in_the_third_epoch():
        while not machines.held():
            time.sleep(0.02)
        machines.kill_the_one_of(next(note for note in machines.notes() if note.work == 1))

    killer = threading.Thread(target=kill_in_the_third_epoch, daemon=True)
    killer.start()
    train_runs(runs)
    killer.join(timeout=10)
    score_runs(runs)
    where = [note.raylet for note in machines.notes() if note.work == 1]
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
