"""A Ray cluster of several machines on this one, whose work can be held up, and which can be killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

MEGABYTE = 1024 * 1024
SECONDS_TO_BEGIN = 60  # for workers to start and to import torch, on a busy machine
# Python runs this first in each worker of the cluster: work leaves a note of who began it, with how many threads, and takes its time. What
# a file `hold-<work>` names the how-manieth beginning of stays there until that file is gone: its machine is certain to be at it when it
# is killed.
SLOW_WORK = """
import os, time
from pathlib import Path
import torch
from sourcetracing.detection.features import layer_features
from sourcetracing.features.blocks import BlockMaker
from sourcetracing.training import loop

folder = Path({folder!r})
notes = folder / "notes"

def noted(work):
    with notes.open("a") as file:
        file.write(f"{{os.getppid()}} {{os.getpid()}} {{work}} {{torch.get_num_threads()}}\\n")

def slowed(function, what):
    def slow(*args, **kwargs):
        work, hold = what(*args), folder / f"hold-{{what(*args)}}"
        noted(work)
        begun = [line.split()[2] for line in notes.read_text().splitlines()].count(work)
        if hold.exists() and hold.read_text() == str(begun):
            hold.rename(hold.with_name(f"held-{{work}}"))
            while hold.with_name(f"held-{{work}}").exists():
                time.sleep(0.05)
        time.sleep(0.2)
        return function(*args, **kwargs)
    return slow

BlockMaker.__call__ = slowed(BlockMaker.__call__, lambda self, block: f"block{{block}}")
layer_features.write_block = slowed(layer_features.write_block, lambda path, header_bytes, first_row, block: f"layers{{first_row}}")
resolve = layer_features.resolve_workers
layer_features.resolve_workers = lambda workers: noted(f"workers{{workers}}") or resolve(workers)
loop.train_epoch = slowed(loop.train_epoch, lambda *args: f"run{{args[3].train.seed}}")
"""


@dataclass
class Note:
    """A worker process of the machine `raylet` began some work: block<n>, layers<first row>, or an epoch of run<seed>.

    workers<n>: it was asked for so many threads for layer features.
    """

    raylet: int
    worker: int
    work: str
    threads: int


class Machines:
    """A head without cores, and others of one core each."""

    def __init__(self, folder: Path, count: int):
        from ray.cluster_utils import Cluster

        self.folder = folder
        quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * MEGABYTE, "_system_config": quick}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.add(count)

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self, count: int) -> None:
        for _ in range(count):
            self.cluster.add_node(num_cpus=1, object_store_memory=80 * MEGABYTE)

    def forget(self) -> None:
        """Removes notes, and what is held."""
        for path in [*self.folder.glob("hold-*"), *self.folder.glob("held-*"), *self.folder.glob("notes")]:
            path.unlink()

    def notes(self, work: str = "") -> list[Note]:
        """Of all work, or of that whose name begins so."""
        path = self.folder / "notes"
        words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [Note(int(raylet), int(worker), name, int(threads)) for raylet, worker, name, threads in words if name.startswith(work)]

    def hold(self, work: str, *, beginning: int) -> None:
        """Workers stay at this work when it begins for the so-manieth time, until it is released; `held` says whether one does."""
        (self.folder / f"hold-{work}").write_text(str(beginning))

    def held(self, work: str) -> bool:
        return (self.folder / f"held-{work}").exists()

    def release(self, work: str) -> None:
        (self.folder / f"held-{work}").unlink()

    def wait_until_held(self, work: str) -> Note:
        """Who holds it."""
        self._wait(lambda: self.held(work), work)
        return self.notes(work)[-1]

    def wait_for(self, work: str) -> None:
        """Until some of it has begun."""
        self._wait(lambda: bool(self.notes(work)), work)

    def _wait(self, is_there: Callable[[], bool], work: str) -> None:
        deadline = time.monotonic() + SECONDS_TO_BEGIN
        while not is_there():
            assert time.monotonic() < deadline, f"{work} was never begun"
            time.sleep(0.02)

    def kill_the_one_of(self, note: Note) -> None:
        """Pulls the plug of the machine on which some work is being done: SIGKILL for its raylet and its workers."""
        node = next(node for node in self.cluster.worker_nodes if psutil.pid_exists(note.raylet) and _raylet_of(node) == note.raylet)
        self.cluster.remove_node(node, allow_graceful=False)
        if psutil.pid_exists(note.worker):
            os.kill(note.worker, signal.SIGKILL)


def _raylet_of(node: object) -> int:
    return node.all_processes["raylet"][0].process.pid


@contextmanager
def started_machines(folder: Path, count: int) -> Iterator[Machines]:
    """So many machines beside the head, for the time of some tests."""
    import ray

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.delenv("RAY_ADDRESS", raising=False)
    machines = Machines(folder, count)
    (folder / "sitecustomize.py").write_text(SLOW_WORK.format(folder=str(folder)))
    patch.setenv("PYTHONPATH", str(folder))  # workers get it behind the checkout
    try:
        yield machines
    finally:
        ray.shutdown()
        machines.cluster.shutdown()
        patch.undo()
