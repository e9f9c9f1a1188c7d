"""Tempo, pitch, speed; silence trimmed or added; beginnings. These change the length."""

from __future__ import annotations

import numpy as np
import soxr

from sourcetracing.audio.codecs import filtered, fitted
from sourcetracing.audio.conditioning import trimmed
from sourcetracing.postprocessing.operations import Sound
from sourcetracing.settings.frontends import Audio


def at_tempo(waveform: np.ndarray, sound: Sound, *, percent: float) -> np.ndarray:
    """Faster above 100 %, the pitch kept (ffmpeg's atempo, overlapping waves): 100 / percent as long. Raises `FfmpegError`."""
    return fitted(filtered(waveform, sound.rate, f"atempo={percent / 100:g}"), round(len(waveform) * 100 / percent))


def at_pitch(waveform: np.ndarray, sound: Sound, *, percent: float) -> np.ndarray:
    """Higher above 100 %, formants too, the tempo kept: played faster, then stretched. As long as before. Raises `FfmpegError`."""
    faster = at_speed(waveform, sound, percent=percent)
    return fitted(filtered(faster, sound.rate, f"atempo={100 / percent:.8f}"), len(waveform))


def at_speed(waveform: np.ndarray, sound: Sound, *, percent: float) -> np.ndarray:
    """Played faster above 100 %, pitch and tempo alike: 100 / percent as long."""
    return fitted(soxr.resample(waveform, sound.rate * percent / 100, sound.rate, quality="HQ"), round(len(waveform) * 100 / percent))


def without_silence(waveform: np.ndarray, sound: Sound, *, below_db: float) -> np.ndarray:
    """Without the ends that stay so far below the loudest frame."""
    return trimmed(waveform, Audio(trim_silence_db=below_db), sound.rate)


def with_silence(waveform: np.ndarray, sound: Sound, *, seconds: float) -> np.ndarray:
    """So many seconds of zeros at both ends."""
    return np.pad(waveform, round(seconds * sound.rate))


def beginning(waveform: np.ndarray, sound: Sound, *, seconds: float) -> np.ndarray:
    """The first seconds; a shorter file as it is."""
    return waveform[: round(seconds * sound.rate)]
