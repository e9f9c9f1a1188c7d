"""Third octaves: which bands there are, which bins each has, and which of them a file has nothing in.

Shapes: B bands, K bins of a real spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EMPTY_DB = -90.0  # below the densest band: less than 16 bits hold of speech
_NEAR_LIMIT = 0.95  # of a rate's half: above, converters let next to nothing through


@dataclass(frozen=True)
class Band:
    """Hz; a bin at `low` belongs to it, one at `high` to the next."""

    low: float
    high: float

    @property
    def text(self) -> str:
        """`2,800–3,500 Hz`, to two digits."""
        return f"{_two_digits(self.low):,}–{_two_digits(self.high):,} Hz"


def _two_digits(hz: float) -> int:
    return int(float(f"{hz:.2g}")) if hz >= 100 else round(hz)


def third_octaves(lowest_hz: float, sample_rate: int) -> list[Band]:
    """From the one in the middle of which `lowest_hz` lies to half of the rate, where the last one ends.

    Middles are 1000 Hz x 10^(n/10), edges 10^(1/20) apart from them (IEC 61260-1, base ten).
    """
    nyquist = sample_rate / 2
    number, bands = round(10 * np.log10(lowest_hz / 1000)), list[Band]()
    while (low := 1000 * 10 ** ((number - 0.5) / 10)) < nyquist:
        bands.append(Band(float(low), float(min(1000 * 10 ** ((number + 0.5) / 10), nyquist))))
        number += 1
    return bands


def ranges_text(bands: Sequence[Band], is_meant: np.ndarray) -> str:
    """`140–220 Hz, 450–8,000 Hz`: the bands that are meant, neighbours joined."""
    numbers = np.flatnonzero(is_meant)
    groups = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []
    return ", ".join(Band(bands[group[0]].low, bands[group[-1]].high).text for group in groups)


def bins_of(bands: Sequence[Band], num_samples: int, sample_rate: int) -> np.ndarray:
    """(B, K) whether a bin of the spectrum of `num_samples` samples belongs to a band; each bin is in one at most.

    The last band has the bin at half of the rate as well.
    """
    hz = np.fft.rfftfreq(num_samples, 1 / sample_rate)
    found = np.stack([(hz >= band.low) & (hz < band.high) for band in bands])
    found[-1] |= hz == bands[-1].high
    return found


def absent_bands(bands: Sequence[Band], power_K: np.ndarray, bins_BK: np.ndarray, limit_hz: float) -> np.ndarray:
    """(B,) the bands at the top that hold nothing: above `limit_hz`, or EMPTY_DB below the densest, as all above it are.

    power_K: of the sound. limit_hz: half of the file's own rate, or where the system cuts (audio.band_limit_hz). A hole between others
    is no absent band: it may be what a source is known by. A band without a bin, as in a short window, is absent too.
    """
    num_bins = bins_BK.sum(axis=1)
    density = (bins_BK @ power_K) / np.maximum(num_bins, 1)
    is_empty = density <= density.max() * 10 ** (EMPTY_DB / 10)
    at_the_top = np.logical_and.accumulate(is_empty[::-1])[::-1]
    is_above = np.array([band.low >= _NEAR_LIMIT * limit_hz for band in bands])
    return at_the_top | is_above | (num_bins == 0)
