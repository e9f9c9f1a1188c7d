"""Every training cell of an experiment, several at a time, skipping what is done (script 05), and its scores (script 06)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm

from sourcetracing import cluster
from sourcetracing.compute import pick_device, prepare_cpu
from sourcetracing.errors import UserError
from sourcetracing.experiments import Cell, load_cells
from sourcetracing.feature_data import open_store
from sourcetracing.joint_training import train_in_turn
from sourcetracing.parallel import map_unordered, resolve_workers
from sourcetracing.process_group import size_of_group
from sourcetracing.progress import bar
from sourcetracing.run_folder import RunFolder
from sourcetracing.scoring import is_scored, score_cell
from sourcetracing.settings_io import Layers
from sourcetracing.training import train_cell

SECONDS_BETWEEN_LOOKS = 1.0  # at the run folders, for the progress bar
TRAIN_COMMAND = "python scripts/05_train_matrix.py CONFIG.yaml"


def trained_cells(layers: Layers) -> tuple[list[Cell], str]:
    """The experiment's cells that are trained, and a line on those that are not ("" where all are). Raises `UserError` for none."""
    cells = load_cells(layers)
    trained = [cell for cell in cells if RunFolder(cell.folder).is_finished]
    missing = [f"{cell.system} on {cell.train_set}, seed {cell.seed}" for cell in cells if cell not in trained]
    lack = f"{len(missing)} of {len(cells)} cells are not trained (first: {missing[0]})" if missing else ""
    if not trained:
        raise UserError(f"{lack}. Run: {TRAIN_COMMAND}")
    return trained, lack


def train_cells(cells: Sequence[Cell]) -> None:
    """Trains the cells that are not finished; a progress bar counts epochs.

    In a group of processes (torchrun) they train one cell after the other together; otherwise several cells are trained at a time.
    Cells that another process is training come last; by the time it is their turn they are mostly done, otherwise they are waited for.
    """
    to_do = [cell for cell in cells if not RunFolder(cell.folder).is_finished]
    if not to_do:
        return
    if size_of_group() > 1:
        train_in_turn(to_do)
        return
    elsewhere = [cell for cell in to_do if RunFolder(cell.folder).is_being_trained]
    if elsewhere:
        print(f"another process is training {len(elsewhere)} of them: this one starts with the others", flush=True)
    to_do.sort(key=elsewhere.__contains__)
    total = sum(cell.settings.train.epochs for cell in to_do)
    with bar(total=total, initial=_epochs_done(to_do), desc="train", unit="epoch") as progress, _following(to_do, progress):
        for cell in _each(_train_one, to_do):
            outcome = RunFolder(cell.folder).read_outcome()
            figure = f"dev macro-F1 {100 * outcome['dev_macro_f1']:.1f} %" if "dev_macro_f1" in outcome else "kept its initial weights"
            progress.set_postfix_str(f"{cell.system} {cell.train_set}: {figure}")


def _epochs_done(cells: Sequence[Cell]) -> int:
    return sum(RunFolder(cell.folder).num_epochs_done() for cell in cells)


@contextmanager
def _following(cells: Sequence[Cell], progress: tqdm) -> Iterator[None]:
    """Keeps a progress bar at the epochs that lie in the run folders, whichever process or machine puts them there."""
    is_over = threading.Event()

    def follow() -> None:
        while not is_over.wait(SECONDS_BETWEEN_LOOKS):
            progress.update(_epochs_done(cells) - progress.n)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        is_over.set()
        follower.join()
        progress.update(_epochs_done(cells) - progress.n)


def score_cells(cells: Sequence[Cell]) -> None:
    """Scores the cells whose scores are missing or older than their weights; a progress bar counts cells."""
    to_do = [cell for cell in cells if not all(is_scored(cell, split) for split in cell.settings.evaluation.splits)]
    if not to_do:
        return
    with bar(total=len(to_do), desc="score", unit="cell") as progress:
        for _ in _each(_score_one, to_do):
            progress.update(1)


def _each(function: Callable[[Cell], None], cells: Sequence[Cell]) -> Iterator[Cell]:
    """Cells as they finish: as many at a time as the cluster, or this machine, has GPUs; without one, as it has cores."""
    settings = cells[0].settings
    # One thread per process even when a single cell is left: a cell must not depend on how many are trained beside it.
    if settings.executor.kind == "ray":
        results = cluster.map_unordered(function, cells, settings, on_gpu=True)
    else:
        on_cpu = pick_device(settings.compute.device).type == "cpu"
        num_workers = min(resolve_workers(settings.compute.workers), len(cells)) if on_cpu else 1
        setup = {"initializer": prepare_cpu, "initargs": (1,), "queued_per_worker": 1}
        results = map_unordered(function, cells, num_workers=num_workers, **setup)
    return (cell for cell, _ in results)


def _train_one(cell: Cell) -> None:
    with RunFolder(cell.folder).only_trainer(wait=True):
        train_cell(cell, open_store(cell.settings), pick_device(cell.settings.compute.device))


def _score_one(cell: Cell) -> None:
    score_cell(cell, open_store(cell.settings), pick_device(cell.settings.compute.device))
