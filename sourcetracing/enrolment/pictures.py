"""A picture of the enrolment curve: accuracy, rejection of what is not enrolled, and the cost of LLRs against K, a line for each run."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.settings.schema import Settings
from sourcetracing.verification.representations import OF_SPEAKERS

PANELS = {  # figure -> (heading, factor, chance)
    "accuracy": ("own source among the enrolled ones, %", 100, None),
    "auroc_unseen": ("enrolled or not: AUROC, %", 100, 50),
    "cllr": ("cost of LLRs: Cllr, bits", 1, 1),
}
MOST_LINES = 12  # more cannot be told apart
MARKS = "osv^D"
APART = 1.035  # how far the intervals of neighbouring lines stand apart, a factor of K


@picture_style()
def draw_curve(table: pd.DataFrame, settings: Settings, path: Path) -> Path:
    """Writes a PNG. table: of all runs, with their name; beyond MOST_LINES runs only the first ones. Floors and voices are dashed."""
    names = list(dict.fromkeys(table["name"]))
    figure, panels = plt.subplots(1, len(PANELS), figsize=(11.6, 4.2), layout="constrained")
    for panel, (name, (heading, factor, chance)) in zip(panels, PANELS.items(), strict=True):
        for number, run in enumerate(names[:MOST_LINES]):
            _line(panel, table[table["name"] == run], name, factor, number - min(len(names), MOST_LINES) / 2, number, settings)
        chances = table.drop_duplicates("count").sort_values("count")
        level = 100 * chances["chance"] if chance is None else np.full(len(chances), chance)
        panel.plot(chances["count"], level, color=colours.CHANCE, lw=1.2, ls=":", label="chance" if chance is None else None)
        _axes(panel, sorted(set(table["count"])), heading, 105 if factor == 100 else None)
    more = "" if len(names) <= MOST_LINES else f": the first {MOST_LINES} of {len(names)}"
    figure.suptitle(f"{settings.name}: sources enrolled from K files{more}", x=0.01, ha="left", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize=8, ncols=2)
    return save_png(figure, path)


def _line(panel: Axes, rows: pd.DataFrame, name: str, factor: float, place: float, number: int, settings: Settings) -> None:
    rows = rows.sort_values("count")
    value, low, high = (factor * rows[f"{name}{end}"].to_numpy() for end in ("", "_low", "_high"))
    is_beaten = rows["system"].iloc[0] in (*settings.experiment.floor, OF_SPEAKERS)
    style = {"color": colours.CATEGORIES[number % len(colours.CATEGORIES)], "marker": MARKS[number % len(MARKS)], "ms": 4, "lw": 1.5}
    label = label_of(rows["name"].iloc[0].partition(": ")[0])
    spread = [value - low, high - value]
    panel.errorbar(
        rows["count"] * APART**place, value, spread, label=label, ls="--" if is_beaten else "-", elinewidth=0.7, capsize=2, **style
    )


def _axes(panel: Axes, counts: list[int], heading: str, top: float | None) -> None:
    panel.set_xscale("log")
    panel.set_xticks(counts, [f"{int(count)}" for count in counts])
    panel.minorticks_off()
    panel.set(xlabel="K, files that enrol a source", ylim=(0, top))
    panel.grid(color="#dddddd", lw=0.5)
    panel.set_title(heading, loc="left")
