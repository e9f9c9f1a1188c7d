"""The picture of an explanation: the spectrogram, a bar for each band at its right, a strip for the stretches of time below."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.explanation.files import ExplainedWindow, Explanation
from sourcetracing.explanation.occlusion import FILLINGS

MOST_WINDOWS = 4  # drawn; more are in the table alone
LOW_DB = -80.0  # of the spectrogram's loudest point
STYLES = {"removed": (colours.MONO, "left empty"), "noise": (colours.CROSS, "filled with noise")}
TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16_000, 32_000)
ABSENT = "#bbbbbb"


def draw_explanation(found: Explanation, path: Path) -> Path:
    """Writes a PNG. Bars and lines to the right and upwards: the LLR falls without that piece, so the answer rests on it."""
    windows = found.windows[:MOST_WINDOWS]
    with picture_style():
        figure, panels = plt.subplots(
            2,
            len(windows) + 1,
            figsize=(3.6 + 2.6 * max(len(windows), 2), 5.6),
            squeeze=False,
            layout="constrained",
            gridspec_kw={"height_ratios": [3, 1], "width_ratios": [*[max(1.0, 2 / len(windows))] * len(windows), 0.95]},
        )
        top = max(float(np.abs(window.drops.stretch_drops).max()) for window in windows) or 1.0
        low, high = _span([window.drops.stretch_drops for window in windows])
        for place, window in enumerate(windows):
            _spectrogram(panels[0, place], window, found, is_first=place == 0)
            _strip(panels[1, place], window, (low - 0.08 * top, high + 0.08 * top), is_first=place == 0)
        _bars(panels[0, -1], found)
        _words(panels[1, -1])
        _heading(figure, found, len(windows))
        return save_png(figure, path)


def _span(values: list[np.ndarray]) -> tuple[float, float]:
    """Holds 0 and one nat at least, so that nothing looks like much."""
    return min(0.0, *(float(one.min()) for one in values)), max(1.0, *(float(one.max()) for one in values))


def _heading(figure: Figure, found: Explanation, drawn: int) -> None:
    who = "unknown; its likeness to" if found.is_unknown else "what the answer rests on:"
    text = f"{label_of(Path(found.path).name)}: {who} {label_of(found.source)}, log-likelihood ratio {found.llr:.1f} (natural)\n"
    more = f", of {len(found.windows)} explained" if drawn < len(found.windows) else ""
    figure.suptitle(
        f"{text}{drawn} window{'s' * (drawn > 1)} drawn{more}, of {found.num_windows} in the file", x=0.01, ha="left", fontsize=10
    )


def _spectrogram(panel: Axes, window: ExplainedWindow, found: Explanation, *, is_first: bool) -> None:
    rate = found.sample_rate
    samples = window.samples[: round(window.drops.heard_s * rate)].astype(np.float64)  # what follows repeats it
    size = min(512, len(samples))
    hop = max(1, size // 4)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    decibels = 10 * np.log10(np.maximum(power / max(float(power.max()), 1e-30), 10 ** (LOW_DB / 10)))
    hz, seconds = np.fft.rfftfreq(size, 1 / rate), window.start_s + (np.arange(len(frames)) * hop + size / 2) / rate
    panel.pcolormesh(seconds, np.maximum(hz, 1), decibels.T, cmap="Greys", vmin=LOW_DB, vmax=0, shading="nearest", rasterized=True)
    _axis_of_hz(panel, found)
    panel.set_xlim(window.start_s, window.start_s + len(samples) / rate)
    panel.set_xticklabels([])
    if found.absent.any():
        low = found.bands[int(found.absent.argmax())].low
        panel.axhspan(low, found.bands[-1].high, facecolor="none", edgecolor=ABSENT, hatch="////", linewidth=0)
    if len(samples) < len(window.samples):
        panel.set_title("shorter than a window: the system heard it again and again", loc="left", fontsize=8)
    if is_first:
        panel.set_ylabel("frequency, Hz")
    else:
        panel.set_yticklabels([])


def _axis_of_hz(panel: Axes, found: Explanation) -> None:
    low, high = found.bands[0].low, found.bands[-1].high
    panel.set_yscale("log")
    panel.set_ylim(low, high)
    ticks = [tick for tick in TICKS_HZ if low <= tick <= high]
    panel.yaxis.set_major_locator(FixedLocator(ticks))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.set_yticklabels([f"{tick:,}" for tick in ticks])


def _bars(panel: Axes, found: Explanation) -> None:
    """Two bars within each band, one a filling; an absent band is hatched, one where the fillings disagree has a mark."""
    edges = np.array([[band.low, band.high] for band in found.bands])
    logs = np.log(edges)
    for number, filling in enumerate(FILLINGS):
        colour, label = STYLES[filling]
        inner = np.exp(logs[:, [0]] + np.diff(logs, axis=1) * np.array([[0.08, 0.5]] if number else [[0.5, 0.92]]))
        drops = found.band_drops[number]
        known = np.isfinite(drops)
        panel.barh(inner[known, 0], drops[known], inner[known, 1] - inner[known, 0], align="edge", color=colour, label=label, linewidth=0)
    low, high = _span([found.band_drops[:, ~found.absent]]) if not found.absent.all() else (0.0, 1.0)
    room = 0.12 * (high - low)
    panel.set_xlim(low - (room if low < 0 else 0.02 * (high - low)), high + room)
    for number, band in enumerate(found.bands):
        if found.absent[number]:
            panel.axhspan(band.low, band.high, facecolor="none", edgecolor=ABSENT, hatch="////", linewidth=0)
        elif found.disagrees[number]:
            panel.plot([high + 0.6 * room], [np.sqrt(band.low * band.high)], marker="D", markersize=3.5, color="black", linestyle="none")
    if found.absent.any():
        low_hz = found.bands[int(found.absent.argmax())].low
        panel.text(high, np.sqrt(low_hz * found.bands[-1].high), "absent", ha="right", va="center", fontsize=8, backgroundcolor="white")
    panel.axvline(0, color="black", linewidth=0.8)
    _axis_of_hz(panel, found)
    panel.set_yticklabels([])
    panel.set_title("without this band\nthe LLR falls by", loc="left")
    panel.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.07))


def _strip(panel: Axes, window: ExplainedWindow, limits: tuple[float, float], *, is_first: bool) -> None:
    """Over the middle of each stretch; a line a filling, told apart by marks as well."""
    drops = window.drops
    middles = window.start_s + drops.stretch_starts_s + drops.stretch_s / 2
    for number, (filling, mark) in enumerate(zip(FILLINGS, "os", strict=True)):
        panel.plot(middles, drops.stretch_drops[number], color=STYLES[filling][0], marker=mark, markersize=2.8, linewidth=1.1)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set(xlim=(window.start_s, window.start_s + window.drops.heard_s), ylim=limits, xlabel="time in the file, s")
    if is_first:
        panel.set_ylabel(f"without these\n{drops.stretch_s:.2g} s it falls by")
    else:
        panel.set_yticklabels([])


def _words(panel: Axes) -> None:
    panel.axis("off")
    text = "◆ the two fillings disagree:\n   what stands in place decides\nBelow 0: this piece spoke\n   against the answer"
    panel.text(0, 0.42, text, fontsize=8, va="center", transform=panel.transAxes)
