"""Noises for augmentation: coloured noise, hum, clicks, traffic and rain, each (T,) float32 at 16 kHz."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SAMPLE_RATE = 16000  # Hz


def make_noise(kind: str, num_samples: int, draw: np.random.Generator) -> np.ndarray:
    """One of `NOISES`, peak 0.5."""
    return at_peak(NOISES[kind](num_samples, draw))


def at_peak(x: np.ndarray, peak: float = 0.5) -> np.ndarray:
    """(T,) float32 scaled to a peak."""
    return (x * (peak / (np.abs(x).max() + 1e-12))).astype(np.float32)


def coloured_noise(num_samples: int, draw: np.random.Generator, exponent: float | None = None) -> np.ndarray:
    """Gaussian noise whose power falls as 1 / f^exponent (0 white, 2 brown; drawn when not given), flat below 30 Hz."""
    exponent = draw.uniform(1.2, 2.2) if exponent is None else exponent
    n_fft = 1 << (num_samples - 1).bit_length()
    frequency_hz = np.maximum(np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE), 30.0)
    spectrum = np.fft.rfft(draw.standard_normal(n_fft, np.float32)) * (frequency_hz ** (-exponent / 2)).astype(np.float32)
    return np.fft.irfft(spectrum, n_fft)[:num_samples]


def _unit(x: np.ndarray) -> np.ndarray:
    return x / (x.std() + 1e-12)


def _slow(num_samples: int, draw: np.random.Generator, seconds: float) -> np.ndarray:
    """A smooth random course between 0 and 1 that changes about every `seconds`."""
    knots = draw.random(int(num_samples / SAMPLE_RATE / seconds) + 3)
    position = np.arange(num_samples) / (seconds * SAMPLE_RATE) + draw.random()
    index, weight = position.astype(int), 0.5 - 0.5 * np.cos(np.pi * (position % 1))
    return (1 - weight) * knots[index] + weight * knots[index + 1]


def _hum(num_samples: int, draw: np.random.Generator) -> np.ndarray:
    """Mains hum: harmonics of 50 or 60 Hz that fade, in a little noise."""
    mains_hz, times = draw.choice([50.0, 60.0]), np.arange(num_samples) / SAMPLE_RATE
    tone = np.zeros(num_samples)
    for harmonic in range(1, 25):
        strength = draw.uniform(0.3, 1) / harmonic**0.7
        tone += strength * np.cos(2 * np.pi * harmonic * mains_hz * times + draw.uniform(0, 2 * np.pi))
    return _unit(tone * (0.8 + 0.2 * _slow(num_samples, draw, 2.0))) + 0.1 * _unit(coloured_noise(num_samples, draw, 1.5))


def _clicks(num_samples: int, draw: np.random.Generator) -> np.ndarray:
    """Knocks and clicks: decaying resonances at random times, in a little noise."""
    made = 0.05 * _unit(coloured_noise(num_samples, draw, 1.5))
    length = SAMPLE_RATE // 5
    times = np.arange(length) / SAMPLE_RATE
    for start in draw.integers(0, max(1, num_samples - length), draw.poisson(num_samples / SAMPLE_RATE * 3) + 1):
        ring = np.exp(-times * draw.uniform(30, 200)) * np.sin(2 * np.pi * draw.uniform(300, 4000) * times)
        stop = min(num_samples, start + length)
        made[start:stop] += (draw.uniform(0.3, 1) * ring)[: stop - start]
    return made


def _traffic(num_samples: int, draw: np.random.Generator) -> np.ndarray:
    """Rumble, and cars that pass: noise and engine tones that rise and fall."""
    made = _unit(coloured_noise(num_samples, draw, 2.0))
    times = np.arange(num_samples) / SAMPLE_RATE
    for passing_at in draw.uniform(0, times[-1], draw.poisson(times[-1] / 4) + 1):
        near = np.exp(-(((times - passing_at) / draw.uniform(0.6, 2)) ** 2))
        engine = np.sin(2 * np.pi * draw.uniform(60, 140) * times + 0.8 * np.sin(2 * np.pi * draw.uniform(15, 30) * times))
        made += near * (2 * _unit(coloured_noise(num_samples, draw, 1.5)) + engine)
    return made


def _rain(num_samples: int, draw: np.random.Generator) -> np.ndarray:
    """Hiss with drops: short bursts, hundreds a second, through the strength of the shower."""
    drops = draw.standard_normal(num_samples) * (draw.random(num_samples) < 0.02) * draw.random(num_samples) ** 3
    fade = np.exp(-np.arange(64) / draw.uniform(4, 16)) * draw.standard_normal(64)
    pattering = _unit(np.convolve(drops, fade)[:num_samples])
    return (pattering + 0.4 * _unit(coloured_noise(num_samples, draw, 1.0))) * (0.5 + 0.5 * _slow(num_samples, draw, 3.0))


NOISES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "coloured": coloured_noise,
    "hum": _hum,
    "clicks": _clicks,
    "traffic": _traffic,
    "rain": _rain,
}
