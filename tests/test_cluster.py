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

import pandas as pd
import psutil
import pytest

from sourcetracing.config import Settings
from sourcetracing.errors import UserError
from sourcetracing.experiments import Cell, load_cell
from sourcetracing.features import extract_features
from sourcetracing.files import digest_of_file
from sourcetracing.layout import Layout
from sourcetracing.run_folder import RunFolder
from sourcetracing.store import PROGRESS, StoreWriter
from sourcetracing.training_matrix import score_cells, train_cells
from tests.audio_files import small_audio_settings, write_corpus, write_noises, write_responses

MEGABYTE = 1024 * 1024
# Python runs this first in each worker of the cluster: work leaves a note of who began it, and takes its time.
SLOW_WORK = """
import os, time
from sourcetracing import extraction, training

def slowed(function, what):
    def slow(*args, **kwargs):
        with open({notes!r}, "a") as file:
            file.write(f"{{os.getppid()}} {{os.getpid()}} {{what(*args)}}\\n")
        time.sleep(0.2)
        return function(*args, **kwargs)
    return slow

extraction.BlockMaker.__call__ = slowed(extraction.BlockMaker.__call__, lambda self, block: block)
training.run_epoch = slowed(training.run_epoch, lambda *args: args[3].train.seed)
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

    def forget(self) -> None:
        self.notes_path.unlink(missing_ok=True)

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
    started.add(3)
    (folder / "sitecustomize.py").write_text(SLOW_WORK.format(notes=str(started.notes_path)))
    patch.setenv("PYTHONPATH", str(folder))  # workers get it behind the checkout
    yield started
    ray.shutdown()
    started.cluster.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 utterances, noises and rooms, and the settings of an experiment on them that is done here alone."""
    root = tmp_path_factory.mktemp("corpus")
    write_corpus(root / "corpus", 36)
    write_noises(root / "musan")
    write_responses(root / "RIRS_NOISES")
    return root


def settings_for(root: Path, name: str, **executor: str) -> Settings:
    settings = small_audio_settings(root)
    settings.name, settings.store.block_rows = name, 10
    settings.corpus.languages, settings.corpus.sources = ["en"], ["source0", "source1"]
    settings.compute.device, settings.ecapa_tdnn.channels, settings.train.epochs = "cpu", 8, 5
    for key, value in executor.items():
        setattr(settings.executor, key, value)
    return settings


def tables_of(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The utterances and the protocol that `write_corpus` made."""
    rows = []
    for path in sorted((root / "corpus").rglob("*.wav"), key=lambda path: int(path.stem)):
        source = path.parent.name
        rows.append((f"en/{source}/{path.stem}", str(path.relative_to(root / "corpus")), "en", source, digest_of_file(path)))
    utterances = pd.DataFrame(rows, columns=["utt_id", "path", "language", "source", "digest"])
    splits = [("train", "dev", "eval")[number // 2 % 3] for number in range(len(rows))]
    return utterances, pd.DataFrame({"utt_id": utterances["utt_id"], "split": splits})


def cells_of(settings: Settings, seeds: list[int]) -> list[Cell]:
    found = []
    for seed in seeds:
        own = replace(settings, train=replace(settings.train, seed=seed))
        found.append(load_cell(own))
    return found


@pytest.fixture(scope="module")
def alone(corpus: Path) -> Settings:
    """The experiment as this machine alone does it: features, and two trained and scored cells."""
    settings = settings_for(corpus, "alone")
    prepare(settings, corpus)
    cells = cells_of(settings, [1, 2])
    train_cells(cells)
    score_cells(cells)
    return settings


def prepare(settings: Settings, root: Path) -> None:
    """What script 02 writes, and the features."""
    utterances, protocol = tables_of(root)
    folder = Layout.of(settings).root
    folder.mkdir(parents=True)
    utterances.assign(duration_s=1.0, speaker="", transcript="").to_csv(folder / "utterances.csv", index=False)
    protocol.to_csv(folder / "protocol.csv", index=False)
    extract_features(settings, utterances, protocol)


def test_a_machine_that_dies_while_features_are_made(machines, corpus, alone, monkeypatch):
    machines.forget()
    committed, commit, finish, journal = [], StoreWriter.commit, StoreWriter.finish, []
    killed = []

    def commit_then_kill(self, block, crc):
        commit(self, block, crc)
        committed.append(block)
        if len(committed) == 4:
            started = machines.notes()
            killed.append(next(note for note in reversed(started) if note.work not in committed))
            machines.kill_the_one_of(killed[0])

    def read_then_finish(self, *args):
        journal.extend(json.loads(line) for line in (self.folder / PROGRESS).read_text().splitlines()[1:])
        finish(self, *args)

    monkeypatch.setattr(StoreWriter, "commit", commit_then_kill)
    monkeypatch.setattr(StoreWriter, "finish", read_then_finish)
    settings = settings_for(corpus, "ray", kind="ray", address=machines.cluster.address)
    prepare(settings, corpus)
    ours, theirs = (next(Layout.of(each).features.glob("*/features.npy")) for each in (settings, alone))
    assert ours.read_bytes() == theirs.read_bytes()
    assert sorted(line["block"] for line in journal) == list(range(18))  # each once
    again = [note for note in machines.notes() if note.work == killed[0].work]
    assert len(again) == 2 and again[0] == killed[0] and again[1].raylet != killed[0].raylet
    assert len({note.raylet for note in machines.notes()}) == 3


def test_a_machine_that_dies_while_cells_are_trained(machines, corpus, alone):
    machines.forget()
    machines.add(1)
    settings = settings_for(corpus, "ray", kind="ray", address=machines.cluster.address)
    cells = cells_of(settings, [1, 2])

    def kill_when_two_epochs_are_done():
        while RunFolder(cells[0].folder).num_epochs_done() < 2:
            time.sleep(0.02)
        machines.kill_the_one_of(next(note for note in machines.notes() if note.work == 1))

    killer = threading.Thread(target=kill_when_two_epochs_are_done, daemon=True)
    killer.start()
    train_cells(cells)
    killer.join(timeout=10)
    score_cells(cells)
    first = [note.raylet for note in machines.notes() if note.work == 1]
    assert len(set(first)) == 2 and first[0] == first[1] and 5 <= len(first) <= 6  # went on at the last whole epoch
    for ours, theirs in zip(cells, cells_of(alone, [1, 2]), strict=True):
        for name in ("model.safetensors", "scores/eval.parquet"):
            assert (ours.folder / name).read_bytes() == (theirs.folder / name).read_bytes()


def test_a_users_mistake_in_a_worker_is_one_line_here(machines, corpus, alone):
    settings = settings_for(corpus, "ray", kind="ray", address=machines.cluster.address)
    settings.train.lr = 1e30
    with pytest.raises(UserError, match=r"loss became .* lower train\.lr") as caught:
        train_cells(cells_of(settings, [3]))
    assert "\n" not in str(caught.value)
