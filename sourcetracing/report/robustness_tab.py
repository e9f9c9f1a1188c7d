"""The report's tab on robustness: what survives post-processing. No files."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.charts import HeatCell, HeatTable, heat_cell
from sourcetracing.drawing.templates import macros
from sourcetracing.drawing.text import points
from sourcetracing.robustness.gains import LEGEND as GAINS_LEGEND
from sourcetracing.robustness.gains import gain_texts
from sourcetracing.robustness.tables import (
    GAIN_NOTE,
    IN_TRAINING_NOTE,
    LEGEND,
    LOW_PASS_NOTE,
    counts_line,
    figures_table,
    runs_of,
    worst_table,
)
from sourcetracing.robustness.utterances import CLEAN
from sourcetracing.settings.operations import CHAIN
from sourcetracing.settings.schema import Settings

TAB = macros(__file__, "robustness.html")


def robustness_tab(
    table: pd.DataFrame | None,
    worst: pd.DataFrame | None,
    settings: Settings,
    protocols: Collection[str],
    picture: bytes | None,
    gains: pd.DataFrame | None = None,
) -> Markup:
    """Macro-F1 of every run after every operation, all figures of each run, the cells that fall most, the picture.

    Nothing without a table of these protocols. table: tables/robustness.csv, worst: tables/robustness_worst.csv; protocols: of the runs
    that the page is about; another one's figures would contradict it. picture: PNG. gains: tables/robustness_gains.csv.
    """
    if table is None or table.empty or not set(table["protocol"]) <= set(protocols):
        return Markup()
    runs = dict(runs_of(table, settings.experiment.floor))
    notes = [LOW_PASS_NOTE, GAIN_NOTE, IN_TRAINING_NOTE]
    shown = {name: figures_table(rows) for name, rows in runs.items()}
    counts = {name: counts_line(rows) for name, rows in runs.items()}
    fallen = worst_table(worst) if worst is not None and len(worst) else pd.DataFrame()
    has_gains = gains is not None and set(gains["protocol"]) <= set(protocols)
    bought = dict(gain_texts(gains, settings.experiment.floor)) if has_gains else {}
    return TAB.robustness(LEGEND, notes, heat_of_runs(runs), shown, counts, fallen, picture, GAINS_LEGEND, bought)


def heat_of_runs(runs: dict[str, pd.DataFrame]) -> HeatTable:
    """Operations by runs: macro-F1, beneath it the change from clean and its interval in points."""
    own = {name: rows.set_index("operation") for name, rows in runs.items()}
    operations = dict.fromkeys(operation for rows in own.values() for operation in rows.index)
    rows = [
        (
            name.replace(CHAIN, f" {CHAIN} "),
            [_cell(figures.loc[name]) if name in figures.index else HeatCell("") for figures in own.values()],
        )
        for name in operations
    ]
    return HeatTable(list(runs), rows, kinds=["named"], corner="operation \\ run")


def _cell(figures: pd.Series) -> HeatCell:
    change, low, high = (figures[f"macro_f1_change{end}"] for end in ("", "_low", "_high"))
    interval = "" if pd.isna(low) else f" ({points(low, 0)} to {points(high, 0)})"
    return heat_cell(figures["macro_f1"], "" if figures.name == CLEAN else f"{points(change)}{interval}")
