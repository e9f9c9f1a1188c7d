"""Reverberation in drawn rooms."""

from __future__ import annotations

import numpy as np
import scipy.signal

from sourcetracing.audio.reading import resample
from sourcetracing.postprocessing.operations import Sound
from sourcetracing.synthesis import rooms


def reverberated(waveform: np.ndarray, sound: Sound, *, size: str) -> np.ndarray:
    """In a room (image-source method) and at a place in it that are drawn; as long, as loud and in step with the direct sound."""
    sides_m, seconds = rooms.make_room(f"{size}room", sound.draw)
    response = resample(rooms.room_response(sides_m, seconds, sound.draw), rooms.SAMPLE_RATE, sound.rate)
    wet = scipy.signal.fftconvolve(waveform, response)[_arrival(response) :][: len(waveform)]
    power, dry_power = (np.square(samples, dtype=np.float64).mean() for samples in (wet, waveform))
    return wet * np.sqrt(dry_power / power) if power > 0 else waveform


def _arrival(response: np.ndarray) -> int:
    """The first sample that is no weaker than half of the strongest: the direct sound comes first, a sum of reflections may be stronger."""
    amplitude = np.abs(response)
    return int(np.argmax(amplitude >= 0.5 * amplitude.max()))
