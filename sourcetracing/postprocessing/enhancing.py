"""Denoising."""

from __future__ import annotations

from functools import cache

import numpy as np

from sourcetracing.audio.codecs import filtered, fitted
from sourcetracing.postprocessing.lags import LONGEST_SECONDS, lateness, probe_of
from sourcetracing.postprocessing.operations import Sound

FRAME_SECONDS = 0.02
QUIETEST = 10  # per cent of the frames: what they hold is taken for noise
FLOORS_DB = (-80.0, -20.0)  # what afftdn takes


def denoised(waveform: np.ndarray, sound: Sound, *, strength_db: float) -> np.ndarray:
    """ffmpeg's afftdn, told the noise of the quietest frames (its own guess: -50 dB). As long, and in step. Raises `FfmpegError`."""
    tailed = np.pad(waveform, (0, round(LONGEST_SECONDS * sound.rate)))
    filters = f"afftdn=nr={strength_db:g}:nf={noise_floor_db(waveform, sound.rate):.1f}"
    return fitted(filtered(tailed, sound.rate, filters)[_lag(sound.rate) :], len(waveform))


def noise_floor_db(waveform: np.ndarray, rate: int) -> float:
    """The level in dB relative to full scale that a tenth of the frames stay below, within FLOORS_DB."""
    size = round(FRAME_SECONDS * rate)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    powers = np.square(frames, dtype=np.float64).mean(axis=1) if len(frames) else np.zeros(1)
    return float(np.clip(10 * np.log10(np.percentile(powers, QUIETEST) + 1e-12), *FLOORS_DB))


@cache
def _lag(rate: int) -> int:
    return lateness(filtered(probe_of(rate), rate, "afftdn"), probe_of(rate), rate)
