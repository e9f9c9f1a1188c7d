"""What the answer for one file rests on: some of its windows, heard again without each band and each stretch of time.

Shapes: W windows, F fillings, B bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sourcetracing.audio.streaming import Windows, open_trimmed
from sourcetracing.errors import UserError
from sourcetracing.explanation.bands import Band, third_octaves
from sourcetracing.explanation.drops import Drops, Judge, Occluded, disagree, drops_of, importance, num_rows, stretches_of
from sourcetracing.runtime.progress import bar
from sourcetracing.runtime.seeding import rng
from sourcetracing.tracing.tracer import FileTrace, Tracer


@dataclass(frozen=True)
class ExplainedWindow:
    """A window (N,) as the system gets it, where it begins in the file, and what its answer loses."""

    start_s: float
    samples: np.ndarray
    drops: Drops


@dataclass(frozen=True)
class Explanation:
    """Of a file. source: the likeliest of the known ones, which the LLRs are for; limit_hz: above it the file has nothing by its rate.

    num_windows: of the file that are not silent; of those `windows` were explained. how_chosen: in words; "" = all of them were.
    """

    path: str
    source: str
    is_unknown: bool | None
    bands: list[Band]
    windows: list[ExplainedWindow]
    num_windows: int
    sample_rate: int
    limit_hz: float
    how_chosen: str

    @property
    def llr(self) -> float:
        """Mean over the explained windows."""
        return float(np.mean([window.drops.llr for window in self.windows]))

    @property
    def absent(self) -> np.ndarray:
        """(B,) absent in every window."""
        return np.all([window.drops.absent for window in self.windows], axis=0)

    @property
    def band_drops(self) -> np.ndarray:
        """(F, B) means over the windows that have the band; nan where none has."""
        stacked = np.stack([window.drops.band_drops for window in self.windows])
        there = ~np.isnan(stacked)
        counts = there.sum(axis=0)
        return np.where(counts, np.nansum(stacked, axis=0) / np.maximum(counts, 1), np.nan)

    @property
    def importance(self) -> np.ndarray:
        """(B,) `importance` of the means."""
        return importance(self.band_drops)

    @property
    def disagrees(self) -> np.ndarray:
        """(B,) whether the two fillings tell different things."""
        return disagree(self.band_drops)


def explain_file(tracer: Tracer, result: FileTrace) -> Explanation:
    """Reads the file again. Raises `UserError` for a system of a single source, `BadAudio` when the file has changed."""
    system, settings = tracer.system, tracer.system.settings
    if len(system.classes) < 2:
        raise UserError("of a single source there is no alternative, and nothing that speaks for it")
    number = int(result.probabilities.argmax())
    apart = windows_apart(result.starts_s, tracer.audio.crop_seconds)
    chosen = drawn(apart, settings.explain.windows, settings.seed, Path(result.path).name)
    bands = third_octaves(settings.explain.lowest_hz, tracer.audio.sample_rate)
    windows, heard_s, rate = _read(tracer, result, chosen)
    limit_hz = min(rate / 2, tracer.audio.band_limit_hz or np.inf)
    heard = min(round(heard_s * tracer.audio.sample_rate), system.window_samples)
    judge = Judge(system, tracer.calibration, tracer.trace.batch_windows)
    cut = []
    for start, window in windows:
        key = f"{Path(result.path).name} {start:.4f}"
        cut.append((start, window, Occluded.of(window, bands, limit_hz, key, settings), stretches_of(window, heard, key, settings)))
    with bar(total=sum(num_rows(*pieces) for _, _, *pieces in cut), desc="explain", unit="row") as progress:
        explained = [ExplainedWindow(start, one, drops_of(*pieces, judge, number, progress.update)) for start, one, *pieces in cut]
    return Explanation(
        path=result.path,
        source=system.classes[number],
        is_unknown=result.is_unknown,
        bands=bands,
        windows=explained,
        num_windows=len(result.starts_s),
        sample_rate=tracer.audio.sample_rate,
        limit_hz=limit_hz,
        how_chosen=_how_chosen(len(chosen), len(apart), len(result.starts_s)),
    )


def windows_apart(starts_s: np.ndarray, window_s: float) -> np.ndarray:
    """Positions in `starts_s`, rising, of windows that do not overlap, from the first on."""
    apart, end = list[int](), -np.inf
    for position, start in enumerate(starts_s):
        if start >= end - 1e-6:
            apart.append(position)
            end = start + window_s
    return np.array(apart)


def drawn(positions: np.ndarray, most: int, seed: int, name: str) -> np.ndarray:
    """At most so many of them, rising: all, or a seeded draw."""
    return positions if len(positions) <= most else np.sort(rng(seed, "explain", name, most).choice(positions, most, replace=False))


def _how_chosen(chosen: int, apart: int, every: int) -> str:
    if chosen < apart:
        return f"a seeded draw of {apart} that do not overlap"
    return "those that do not overlap" if chosen < every else ""


def _read(tracer: Tracer, result: FileTrace, chosen: np.ndarray) -> tuple[list[tuple[float, np.ndarray]], float, int]:
    """The chosen windows with their starts in seconds, the file's heard length in seconds, its own rate."""
    rate = tracer.audio.sample_rate
    wanted = np.round(result.starts_s[chosen] * rate).astype(int)
    with open_trimmed(result.path, tracer.audio) as (source, blocks):
        windows = Windows(blocks, tracer.system.window_samples, tracer.hop_samples)
        found = [((blocks.start + start) / rate, window) for start, window in windows if blocks.start + start in wanted]
    return found, windows.num_samples / rate, source.rate
