"""Long-term spectra of files and of groups: what a picture can show of how generators sound different."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sourcetracing.audio.streaming import open_trimmed
from sourcetracing.settings.frontends import Audio

WINDOW = 256  # samples, 16 ms at 16 kHz
NUM_BINS = WINDOW // 2 + 1  # up to half of audio.sample_rate
LEAST_SHARE = 1e-9  # of the power: -90 dB, below what 16 bits hold of speech


def long_term_spectrum(path: Path, rules: Audio) -> np.ndarray:
    """(NUM_BINS,) the share of a file's power in each bin, in dB (Welch, Hann windows); nan of a file shorter than a window.

    Raises `BadAudio`.
    """
    from scipy.signal import welch

    power = np.zeros(NUM_BINS)
    with open_trimmed(path, rules) as (_, blocks):
        for block in blocks:
            if len(block) >= WINDOW:
                power += len(block) * welch(block, nperseg=WINDOW, detrend=False)[1].astype(np.float64)
    if not power.any():
        return np.full(NUM_BINS, np.nan)
    return 10 * np.log10(np.maximum(power / power.sum(), LEAST_SHARE))


def mean_spectrum(spectra: Sequence[np.ndarray]) -> np.ndarray:
    """(NUM_BINS,) mean of decibels, so that loud files count no more than others; nan without any."""
    known = [spectrum for spectrum in spectra if not np.isnan(spectrum).any()]
    return np.mean(known, axis=0) if known else np.full(NUM_BINS, np.nan)
