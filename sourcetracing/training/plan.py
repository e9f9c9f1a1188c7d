"""What script 05 is about to do: which runs, how many are done, and how long the rest takes by the rates measured so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.protocols.table import select
from sourcetracing.runtime.compute import pick_device
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.paths import Compute
from sourcetracing.settings.training import shown_system
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun


@dataclass(frozen=True)
class SystemPlan:
    """One line of the plan. seconds: of computing still to be done; nan while no epoch of the system was measured."""

    system: str
    num_runs: int
    num_done: int
    epochs_left: int
    seconds: float


def read_shard(text: str) -> slice:
    """The runs of part i of n, for "i/n", i from 1: every n-th, so that each part has its share of each system. Raises `UserError`."""
    part, _, num_parts = text.partition("/")
    if not (part.isdecimal() and num_parts.isdecimal() and 1 <= int(part) <= int(num_parts)):
        raise UserError(f"--shard {text}: i/n is expected, i from 1 to n, such as 1/4")
    return slice(int(part) - 1, None, int(num_parts))


def name_of(run: TrainingRun) -> str:
    """system/training set/seed, as `--only` names runs."""
    return f"{run.system}/{run.train_set}/{run.seed}"


def only(runs: Sequence[TrainingRun], pattern: str) -> list[TrainingRun]:
    """The runs whose name fits: a system, system/training set, or a pattern with * for anything. Raises `UserError` when none does."""
    found = [run for run in runs if any(fnmatchcase(name_of(run), pattern + tail) for tail in ("", "/*"))]
    if not found:
        names = {name for run in runs for name in (run.system, f"{run.system}/{run.train_set}", name_of(run))}
        raise UserError(f"--only {pattern}: fits no run{did_you_mean(pattern, names)}")
    return found


def make_plan(runs: Sequence[TrainingRun], utterances: pd.DataFrame) -> list[SystemPlan]:
    """A line for each system. utterances: columns language, split of all that the protocol has."""
    return [_plan_of(system, runs, utterances) for system in dict.fromkeys(run.system for run in runs)]


def _plan_of(system: str, runs: Sequence[TrainingRun], utterances: pd.DataFrame) -> SystemPlan:
    own = [(run, run.files) for run in runs if run.system == system]
    unfinished = [(run, run.num_epochs - folder.num_epochs_done()) for run, folder in own if not folder.is_finished]
    rate = _seconds_per_row(own, utterances)
    seconds = sum(epochs * rows_of(run, utterances) * rate for run, epochs in unfinished if epochs)
    return SystemPlan(system, len(own), len(own) - len(unfinished), sum(epochs for _, epochs in unfinished), seconds)


def rows_of(run: TrainingRun, utterances: pd.DataFrame) -> int:
    """Training rows of an epoch of a run: utterances x acoustic variants, or train.rows_per_epoch."""
    rules = run.settings.train
    num_utterances = int(select(utterances, languages=run.train_set.split("+"), splits=["train"]).sum())
    rows = num_utterances * len(rules.variants or run.settings.augment.variants)
    return min(rows, rules.rows_per_epoch) if rules.rows_per_epoch and not BACKENDS[run.settings.backend].fitted else rows


def _seconds_per_row(runs: Sequence[tuple[TrainingRun, RunFolder]], utterances: pd.DataFrame) -> float:
    """The median over measured epochs of a system's runs, dev included; nan without one."""
    rates = [
        history["seconds"] / max(1, rows_of(run, utterances))
        for run, folder in runs
        if folder.history.is_file() and len(history := read_csv(folder.history, texts=()))
    ]
    return float(pd.concat(rates).median()) if rates else float("nan")


def describe_plan(plan: Sequence[SystemPlan], runs: Sequence[TrainingRun]) -> str:
    """The plan as text; times of systems that nothing is known of are left open."""
    names = {line.system: shown_system(line.system, runs[0].settings.experiment.floor) for line in plan}
    width = max(map(len, ["system", *names.values()]))
    lines = [f"{'system':<{width}}  runs  done  to do  epochs left  time left"]
    at_once = runs_at_once(runs[0].settings.compute)
    for line in plan:
        to_do = line.num_runs - line.num_done
        time = _duration(line.seconds / min(at_once, to_do)) if line.epochs_left else "-"
        lines.append(f"{names[line.system]:<{width}}  {line.num_runs:5}  {line.num_done:4}  {to_do:5}  {line.epochs_left:11}  {time}")
    return "\n".join(lines)


def runs_at_once(compute: Compute) -> int:
    """How many runs this machine trains at a time: one on each core, or `compute.runs_per_gpu` on its GPU."""
    return resolve_workers(compute.workers) if pick_device(compute.device).type == "cpu" else compute.runs_per_gpu


def _duration(seconds: float) -> str:
    if seconds != seconds:
        return "known after the first epoch"
    minutes = seconds / 60
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"
