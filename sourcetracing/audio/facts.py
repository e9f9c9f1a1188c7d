"""What a file sounds like in a few numbers, from what the check pass hears of it anyway: level, silence at its ends, bandwidth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sourcetracing.audio.plausibility import Heard

SILENCE_DB = 40.0  # frames that stay so far below the loudest one are silence, as audio.trim_silence_db=40 has it
HIGHEST_FREQUENCY_DB = -70.0  # of the strongest bin, as in the shortcut audit


@dataclass(frozen=True)
class SoundFacts:
    """rms_dbfs of the whole file; silence before and after its loud part; bandwidth_hz: the highest frequency 70 dB or less below the
    strongest. nan: not known, as the bandwidth of a file shorter than a window.
    """

    rms_dbfs: float = math.nan
    leading_silence_s: float = math.nan
    trailing_silence_s: float = math.nan
    bandwidth_hz: float = math.nan


def facts_of(heard: Heard) -> SoundFacts:
    """Of a file that was listened to; rounded to what the figures are worth."""
    frames = heard.frames
    assert frames is not None, "only of a file that was listened to"
    energies = frames.energies()
    if not energies.any():
        return SoundFacts()
    start, stop = frames.loud_part(SILENCE_DB)
    return SoundFacts(
        round(10 * math.log10(_mean(energies, frames.size, heard.num_samples)), 2),
        round(start / heard.rate, 3),
        round((heard.num_samples - stop) / heard.rate, 3),
        _highest_hz(heard),
    )


def _mean(energies: np.ndarray, size: int, num_samples: int) -> float:
    """The mean square; the last frame may be shorter."""
    rest = num_samples - (len(energies) - 1) * size
    return float((energies[:-1].sum(dtype=np.float64) * size + energies[-1] * rest) / num_samples)


def _highest_hz(heard: Heard) -> float:
    power = heard.power
    if power is None or not power.any():
        return math.nan
    reaches = np.flatnonzero(power > power.max() * 10 ** (HIGHEST_FREQUENCY_DB / 10))
    return round(float(reaches[-1]) * heard.rate / (2 * (len(power) - 1)), 1)
