"""Bandwidth: another sampling rate there and back, plain low-passes."""

from __future__ import annotations

import numpy as np

from sourcetracing.audio.codecs import fitted
from sourcetracing.audio.conditioning import band_limited
from sourcetracing.audio.reading import resample
from sourcetracing.postprocessing.operations import Sound


def resampled(waveform: np.ndarray, sound: Sound, *, rate_hz: int) -> np.ndarray:
    """To `rate_hz` and back by soxr HQ; unchanged where that is the rate."""
    return fitted(resample(resample(waveform, sound.rate, rate_hz), rate_hz, sound.rate), len(waveform))


def low_passed(waveform: np.ndarray, sound: Sound, *, cut_hz: float) -> np.ndarray:
    """Without what lies above `cut_hz`, not delayed; unchanged at a rate that has no such."""
    return band_limited(waveform, cut_hz, sound.rate)
