"""Every training run of an experiment, several at a time, skipping what is done (script 05)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sourcetracing.errors import UserError
from sourcetracing.features import ray_cluster as cluster
from sourcetracing.features.rows import open_store
from sourcetracing.runtime.compute import prepare_cpu, prepare_device
from sourcetracing.runtime.parallel import map_unordered
from sourcetracing.runtime.process_group import size_of_group
from sourcetracing.training.following import following
from sourcetracing.training.joint import train_in_turn
from sourcetracing.training.loop import require_rows, train_run
from sourcetracing.training.other_runs import trained_otherwise
from sourcetracing.training.plan import runs_at_once
from sourcetracing.training.runs import TrainingRun, require_two_classes
from sourcetracing.training.state import LAST_EPOCH

TRAIN_COMMAND = "python scripts/05_train_matrix.py CONFIG.yaml"


def those_trained(runs: Sequence[TrainingRun]) -> tuple[list[TrainingRun], str]:
    """Of the runs of an experiment those that are trained, and a line on the others ("" without any). Raises `UserError` where none is."""
    trained = [run for run in runs if run.files.is_finished]
    missing = [run for run in runs if run not in trained]
    lack = ""
    if missing:
        first = missing[0]
        others = next(filter(None, (trained_otherwise(run, runs) for run in missing)), "")
        count = f"{len(missing)} of {len(runs)} runs are not trained"
        lack = f"{count} (first: {first.system} on {first.train_set}, seed {first.seed}){others}"
    if not trained:
        raise UserError(f"{lack}. Run: {TRAIN_COMMAND}")
    return trained, lack


def train_runs(runs: Sequence[TrainingRun]) -> None:
    """Trains the runs that are not finished; a progress bar counts their rounds, within which it moves too.

    In a group of processes (torchrun) they train one run after the other together; otherwise several runs are trained at a time.
    Runs that another process is training come last; by the time it is their turn they are mostly done, otherwise they are waited for.
    """
    to_do = [run for run in runs if not run.files.is_finished]
    if not to_do:
        return
    require_two_classes(to_do)
    if size_of_group() > 1:
        train_in_turn(to_do)
        return
    num_rows = require_rows(to_do)
    elsewhere = [run for run in to_do if run.files.is_being_trained]
    if elsewhere:
        print(f"another process is training {len(elsewhere)} of them: this one starts with the others", flush=True)
    to_do.sort(key=elsewhere.__contains__)
    with following(to_do, num_rows, runs_at_once(to_do[0].settings.compute)) as progress:
        for run in each_run(_train_one, to_do):
            outcome = run.files.read_outcome()
            progress.set_postfix_str(f"{run.system} {run.train_set}: {_what_was_kept(outcome)}")
            if outcome["selected_by"] == LAST_EPOCH:
                progress.write(f"{run.system} {run.train_set}: its languages have no dev rows, so the last epoch is kept, not the best")


def _what_was_kept(outcome: dict) -> str:
    if "dev_macro_f1" in outcome:
        return f"dev macro-F1 {100 * outcome['dev_macro_f1']:.1f} %"
    return "kept its last epoch" if outcome["best_epoch"] else "kept its initial weights"


def each_run(function: Callable[[TrainingRun], None], runs: Sequence[TrainingRun]) -> Iterator[TrainingRun]:
    """Runs as they finish: `compute.runs_per_gpu` at a time on each GPU of the cluster, or on this machine's; without one, one per core."""
    settings = runs[0].settings
    # One thread per process even when a single run is left: a run must not depend on how many are trained beside it.
    if settings.executor.kind == "ray":
        results = cluster.map_unordered(function, runs, settings, on_gpu=True)
    else:
        setup = {"initializer": prepare_cpu, "initargs": (1,)}
        results = map_unordered(function, runs, num_workers=min(runs_at_once(settings.compute), len(runs)), **setup)
    return (run for run, _ in results)


def _train_one(run: TrainingRun) -> None:
    with run.files.only_trainer(wait=True):
        train_run(run, open_store(run.settings), prepare_device(run.settings.compute))
