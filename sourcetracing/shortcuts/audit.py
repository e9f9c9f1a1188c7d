"""The verdict on a corpus: the cue baselines beside the best trained system, in tables and in plain words (script 11).

Dev names the best system that is not the floor, eval only reports. Cues and network are compared on the same rows, inside each resample of
the bootstrap.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from sourcetracing.drawing.text import SAME, percent, points
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.metrics.classification import is_more
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.runtime.outcomes import digest_of_inputs, made_once
from sourcetracing.scoring.scores import is_scored, with_transcripts_as_units
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.reading import ConfigSources, to_yaml
from sourcetracing.settings.recorded import cures_of
from sourcetracing.settings.schema import Settings
from sourcetracing.shortcuts.baselines import ALL, HEARD, PREFIX, audit_plan, shortcut_runs
from sourcetracing.shortcuts.cue_table import cue_table
from sourcetracing.shortcuts.cues import GROUPS
from sourcetracing.shortcuts.cures import bands_of, before_lines, before_markdown, cure_lines, heard_with
from sourcetracing.tables.axes import CROSS, MONO, POOLED
from sourcetracing.tables.making import Tables, make_tables, mean_of
from sourcetracing.tables.place import claim_tables, tables_of_others
from sourcetracing.tables.scored_runs import REPORTED_SPLIT, ScoredRun, scored_runs
from sourcetracing.tables.significance import Contrast, cells_of_kind, contrast
from sourcetracing.tables.text import interval_text, markdown, mean_text
from sourcetracing.training.matrix import those_trained
from sourcetracing.training.runs import TrainingRun, load_runs

KINDS = (MONO, CROSS)


@dataclass(frozen=True)
class Audit:
    """The tables of the baselines and of the best trained system (None where no run has scores), and the verdict, one line a sentence.

    before: the baselines without the cures that are on; None where none is.
    """

    tables: Tables
    best_trained: str | None
    verdict: list[str]
    before: Tables | None = None


@dataclass(frozen=True)
class _Baselines:
    """Runs on cues of the audio that systems hear, and of the audio without cures; the latter is empty where none is on."""

    heard: list[ScoredRun]
    before: list[ScoredRun]

    @classmethod
    def of(cls, settings: Settings) -> _Baselines:
        return cls(shortcut_runs(settings), shortcut_runs(settings, cured=False) if cures_of(settings.audio) else [])


def report_shortcuts(config: ConfigSources) -> str:
    """The `summary` of the audit; nothing is computed again while scores, records of runs and settings are as they were."""
    settings = config.resolve()
    layout, baselines, (trained, others) = Layout.of(settings), _Baselines.of(settings), _trained_runs(config)
    facts = [to_yaml(settings), repr(audit_plan(settings)), [[run.folder.name, to_yaml(run.settings)] for run in trained], others]
    made_from = [path for files in [run.files for run in trained] for path in (files.scores(REPORTED_SPLIT), *files.records)]
    made_from += [layout.shortcut_scores, layout.cured_shortcut_scores, layout.utterances]
    made_from += [layout.protocol, layout.protocol_record, layout.speakers_record]
    inputs = digest_of_inputs(facts, made_from)
    return made_once(layout.shortcuts_record, inputs, lambda: _text(_audit(settings, baselines, trained, others), settings))


def _text(audit: Audit, settings: Settings) -> str:
    return "\n".join(filter(None, (summary(audit), tables_of_others(settings))))


def audit_shortcuts(config: ConfigSources) -> Audit:
    """Computes what is missing and writes tables/shortcuts.csv, shortcuts_means.csv, shortcuts.md. Raises `UserError`."""
    settings = config.resolve()
    return _audit(settings, _Baselines.of(settings), *_trained_runs(config))


def _audit(settings: Settings, baselines: _Baselines, trained: Sequence[TrainingRun], others: list[str]) -> Audit:
    trained = [run for run in trained if run.train_set in audit_plan(settings).train_sets]
    floor = settings.experiment.floor
    best = best_system(dev_figures([run for run in trained if run.system not in floor] or trained))
    runs, num_lost = on_same_rows([*baselines.heard, *scored_runs([run for run in trained if run.system == best])])
    tables = _tables(_with_units(runs, settings), settings)
    lost = [f"{num_lost} rows that not all runs were scored on are left out of all figures."] if num_lost else []
    before = _tables(_with_units(baselines.before, settings), settings) if baselines.before else None
    cures = cure_lines(tables, before, _kind_shown(tables), settings.audio, bands_of(cue_table(settings, cured=False)))
    audit = Audit(tables, best, heard_with(settings.audio) + verdict(tables, best) + cures + others + lost, before)
    claim_tables(settings)
    _write(audit, Layout.of(settings))
    return audit


def dev_figures(runs: Sequence[TrainingRun]) -> pd.DataFrame:
    """Dev macro-F1 of the epoch that each run kept, by its record: a row for each (training set, seed), a column for each system.

    nan where there is none: a run that kept given weights, or one that had dev among its training rows.
    """
    found: dict[str, dict[tuple[str, int], float]] = {}
    for run in runs:
        found.setdefault(run.system, {})[run.train_set, run.seed] = _dev_macro_f1(run)
    return pd.DataFrame(found)


def _dev_macro_f1(run: TrainingRun) -> float:
    if BACKENDS[run.settings.backend].metric_loss and run.settings.metric_learning.train_on_dev:
        return float("nan")
    return json.loads(run.files.outcome.read_text(encoding="utf-8")).get("dev_macro_f1", float("nan"))


def best_system(figures: pd.DataFrame) -> str | None:
    """The system with the highest mean dev figure over the (training set, seed) pairs that all systems have; None without any.

    Where they have none in common, each by its own; systems without a dev figure come last, the first of equals wins.
    """
    if figures.empty:
        return None
    known = figures.dropna(axis="columns", how="all")
    if known.empty:
        return str(figures.columns[0])
    shared = known.dropna()
    return str((known if shared.empty else shared).mean().idxmax())


def on_same_rows(runs: Sequence[ScoredRun]) -> tuple[list[ScoredRun], int]:
    """The runs with the (utterance, variant) rows that all of them have, and how many rows of some run that leaves out."""
    keys = [pd.MultiIndex.from_frame(run.scores[["utt_id", "variant"]]) for run in runs]
    shared = everything = keys[0]
    for key in keys[1:]:
        if not key.equals(shared):
            shared, everything = shared.intersection(key), everything.union(key)
    if len(shared) == len(everything):
        return list(runs), 0
    return [replace(run, scores=run.scores[key.isin(shared)]) for run, key in zip(runs, keys, strict=True)], len(everything) - len(shared)


def _with_units(runs: Sequence[ScoredRun], settings: Settings) -> list[ScoredRun]:
    if settings.evaluation.bootstrap_by != "transcript":
        return list(runs)
    utterances, _ = load_protocol(settings)
    return [replace(run, scores=with_transcripts_as_units(run.scores, utterances)) for run in runs]


def verdict(tables: Tables, best_trained: str | None) -> list[str]:
    """What the tables say about shortcuts, in sentences."""
    kind = _kind_shown(tables)
    groups = sorted((f"{PREFIX}{group}" for group in GROUPS), key=lambda system: _f1(tables, system, kind), reverse=True)
    strongest = ", ".join(f"{group} {_percent(tables, group, kind)}" for group in groups[:3])
    kinds = [one for one in KINDS if (tables.means["kind"] == one).any()]
    lines = [*(_of_all_cues(tables, one) for one in kinds), f"Strongest groups, {kind}: {strongest}."]
    if best_trained is None:
        return [*lines, "No system has scores yet. One that is not far above all cues has learnt little about the sources."]
    return [*lines, comparison(tables, best_trained, kind)]


def _of_all_cues(tables: Tables, kind: str) -> str:
    chance, everything = _chance(tables, ALL, kind), _f1(tables, ALL, kind)
    way = _beside_chance(everything, chance, *_interval(tables, ALL, kind))
    return (
        f"All cues {kind} {percent(everything)}, chance {percent(chance)}: {way}. Those of the crop alone {_percent(tables, HEARD, kind)}."
    )


def _beside_chance(figure: float, chance: float, low: float, high: float) -> str:
    """What a figure and its interval say about chance."""
    if not is_more(figure, chance):
        return "no better than chance"
    if is_more(low, chance) or math.isnan(low):
        return f"{_way(figure, chance)} of the way from chance to 100{' (nothing was resampled)' if math.isnan(low) else ''}"
    return f"which may be chance (95 % CI {percent(low)} to {percent(high)})"


def comparison(tables: Tables, best_trained: str, kind: str) -> str:
    """Network less all cues, on the same rows and inside the same resamples, in one sentence and what follows from its interval."""
    found = difference(tables, best_trained, ALL, kind)
    if found is None:
        return f"The best trained system on dev, {best_trained}, has no {kind} score to compare."
    seeds = tables.cells.loc[tables.cells["system"] == best_trained, "seed"].nunique()
    row = mean_of(tables, best_trained, kind)
    is_same = row is not None and row.sd < SAME
    scope = "with any training seed" if is_same else "of this one training seed" if seeds == 1 else f"over {seeds} training seeds"
    sides = f"{best_trained} {kind} {percent(found.first)} ({scope}), all cues {percent(found.second)}"
    if math.isnan(found.low):
        return f"Best trained system on dev: {sides}; nothing was resampled, so {points(found.difference)} points may be chance."
    interval = f"{points(found.difference)} points (95 % CI {points(found.low)} to {points(found.high)}, the same rows)"
    return f"Best trained system on dev: {sides}: {interval}; {_conclusion(found)}."


def _conclusion(found: Contrast) -> str:
    if found.low > 0:
        return "it tells more than the cues do"
    return "it tells less than the cues do" if found.high < 0 else "it may have learnt no more than cues tell"


def difference(tables: Tables, system: str, other: str, kind: str, variant: str = POOLED) -> Contrast | None:
    """One system less another over the cells of a kind that both have; None without any."""
    has = [{key[1:3] for key in tables.resampled if key[0] == name and key[3] == variant} for name in (system, other)]
    cells = [cell for cell in cells_of_kind(tables, kind) if all(cell in own for own in has)]
    return contrast(tables, (system, cells), (other, cells), variant) if cells else None


def summary(audit: Audit) -> str:
    """The pooled means of each group as a table of plain text, then the verdict."""
    tables = audit.tables
    width = max(len(system) for system in tables.axes.systems)
    head = f"macro-F1 in %, split {tables.axes.split}, pooled over {len(tables.axes.variants)} variants, means over cells (95 % CI)"
    lines = [head, f"{'':<{width}}" + "".join(f"  {kind:>24}" for kind in KINDS)]
    for system in tables.axes.systems:
        cells = [f"{mean_text(tables, system, kind)} ({interval_text(tables, system, kind)})" for kind in KINDS]
        lines.append(f"{system:<{width}}" + "".join(f"  {cell:>24}" for cell in cells))
    return "\n".join([*lines, *before_lines(tables, audit.before, KINDS), "", *audit.verdict])


MEANS_TEXTS = ("system", "kind", "variant", "best_trained", "num_classes")  # columns that are no numbers


def means_table(audit: Audit) -> pd.DataFrame:
    """Rows of `Tables.means` with columns chance and best_trained (the name and the figure of the same kind and variant).

    best_minus_this, _low, _high: the paired difference from that system and its 95 % interval. as_it_is: macro-F1 of the same cues without
    cures; nan where none is on.
    """
    means, best = audit.tables.means.copy(), audit.best_trained
    means["best_trained"] = best or ""
    rows = [None if best is None else mean_of(audit.tables, best, row.kind, row.variant) for row in means.itertuples()]
    means["best_trained_macro_f1"] = [float("nan") if row is None else row.macro_f1 for row in rows]
    found = [
        None if best in (None, row.system) else difference(audit.tables, best, row.system, row.kind, row.variant)
        for row in means.itertuples()
    ]
    for column, name in (("best_minus_this", "difference"), ("best_minus_this_low", "low"), ("best_minus_this_high", "high")):
        means[column] = [float("nan") if one is None else getattr(one, name) for one in found]
    means["as_it_is"] = [_before_cures(audit, row) for row in means.itertuples()]
    return means


def _before_cures(audit: Audit, row: Any) -> float:
    found = None if audit.before is None else mean_of(audit.before, row.system, row.kind, row.variant)
    return float("nan") if found is None else float(found.macro_f1)


def _write(audit: Audit, layout: Layout) -> None:
    for frame, path in ((audit.tables.cells, layout.shortcut_table), (means_table(audit), layout.shortcut_means)):
        write_frame(frame, path)
    cues = [f"* `{PREFIX}{group}`: {', '.join(names)}" for group, names in GROUPS.items()]
    lines = ["# Shortcut audit: how far trivial cues alone get", "", *(f"* {line}" for line in audit.verdict), ""]
    legend = ["", "## Cues", "", *cues, f"* `{HEARD}`: all that begin with crop_; `{ALL}`: all", ""]
    tables = markdown(audit.tables) + before_markdown(audit.tables, audit.before, KINDS)
    write_text(layout.shortcut_text, "\n".join(lines) + "\n#" + tables + "\n".join(legend))


def _trained_runs(config: ConfigSources) -> tuple[list[TrainingRun], list[str]]:
    """Those that are finished and scored; a sentence on those that are not trained."""
    try:
        runs = load_runs(config)
    except UserError:  # no features yet, hence nothing trained
        return [], []
    try:
        trained, lack = those_trained(runs)
    except UserError as error:
        trained, lack = [], str(error).partition(". Run: ")[0]
    return [run for run in trained if is_scored(run, REPORTED_SPLIT)], [f"{lack}."] if lack else []


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


def _chance(tables: Tables, system: str, kind: str) -> float:
    """Of the classes with test items."""
    row = mean_of(tables, system, kind)
    return float("nan") if row is None else float(row.chance)


def _interval(tables: Tables, system: str, kind: str) -> tuple[float, float]:
    """Of the pooled mean; nan where nothing was resampled."""
    row = mean_of(tables, system, kind)
    return (math.nan, math.nan) if row is None else (float(row.ci_low), float(row.ci_high))


def _percent(tables: Tables, system: str, kind: str) -> str:
    return percent(_f1(tables, system, kind))


def _way(value: float, chance: float) -> str:
    return f"{100 * (value - chance) / (1 - chance):.0f} %" if chance < 1 else "all"
