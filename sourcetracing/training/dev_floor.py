"""How the systems of an experiment stand on dev against its floor (`experiment.floor`), by the records of their runs (script 05).

Dev figures carry no interval, and a network's is that of the epoch which was chosen on these very rows: this is the first word on whether a
system earns its place, script 13 (`tables/floor.py`) has the last one.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from sourcetracing.drawing.text import percent
from sourcetracing.features.rows import dev_languages
from sourcetracing.metrics.classification import is_more
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.training.runs import TrainingRun
from sourcetracing.training.state import LAST_EPOCH

NUM_SHOWN = 6  # runs of a line


def dev_beside_floor(runs: Sequence[TrainingRun]) -> str:
    """A line for each system and each one of the floor: how many runs are below it, which figures; "" without any.

    runs: of one experiment; those of the same training set and seed are compared, where both are trained and developed on the same rows.
    """
    if not runs:
        return ""
    floor = runs[0].settings.experiment.floor
    own = [system for system in dict.fromkeys(run.system for run in runs) if system not in floor]
    lines = (_line(runs, system, other) for system in own for other in floor)
    return "\n".join(textwrap.fill(line, 98, subsequent_indent="  ") for line in lines)


def _line(runs: Sequence[TrainingRun], system: str, floor: str) -> str:
    base = {(run.train_set, run.seed): run for run in runs if run.system == floor}
    own, compared, reasons = [run for run in runs if run.system == system], [], []
    several_seeds = len({run.seed for run in own}) > 1
    for run in own:
        other = base.get((run.train_set, run.seed))
        if why := _why_not(run, other):
            reasons.append(why)
            continue
        ours, theirs = (one.files.read_outcome()["dev_macro_f1"] for one in (run, other))
        compared.append((f"{run.train_set}{f' seed {run.seed}' if several_seeds else ''}", ours, theirs))
    why = f"not compared: {_counted(reasons)}" if reasons else ""
    if not compared:
        return f"on dev: {system} and the floor {floor} are {why}"
    below = [one for one in compared if is_more(one[2], one[1])]
    shown = below or compared
    figures = [f"{name} {percent(ours)} against {percent(theirs)}" for name, ours, theirs in shown[:NUM_SHOWN]]
    figures += [f"and {len(shown) - NUM_SHOWN} more"] if len(shown) > NUM_SHOWN else []
    what = f"is below the floor {floor} in {len(below)} of {len(compared)} runs" if below else f"is nowhere below the floor {floor}"
    line = f"on dev, macro-F1 in %: {system} {what}: {', '.join(figures)}"
    return f"{line}; {len(reasons)} {why}" if why else line


def _why_not(run: TrainingRun, floor: TrainingRun | None) -> str:
    """Why a run's dev figure says nothing beside that of the floor; "" where it does."""
    if not run.files.is_finished:
        return "not trained yet"
    if floor is None or not floor.files.is_finished:
        return "the floor is not trained on the same languages with the same seed"
    for one, name in ((run, "it"), (floor, "the floor")):
        if lack := _lack_of_figure(one, one.files.read_outcome()):
            return f"{name} {lack}"
    settings = (run.settings, floor.settings)
    ours, theirs = (set(dev_languages(one.settings, one.train_set.split("+"))) for one in (run, floor))
    if ours != theirs:
        return "their train.dev_languages differ"
    ours, theirs = (set(one.train.dev_variants or one.train.variants or one.augment.variants) for one in settings)
    if ours != theirs:
        return f"their dev rows are of other acoustic variants ({', '.join(sorted(ours))} and {', '.join(sorted(theirs))})"
    return "" if run.settings.corpus.sources == floor.settings.corpus.sources else "their classes differ"


def _lack_of_figure(run: TrainingRun, outcome: dict[str, Any]) -> str:
    if BACKENDS[run.settings.backend].metric_loss and run.settings.metric_learning.train_on_dev:
        return "had dev among its training rows"
    if outcome.get("selected_by") == LAST_EPOCH or outcome.get("num_dev_rows") == 0:
        return "has no dev rows"
    return "" if "dev_macro_f1" in outcome else "has no dev figure in its record"


def _counted(reasons: Sequence[str]) -> str:
    """Each reason once."""
    return "; ".join(dict.fromkeys(reasons))
