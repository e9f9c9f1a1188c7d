"""Confusion matrices in the order of the tree of labels, with lines between architectures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.drawing.text import readable
from sourcetracing.layout import TablesLayout
from sourcetracing.metrics.classification import row_shares
from sourcetracing.tables.hierarchy import Hierarchy
from sourcetracing.tables.pictures import HEAT_MAP

MOST_NUMBERED = 14  # columns that still have room for numbers
CELL_INCHES = 0.42


def write_confusions(made: Hierarchy, out_folder: Path) -> list[Path]:
    """Draws hierarchy_<system>.png for each system, its kinds of cells beside each other; returns the paths."""
    with picture_style():
        systems = list(dict.fromkeys(system for system, _ in made.confusions))
        return [save_png(draw_tree_confusions(made, system), TablesLayout(out_folder).picture(f"hierarchy_{system}")) for system in systems]


def draw_tree_confusions(made: Hierarchy, system: str) -> Figure:
    """Answers in percent of each true source: known sources, then unknown ones behind a thick line."""
    matrices = {kind: counts for (name, kind), counts in made.confusions.items() if name == system}
    num_rows, num_columns = next(iter(matrices.values())).shape
    height = max(2.4, 1.7 + CELL_INCHES * min(1, 24 / num_rows) * num_rows)
    width = 2.2 + max(1.6, CELL_INCHES * num_columns) * len(matrices)
    figure, panels = plt.subplots(1, len(matrices), figsize=(width, height), layout="constrained", sharey=True, squeeze=False)
    for panel, (kind, counts) in zip(panels[0], matrices.items(), strict=True):
        _panel(panel, counts, made)
        panel.set(title=kind, xlabel="answer")
    panels[0, 0].set_ylabel("true source")
    figure.suptitle(
        f"{system}: answers in % of each source,\nin the order of the tree; lines between architectures", x=0.01, ha="left", fontsize=9
    )
    return figure


def _panel(panel: plt.Axes, counts: pd.DataFrame, made: Hierarchy) -> None:
    shares = row_shares(counts.to_numpy())
    panel.imshow(100 * shares, cmap=HEAT_MAP, vmin=0, vmax=100, aspect="auto")
    size = 8 if len(counts.columns) <= MOST_NUMBERED else 6
    if len(counts.columns) <= MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(shares):
            if not np.isnan(value):
                panel.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colours.heat_of(value)[1], fontsize=size)
    known = len(made.classes)
    for place in boundaries(_architectures(made, list(counts.columns))):
        panel.axvline(place - 0.5, color="black", lw=0.8)
        panel.axhline(place - 0.5, color="black", lw=0.8)
    for place in boundaries(_architectures(made, list(counts.index[known:]))):
        panel.axhline(known + place - 0.5, color="black", lw=0.8)
    if len(counts) > known:
        panel.axhline(known - 0.5, color=colours.CROSS, lw=2.4)
    panel.set_xticks(range(counts.shape[1]), [label_of(readable(name)) for name in counts.columns], rotation=90, fontsize=size)
    panel.set_yticks(range(len(counts)), [label_of(readable(name)) for name in counts.index], fontsize=size)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def _architectures(made: Hierarchy, sources: Sequence[str]) -> list[str]:
    return list(made.labels["architecture"].reindex(sources).fillna(""))


def boundaries(names: Sequence[str]) -> Iterator[int]:
    """Places before which a name differs from the one before it."""
    return (place for place in range(1, len(names)) if names[place] != names[place - 1])
