"""The picture of a calibration: how far probabilities can be believed."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import picture_style, save_png
from sourcetracing.metrics.calibration import Calibration

SET_WORDS = {"dev": "dev (fitted on it)", "eval": "eval", "eval_other_languages": "eval, other languages"}


def draw_reliability(bins: dict[str, tuple[pd.DataFrame, pd.DataFrame]], calibration: Calibration, path: Path) -> None:
    """Accuracy over confidence, before and after, one panel per set. bins: set -> `confidence_bins` before and after."""
    with picture_style():
        figure, panels = plt.subplots(1, len(bins), figsize=(3.4 * len(bins), 3.6), squeeze=False, sharey=True, layout="constrained")
        for panel, (name, pair) in zip(panels[0], bins.items(), strict=True):
            _draw_reliability_of(panel, pair, calibration, name)
        panels[0, 0].set_ylabel("accuracy")
        figure.suptitle(f"Do probabilities mean what they say? Temperature {calibration.temperature:.2f}", fontsize=10)
        save_png(figure, path)


def _draw_reliability_of(panel: Axes, pair: tuple[pd.DataFrame, pd.DataFrame], calibration: Calibration, name: str) -> None:
    panel.plot([0, 1], [0, 1], color=colours.CHANCE, linestyle=":", linewidth=1)
    styles = (("before", colours.CROSS, "--", calibration.before), ("after", colours.MONO, "-", calibration.after))
    for table, (word, colour, line, figures) in zip(pair, styles, strict=True):
        label = f"{word}: ECE {100 * figures[name].ece:.1f} %"
        panel.plot(table["confidence"], table["accuracy"], color=colour, linestyle=line, linewidth=1.2, label=label)
        panel.scatter(table["confidence"], table["accuracy"], s=6 + 90 * table["rows"] / table["rows"].sum(), color=colour, alpha=0.7)
    panel.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", aspect="equal")
    panel.set_title(f"{SET_WORDS[name]}, {calibration.after[name].rows} rows")
    panel.legend(frameon=False, fontsize=8, loc="lower right")
