"""Does a system earn its place? Each system of an experiment against each one of its floor (`experiment.floor`), in figures and in words.

Both were tested on the same rows; their difference is computed inside each resample of the bootstrap (`significance.contrast`), over the
cells and seeds that both have. A system beats the floor where the 95 % interval of that lies above 0 and p, corrected for all comparisons
of this kind that the experiment has (Holm), is below 0.05. In all other cases it does not; where the interval holds 0, it is open.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from sourcetracing.drawing.text import points
from sourcetracing.metrics.bootstrap import holm
from sourcetracing.tables.axes import POOLED, kind_of_cell, unique
from sourcetracing.tables.making import Tables
from sourcetracing.tables.significance import FIGURE_COLUMNS, LEVEL, Contrast, cells_of_kind, contrast

FLOOR_COLUMNS = ["table", "system", "floor", "kind", "variant", *FIGURE_COLUMNS, "cells", "expected_cells", "protocol", "outcome", "reason"]
BEATS, DOES_NOT_BEAT, NOT_COMPARED = "beats the floor", "does not beat the floor", "is not compared with the floor"
HOLDS_0 = "open: the interval holds 0"
NOT_RESAMPLED = "nothing was resampled (evaluation.bootstrap_samples)"


@dataclass(frozen=True)
class _Pair:
    """A system against one of the floor on the cells of a kind. reason: why there is no figure, or what limits it."""

    tables: Tables
    system: str
    floor: str
    kind: str
    variant: str
    found: Contrast | None
    num_cells: int
    reason: str


def against_floor(made: Sequence[Tables]) -> pd.DataFrame:
    """FLOOR_COLUMNS, one family of comparisons over all tables; each of these gets its own rows as `against_floor`.

    macro_f1 is the system's, other_macro_f1 the floor's. cells: on how many (training set, test set, seed) both have scores.
    """
    pairs = [pair for tables in made for pair in _pairs(tables)]
    corrected = holm([math.nan if pair.found is None else pair.found.p for pair in pairs])
    number = int((~pd.isna(corrected)).sum())
    rows = [_row(pair, p_holm, number) for pair, p_holm in zip(pairs, corrected, strict=True)]
    frame = pd.DataFrame(rows, columns=FLOOR_COLUMNS)
    for tables in made:
        tables.against_floor = frame[frame["table"] == tables.plan.name].reset_index(drop=True)
    return frame


def sentences(tables: Tables) -> list[str]:
    """What `against_floor` found for a table, a sentence for each system, one of the floor and kind of cell."""
    return [_sentence(row) for row in tables.against_floor.itertuples()]


def heading(tables: Tables) -> str:
    """What stands above these sentences: with one seed they are about the trained networks at hand."""
    scope = " | ".join(unique(filter(None, tables.against_floor["scope"])))
    return f"against the floor, on the same rows inside one bootstrap{f' ({scope})' if scope else ''}:"


def terminal_block(tables: Tables) -> str:
    """`heading` and `sentences` for a terminal of 100 columns; "" where nothing was compared."""
    lines = [textwrap.fill(line, 98, initial_indent="  ", subsequent_indent="    ") for line in sentences(tables)]
    return "\n".join([heading(tables), *lines]) if lines else ""


def _pairs(tables: Tables) -> Iterator[_Pair]:
    axes, kinds = tables.axes, unique(kind_of_cell(*cell) for cell in tables.axes.place_of)
    for system in axes.systems:
        if system not in axes.floor:
            yield from (_pair(tables, system, floor, kind) for floor in axes.floor for kind in kinds)


def _pair(tables: Tables, system: str, floor: str, kind: str) -> _Pair:
    variant, limits = _shared_variant(tables, system, floor)
    if not variant:
        return _Pair(tables, system, floor, kind, "", None, 0, limits)
    cells = cells_of_kind(tables, kind)
    num_cells = len(_keys(tables, system, cells, variant) & _keys(tables, floor, cells, variant))
    found = contrast(tables, (system, cells), (floor, cells), variant)
    if found is None:
        return _Pair(tables, system, floor, kind, variant, None, 0, "no training set, test set and seed that both have scores of")
    expected = len(cells) * len(tables.axes.seeds)
    limits = "; ".join(filter(None, [limits, f"{num_cells} of {expected} cells" if num_cells < expected else "", found.reason]))
    return _Pair(tables, system, floor, kind, variant, found, num_cells, limits)


def _shared_variant(tables: Tables, system: str, floor: str) -> tuple[str, str]:
    """The variant that two systems are compared on, and what that leaves out: all pooled, where they were scored on the same ones.

    "" and why, where there is none.
    """
    cells = tables.cells
    own, others = (list(dict.fromkeys(cells.loc[cells["system"] == name, "variant"])) for name in (system, floor))
    if lacking := [name for name, variants in ((system, own), (floor, others)) if not variants]:
        return "", f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no scores"
    if set(own) == set(others):
        return POOLED, ""
    shared = [variant for variant in own if variant in others and variant != POOLED]
    if not shared:
        return "", "scored on different acoustic variants"
    variant = "original" if "original" in shared else shared[0]
    return variant, f"scored on different acoustic variants: on {variant} alone"


def _keys(tables: Tables, system: str, cells: Sequence[tuple[str, str]], variant: str) -> set[tuple]:
    """(training set, test set, seed) of a system's scores."""
    return {(*key[1:3], key[4]) for key in tables.resampled if key[0] == system and key[3] == variant and key[1:3] in cells}


def _row(pair: _Pair, p_holm: float, comparisons: int) -> list:
    tables, found = pair.tables, pair.found
    names = [tables.plan.name, pair.system, pair.floor, pair.kind, pair.variant]
    cells = [pair.num_cells, len(cells_of_kind(tables, pair.kind)) * len(tables.axes.seeds)]
    made_with = tables.cells.loc[tables.cells["system"].isin([pair.system, pair.floor]), "protocol"]
    protocol = " | ".join(unique(filter(None, made_with)))
    if found is None:
        nothing = [math.nan] * 5 + ["", math.nan, math.nan, comparisons, 0, ""]
        return [*names, *nothing, *cells, protocol, NOT_COMPARED, pair.reason]
    outcome, why = _outcome(found, p_holm, comparisons)
    reason = "; ".join(filter(None, [why, pair.reason]))
    return [*names, *found.figures(p_holm, comparisons), *cells, protocol, outcome, reason]


def _outcome(found: Contrast, p_holm: float, comparisons: int) -> tuple[str, str]:
    """What the figures say, and why no more."""
    if found.reason:
        return NOT_COMPARED, ""
    if math.isnan(found.p):
        return NOT_COMPARED, NOT_RESAMPLED
    if found.high < 0:
        return DOES_NOT_BEAT, ""
    if not found.low > 0:
        return DOES_NOT_BEAT, HOLDS_0
    if p_holm < LEVEL:
        return BEATS, ""
    return DOES_NOT_BEAT, f"open: p {p_holm:.3f} with Holm's correction for {comparisons} comparisons"


def _sentence(row) -> str:
    parts = [] if math.isnan(row.difference) else [f"{points(row.difference)} points"]
    parts += [] if math.isnan(row.ci_low) else [f"95 % CI {points(row.ci_low)} to {points(row.ci_high)}"]
    text = "; ".join(filter(None, [", ".join(parts), row.reason]))
    return f"{row.system} {row.outcome} {row.floor} ({row.kind}: {text})"
