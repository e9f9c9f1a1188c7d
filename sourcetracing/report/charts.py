"""Pieces of HTML and SVG that the report is made of. They take numbers (fractions) and give text; no scripts, no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from sourcetracing.drawing import colours
from sourcetracing.tables.axes import Axes
from sourcetracing.tables.pictures import row_shares
from sourcetracing.tables.text import ABSENT, percent

MOST_NAMED_COLUMNS = 8


def heat_matrix(
    values: pd.DataFrame,
    low: pd.DataFrame,
    high: pd.DataFrame,
    names: dict[str, str],
    caption: str,
    axes: Axes,
) -> str:
    """A train x test matrix as a coloured table with 95 % intervals (rounded); families set apart, mono cells framed."""
    columns, rows = list(values.columns), list(values.index)
    starts = {start for _, start, _ in axes.family_spans(columns)[1:]}
    row_starts = {start for _, start, _ in axes.family_spans(rows)[1:]}
    head = "".join(f'<th scope="col"{_gap(i in starts)}>{_named(name, names)}</th>' for i, name in enumerate(columns))
    body = []
    for i, train in enumerate(rows):
        cells = [
            heat_cell(values.iat[i, j], interval(low.iat[i, j], high.iat[i, j]), axes.is_mono(train, test), j in starts)
            for j, test in enumerate(columns)
        ]
        body.append(f'<tr{_gap(i in row_starts)}><th scope="row">{_named(train, names)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table class="heat{_spacious(rows, columns)}"><caption>{caption}</caption>'
        f"<thead>{_family_row(axes.family_spans(columns))}<tr><td></td>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def confusion_table(confusion: np.ndarray, classes: Sequence[str], caption: str) -> str:
    """Confusion counts (C, C) as a coloured table in percent of each true class; counts beneath, and named columns, for up to 8."""
    shares, small = row_shares(confusion), len(classes) <= MOST_NAMED_COLUMNS
    rows = [escape(readable(name)) if small else f"{n} {escape(name)}" for n, name in enumerate(classes, 1)]
    head = "".join(f'<th scope="col">{label if small else n}</th>' for n, label in enumerate(rows, 1))
    body = []
    for row, label in enumerate(rows):
        cells = [heat_cell(shares[row, i], str(confusion[row, i]) if small else "", digits=0) for i in range(len(classes))]
        body.append(f'<tr><th scope="row">{label}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table class="heat {"named" if small else "dense"}"><caption>{caption}</caption>'
        f'<thead><tr><th scope="col">true \\ predicted</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def heat_cell(value: float, small: str = "", framed: bool = False, gap: bool = False, digits: int = 1) -> str:
    """One cell: a fraction in percent on its colour, a small line beneath."""
    background, ink = colours.heat_of(value)
    kinds = [name for name, on in (("m", framed), ("gap", gap)) if on]
    names = f' class="{" ".join(kinds)}"' if kinds else ""
    beneath = f"<small>{small}</small>" if small and not math.isnan(value) else ""
    return (
        f'<td{names} style="background:{background};color:{ink};background-clip:padding-box"><b>{percent(value, digits)}</b>{beneath}</td>'
    )


def interval(low: float, high: float) -> str:
    """`91–97`: an interval of fractions in whole percent; nothing for nan."""
    return "" if math.isnan(low) else f"{100 * low:.0f}–{100 * high:.0f}"


@dataclass(frozen=True)
class Point:
    """One mean on a strip: its kind (mono or cross), its text, a remark, and value and interval as fractions."""

    kind: str
    text: str
    remark: str
    value: float
    low: float
    high: float


def strip_rows(label: str, points: Sequence[Point], chance: float) -> str:
    """Table rows with a dot and its interval on a line from 0 to 100, one for each point under one label."""
    parts = []
    for number, point in enumerate(points):
        head = f'<th scope="row" rowspan="{len(points)}">{label}</th>' if number == 0 else ""
        ends = "" if math.isnan(point.low) else f"<br><small>{percent(point.low)}–{percent(point.high)}</small>"
        marks = f'{_range(point.low, point.high)}<i class="dot" style="left:{percent(point.value, 2)}%"></i>'
        track = f'<div class="track"><i class="chance" style="left:{percent(chance, 2)}%"></i>{marks}</div>'
        remark = f"<br><small>{point.remark}</small>" if point.remark else ""
        value = f'<span class="{point.kind}">{point.kind} <b>{point.text}</b></span>{ends}{remark}'
        row = f'{head}<td class="{point.kind}">{track}</td><td class="value">{value}</td>'
        parts.append(f'<tr class="first">{row}</tr>' if number == 0 else f"<tr>{row}</tr>")
    return "".join(parts)


def strip_table(rows: str, caption: str) -> str:
    """The frame around `strip_rows`, with the scale above."""
    scale = '<div class="scale"><span>0</span><span>25</span><span>50</span><span>75</span><span>100</span></div>'
    head = f'<thead><tr><th></th><td>{scale}</td><td class="value"></td></tr></thead>'
    return f'<table class="strips"><caption>{caption}</caption>{head}<tbody>{rows}</tbody></table>'


def colour_key(chance: float) -> str:
    """The colour scale 0 to 100 with a mark at chance level, as SVG."""
    steps = 50
    bars = "".join(f'<rect x="{i * 4}" width="4.2" height="12" fill="{colours.heat((i + 0.5) / steps)}"/>' for i in range(steps))
    ticks = "".join(f'<text x="{2 * tick}" y="24" text-anchor="middle">{tick}</text>' for tick in (0, 50, 100))
    mark = f'<path d="M{200 * chance:.1f} -3v18" stroke="{colours.CROSS}" stroke-width="2"/>'
    return (
        f'<svg width="220" height="32" viewBox="-8 -4 216 32" role="img" aria-label="Colour scale from 0 to 100">{bars}{mark}{ticks}</svg>'
    )


def curves(histories: Sequence[pd.DataFrame], top_loss: float) -> str:
    """Training curves of one cell (one history for each seed) as SVG: loss above on 0 to `top_loss`, dev macro-F1 below on 0 to 100."""
    width, height, left, right, gap = 176, 74, 26, 4, 20
    last = max(2, max(int(history["epoch"].max()) for history in histories))

    def line(history: pd.DataFrame, column: str, top: float, offset: float, kind: str) -> str:
        values = history[column].clip(upper=top) if top > 0 else history[column]
        points = [(_x(epoch), offset + height * (1 - value / top)) for epoch, value in zip(history["epoch"], values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points if math.isfinite(y))
        return f'<polyline class="{kind}" points="{path}"/>'

    def _x(epoch: float) -> float:
        return left + (width - left - right) * (epoch - 1) / (last - 1)

    below = height + gap
    parts = [
        _panel_axes(left, width - right, 4, height, ("0", f"{top_loss:.1f}")),
        _panel_axes(left, width - right, below, height, ("0", "100")),
    ]
    for history in histories:
        parts += [line(history, "train_loss", top_loss, 4, "train"), line(history, "dev_loss", top_loss, 4, "dev")]
        parts.append(line(history, "dev_macro_f1", 1.0, below, "f1"))
        best = history[history["epoch"] == history.attrs.get("best_epoch")]
        if len(best):
            y = below + height * (1 - float(best["dev_macro_f1"].iloc[0]))
            parts.append(f'<circle class="best" cx="{_x(float(best["epoch"].iloc[0])):.1f}" cy="{y:.1f}" r="3.4"/>')
    bottom = below + height + 11
    parts += [f'<text x="{left}" y="{bottom}">1</text>', f'<text x="{width - right}" y="{bottom}" text-anchor="end">epoch {last}</text>']
    return f'<svg viewBox="0 0 {width} {bottom + 4}" role="img" aria-label="Training curves">{"".join(parts)}</svg>'


def mini_confusion(confusion: np.ndarray, label: str) -> str:
    """A confusion matrix (C, C) as a small SVG without numbers."""
    num_classes = len(confusion)
    shares = np.nan_to_num(row_shares(confusion))
    squares = f'<rect width="{num_classes}" height="{num_classes}" fill="{colours.heat(0)}"/>' + "".join(
        f'<rect x="{column}" y="{row}" width="1.02" height="1.02" fill="{colours.heat(shares[row, column])}"/>'
        for row, column in np.argwhere(shares >= 0.005)
    )
    name = escape(label)
    return f'<svg viewBox="0 0 {num_classes} {num_classes}" role="img" aria-label="{name}"><title>{name}</title>{squares}</svg>'


def plain_table(
    frame: pd.DataFrame,
    *,
    groups: Sequence[tuple[str, int]] = (),
    last_is_sum: bool = False,
    text_columns: Sequence[str] = (),
    sortable: bool = False,
) -> str:
    """A DataFrame of texts and numbers as an HTML table; the first column heads its row; groups: (title, how many columns) above.

    sortable: by a click on a column's head.
    """
    head = "".join(f'<th scope="col">{escape(readable(str(column)))}</th>' for column in frame.columns)
    above = "".join(f'<th scope="colgroup" colspan="{count}" class="{title}">{title}</th>' for title, count in groups)
    head = f"<tr>{above}</tr><tr>{head}</tr>" if groups else f"<tr>{head}</tr>"
    body = []
    for number, values in enumerate(frame.itertuples(index=False)):
        texts = [_plain(value) for value in values]
        kinds = [' class="text"' if column in text_columns else "" for column in frame.columns]
        cells = "".join(f"<td{kind}>{text}</td>" for kind, text in list(zip(kinds, texts, strict=True))[1:])
        summed = ' class="sum"' if last_is_sum and number == len(frame) - 1 else ""
        body.append(f'<tr{summed}><th scope="row">{texts[0]}</th>{cells}</tr>')
    kind = "plain sortable" if sortable else "plain"
    return f'<div class="scroll" tabindex="0"><table class="{kind}"><thead>{head}</thead><tbody>{"".join(body)}</tbody></table></div>'


def readable(name: str) -> str:
    """A name with blanks for underscores, so that it can wrap."""
    return name.replace("_", " ")


def _plain(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        if math.isnan(value):
            return ABSENT
        return f"{int(value):,}" if float(value).is_integer() and abs(value) >= 1 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, (int, np.integer)) else escape(str(value))


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f'<i class="range" style="left:{percent(low, 2)}%;width:{percent(high - low, 2)}%"></i>'


def _named(name: str, names: dict[str, str]) -> str:
    full, short = " and ".join(names.get(part, part) for part in name.split("+")), escape(readable(name)).replace("+", "+<wbr>")
    return short if full == name else f'<abbr title="{escape(full)}">{short}</abbr>'


def _gap(on: bool) -> str:
    return ' class="gap"' if on else ""


def _spacious(rows: Sequence[str], columns: Sequence[str]) -> str:
    return (" sets" if max(map(len, rows)) > 5 else "") + (" wide" if len(columns) > 7 else "")


def _family_row(spans: list[tuple[str, int, int]]) -> str:
    if not spans:
        return ""
    cells = "".join(f'<th scope="colgroup" colspan="{count}"{_gap(start > 0)}>{escape(family)}</th>' for family, start, count in spans)
    return f'<tr class="family"><td></td>{cells}</tr>'


def _panel_axes(left: float, right: float, top: float, height: float, labels: tuple[str, str]) -> str:
    ends = ((top + height, labels[0]), (top, labels[1]))
    texts = "".join(f'<text x="{left - 3}" y="{y + 3.5}" text-anchor="end">{label}</text>' for y, label in ends)
    return f'<path class="axis" d="M{left} {top}H{right}M{left} {top + height / 2}H{right}M{left} {top}V{top + height}H{right}"/>{texts}'
