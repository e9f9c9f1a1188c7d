"""Every training cell of an experiment, several at a time, skipping what is done (script 05), and its scores (script 06)."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sourcetracing.compute import pick_device, prepare_cpu
from sourcetracing.experiments import Cell
from sourcetracing.feature_data import open_store
from sourcetracing.parallel import map_unordered, resolve_workers
from sourcetracing.progress import bar
from sourcetracing.run_folder import RunFolder
from sourcetracing.scoring import is_scored, score_cell
from sourcetracing.training import train_cell

_tell_parent: Callable[[Any], None] = lambda message: None  # noqa: E731 (replaced in each worker)


def train_cells(cells: Sequence[Cell]) -> None:
    """Trains the cells that are not finished; a progress bar counts epochs."""
    to_do = [cell for cell in cells if not RunFolder(cell.folder).is_finished]
    if not to_do:
        return
    total = sum(cell.settings.train.epochs for cell in to_do)
    done = sum(RunFolder(cell.folder).num_epochs_done() for cell in to_do)
    with bar(total=total, initial=done, desc="train", unit="epoch") as progress:
        for cell in _each(_train_one, to_do, lambda _: progress.update(1)):
            outcome = RunFolder(cell.folder).read_outcome()
            figure = f"dev macro-F1 {100 * outcome['dev_macro_f1']:.1f} %" if "dev_macro_f1" in outcome else "kept its initial weights"
            progress.set_postfix_str(f"{cell.system} {cell.train_set}: {figure}")


def score_cells(cells: Sequence[Cell]) -> None:
    """Scores the cells whose scores are missing or older than their weights; a progress bar counts cells."""
    to_do = [cell for cell in cells if not all(is_scored(cell, split) for split in cell.settings.evaluation.splits)]
    if not to_do:
        return
    with bar(total=len(to_do), desc="score", unit="cell") as progress:
        for _ in _each(_score_one, to_do, lambda _: None):
            progress.update(1)


def _each(function: Callable[[Cell], None], cells: Sequence[Cell], on_message: Callable[[Any], None]) -> Iterator[Cell]:
    """Cells as they finish: one process per core on a CPU, one after the other where there is one GPU."""
    device = pick_device(cells[0].settings.compute.device)
    num_workers = min(resolve_workers(cells[0].settings.compute.workers), len(cells)) if device.type == "cpu" else 1
    with _messages(on_message) as queue:
        # One thread per process even when a single cell is left: a cell must not depend on how many are trained beside it.
        setup = {"initializer": _start_worker, "initargs": (queue,), "queued_per_worker": 1}
        for cell, _ in map_unordered(function, cells, num_workers=num_workers, **setup):
            yield cell


@contextmanager
def _messages(on_message: Callable[[Any], None]) -> Iterator[Any]:
    """A queue that workers write to; a thread hands each message on."""
    queue = multiprocessing.get_context("spawn").SimpleQueue()

    def listen() -> None:
        while (message := queue.get()) is not None:
            on_message(message)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield queue
    finally:
        queue.put(None)
        listener.join(timeout=1)


def _start_worker(queue: Any) -> None:
    global _tell_parent
    _tell_parent = queue.put
    prepare_cpu(num_threads=1)


def _train_one(cell: Cell) -> None:
    device = pick_device(cell.settings.compute.device)
    train_cell(cell, open_store(cell.settings), device, on_epoch=_tell_parent)


def _score_one(cell: Cell) -> None:
    score_cell(cell, open_store(cell.settings), pick_device(cell.settings.compute.device))


def train_alone(cell: Cell) -> RunFolder:
    """One cell in this process with all cores, as train_refd.py does."""
    device = pick_device(cell.settings.compute.device)
    prepare_cpu(resolve_workers(cell.settings.compute.workers))
    done = RunFolder(cell.folder).num_epochs_done()
    with bar(total=cell.settings.train.epochs, initial=done, desc="train", unit="epoch") as progress:
        return train_cell(cell, open_store(cell.settings), device, on_epoch=lambda epoch: progress.update(1))
