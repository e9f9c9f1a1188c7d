"""DET pictures: misses against false alarms on normal deviate axes, one line for each system or scoring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.metrics.ranking import Curve
from sourcetracing.metrics.verification import curve_of

TICKS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
LEAST = 0.0005  # where the axes begin at the earliest
DASHES = ("-", "--", ":", "-.")
MOST_LINES = 12  # more cannot be told apart


def draw_det(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, path: Path) -> Path:
    """Writes a picture. lines: name -> (scores of same-source trials, scores of the others). Beyond MOST_LINES only the first ones.

    Lines with one kind of trials only are left out.
    """
    lines = {name: kinds for name, kinds in lines.items() if all(map(len, kinds))}
    with picture_style():
        return save_png(_det(dict(list(lines.items())[:MOST_LINES]), _titled(title, len(lines))), path)


def _titled(title: str, count: int) -> str:
    return title if count <= MOST_LINES else f"{title}: the first {MOST_LINES} of {count}"


def _det(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str) -> Figure:
    figure, panel = plt.subplots(figsize=(9.4, 5.2), layout="constrained")
    for number, (name, (targets, nontargets)) in enumerate(lines.items()):
        curve = _curve(targets, nontargets)
        colour, dash = colours.CATEGORIES[number % len(colours.CATEGORIES)], DASHES[number % len(DASHES)]
        label = f"{label_of(name)}  (EER {100 * float(curve.eer):.1f} %)"
        panel.plot(_probit(curve.false_alarms), _probit(1 - curve.found), color=colour, ls=dash, lw=1.6, label=label)
    ends = _probit(np.array([_least(lines), 0.995]))
    panel.plot(ends, -ends, color=colours.CHANCE, lw=0.8, ls=":", label="chance")
    panel.plot(ends, ends, color=colours.CHANCE, lw=0.5)
    ticks = [tick for tick in TICKS if ends[0] <= norm.ppf(tick) <= ends[1]]
    for set_ticks in (panel.set_xticks, panel.set_yticks):
        set_ticks(norm.ppf(ticks), [f"{100 * tick:g}" for tick in ticks])
    panel.set(xlabel="two sources taken for one, %", ylabel="one source taken for two, %", xlim=ends, ylim=ends, aspect="equal")
    panel.grid(color="#dddddd", lw=0.5)
    panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), title="lower and further left is better")
    panel.set_title(title, loc="left")
    return figure


def _curve(targets: np.ndarray, nontargets: np.ndarray) -> Curve:
    is_target = np.repeat([True, False], [len(targets), len(nontargets)])
    return curve_of(np.concatenate([targets, nontargets]), is_target, np.ones(len(is_target)))


def _least(lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> float:
    """Half the smallest share that so many trials can tell of."""
    most = max((max(len(targets), len(nontargets)) for targets, nontargets in lines.values()), default=1)
    return max(LEAST, min(0.02, 0.5 / most))


def _probit(rates: np.ndarray) -> np.ndarray:
    return norm.ppf(np.clip(rates, LEAST / 5, 1 - LEAST / 5))
