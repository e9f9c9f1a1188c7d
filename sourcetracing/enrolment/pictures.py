"""A picture of the enrolment curve: accuracy, files found, false alarms and the cost of LLRs against K, a line for each run."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.settings.schema import Settings
from sourcetracing.verification.representations import OF_SPEAKERS

PANELS = {  # figure -> (heading, factor, top)
    "accuracy": ("accuracy: own source is the most alike, %", 100, 105),
    "found": ("found: most alike and accepted, %", 100, 105),
    "false_alarms_unseen": ("false alarms: own source is not enrolled, %", 100, None),
    "cllr": ("cost of LLRs: Cllr, bits", 1, None),
}
MOST_LINES = 12  # more cannot be told apart
MARKS = "osv^D"
MOST_APART = 1.08  # how far the intervals of neighbouring lines stand apart, a factor of K
SHARE_OF_STEP = 0.45  # at most, of the way to the next K, that the lines take together


@picture_style()
def draw_curve(table: pd.DataFrame, settings: Settings, path: Path) -> Path:
    """Writes a PNG. table: of all runs, with their name; beyond MOST_LINES runs only the first ones. Floors and voices are dashed."""
    names = list(dict.fromkeys(table["name"]))
    runs = [table[table["name"] == name].sort_values("count") for name in names[:MOST_LINES]]
    counts = sorted(set(table["count"]))
    figure, panels = plt.subplots(2, 2, figsize=(10.6, 8.2), layout="constrained")
    for panel, (name, (heading, factor, top)) in zip(panels.flat, PANELS.items(), strict=True):
        for number, (rows, shift) in enumerate(zip(runs, _shifts(len(runs), counts), strict=True)):
            _line(panel, rows, name, factor, shift, number, settings)
        _level(panel, table, name, settings)
        _axes(panel, counts, heading, top)
    more = "" if len(names) <= MOST_LINES else f": the first {MOST_LINES} of {len(names)}"
    figure.suptitle(f"{settings.name}: sources enrolled from K files{more}", x=0.01, ha="left", fontsize=10)
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize=8, ncols=2)
    return save_png(figure, path)


def _shifts(num_lines: int, counts: list[int]) -> np.ndarray:
    """A factor of K for each line, so that no interval covers another one, nor comes near the next K."""
    step = min((after / before for before, after in pairwise(counts)), default=np.inf)
    apart = min(MOST_APART, step ** (SHARE_OF_STEP / max(num_lines - 1, 1)))
    return apart ** (np.arange(num_lines) - (num_lines - 1) / 2)


def _line(panel: Axes, rows: pd.DataFrame, name: str, factor: float, shift: float, number: int, settings: Settings) -> None:
    value, low, high = (factor * rows[f"{name}{end}"].to_numpy() for end in ("", "_low", "_high"))
    is_beaten = rows["system"].iloc[0] in (*settings.experiment.floor, OF_SPEAKERS)
    colour, where = colours.CATEGORIES[number % len(colours.CATEGORIES)], rows["count"].to_numpy() * shift
    panel.vlines(where, low, high, color=colour, alpha=0.3, lw=3)  # the curve stays in front of them
    style = {"color": colour, "marker": MARKS[number % len(MARKS)], "ms": 5, "lw": 1.5, "ls": "--" if is_beaten else "-"}
    panel.plot(where, value, label=label_of(rows["name"].iloc[0]), clip_on=False, zorder=3, **style)


def _level(panel: Axes, table: pd.DataFrame, name: str, settings: Settings) -> None:
    """A dotted line at what a figure is measured by, which is named where it ends; `found` has none."""
    known = table[table[name].notna()].drop_duplicates("count").sort_values("count")
    level = {
        "accuracy": ("chance", 100 * known["chance"]),
        "false_alarms_unseen": (f"set to {100 * settings.enrolment.false_alarms:g} %", 100 * settings.enrolment.false_alarms),
        "cllr": ("says nothing", 1.0),
    }
    if name not in level or known.empty:
        return
    label, height = level[name]
    heights = np.broadcast_to(height, len(known))
    panel.plot(known["count"], heights, color="#333333", lw=1.2, ls=":")
    panel.annotate(
        label, (1, heights[-1]), xycoords=panel.get_yaxis_transform(), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7.5
    )


def _axes(panel: Axes, counts: list[int], heading: str, top: float | None) -> None:
    panel.set_xscale("log")
    panel.set_xticks(counts, [f"{int(count)}" for count in counts])
    panel.minorticks_off()
    panel.set(xlabel="K, files that enrol a source", ylim=(0, top))
    panel.grid(color="#dddddd", lw=0.5)
    panel.set_title(heading, loc="left")
