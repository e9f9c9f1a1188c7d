"""Gain, and clipping at full scale."""

from __future__ import annotations

import numpy as np

from sourcetracing.postprocessing.operations import Sound


def with_gain(waveform: np.ndarray, _: Sound, *, gain_db: float) -> np.ndarray:
    """Louder or quieter, nothing else: not clipped."""
    return waveform * np.float32(10 ** (gain_db / 20))


def clipped(waveform: np.ndarray, _: Sound, *, over_db: float) -> np.ndarray:
    """Amplified until its peak is `over_db` over full scale, and cut off there."""
    peak = float(np.abs(waveform).max(initial=0.0))
    return np.clip(waveform * np.float32(10 ** (over_db / 20) / peak), -1, 1) if peak > 0 else waveform
