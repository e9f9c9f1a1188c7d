"""Room responses by the image-source method (Allen & Berkley 1979) in shoebox rooms, in plain NumPy."""

from __future__ import annotations

import numpy as np

SAMPLE_RATE = 16000  # Hz
SPEED_OF_SOUND = 343.0  # m/s
ROOM_SIZES = {  # metres of each side, seconds of reverberation time: the ranges they are drawn from
    "smallroom": ((2.0, 5.0), (2.0, 3.0), (0.10, 0.25)),
    "mediumroom": ((5.0, 12.0), (2.5, 4.0), (0.15, 0.40)),
    "largeroom": ((12.0, 30.0), (3.0, 6.0), (0.25, 0.60)),
}


def make_room(size: str, draw: np.random.Generator) -> tuple[np.ndarray, float]:
    """Sides (3,) in metres and nominal reverberation time in seconds of a room of `ROOM_SIZES`."""
    sides_m, height_m, seconds = ROOM_SIZES[size]
    return np.array([draw.uniform(*sides_m), draw.uniform(*sides_m), draw.uniform(*height_m)]), float(draw.uniform(*seconds))


def room_response(sides_m: np.ndarray, reverberation_seconds: float, draw: np.random.Generator) -> np.ndarray:
    """(T,) float32 at 16 kHz, peak 0.9, for a random place of the microphone and of a talker up to 3 m away."""
    talker, microphone = place_talker(sides_m, draw)
    num_samples = int(reverberation_seconds * SAMPLE_RATE)
    response = np.zeros(num_samples + 1)
    delays, gains = _images(sides_m, talker, microphone, _reflection(sides_m, reverberation_seconds), num_samples - 1)
    whole, part = delays.astype(int), delays % 1
    response += np.bincount(whole, gains * (1 - part), len(response)) + np.bincount(whole + 1, gains * part, len(response))
    response = _without_low_end(response)
    return (0.9 * response / np.abs(response).max()).astype(np.float32)


def place_talker(sides_m: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Talker and microphone (3,) in metres, 0.5 to 3 m apart where the walls leave room for that."""
    microphone = draw.uniform(0.25, 0.75, 3) * sides_m
    direction = draw.standard_normal(3) * (1, 1, 0.3)  # mouths are about as high as microphones
    wanted = microphone + draw.uniform(0.5, 3.0) * direction / np.linalg.norm(direction)
    return np.clip(wanted, 0.1 * sides_m, 0.9 * sides_m), microphone


def _reflection(sides_m: np.ndarray, reverberation_seconds: float) -> float:
    """Wall reflection coefficient that gives the reverberation time by Eyring's formula; flat rooms then decay more slowly, as they do."""
    volume = sides_m.prod()
    surface = 2 * (sides_m[0] * sides_m[1] + sides_m[1] * sides_m[2] + sides_m[0] * sides_m[2])
    absorbed = 1 - np.exp(-0.161 * volume / (surface * reverberation_seconds))
    return float(np.sqrt(1 - absorbed))


def _images(sides_m, talker, microphone, reflection, longest_delay) -> tuple[np.ndarray, np.ndarray]:
    """Delay (samples, fractional) and gain of every image that arrives before the response ends."""
    reach_m = longest_delay / SAMPLE_RATE * SPEED_OF_SOUND
    squares, bounces = [], []
    for side, source, receiver in zip(sides_m, talker, microphone, strict=True):
        order = np.arange(-int(reach_m / side / 2) - 1, int(reach_m / side / 2) + 2)
        offset = np.concatenate([2 * order * side + source, 2 * order * side - source]) - receiver
        squares.append(offset**2)
        bounces.append(np.concatenate([np.abs(2 * order), np.abs(2 * order - 1)]))
    distance = np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2])
    count = bounces[0][:, None, None] + bounces[1][:, None] + bounces[2]
    arrives = distance < reach_m
    distance, count = distance[arrives], count[arrives]
    return distance / SPEED_OF_SOUND * SAMPLE_RATE, reflection**count / distance


def _without_low_end(response: np.ndarray, below_hz: float = 60.0) -> np.ndarray:
    """Images all have one sign and pile up to a constant: take out what lies below the ear's interest."""
    n_fft = 1 << (2 * len(response)).bit_length()
    frequency_hz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    gain = np.clip(frequency_hz / below_hz - 0.5, 0, 1)
    return np.fft.irfft(np.fft.rfft(response, n_fft) * gain, n_fft)[: len(response)]
