"""The page of a source-tracing experiment (its frame: `drawing/page.py`).

Reads   the computed tables, history.csv and model.json of the runs, the settings, the environment, the protocol's counts and its audit
Writes  exp/<name>/report.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.charts import Point, confusion_squares, confusion_table, curves
from sourcetracing.drawing.page import settings_section, write_page
from sourcetracing.drawing.templates import macros
from sourcetracing.drawing.text import SAME, WITHOUT_SPREAD, percent, readable, spread_text
from sourcetracing.metrics import classification as metrics
from sourcetracing.protocols.leakage import overall_table, worst_cells
from sourcetracing.report.table_tabs import floor_part, heat_figure, published_part, table_tab
from sourcetracing.tables.axes import CROSS, MONO, POOLED, Axes
from sourcetracing.tables.class_lists import chance_text, classes_text
from sourcetracing.tables.making import Tables, mean_of
from sourcetracing.tables.pictures import read_histories, summed_confusion
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.tables.text import classes_phrase, varies
from sourcetracing.training.fitting import FITTED

SECTIONS = macros(__file__, "results.html")
VARIANT_NAMES = {"original": "clean", "reverb": "in a room", "speech": "babble", "copy_synthesis": "vocoded again"}  # else its own name


def write_report(
    tables: Tables,
    runs: Sequence[ScoredRun],
    out_path: Path,
    *,
    name: str,
    settings_yaml: str,
    environment: Mapping[str, Any],
    corpus: pd.DataFrame | None = None,
    leakage: pd.DataFrame | None = None,
    more_tabs: Mapping[str, Markup] | None = None,
) -> Path:
    """Writes the page. `corpus`: the protocol's counts and hours by language, last row the total; `leakage`: its audit
    (`leakage.read_audit`); `environment`: of the runs; `more_tabs`: title -> section, shown behind the first table.
    """
    tabs = {
        tables.plan.tab: _detailed_tab(tables),
        **{title: [body] for title, body in (more_tabs or {}).items()},
        "Training": [_training_section(tables, runs)],
        "Corpus": [_corpus_section(corpus), _leakage_section(leakage)],
        "How to read": [_reading_section(tables)],
        "Settings": [settings_section(settings_yaml, environment)],
    }
    return write_page(
        out_path,
        title=f"{name}: source tracing",
        eyebrow=f"Source tracing · experiment {name}",
        headline="Who made this voice, and can one still tell in another language?",
        lead=_lead(tables),
        notes=tables.notes,
        tabs=tabs,
        made_by="Made from stored scores by scripts/13_make_tables.py; its numbers are in tables/.",
        environment=environment,
        num_panels=len(_shown_variants(tables)),
    )


def tabs_of_tables(made: Sequence[Tables]) -> dict[str, Markup]:
    """A tab for each table behind the first: what its plan asks for."""
    return {tables.plan.tab: Markup().join(_detailed_tab(tables)) if tables.plan.has_details else table_tab(tables) for tables in made}


def _detailed_tab(tables: Tables) -> list[Markup]:
    sections = (_matrix_section, _means_section, floor_part, _variants_section, _confusion_section, _classes_section, published_part)
    return [make(tables) for make in sections]


def _lead(tables: Tables) -> str:
    axes = tables.axes
    systems = "1 system was" if len(axes.systems) == 1 else f"{len(axes.systems)} systems were"
    variants = f", {len(axes.variants)} acoustic variants of each utterance" if len(axes.variants) > 1 else ""
    return (
        f"{systems} trained on each of {_sets(axes.train_sets)} and tested on {_sets(axes.test_sets)}, to name the one of "
        f"{len(axes.classes)} sources that made an utterance{variants}. Scores are macro-F1 in percent on the {axes.split} split, over the "
        f"{classes_text(tables.cells)} sources with test items; guessing gives {chance_text(tables.cells)}. "
        f"{_floor_phrase(axes)}{_seeds_phrase(tables)}"
    )


def _floor_phrase(axes: Axes) -> str:
    floor = [readable(system) for system in axes.floor if system in axes.systems]
    return f"The floor, which a system has to beat to earn its place: {', '.join(floor)}. " if floor else ""


def _seeds_phrase(tables: Tables) -> str:
    if (number := len(tables.axes.seeds)) > 1:
        same = f" ({WITHOUT_SPREAD})" if (tables.means["sd"] < SAME).any() else ""
        return f"Means over {number} training seeds{same}."
    return "One seed: another training run, or another processor, may move a cell by many points."


def _sets(sets: Sequence[str]) -> str:
    kind = "language" if all("+" not in name for name in sets) else "set of languages"
    plural = kind.replace("language", "languages", 1) if kind == "language" else "sets of languages"
    return f"1 {kind}" if len(sets) == 1 else f"{len(sets)} {plural}"


def _matrix_section(tables: Tables) -> Markup:
    """One matrix for each system, behind one choice of variant."""
    systems, kinds = tables.axes.systems, (MONO, CROSS)
    panels = {variant: [heat_figure(tables, system, kinds, variant) for system in systems] for variant in _shown_variants(tables)}
    return SECTIONS.matrices(tables.plan.name, tables.plan.file_prefix, panels, _chances(tables), classes_phrase(tables))


def _means_section(tables: Tables) -> Markup:
    rows = [(readable(tables.axes.shown(system)), "", _mean_points(tables, system, POOLED)) for system in tables.axes.systems]
    return SECTIONS.means(rows)


def _variants_section(tables: Tables) -> Markup:
    axes, variants = tables.axes, tables.axes.variants
    if len(variants) < 2:
        return Markup()
    rows = {axes.shown(s): [(v, VARIANT_NAMES.get(v, ""), _mean_points(tables, s, v)) for v in variants] for s in axes.systems}
    return SECTIONS.variants(rows)


def _mean_points(tables: Tables, system: str, variant: str) -> list[Point]:
    points = []
    for kind in (MONO, CROSS):
        if (row := mean_of(tables, system, kind, variant)) is not None:
            remarks = [f"over {row.num_classes} classes"] if varies(tables) else []
            remarks += [f"{row.cells} of {row.expected_cells} cells"] if row.cells != row.expected_cells else []
            text = f"{percent(row.macro_f1)}{spread_text(row.sd)}"
            points.append(Point(kind, text, "; ".join(remarks), row.macro_f1, row.ci_low, row.ci_high, row.chance))
    return points


def _confusion_section(tables: Tables) -> Markup:
    axes, systems, classes = tables.axes, tables.axes.systems, tables.axes.classes
    sums = [(system, kind, summed_confusion(tables, system, kind)) for system in systems for kind in (MONO, CROSS)]
    figures = [(axes.shown(system), kind, confusion_table(confusion, classes)) for system, kind, confusion in sums if confusion.sum()]
    minis = {axes.shown(system): _minis(tables, system) for system in systems}
    return SECTIONS.confusions(figures, minis, axes.columns, len(classes))


def _minis(tables: Tables, system: str) -> dict[str, list[tuple]]:
    """For each row, and each column in it: squares of its confusion matrix (None without one), what it is, whether it is mono."""
    axes, minis = tables.axes, {}
    for row in axes.rows:
        minis[row] = []
        for column in axes.columns:
            train, test = axes.cell_at(row, column)
            found = [matrix for key, matrix in tables.confusions.items() if key[:4] == (system, train, test, POOLED)]
            label = f"{system}: trained on {train}, tested on {test}"
            minis[row].append((confusion_squares(sum(found)) if found else None, label, axes.is_mono(row, column)))
    return minis


def _classes_section(tables: Tables) -> Markup:
    figures = {}
    for system in tables.axes.systems:
        columns = [[readable(name) for name in tables.axes.classes]]
        for kind in (MONO, CROSS):
            figures_of = metrics.class_figures(summed_confusion(tables, system, kind))
            values = [getattr(figures_of, name) for name in ("precision", "recall", "f1")]
            # A source without test items has no figure: –.
            columns += [[percent(value) for value in np.where(figures_of.support > 0, column, np.nan)] for column in values]
        figures[tables.axes.shown(system)] = pd.DataFrame(columns).T.set_axis(["source", *2 * ["prec.", "rec.", "F1"]], axis=1)
    return SECTIONS.classes(figures, (MONO, CROSS))


def _training_section(tables: Tables, runs: Sequence[ScoredRun]) -> Markup:
    histories, systems = read_histories(list(runs)), []
    for system in tables.axes.systems:
        own = {key: history for key, history in histories.items() if key[0] == system}
        if not own:
            continue
        top = _round_up(max(float(history[["train_loss", "dev_loss"]].max().max()) for history in own.values()))
        of_sets = {train: [history for key, history in own.items() if key[1] == train] for train in tables.axes.train_sets}
        figures = [(train, curves(found, top), _best_phrase(found)) for train, found in of_sets.items() if found]
        minutes = sum(float(history["seconds"].sum()) for history in own.values()) / 60
        systems.append((tables.axes.shown(system), len(own), minutes, figures))
    return SECTIONS.training(systems) if systems else Markup()


def _best_phrase(histories: Sequence[pd.DataFrame]) -> str:
    phrases = []
    for history in histories:
        best = history[history["epoch"] == history.attrs.get("best_epoch")]
        if len(best):
            dev = float(best["dev_macro_f1"].iloc[0])
            phrases.append(f"epoch {int(best['epoch'].iloc[0])}: {'no dev' if math.isnan(dev) else f'dev {percent(dev)}'}")
    return "; ".join(phrases)


def _corpus_section(corpus: pd.DataFrame | None) -> Markup:
    return Markup() if corpus is None or corpus.empty else SECTIONS.corpus(corpus)


def _leakage_section(leakage: pd.DataFrame | None) -> Markup:
    if leakage is None or leakage.empty:
        return Markup()
    overall = overall_table(leakage)
    if not overall["note"].any():
        overall = overall.drop(columns="note")
    return SECTIONS.leakage(overall, _worst_leakage(worst_cells(leakage)))


def _worst_leakage(cells: pd.DataFrame) -> pd.DataFrame:
    if cells.empty:
        return cells
    columns = ["language", "source", "shared", "splits", "utterances", "of", "percent_anywhere"]
    table = cells.assign(shared=cells["kind"], splits=cells["first"] + " → " + cells["second"], utterances=cells["affected_anywhere"])
    return table.assign(of=cells["utterances"])[columns].rename(columns={"percent_anywhere": "%"})


def _reading_section(tables: Tables) -> Markup:
    chosen_by = ", ".join(sorted(set(tables.cells["chosen_by"]) - {FITTED}))
    classes, chance = classes_text(tables.cells), chance_text(tables.cells, 1)
    return SECTIONS.reading(tables.plan.name, classes, chance, len(tables.axes.seeds), chosen_by)


def _shown_variants(tables: Tables) -> list[str]:
    return tables.axes.all_variants if len(tables.axes.variants) > 1 else tables.axes.variants


def _chances(tables: Tables) -> list[float]:
    """The lowest and the highest chance of the cells, or the one of all."""
    return sorted({float(tables.cells["chance"].min()), float(tables.cells["chance"].max())})


def _round_up(value: float) -> float:
    """The next of 0.5, 1, 1.5, ...; 1 for what is not finite."""
    return max(0.5, math.ceil(2 * value) / 2) if math.isfinite(value) else 1.0
