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
from sourcetracing.settings.training import line_of_variants, shown_system, trained_variants
from sourcetracing.training.pace import MEASURED_STEPS, duration_in_words, measured_rate, read_pace
from sourcetracing.training.rounds import num_rounds, rows_per_round, word_for_rounds
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun


@dataclass(frozen=True)
class SystemPlan:
    """One line of the plan. seconds: of computing still to be done; nan while nothing of the system was measured.

    epochs_left: rounds (`rounds`). measured_steps: what the seconds are known by where no round of the system is done, else 0.
    """

    system: str
    num_runs: int
    num_done: int
    epochs_left: int
    seconds: float
    measured_steps: int = 0


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
    unfinished = [(run, num_rounds(run.settings) - folder.num_epochs_done()) for run, folder in own if not folder.is_finished]
    rate, measured_steps = _seconds_per_row(own, utterances)
    seconds = sum(epochs * rows_of(run, utterances) * rate for run, epochs in unfinished if epochs)
    return SystemPlan(system, len(own), len(own) - len(unfinished), sum(epochs for _, epochs in unfinished), seconds, measured_steps)


def rows_of(run: TrainingRun, utterances: pd.DataFrame) -> int:
    """Training rows of a round of a run: utterances x acoustic variants, or as many as train.rows_per_epoch or its steps take."""
    rules = run.settings.train
    num_utterances = int(select(utterances, languages=run.train_set.split("+"), splits=["train"]).sum())
    rows = num_utterances * len(rules.variants or run.settings.augment.variants)
    return rows_per_round(run.settings, rows)


def _seconds_per_row(runs: Sequence[tuple[TrainingRun, RunFolder]], utterances: pd.DataFrame) -> tuple[float, int]:
    """The median over measured rounds of a system's runs, dev included, and 0; without one that of the steps under way, and their number.

    nan where there are none of these either.
    """
    rates = [
        history["seconds"] / max(1, rows_of(run, utterances))
        for run, folder in runs
        if folder.history.is_file() and len(history := read_csv(folder.history, texts=()))
    ]
    if rates:
        return float(pd.concat(rates).median()), 0
    return measured_rate(read_pace(folder) for _, folder in runs)


def describe_variants(runs: Sequence[TrainingRun]) -> str:
    """Which systems hear which acoustic variants in training, where that differs, else ""."""
    return line_of_variants({run.system: trained_variants(run.settings) for run in runs})


def describe_plan(plan: Sequence[SystemPlan], runs: Sequence[TrainingRun]) -> str:
    """The plan as text; times of systems that nothing is known of are left open."""
    names = {line.system: shown_system(line.system, runs[0].settings.experiment.floor) for line in plan}
    width = max(map(len, ["system", *names.values()]))
    rounds = f"{word_for_rounds([run.settings for run in runs])}s left"
    lines = [f"{'system':<{width}}  runs  done  to do  {rounds:>11}  time left"]
    at_once = runs_at_once(runs[0].settings.compute)
    fitted = {run.system for run in runs if BACKENDS[run.settings.backend].fitted}
    for line in plan:
        to_do = line.num_runs - line.num_done
        time = _time_left(line, min(at_once, to_do), line.system in fitted) if line.epochs_left else "-"
        lines.append(f"{names[line.system]:<{width}}  {line.num_runs:5}  {line.num_done:4}  {to_do:5}  {line.epochs_left:11}  {time}")
    return "\n".join(lines)


def runs_at_once(compute: Compute) -> int:
    """How many runs this machine trains at a time: one on each core, or `compute.runs_per_gpu` on its GPU."""
    return resolve_workers(compute.workers) if pick_device(compute.device).type == "cpu" else compute.runs_per_gpu


def _time_left(line: SystemPlan, at_once: int, is_fitted: bool) -> str:
    if line.seconds != line.seconds:
        return "known after its first run, without steps" if is_fitted else f"known after {MEASURED_STEPS} steps"
    how = f" besides dev, measured over {line.measured_steps} steps" if line.measured_steps else ""
    return f"{duration_in_words(line.seconds / at_once)}{how}"
