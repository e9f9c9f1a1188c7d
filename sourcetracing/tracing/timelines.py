"""The picture of a traced file: what it sounds like over time."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.tracing.tracer import FileTrace, Tracer

MAX_LINES = 6  # sources drawn over time; the others are summed up
SHADES = ("#1b5e93", "#c05a13", "#2e7d4f", "#8c4a9e", "#b8860b", "#4a4a4a")


def draw_timeline(found: FileTrace, tracer: Tracer, path: Path) -> None:
    """Probabilities of the leading sources over a file's time, below them the unknown score with its threshold."""
    with picture_style():
        has_scores = found.window_scores is not None
        ratios = {"height_ratios": [2, 1] if has_scores else [1]}
        figure, panels = plt.subplots(
            len(ratios["height_ratios"]),
            1,
            figsize=(8, 4.4 if has_scores else 3),
            sharex=True,
            squeeze=False,
            gridspec_kw=ratios,
            layout="constrained",
        )
        centres, longest_s = found.starts_s + tracer.audio.crop_seconds / 2, 1.5 * tracer.hop_samples / tracer.audio.sample_rate
        _draw_probabilities(panels[0, 0], found, tracer, *_with_gaps(centres, found.window_probabilities, longest_s))
        if has_scores:
            _draw_scores(panels[1, 0], tracer, *_with_gaps(centres, found.window_scores[:, None], longest_s))
        panels[-1, 0].set(xlabel="middle of the window, s", xlim=(0, max(found.duration_s, tracer.audio.crop_seconds)))
        windows = f"{len(centres)} windows of {tracer.audio.crop_seconds:g} s, {found.num_silent} silent left out"
        panels[0, 0].set_title(f"{label_of(Path(found.path).name)}: {windows}", loc="left")
        save_png(figure, path)


def _with_gaps(times: np.ndarray, values: np.ndarray, longest_s: float) -> tuple[np.ndarray, np.ndarray]:
    """A nan where windows were left out, so that no line is drawn across."""
    after = np.flatnonzero(np.diff(times) > longest_s) + 1
    return np.insert(times, after, times[after - 1]), np.insert(values, after, np.nan, axis=0)


def _draw_probabilities(panel: Axes, found: FileTrace, tracer: Tracer, times: np.ndarray, values: np.ndarray) -> None:
    leading = np.argsort(-found.probabilities, kind="stable")[:MAX_LINES]
    for number, colour in zip(leading, SHADES, strict=False):
        label = f"{label_of(tracer.system.classes[number])} ({found.probabilities[number]:.2f})"
        panel.plot(times, values[:, number], color=colour, linewidth=1.2, marker="o", markersize=2.5, label=label)
    rest = len(found.probabilities) - len(leading)
    title = f"of the file; {rest} more sources not drawn" if rest else "of the file"
    panel.set(ylim=(-0.02, 1.02), ylabel="probability")
    panel.legend(title=title, title_fontsize=8, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_scores(panel: Axes, tracer: Tracer, times: np.ndarray, values: np.ndarray) -> None:
    panel.plot(
        times, values[:, 0], color=colours.MONO, linewidth=1.2, marker="o", markersize=2.5, label=f"{tracer.rule.name}, higher = unknown"
    )
    panel.axhline(tracer.rule.threshold, color=colours.CROSS, linestyle="--", linewidth=1, label="threshold")
    panel.set(ylabel="unknown score")
    panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
