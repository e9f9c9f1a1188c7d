"""Cures for what the shortcut audit finds (script 11): silence at both ends, bandwidth, level. Off unless settings of `audio` ask for them.

    whole file ─► trimmed ─► crop, window or whole ─► shaped: band limit, then level ─► noise, reverb, codec ─► shaped again

`trimmed` is of the whole file, for only that tells how loud its loudest frame is; `load_utterance` does it for all who read whole files,
`open_trimmed` for a stream, in two passes. `shaped` is of exactly what a network gets: a crop, a window of a traced file, a whole file
where layers are averaged over it. So no input tells a level, whichever part of a file it is; a window of a file of hours is shaped as a
training row was; and memory does not grow with the file. SNRs refer to the shaped clean signal, hence are the same for a quiet and a loud
source; what is added is not limited by itself: the mixture is, and brought to the same level again.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft

from sourcetracing.audio.silence import Frames, first_loud, last_loud
from sourcetracing.settings.frontends import Audio

TRANSITION_HZ = 200.0  # below audio.band_limit_hz: what lies under it passes, what lies above is gone
STOP_DB = 120.0  # so much weaker is what was above: below what 16 bits hold, and what the audit still hears (100 dB)
LEAST_AMPLITUDE = 1e-6  # -120 dBFS: silence is not made loud


def trimmed(waveform: np.ndarray, rules: Audio, rate: int) -> np.ndarray:
    """A whole file (samples,) at `rate` Hz without the silence at its ends, by audio.trim_silence_db; the same array where that is 0."""
    if not rules.trim_silence_db:
        return waveform
    frames = Frames(rate)
    frames.add(waveform)
    start, stop = frames.loud_part(rules.trim_silence_db)
    kept, quiet = waveform[start:stop], frames.quiet(rules.trim_silence_db)
    last_frame = kept[-frames.size :]
    return kept[first_loud(kept[: frames.size], quiet) : len(kept) - len(last_frame) + last_loud(last_frame, quiet) + 1]


def shaped(waveforms: np.ndarray, rules: Audio, rate: int | None = None) -> np.ndarray:
    """What a network gets, (samples,) or (rows, samples) float32 at `rate` Hz (None: audio.sample_rate): band-limited, then levelled.

    The same array where both are off. Each row is a waveform of its own, and computed alone: it does not depend on its neighbours.
    """
    if not rules.band_limit_hz and rules.normalize == "none":
        return waveforms
    if waveforms.ndim > 1:
        return np.stack([shaped(row, rules, rate) for row in waveforms])
    if rules.band_limit_hz:
        waveforms = band_limited(waveforms, rules.band_limit_hz, rate or rules.sample_rate)
    return waveforms if rules.normalize == "none" else levelled(waveforms, rules.normalize, rules.target_dbfs)


def band_limited(waveform: np.ndarray, limit_hz: float, rate: int) -> np.ndarray:
    """(samples,) without anything above `limit_hz`, not delayed: a symmetric filter, silence assumed around. Unchanged at a lower rate."""
    if limit_hz >= rate / 2:
        return waveform
    taps = low_pass(limit_hz, rate)
    size = scipy.fft.next_fast_len(len(waveform) + len(taps) - 1, real=True)
    spectrum = scipy.fft.rfft(waveform, size)
    spectrum *= scipy.fft.rfft(taps, size)
    half = len(taps) // 2
    return scipy.fft.irfft(spectrum, size, overwrite_x=True)[half : half + len(waveform)]


@lru_cache(maxsize=8)
def low_pass(limit_hz: float, rate: int) -> np.ndarray:
    """(taps,) float32, odd and symmetric: Kaiser's window on a sinc, by his formulas for STOP_DB and TRANSITION_HZ."""
    half = int(np.ceil((STOP_DB - 7.95) / (2.285 * 2 * np.pi * TRANSITION_HZ / rate) / 2))
    cutoff = (limit_hz - TRANSITION_HZ / 2) / rate
    taps = 2 * cutoff * np.sinc(2 * cutoff * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, 0.1102 * (STOP_DB - 8.7))
    return (taps / taps.sum()).astype(np.float32)


def levelled(waveform: np.ndarray, measure: str, target_dbfs: float) -> np.ndarray:
    """(samples,) whose root mean square, or peak, is `target_dbfs` below full scale. Not clipped; silence stays as it is."""
    amplitude = float(np.sqrt(np.square(waveform, dtype=np.float64).mean())) if measure == "rms" else float(np.abs(waveform).max())
    return waveform * np.float32(10 ** (target_dbfs / 20) / amplitude) if amplitude > LEAST_AMPLITUDE else waveform
