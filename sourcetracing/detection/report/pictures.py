"""Pictures of the detection experiments: EERs over layers and kept shares, what corpora add, DET curves, histograms of scores.

Each function takes numbers (EERs and shares as fractions) and gives a figure of one panel, narrow enough for a phone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import norm

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style
from sourcetracing.drawing.templates import macros

STYLE = {"axes.titlelocation": "left", "svg.hashsalt": "detection", "svg.fonttype": "path", "legend.frameon": False, "legend.fontsize": 8}
MARKERS = ("o", "D", "s", "^", "v", ".")
SIZE_INCHES = (4.3, 3.1)
DET_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
MOST_POINTS = 300  # of a DET curve


@picture_style(**STYLE)
def as_image(figure: Figure, description: str) -> Markup:
    """The figure as an element of a page that holds its own SVG; the same bytes for the same numbers."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return macros(__file__, "parts.html").picture(buffer.getvalue(), description, "svg+xml")


@picture_style(**STYLE)
def draw_layers(curves: Mapping[str, pd.Series], published: Mapping[str, pd.Series], chosen: Mapping[str, int], title: str) -> Figure:
    """EER over layers: our curves in full, published ones of the same names dashed; a line at each chosen layer."""
    figure, panel = _panel(title, "layer", "EER, %")
    for number, (name, curve) in enumerate(curves.items()):
        style = {"color": colours.SERIES[number], "lw": 1.5}
        panel.plot(curve.index, 100 * curve, marker=MARKERS[number], ms=3, label=label_of(name), **style)
        if name in published and published[name].notna().any():
            panel.plot(published[name].index, 100 * published[name], ls="--", label=f"{label_of(name)}, published", **style | {"lw": 1})
    for number, (name, layer) in enumerate(chosen.items()):
        panel.axvline(layer, color=colours.CHANCE, ls=(":", "-.")[number % 2], lw=1.2, label=f"{label_of(name)}: {layer}")
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return _with_legend(figure, panel)


@picture_style(**STYLE)
def draw_kept(levels: pd.DataFrame, everything: float, title: str) -> Figure:
    """EER over the share of kept files: a curve per strategy, a band of one sd where there are seeds; dotted: everything kept.

    levels: strategy, percent_kept, eer, sd.
    """
    figure, panel = _panel(title, "files kept, %", "EER, %")
    for number, (strategy, own) in enumerate(levels.groupby("strategy", sort=False)):
        own, colour = own.sort_values("percent_kept"), colours.SERIES[number % len(colours.SERIES)]
        panel.plot(
            own["percent_kept"], 100 * own["eer"], marker=MARKERS[number % len(MARKERS)], ms=3.5, lw=1.4, color=colour, label=strategy
        )
        if own["sd"].notna().any():
            low, high = 100 * (own["eer"] - own["sd"]), 100 * (own["eer"] + own["sd"])
            panel.fill_between(own["percent_kept"], low, high, color=colour, alpha=0.18, lw=0)
    panel.axhline(100 * everything, color="black", ls=":", lw=1.2, label="everything")
    panel.set_xlim(0, 100)
    return _with_legend(figure, panel)


@picture_style(**STYLE)
def draw_effects(effects: pd.DataFrame, title: str) -> Figure:
    """What each corpus adds: bars of `effect` in percentage points, and the published effect as a diamond where there is one.

    effects: corpus, effect, published_effect.
    """
    effects = effects.sort_values("effect", ascending=False)
    figure, panel = _panel(title, "change of EER with the corpus, points", "")
    places = np.arange(len(effects))
    bars = [colours.MONO if value < 0 else colours.CROSS for value in effects["effect"]]
    panel.barh(places, 100 * effects["effect"], 0.6, color=bars)
    if effects["published_effect"].notna().any():
        marks = {"marker": "D", "s": 24, "facecolor": "white", "edgecolor": "black", "zorder": 3}
        panel.scatter(100 * effects["published_effect"], places, label="published", **marks)
        panel.legend()
    panel.axvline(0, color="black", lw=0.8)
    panel.set_yticks(places, effects["corpus"].map(label_of))
    return figure


@picture_style(**STYLE)
def draw_transfer(selection: np.ndarray, report: np.ndarray, chosen: int, published_way: int, title: str) -> Figure:
    """Does the selection part foretell the report part? One dot (N,) per candidate; the chosen ones stand out."""
    figure, panel = _panel(title, "EER on the selection part, %", "EER on the report part, %")
    panel.scatter(100 * selection, 100 * report, s=12, color=colours.CHANCE, alpha=0.6, lw=0)
    for place, colour, marker, name in (
        (chosen, colours.MONO, "o", "chosen on the selection part"),
        (published_way, colours.CROSS, "D", "chosen the published way"),
    ):
        panel.scatter(
            100 * selection[place], 100 * report[place], s=44, facecolor="none", edgecolor=colour, marker=marker, lw=1.6, label=name
        )
    return _with_legend(figure, panel)


@picture_style(**STYLE)
def draw_det(scores: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Detection error trade-off on normal deviate axes, a curve per system (columns label, score); the diagonal marks the EER."""
    from sklearn.metrics import det_curve  # a second to import

    figure, panel = _panel(title, "spoof accepted, %", "bona fide rejected, %")
    for number, (name, own) in enumerate(scores.items()):
        accepted, rejected, _ = det_curve(own["label"], own["score"])
        smallest = 0.5 / len(own)  # a corner at infinity is drawn at half a file
        x, y = (norm.ppf(np.clip(_thinned(values), smallest, 1 - smallest)) for values in (accepted, rejected))
        panel.plot(
            x, y, lw=1.4, color=colours.SERIES[number % len(colours.SERIES)], ls=("-", "--", "-.")[number // 2 % 3], label=label_of(name)
        )
    ticks = norm.ppf(DET_TICKS)
    panel.plot(ticks[[0, -1]], ticks[[0, -1]], color=colours.CHANCE, lw=0.8, ls=":")
    labels = [f"{100 * tick:g}" for tick in DET_TICKS]
    panel.set_xticks(ticks, labels)
    panel.set_yticks(ticks, labels)
    panel.set(xlim=(ticks[0], ticks[-1]), ylim=(ticks[0], ticks[-1]))
    return _with_legend(figure, panel)


@picture_style(**STYLE)
def draw_histogram(scores: pd.DataFrame, threshold: float, title: str) -> Figure:
    """Scores (columns label, score) of bona fide and spoofed files, each class by itself, and the threshold that is in use."""
    figure, panel = _panel(title, "score (higher: bona fide)", "share of the class, %")
    values = scores["score"].to_numpy()
    edges = np.linspace(*np.percentile(values, [0.5, 99.5]), 41)
    for label, name, colour in ((1, "bona fide", colours.MONO), (0, "spoof", colours.CROSS)):
        own = np.clip(values[scores["label"] == label], edges[0], edges[-1])
        panel.hist(own, edges, weights=np.full(len(own), 100 / max(len(own), 1)), color=colour, alpha=0.55, label=name)
    panel.axvline(threshold, color="black", ls=":", lw=1.2, label="threshold of the selection part")
    return _with_legend(figure, panel)


def _thinned(values: np.ndarray) -> np.ndarray:
    """At most MOST_POINTS of them, the first and the last among these."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_POINTS)).round().astype(int))]


def _panel(title: str, x: str, y: str) -> tuple[Figure, Panel]:
    figure, panel = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
    panel.set(xlabel=x, ylabel=y, title=title)
    return figure, panel


def _with_legend(figure: Figure, panel: Panel) -> Figure:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=1 if max(map(len, labels)) > 26 else 2)
    return figure
