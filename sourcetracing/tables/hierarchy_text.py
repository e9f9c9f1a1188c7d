"""The hierarchical table as people read it, in percent, and its files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from sourcetracing.drawing.text import ABSENT, percent, spread_text
from sourcetracing.layout import TablesLayout
from sourcetracing.protocols.relatives import ALL_UNKNOWN, COARSE_LEVELS, SUBSETS
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.training import shown_system
from sourcetracing.tables.hierarchy import ANCESTORS, GROUPS, KNOWN, Hierarchy
from sourcetracing.tables.hierarchy_picture import write_confusions

NAME = "hierarchy"
NO_LABELS = (
    f"There is no hierarchical table: no known source has a label in the columns {', '.join(COARSE_LEVELS)} of utterances.csv "
    "(docs/hierarchy.md)."
)
KINDS = {"mono": "languages of training", "cross": "other languages"}
LEGEND = (
    "The answer at a level is the label whose known sources are likeliest together, by probabilities at the temperature of dev where dev "
    "is scored. Rows whose true source has no label there are left out and counted. Constant answer: the known label that is most "
    "frequent among the rows. Reachable: rows whose label some known source has; no answer can be right on the others. Differs: rows "
    "where the label of the likeliest source is another one. Hierarchical F is our own addition, no published measure: precision and "
    "recall over the sets of ancestors (architecture, acoustic model, vocoder, the source itself) of the likeliest source and of the "
    "true one; a source without labels has only itself. In brackets: 95 % interval over utterances, drawn within language and source."
)
COLUMNS = ["level", "rows", "without label", "labels", "accuracy", "macro-F1", "reachable", "by likeliest source", "differs"]
F_COLUMNS = ["system", "rows", "sources", "precision", "recall", "hierarchical F", "constant answer", "best possible"]


def group_words(group: str) -> str:
    """What a group of sources is, in words."""
    return "known sources" if group == KNOWN else SUBSETS[group][1]


def write_hierarchy(made: Hierarchy, out_folder: Path, name: str, floor: Sequence[str]) -> None:
    """Writes hierarchy.csv (a row for each run), hierarchy_means.csv, hierarchy.md and the pictures."""
    files = TablesLayout(out_folder)
    write_frame(made.cells, files.csv(NAME))
    write_frame(made.means, files.csv(f"{NAME}_means"))
    write_text(files.markdown(NAME), markdown(made, name, floor))
    write_confusions(made, out_folder)


def markdown(made: Hierarchy, name: str, floor: Sequence[str] = ()) -> str:
    """One table for each group of sources and kind of cell, then the hierarchical F of all systems."""
    lines = [f"# Right in part: levels of {name}", ""]
    if made.is_empty:
        return "\n".join([*lines, NO_LABELS, ""])
    lines += [LEGEND, ""]
    for title, columns, rows in blocks(made, floor):
        lines += [f"## {title}", "", _row(columns), _row(["---", *["---:"] * (len(columns) - 1)]), *map(_row, rows), ""]
    lines += [f"* {note}" for note in [*made.notes, *missing_groups(made)]]
    return "\n".join(lines).rstrip() + "\n"


def blocks(made: Hierarchy, floor: Sequence[str] = ()) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """(title, head, rows) of each table for people."""
    for group in GROUPS:
        for kind, words in KINDS.items():
            own = made.means[(made.means["group"] == group) & (made.means["kind"] == kind)]
            if own.empty:
                continue
            title = f"{group_words(group)}, {words}"
            levels = own[own["level"] != ANCESTORS]
            yield title, ["system", *COLUMNS], list(_level_rows(levels, floor))
            yield f"{title}: hierarchical F", F_COLUMNS, list(_f_rows(own[own["level"] == ANCESTORS], floor))


def _level_rows(rows: pd.DataFrame, floor: Sequence[str]) -> Iterator[list[str]]:
    """Level by level: each system, then the constant answer."""
    for level, own in rows.groupby("level", sort=False):
        for row in own.itertuples():
            yield [
                shown_system(row.system, floor),
                level.replace("_", " "),
                f"{row.rows:.0f}",
                f"{row.masked:.0f}",
                f"{row.labels:.0f} of {row.known_labels:.0f}" if row.group == KNOWN else f"{row.labels:.0f}",
                _figure(row, "accuracy"),
                _figure(row, "macro_f1"),
                percent(row.reachable),
                percent(row.argmax_accuracy),
                percent(row.differs),
            ]
        constant = own.iloc[0]
        figures = [percent(constant["constant_accuracy"]), percent(constant["constant_macro_f1"])]
        yield ["constant answer", level.replace("_", " "), f"{constant['rows']:.0f}", "", "", *figures, "", "", ""]


def _f_rows(rows: pd.DataFrame, floor: Sequence[str]) -> Iterator[list[str]]:
    for row in rows.itertuples():
        figures = [
            percent(row.precision),
            percent(row.recall),
            _figure(row, "hierarchical_f"),
            percent(row.constant_f),
            percent(row.ceiling_f),
        ]
        yield [shown_system(row.system, floor), f"{row.rows:.0f}", f"{row.sources:.0f}", *figures]


def _figure(row, name: str) -> str:
    value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    if math.isnan(value):
        return ABSENT
    return f"{percent(value)}{spread_text(getattr(row, f'{name}_sd'))}" + ("" if math.isnan(low) else f" ({percent(low)}–{percent(high)})")


def missing_groups(made: Hierarchy) -> list[str]:
    """A sentence for each group of sources that has no rows."""
    there = set(made.means["group"])
    if not there & set(SUBSETS):
        return ["There are no rows of unknown sources (corpus.unknown_sources)."]
    return [f"No rows of unknown sources are of the kind: {words}." for group, (_, words) in SUBSETS.items() if group not in there]


def terminal(made: Hierarchy) -> str:
    """A few lines: per system and level, macro-F1 and accuracy on known sources, and accuracy on unknown ones."""
    if made.is_empty:
        return NO_LABELS
    lines = ["levels (accuracy in %; of known sources, in brackets of unknown ones):"]
    means = made.means[(made.means["kind"] == made.means["kind"].iloc[0]) & (made.means["level"] != ANCESTORS)]
    for system, own in means.groupby("system", sort=False):
        figures = own.pivot(index="level", columns="group", values="accuracy").reindex(own["level"].unique())
        figures = figures.reindex(columns=[KNOWN, ALL_UNKNOWN])
        texts = [
            f"{level.replace('_', ' ')} {percent(figures.loc[level, KNOWN])}" + ("" if math.isnan(value) else f" ({percent(value)})")
            for level, value in figures[ALL_UNKNOWN].items()
        ]
        lines.append(f"  {system}: {', '.join(texts)}")
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', '/') for text in cells)} |"
