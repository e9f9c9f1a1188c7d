"""Our figures beside the published ones: columns PUBLISHED_COLUMNS in the tables of cells and of means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sourcetracing.published import notes_of_cell, notes_of_mean, paper_system, published_cells, published_means, why_not_comparable
from sourcetracing.tables.axes import CROSS, MONO, POOLED
from sourcetracing.tables.making import Tables, matrix_of
from sourcetracing.training.table_plans import TablePlan, group_of

PUBLISHED_COLUMNS = ["published", "published_spread", "difference", "note"]
PUBLISHED_SPREAD = "The published figures are single numbers of unknown spread: no seeds, no intervals. Ours says nothing about theirs."
PAPERS_READER = "mcl_mlaad"
# Rules of the training and test sets -> the paper's table of that shape.
PAPER_TABLES = {
    ("languages", "languages"): "table4",
    ("families", "families"): "figure4",
    ("all_but_one", "seen_and_unseen"): "table5",
    ("all_but_one", "speaker_groups"): "table6",
}
# Tables 5 names its means by what they are of; ours by the kind of cell.
CONDITION_OF_KIND = {"table5": {MONO: "seen", CROSS: "unseen"}}


def published_variant(system: str) -> str:
    """The acoustic variants that the paper tested a system on: SSL systems on clean speech, the others on all five (D2)."""
    has_papers_words = paper_system(system) is not None or why_not_comparable("table4", system)
    is_ssl = has_papers_words and not system.startswith("lfcc_")
    return "original" if is_ssl else POOLED


def paper_table(plan: TablePlan) -> str:
    """The paper's table whose shape a table has; "" where the paper has none."""
    return PAPER_TABLES.get(plan.shape, "")


def add_published(tables: Tables) -> None:
    """Adds PUBLISHED_COLUMNS to `tables.cells` and `tables.means`; empty where the paper has no such number. Figures are fractions.

    Of another corpus than the paper's nothing is added: the difference would say nothing.
    """
    if tables.corpus != PAPERS_READER:
        return
    table = paper_table(tables.plan)
    tables.cells = _beside(tables.cells, [_of_cell(table, row) for row in tables.cells.itertuples()])
    tables.means = _beside(tables.means, [_of_mean(table, row) for row in tables.means.itertuples()])


def has_published(tables: Tables) -> bool:
    """Whether any figure of the tables has a published counterpart."""
    return "published" in tables.cells and bool(tables.cells["published"].notna().any())


def published_matrix(tables: Tables, system: str) -> pd.DataFrame:
    """Rows x columns of the display: the published macro-F1 (fractions), nan where there is none."""
    return matrix_of(tables, system, published_variant(system), "published")


def marks_of(tables: Tables) -> list[tuple[str, str, str]]:
    """(system, where, note) of every mark; once for a system that stands without published figures altogether."""
    cells, means = (frame[frame["note"] != ""] for frame in (tables.cells, tables.means))
    found = [(row.system, f"{row.kind} mean", row.note) for row in means.itertuples()]
    found += [(row.system, f"{row.train} → {row.test}", row.note) for row in cells.itertuples()]
    apart = {system: note for system in tables.axes.systems if (note := why_not_comparable(paper_table(tables.plan), system))}
    return [(system, "all cells", note) for system, note in apart.items()] + [mark for mark in found if mark[0] not in apart]


def _beside(frame: pd.DataFrame, found: list[tuple[float, str]]) -> pd.DataFrame:
    published = pd.Series([value for value, _ in found], index=frame.index, dtype=float)
    spread = np.where(published.notna(), "unknown", "")
    return frame.assign(
        published=published, published_spread=spread, difference=frame["macro_f1"] - published, note=[note for _, note in found]
    )


def _of_cell(table: str, row) -> tuple[float, str]:
    if not table or row.variant != published_variant(row.system):
        return float("nan"), ""
    if paper_system(row.system) is None:
        return float("nan"), why_not_comparable(table, row.system)
    test, condition = row.test.partition(":")[0], group_of(row.test)
    cells = published_cells(table)
    if table == "table5":
        condition = "seen" if test == row.train else "unseen"
    rows = cells[(cells["system"] == row.system) & (cells["train"] == row.train) & (cells["test"] == test)]
    rows = rows[rows["condition"] == condition]
    if rows.empty:
        return float("nan"), ""
    return float(rows["macro_f1"].iloc[0]), _marks(notes_of_cell(table, row.system, row.train, test, condition))


def _of_mean(table: str, row) -> tuple[float, str]:
    kind = CONDITION_OF_KIND.get(table, {}).get(row.kind, row.kind)
    means = published_means()
    rows = means[(means["table"] == table) & (means["system"] == row.system) & (means["kind"] == kind)]
    if row.variant != published_variant(row.system):
        return float("nan"), ""
    if rows.empty:
        return float("nan"), why_not_comparable(table, row.system)
    printed, recomputed = float(rows["printed_percent"].iloc[0]), float(rows["recomputed_percent"].iloc[0])
    note = _marks(notes_of_mean(table, row.system, kind))
    if printed == printed and abs(printed - recomputed) > 0.006:  # the mean of the printed cells is what ours compares with
        note = f"{note}; printed {printed:.2f}, the mean of its cells is {recomputed:.2f}".removeprefix("; ")
    return recomputed / 100, note


def _marks(notes: pd.DataFrame) -> str:
    """`error D71`, `suspicious D81`: what to look up in docs/fidelity.md."""
    return "; ".join(f"{row.kind} {row.discrepancy}".strip() for row in notes.itertuples())
