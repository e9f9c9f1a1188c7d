"""What the macros of templates/parts.html draw: coloured tables, dots with intervals, training curves. No HTML, no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sourcetracing.drawing import colours
from sourcetracing.drawing.text import percent
from sourcetracing.metrics.classification import row_shares

MOST_NAMED_COLUMNS = 8
LEFT, RIGHT, PANEL_HEIGHT = 26, 172, 74  # of the panels of training curves, in units of their SVG
LOSS_TOP, F1_TOP = 4, 94

Span = tuple[str, int, int]  # of columns or rows that belong together: name, first position, how many


@dataclass(frozen=True)
class HeatCell:
    """A cell of a coloured table: its text, the CSS of its colours, a small line beneath."""

    text: str
    style: str = ""
    small: str = ""
    framed: bool = False


@dataclass(frozen=True)
class HeatTable:
    """A coloured table. families: of its columns, in a line above; gaps: positions that are set apart; titles: of names, in full."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[HeatCell]]]
    kinds: Sequence[str] = ()
    corner: str = ""
    families: Sequence[Span] = ()
    column_gaps: Sequence[int] = ()
    row_gaps: Sequence[int] = ()
    titles: Mapping[str, str] = field(default_factory=dict)


def heat_cell(value: float, small: str = "", framed: bool = False, digits: int = 1) -> HeatCell:
    """A fraction in percent on its colour; nothing beneath nan."""
    background, ink = colours.heat_of(value)
    style = f"background:{background};color:{ink};background-clip:padding-box"
    return HeatCell(percent(value, digits), style, "" if math.isnan(value) else small, framed)


def heat_table(values: pd.DataFrame, cell: Callable[[float], HeatCell] = heat_cell) -> HeatTable:
    """A coloured table of a DataFrame of fractions."""
    rows = [(name, [cell(value) for value in line]) for name, line in zip(values.index, values.to_numpy(), strict=True)]
    return HeatTable(list(values.columns), rows)


def heat_matrix(
    values: pd.DataFrame,
    low: pd.DataFrame,
    high: pd.DataFrame,
    titles: Mapping[str, str],
    is_framed: Callable[[str, str], bool],
    families_of: Callable[[list[str]], list[Span]],
) -> HeatTable:
    """A train x test matrix with 95 % intervals (rounded); families set apart; is_framed: of (row, column)."""
    columns, names = list(values.columns), list(values.index)

    def cell(train: str, test: str) -> HeatCell:
        return heat_cell(values.loc[train, test], interval(low.loc[train, test], high.loc[train, test]), is_framed(train, test))

    rows = [(train, [cell(train, test) for test in columns]) for train in names]
    families, row_families = families_of(columns), families_of(names)
    gaps, row_gaps = ([start for _, start, _ in spans[1:]] for spans in (families, row_families))
    kinds = [kind for kind, on in (("sets", max(map(len, names)) > 5), ("wide", len(columns) > 7)) if on]
    full = {name: " and ".join(titles.get(part, part) for part in name.split("+")) for name in {*columns, *names}}
    return HeatTable(columns, rows, kinds, families=families, column_gaps=gaps, row_gaps=row_gaps, titles=full)


def confusion_table(confusion: np.ndarray, classes: Sequence[str]) -> HeatTable:
    """Confusion counts (C, C) in percent of each true class; counts beneath, and named columns, for up to 8 classes."""
    shares, small = row_shares(confusion), len(classes) <= MOST_NAMED_COLUMNS
    columns = list(classes) if small else [str(number) for number in range(1, len(classes) + 1)]
    names = columns if small else [f"{number} {name}" for number, name in enumerate(classes, 1)]
    rows = [
        (name, [heat_cell(share, str(count) if small else "", digits=0) for share, count in zip(*line, strict=True)])
        for name, *line in zip(names, shares, confusion, strict=True)
    ]
    return HeatTable(columns, rows, ["named" if small else "dense"], corner="true \\ predicted")


def interval(low: float, high: float) -> str:
    """`91–97`: an interval of fractions in whole percent; nothing for nan."""
    return "" if math.isnan(low) else f"{100 * low:.0f}–{100 * high:.0f}"


@dataclass(frozen=True)
class Point:
    """One mean on a strip: its kind (mono or cross), its text, a remark, and value, interval and chance as fractions."""

    kind: str
    text: str
    remark: str
    value: float
    low: float
    high: float
    chance: float

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)


@dataclass(frozen=True)
class Curves:
    """Training curves in the units of their SVG. lines: (kind, its points); best: the places of the kept epochs."""

    top_loss: float
    last_epoch: int
    lines: list[tuple[str, str]]
    best: list[tuple[float, float]]


def curves(histories: Sequence[pd.DataFrame], top_loss: float) -> Curves:
    """Training curves of one run (one history for each seed): loss from 0 to `top_loss`, dev macro-F1 from 0 to 1."""
    last, lines, best = max(2, max(int(history["epoch"].max()) for history in histories)), [], []

    def place(epoch: float, share: float, top: float) -> tuple[float, float]:
        return LEFT + (RIGHT - LEFT) * (epoch - 1) / (last - 1), top + PANEL_HEIGHT * (1 - share)

    for history in histories:
        losses = history[["train_loss", "dev_loss"]].clip(upper=top_loss) / top_loss
        for kind, shares, top in (
            ("train", losses["train_loss"], LOSS_TOP),
            ("dev", losses["dev_loss"], LOSS_TOP),
            ("f1", history["dev_macro_f1"], F1_TOP),
        ):
            places = [place(epoch, share, top) for epoch, share in zip(history["epoch"], shares, strict=True)]
            lines.append((kind, " ".join(f"{x:.1f},{y:.1f}" for x, y in places if math.isfinite(y))))
        kept = history[history["epoch"] == history.attrs.get("best_epoch")]
        best += [place(row.epoch, row.dev_macro_f1, F1_TOP) for row in kept.head(1).itertuples() if math.isfinite(row.dev_macro_f1)]
    return Curves(top_loss, last, lines, best)


def confusion_squares(confusion: np.ndarray) -> list[tuple[int, int, str]]:
    """(column, row, colour) of the entries of confusion counts (C, C) that hold at least half a percent of their row."""
    shares = np.nan_to_num(row_shares(confusion))
    return [(column, row, colours.heat(shares[row, column])) for row, column in np.argwhere(shares >= 0.005)]
