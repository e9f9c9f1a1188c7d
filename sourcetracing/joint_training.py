"""Training with everything this machine has on one cell at a time: all cores, or all processes that torchrun or accelerate started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from sourcetracing.compute import prepare_cpu
from sourcetracing.experiments import Cell
from sourcetracing.feature_data import open_store
from sourcetracing.parallel import resolve_workers
from sourcetracing.process_group import ProcessGroup, joined_group
from sourcetracing.progress import bar
from sourcetracing.run_folder import RunFolder
from sourcetracing.training import train_cell


def train_in_turn(cells: Sequence[Cell]) -> None:
    """Trains the cells that are not finished; a progress bar of the first process counts epochs. Raises `UserError`."""
    if not cells:
        return
    compute = cells[0].settings.compute
    with joined_group(compute.device) as (group, device):
        prepare_cpu(max(1, resolve_workers(compute.workers) // group.size))
        folders = [RunFolder(cell.folder) for cell in cells]
        total = sum(cell.settings.train.epochs for cell in cells)
        done = sum(folder.num_epochs_done() for folder in folders)
        with bar(total=total, initial=done, desc="train", unit="epoch", disable=not group.is_first) as progress:
            for cell, folder in zip(cells, folders, strict=True):
                with _sole_trainer(folder, group):
                    train_cell(cell, open_store(cell.settings), device, on_epoch=lambda epoch: progress.update(1), group=group)


def _sole_trainer(folder: RunFolder, group: ProcessGroup) -> AbstractContextManager:
    return folder.only_trainer(wait=False) if group.is_first and not folder.is_finished else nullcontext()
