"""A sound with a piece taken away: a band or a stretch of time, weakened by 50 dB or filled with noise as loud as what is beside it.

All of it happens to the waveform, so that any front-end can be asked what it makes of the rest.

Shapes: N samples of a window, B bands, T stretches, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import uniform_filter1d

from sourcetracing.explanation.bands import Band, bins_of

FILLINGS = ("removed", "noise")  # the order of the first axis wherever there are both
DEPTH_DB = 50.0  # what is removed is left so much weaker: digital silence is what no recording has, and systems startle at it
LEFT = 10 ** (-DEPTH_DB / 20)
SMOOTHING_S = 0.02  # of the level that noise follows over time
RAMP_S = 0.01  # over which a stretch begins and ends


class Bands:
    """The bands of one window (N,), each by itself, and the noise that may take its place. generator: of that noise.

    Bands are cut by bins of the spectrum of the whole window: they add up to the sound, without a change of phase.
    """

    def __init__(self, window: np.ndarray, bands: Sequence[Band], sample_rate: int, generator: np.random.Generator):
        self.window, self.rate, self.bands = window.astype(np.float64), sample_rate, bands
        self.bins = bins_of(bands, len(window), sample_rate)
        spectrum = np.fft.rfft(self.window)
        self.power = np.abs(spectrum) ** 2
        self.parts = self._banded(spectrum[None])
        self.noises = self._noises(generator)

    def without(self, numbers: Sequence[int], filling: Sequence[str]) -> np.ndarray:
        """(N,) float32, some bands occluded, each with a filling of its own (FILLINGS)."""
        changed = self.window.copy()
        for number, how in zip(numbers, filling, strict=True):
            changed -= (1 - LEFT) * self.parts[number]
            if how == "noise":
                changed += self.noises[number]
        return changed.astype(np.float32)

    def _banded(self, spectra: np.ndarray) -> np.ndarray:
        """(B, N) from one spectrum (1, K) or one for each band (B, K)."""
        return np.fft.irfft(spectra * self.bins, n=len(self.window), axis=-1)

    def _noises(self, generator: np.random.Generator) -> np.ndarray:
        """(B, N) noise within each band that follows the level, per hertz, of the bands beside it.

        Not its own level: then a band that is empty where others are not, which may be what a source is known by, would stay so.
        """
        widths = np.maximum(self.bins.sum(axis=1), 1) * self.rate / len(self.window)  # Hz
        density = np.stack([_smoothed(part**2, width, self.rate) / width for part, width in zip(self.parts, widths, strict=True)])
        beside = _beside(density, self.bins.any(axis=1))
        white = np.fft.rfft(generator.normal(size=len(self.window)))
        modulated = np.sqrt(beside) * self._banded(white[None])
        noises = self._banded(np.fft.rfft(modulated, axis=-1))
        wanted, made = (beside.mean(axis=-1) * widths), np.mean(noises**2, axis=-1)
        return noises * np.sqrt(np.divide(wanted, made, out=np.zeros_like(made), where=made > 0))[:, None]


def _smoothed(power: np.ndarray, width_hz: float, rate: int) -> np.ndarray:
    """Mean over SMOOTHING_S, or as long as a band of this width needs to change."""
    return np.maximum(uniform_filter1d(power, max(1, round(rate * max(SMOOTHING_S, 1 / width_hz))), mode="reflect"), 0)


def _beside(values: np.ndarray, is_there: np.ndarray) -> np.ndarray:
    """(B, N) for each the mean of the nearest ones before and after that are there; 0 where there is none."""
    places, found = np.flatnonzero(is_there), np.zeros_like(values)
    for number in range(len(values)):
        below, above = places[places < number][-1:], places[places > number][:1]
        if len(near := [*below, *above]):
            found[number] = values[near].mean(axis=0)
    return found


class Stretches:
    """Stretches of time of one window (N,). heard: how many samples of it are of the file, which repeats from there on.

    A stretch of a window that repeats is occluded wherever it comes again. starts, size: samples.
    """

    def __init__(self, window: np.ndarray, heard: int, stretch_s: float, sample_rate: int, generator: np.random.Generator):
        self.window, self.heard, self.rate = window.astype(np.float64), heard, sample_rate
        self.size = max(1, min(round(stretch_s * sample_rate), heard // 4))
        self.starts = _starts(heard, self.size)
        phases = np.exp(2j * np.pi * generator.random(len(window) // 2 + 1))
        noise = np.fft.irfft(np.abs(np.fft.rfft(self.window)) * phases, n=len(window))
        level = np.sqrt(np.mean(noise**2))
        self.noise = noise / level if level else noise  # of the window's own long-term spectrum

    def without(self, number: int, filling: str) -> np.ndarray:
        """(N,) float32 with a stretch occluded (FILLINGS): noise is as loud as half a stretch on either side."""
        mask = self._mask(number)
        changed = self.window * (1 - (1 - LEFT) * mask)
        if filling == "noise":
            changed = changed + self._level_beside(number) * mask * self.noise
        return changed.astype(np.float32)

    def _mask(self, number: int) -> np.ndarray:
        ramp = min(round(RAMP_S * self.rate), self.size // 4)
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / max(ramp, 1))
        once = np.zeros(self.heard)
        once[self.starts[number] : self.starts[number] + self.size] = np.concatenate([rise, np.ones(self.size - 2 * ramp), rise[::-1]])
        return np.resize(once, len(self.window))

    def _level_beside(self, number: int) -> float:
        start, reach = self.starts[number], max(1, self.size // 2)
        sides = self.window[max(start - reach, 0) : start], self.window[start + self.size : min(start + self.size + reach, self.heard)]
        return float(np.sqrt(np.mean([np.mean(side**2) for side in sides if len(side)]))) if any(map(len, sides)) else 0.0


def _starts(heard: int, size: int) -> np.ndarray:
    """Every half a stretch, and one that ends with the sound."""
    starts = np.arange(0, heard - size + 1, max(1, size // 2))
    return starts if starts[-1] + size == heard else np.append(starts, heard - size)
