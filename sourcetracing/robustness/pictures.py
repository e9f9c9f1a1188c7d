"""The heat map of robustness: operations by runs, macro-F1 in colours with its change from clean."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.drawing.text import points
from sourcetracing.robustness.tables import RUN
from sourcetracing.robustness.utterances import CLEAN
from sourcetracing.settings.operations import CHAIN
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import shown_system

MOST_RUNS = 12  # more columns cannot be read


@picture_style()
def draw_heat_map(table: pd.DataFrame, settings: Settings, path: Path) -> Path:
    """Writes a picture of the first MOST_RUNS runs. A change whose 95 % interval holds 0 stands in brackets."""
    runs = list(table.groupby(RUN, sort=False))
    operations = list(dict.fromkeys(table["operation"]))
    figure, panel = plt.subplots(figsize=(2.6 + 1.35 * min(len(runs), MOST_RUNS), 1.6 + 0.24 * len(operations)), layout="constrained")
    panel.set_axis_off()
    heads = []
    for column, ((system, train_set, seed), rows) in enumerate(runs[:MOST_RUNS]):
        heads.append(f"{label_of(shown_system(system, settings.experiment.floor))}\n{label_of(train_set)}, {int(seed)}")
        own = rows.set_index("operation")
        for row, name in enumerate(operations):
            if name in own.index:
                _draw_cell(panel, column, row, own.loc[name])
    places = [row + 0.5 for row in range(len(operations))]
    panel.set(xlim=(0, len(heads)), ylim=(len(operations), 0))
    for place, name in zip(places, operations, strict=True):
        panel.text(-0.05, place, name.replace(CHAIN, f" {CHAIN} "), ha="right", va="center")
    for column, head in enumerate(heads):
        panel.text(column + 0.5, -0.3, head, ha="left", va="bottom", fontsize=7, rotation=20)
    more = f" (the first {MOST_RUNS} of {len(runs)} runs)" if len(runs) > MOST_RUNS else ""
    panel.text(0, len(operations) + 0.8, f"macro-F1 in %, change from clean; in brackets: its interval holds 0{more}", va="top", fontsize=8)
    return save_png(figure, path)


def _draw_cell(panel: plt.Axes, column: int, row: int, figures: pd.Series) -> None:
    value, change, low, high = (figures[f"macro_f1{end}"] for end in ("", "_change", "_change_low", "_change_high"))
    background, ink = colours.heat_of(value)
    panel.add_patch(plt.Rectangle((column + 0.02, row + 0.03), 0.96, 0.94, color=background if np.isfinite(value) else "none"))
    is_open = np.isnan(low) or low <= 0 <= high
    text = "" if figures.name == CLEAN else f"  ({points(change)})" if is_open else f"  {points(change)}"
    panel.text(column + 0.5, row + 0.5, f"{100 * value:.1f}{text}", ha="center", va="center", color=ink, fontsize=8)
