"""The verdict on a corpus: the cue baselines beside the best trained system, in tables and in plain words (script 11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from sourcetracing.drawing.text import percent
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.settings.schema import Settings
from sourcetracing.shortcuts.baselines import PREFIX, audit_plan, shortcut_runs
from sourcetracing.shortcuts.cues import GROUPS
from sourcetracing.tables.axes import CROSS, MONO
from sourcetracing.tables.making import Tables, make_tables, mean_of
from sourcetracing.tables.scored_runs import ScoredRun, scored_runs
from sourcetracing.tables.text import interval_text, markdown, mean_text
from sourcetracing.training.runs import load_runs

ALL, HEARD = f"{PREFIX}all", f"{PREFIX}heard"
KINDS = (MONO, CROSS)


@dataclass(frozen=True)
class Audit:
    """The tables of the baselines and of the best trained system (None where no run has scores), and the verdict, one line a sentence."""

    tables: Tables
    best_trained: str | None
    verdict: list[str]


def audit_shortcuts(config: ConfigSources) -> Audit:
    """Computes what is missing and writes tables/shortcuts.csv, shortcuts_means.csv, shortcuts.md. Raises `UserError`."""
    settings = config.resolve()
    baselines, trained = shortcut_runs(settings), _trained_runs(config)
    best = best_system(trained, settings)
    runs = baselines + [run for run in trained if run.system == best]
    tables = _tables(runs, settings)
    audit = Audit(tables, best, verdict(tables, best))
    _write(audit, Layout.of(settings))
    return audit


def best_system(runs: Sequence[ScoredRun], settings: Settings) -> str | None:
    """The system with the highest pooled mono mean (cross, where no test language was trained on); None without runs."""
    in_table = audit_plan(settings).train_sets
    if not any(run.train_set in in_table for run in runs):
        return None
    without_intervals = replace(settings, evaluation=replace(settings.evaluation, bootstrap_samples=0))
    tables = _tables(runs, without_intervals)
    return max(tables.axes.systems, key=lambda system: _f1(tables, system, _kind_shown(tables)))


def verdict(tables: Tables, best_trained: str | None) -> list[str]:
    """What the tables say about shortcuts, in sentences."""
    kind, chance = _kind_shown(tables), 1 / len(tables.axes.classes)
    everything = _f1(tables, ALL, kind)
    low, high = _interval(tables, ALL, kind)
    way = f"{_way(everything, chance)} of the way from chance to 100" if low > chance else "no better than chance"
    groups = sorted((f"{PREFIX}{group}" for group in GROUPS), key=lambda system: _f1(tables, system, kind), reverse=True)
    strongest = ", ".join(f"{group} {_percent(tables, group, kind)}" for group in groups[:3])
    lines = [
        f"All cues {kind} {percent(everything)}, chance {percent(chance)}: {way}. Those of the crop alone {_percent(tables, HEARD, kind)}.",
        f"Strongest groups: {strongest}.",
    ]
    if best_trained is None:
        return [*lines, "No system has scores yet. One that is not far above all cues has learnt little about the sources."]
    trained = _f1(tables, best_trained, kind)
    is_clear = _interval(tables, best_trained, kind)[0] > high
    comparison = "the intervals do not meet" if is_clear else "the intervals meet, so it may have learnt no more than cues tell"
    return [*lines, f"Best trained system: {best_trained} {kind} {percent(trained)}, all cues {percent(everything)}; {comparison}."]


def summary(audit: Audit) -> str:
    """The pooled means of each group as a table of plain text, then the verdict."""
    tables = audit.tables
    width = max(len(system) for system in tables.axes.systems)
    head = f"macro-F1 in %, split {tables.axes.split}, pooled over {len(tables.axes.variants)} variants, means over cells (95 % CI)"
    lines = [head, f"{'':<{width}}" + "".join(f"  {kind:>24}" for kind in KINDS)]
    for system in tables.axes.systems:
        cells = [f"{mean_text(tables, system, kind)} ({interval_text(tables, system, kind)})" for kind in KINDS]
        lines.append(f"{system:<{width}}" + "".join(f"  {cell:>24}" for cell in cells))
    return "\n".join([*lines, "", *audit.verdict])


MEANS_TEXTS = ("system", "kind", "variant", "best_trained")  # columns that are no numbers


def means_table(audit: Audit) -> pd.DataFrame:
    """Rows of `Tables.means` with columns chance and best_trained (the name and the figure of the same kind and variant)."""
    means, best = audit.tables.means.copy(), audit.best_trained
    means["chance"] = 1 / len(audit.tables.axes.classes)
    means["best_trained"] = best or ""
    rows = [None if best is None else mean_of(audit.tables, best, row.kind, row.variant) for row in means.itertuples()]
    means["best_trained_macro_f1"] = [float("nan") if row is None else row.macro_f1 for row in rows]
    return means


def _write(audit: Audit, layout: Layout) -> None:
    for frame, path in ((audit.tables.cells, layout.shortcut_table), (means_table(audit), layout.shortcut_means)):
        write_frame(frame, path)
    cues = [f"* `{PREFIX}{group}`: {', '.join(names)}" for group, names in GROUPS.items()]
    lines = ["# Shortcut audit: how far trivial cues alone get", "", *(f"* {line}" for line in audit.verdict), ""]
    legend = ["", "## Cues", "", *cues, f"* `{HEARD}`: all that begin with crop_; `{ALL}`: all", ""]
    write_text(layout.shortcut_text, "\n".join(lines) + "\n#" + markdown(audit.tables) + "\n".join(legend))


def _trained_runs(config: ConfigSources) -> list[ScoredRun]:
    try:
        return scored_runs(load_runs(config))
    except UserError:  # no features yet, hence nothing trained
        return []


def _tables(runs: Sequence[ScoredRun], settings: Settings) -> Tables:
    plan = audit_plan(settings)
    shown = [run for run in runs if run.train_set in plan.train_sets]
    return make_tables(shown, settings, expected=[(run.system, run.train_set, run.seed) for run in shown], plan=plan)


def _kind_shown(tables: Tables) -> str:
    """mono, or cross where the experiment has no mono cell."""
    return MONO if (tables.means["kind"] == MONO).any() else CROSS


def _f1(tables: Tables, system: str, kind: str) -> float:
    row = mean_of(tables, system, kind)
    return float("nan") if row is None else float(row.macro_f1)


def _interval(tables: Tables, system: str, kind: str) -> tuple[float, float]:
    """Of the pooled mean; the mean itself, twice, where nothing was resampled."""
    row = mean_of(tables, system, kind)
    if row is None or math.isnan(row.ci_low):
        return (_f1(tables, system, kind),) * 2
    return float(row.ci_low), float(row.ci_high)


def _percent(tables: Tables, system: str, kind: str) -> str:
    return percent(_f1(tables, system, kind))


def _way(value: float, chance: float) -> str:
    return f"{100 * (value - chance) / (1 - chance):.0f} %"
