"""Training with everything this machine has on one run at a time: all cores, or all processes that torchrun or accelerate started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from sourcetracing.features.rows import open_store
from sourcetracing.runtime.compute import prepare_cpu
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.process_group import ProcessGroup, joined_group
from sourcetracing.training.following import following
from sourcetracing.training.loop import require_rows, train_run
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun, require_two_classes


def train_in_turn(runs: Sequence[TrainingRun]) -> None:
    """Trains the runs that are not finished; a progress bar of the first process counts rounds. Raises `UserError`."""
    if not runs:
        return
    to_do = [run for run in runs if not run.files.is_finished]
    require_two_classes(to_do)
    num_rows = require_rows(to_do)
    compute = runs[0].settings.compute
    with joined_group(compute) as (group, device):
        prepare_cpu(max(1, resolve_workers(compute.workers) // group.size))
        with following(runs, num_rows, at_once=1) if group.is_first else nullcontext():
            for run in runs:
                with _sole_trainer(run.files, group):
                    train_run(run, open_store(run.settings), device, group=group)


def _sole_trainer(folder: RunFolder, group: ProcessGroup) -> AbstractContextManager:
    return folder.only_trainer(wait=False) if group.is_first and not folder.is_finished else nullcontext()
