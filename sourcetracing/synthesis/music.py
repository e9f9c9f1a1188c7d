"""Music for augmentation: a chord progression with a melody, on plucked strings or on an additive organ; (T,) float32 at 16 kHz."""

from __future__ import annotations

import numpy as np

from sourcetracing.synthesis.soundscapes import at_peak

SAMPLE_RATE = 16000  # Hz
INSTRUMENTS = ("plucked", "additive")
_PROGRESSIONS = ((0, 5, 3, 4), (0, 3, 4, 0), (0, 5, 1, 4), (5, 3, 0, 4))  # steps of the scale
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))  # major, minor; semitones


def make_music(instrument: str, num_samples: int, draw: np.random.Generator) -> np.ndarray:
    """A piece in a random key and tempo, peak 0.5. `instrument`: one of `INSTRUMENTS`."""
    play = _plucked if instrument == "plucked" else _additive
    beat = int(SAMPLE_RATE * 60 / draw.uniform(70, 140))
    scale, progression = _SCALES[draw.integers(2)], _PROGRESSIONS[draw.integers(len(_PROGRESSIONS))]
    root_hz = 110 * 2 ** (draw.integers(0, 12) / 12)
    timbre = np.random.default_rng(draw.integers(1 << 60))
    made = np.zeros(num_samples + 8 * beat)
    notes: dict[tuple[int, int], np.ndarray] = {}  # a note is rendered once
    for number in range(num_samples // beat + 1):
        step = progression[number // 4 % 4]
        chord = [(step + third, 4) for third in (0, 2, 4)] if number % 4 == 0 else []
        melody = [(step + 7 + int(draw.integers(0, 7)), 2)] if draw.random() < 0.8 else []
        for degree, beats in chord + melody:
            if (degree, beats) not in notes:
                semitones = 12 * (degree // 7) + scale[degree % 7]
                notes[degree, beats] = play(root_hz * 2 ** (semitones / 12), beats * beat, timbre)
            note = notes[degree, beats]
            made[number * beat : number * beat + len(note)] += draw.uniform(0.5, 1) * note
    return at_peak(made[:num_samples])


def _plucked(pitch_hz: float, num_samples: int, draw: np.random.Generator) -> np.ndarray:
    """Karplus & Strong 1983: a burst of noise in a delay line with averaging, one period at a time."""
    period = max(2, round(SAMPLE_RATE / pitch_hz))
    string, decay = draw.uniform(-1, 1, period), 0.996
    periods = np.empty((num_samples // period + 1, period))
    for row in periods:
        row[:] = string
        string = decay * 0.5 * (string + np.roll(string, 1))
    return _faded(periods.reshape(-1)[:num_samples])


def _additive(pitch_hz: float, num_samples: int, draw: np.random.Generator) -> np.ndarray:
    """Harmonics with their own strengths and decays, and a soft attack."""
    times = np.arange(num_samples) / SAMPLE_RATE
    made = np.zeros(num_samples)
    for harmonic in range(1, min(12, int(SAMPLE_RATE / 2 / pitch_hz))):
        strength = draw.uniform(0.2, 1) / harmonic
        made += strength * np.exp(-times * draw.uniform(0.5, 3)) * np.sin(2 * np.pi * harmonic * pitch_hz * times)
    return _faded(made * np.minimum(1, times / 0.02))


def _faded(note: np.ndarray) -> np.ndarray:
    length = min(len(note), SAMPLE_RATE // 50)
    note[-length:] *= np.linspace(1, 0, length)
    return note
