"""PNG pictures of detectors on one split: ROC and DET curves, score histograms, OSCR curves."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure
from scipy.stats import norm

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import picture_style, save_png
from sourcetracing.layout import OpensetLayout
from sourcetracing.metrics.ranking import Curve, Ranking
from sourcetracing.openset.trials import Trials
from sourcetracing.settings.openset import DETECTORS

# Okabe and Ito's colours, apart in every common colour blindness, and dashes for those who print without colour.
LOOKS = (
    ("#000000", "-"),
    ("#e69f00", "-"),
    ("#56b4e9", "--"),
    ("#009e73", ":"),
    ("#d55e00", "-"),
    ("#0072b2", "-"),
    ("#cc79a7", "--"),
    ("#009e73", "-."),
    ("#e69f00", ":"),
)
DET_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
DET_LEAST = 0.005  # where its axes begin
SHOWN_PERCENTILES = (0.25, 98.5)  # between which a histogram is drawn; distances have long tails, which end up in the last bar


def draw_pictures(
    trials: Trials, scores: Mapping[str, np.ndarray], thresholds: Mapping[str, float], title: str, files: OpensetLayout
) -> None:
    """Writes them into the folder of a run. scores: (N,) by detector, high = unknown; thresholds: those of dev."""
    is_right = trials.table["prediction"].to_numpy() == trials.labels
    everything = np.ones(len(is_right))
    curves = {name: Ranking(values, trials.is_unknown, is_right).curve(everything) for name, values in scores.items()}
    with picture_style():
        save_png(_curves(curves, title), files.curves)
        save_png(_histograms(trials.is_unknown, scores, thresholds, title), files.histograms)
        save_png(_oscr(curves, title), files.oscr)


def look_of(detector: str) -> tuple[str, str]:
    """(colour, dashes), the same in every picture."""
    return LOOKS[list(DETECTORS).index(detector) % len(LOOKS)]


def _curves(curves: Mapping[str, Curve], title: str) -> Figure:
    figure, (roc, det) = plt.subplots(1, 2, figsize=(9.4, 4.2), layout="constrained")
    for name, curve in curves.items():
        colour, dash = look_of(name)
        label = f"{name.replace('_', ' ')}  (AUROC {100 * float(curve.auroc):.1f} %, EER {100 * float(curve.eer):.1f} %)"
        roc.plot(100 * curve.false_alarms, 100 * curve.found, color=colour, ls=dash, lw=1.5, label=label)
        det.plot(_probit(curve.false_alarms), _probit(1 - curve.found), color=colour, ls=dash, lw=1.5)
    roc.plot([0, 100], [0, 100], color=colours.CHANCE, lw=0.8, ls=":")
    roc.set(xlabel="known called unknown, %", ylabel="unknown called unknown, %", xlim=(0, 100), ylim=(0, 100), aspect="equal")
    roc.set_title("ROC", loc="left")
    ends = _probit(np.array([DET_LEAST, 1 - DET_LEAST]))
    det.plot(ends, ends, color=colours.CHANCE, lw=0.8, ls=":")
    for set_ticks in (det.set_xticks, det.set_yticks):
        set_ticks(norm.ppf(DET_TICKS), [f"{100 * tick:g}" for tick in DET_TICKS])
    det.set(xlabel="known called unknown, %", ylabel="unknown called known, %", xlim=ends, ylim=ends, aspect="equal")
    det.set_title("DET: the lower, the better", loc="left")
    figure.legend(*roc.get_legend_handles_labels(), frameon=False, fontsize=8, ncols=2, loc="outside lower center")
    figure.suptitle(f"{title}: unknown or known source", x=0.01, ha="left", fontsize=9)
    return figure


def _probit(rates: np.ndarray) -> np.ndarray:
    return norm.ppf(np.clip(rates, DET_LEAST / 5, 1 - DET_LEAST / 5))


def _histograms(is_unknown: np.ndarray, scores: Mapping[str, np.ndarray], thresholds: Mapping[str, float], title: str) -> Figure:
    columns = min(4, len(scores))
    rows = -(-len(scores) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(0.4 + 2.5 * columns, 0.7 + 1.9 * rows), layout="constrained", squeeze=False)
    for panel, (name, values) in zip(panels.flat, scores.items(), strict=False):
        _histogram(panel, is_unknown, values, thresholds[name])
        panel.set_title(name.replace("_", " "), loc="left")
    for panel in panels.flat[len(scores) :]:
        panel.axis("off")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), frameon=False, fontsize=8, ncols=3, loc="outside lower center")
    figure.suptitle(f"{title}: scores, higher = taken for unknown", x=0.01, ha="left", fontsize=9)
    return figure


def _histogram(panel: Panel, is_unknown: np.ndarray, values: np.ndarray, threshold: float) -> None:
    low, high = np.percentile(values, SHOWN_PERCENTILES)
    bins = np.linspace(low, max(high, np.nextafter(low, np.inf)), 41)
    for chosen, colour, label in ((~is_unknown, colours.MONO, "known sources"), (is_unknown, colours.CROSS, "unknown sources")):
        part = np.clip(values[chosen], low, high)
        panel.hist(part, bins, weights=np.full(len(part), 100 / len(part)), color=colour, alpha=0.55, label=label)
    panel.axvline(threshold, color="black", lw=1, ls="--", label="threshold from dev")
    panel.set_yticks([])


def _oscr(curves: Mapping[str, Curve], title: str) -> Figure:
    figure, panel = plt.subplots(figsize=(6.6, 3.6), layout="constrained")
    for name, curve in sorted(curves.items(), key=lambda item: -float(item[1].oscr_area)):
        colour, dash = look_of(name)
        label = f"{name.replace('_', ' ')} ({100 * float(curve.oscr_area):.1f} %)"
        panel.plot(100 * (1 - curve.found), 100 * curve.right, color=colour, ls=dash, lw=1.5, label=label)
    panel.set(xlabel="unknown rows that are accepted, %", ylabel="known rows accepted and right, %", xlim=(0, 100), ylim=(0, 100))
    panel.legend(frameon=False, fontsize=8, title="area under it", title_fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panel.set_title(f"{title}: open-set classification (OSCR)", loc="left")
    return figure
