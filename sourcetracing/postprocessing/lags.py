"""By how much a codec or filter is late, measured on a probe that is like nothing but itself."""

from __future__ import annotations

import numpy as np
import scipy.fft

from sourcetracing.runtime.seeding import rng

PROBE_SECONDS = 1.5
LONGEST_SECONDS = 0.15


def lateness(made: np.ndarray, probe: np.ndarray, rate: int) -> int:
    """Samples at `rate` Hz by which `made` is behind the probe: where the two correlate most."""
    size = scipy.fft.next_fast_len(len(probe) + len(made), real=True)
    likeness = scipy.fft.irfft(scipy.fft.rfft(made, size) * np.conj(scipy.fft.rfft(probe, size)), size)
    return int(likeness[: round(LONGEST_SECONDS * rate)].argmax())


def probe_of(rate: int) -> np.ndarray:
    """(samples,) float32: a buzz whose pitch never stays, through a resonance, in bursts; voice enough for codecs of voices."""
    times = np.arange(round(PROBE_SECONDS * rate)) / rate
    pitch_hz = 130 + 40 * np.sin(2 * np.pi * 1.3 * times) + 15 * np.sin(2 * np.pi * 4.7 * times)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate
    tones = sum(np.cos(k * phase) / (1 + abs(k * 130 - 600) / 300) for k in range(1, 20))
    bursts = np.sin(np.pi * (times * 3.1 % 1)) ** 2
    made = bursts * tones + 0.02 * rng("probe of lags").standard_normal(len(times))
    return (0.3 * made / np.abs(made).max()).astype(np.float32)
