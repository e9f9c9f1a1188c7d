"""The vocoders among the sources: rendered speech in, the same words through a lossy representation out, the same length.

Every function maps (T,) float32 at 16 kHz to (T,). Its keyword arguments are what tells two "checkpoints" apart (`CHECKPOINTS`).
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft

from sourcetracing.synthesis import spectra
from sourcetracing.synthesis.rare_vocoders import channel_vocoder, phase_vocoder, sinusoidal, world
from sourcetracing.synthesis.upsampler import upsampler

SAMPLE_RATE = 16000  # Hz, of everything below


def griffin_lim(x: np.ndarray, draw: np.random.Generator, *, n_fft: int, num_mels: int, num_iterations: int) -> np.ndarray:
    """Phase from mel magnitudes by alternating projections (Griffin & Lim 1984) with momentum (Perraudin et al. 2013, eq. 6)."""
    hop, momentum = n_fft // 4, np.float32(0.9)
    to_mel, from_mel = _mel_pair(num_mels, n_fft)
    magnitude = np.maximum(np.abs(spectra.stft(x, n_fft, hop)) @ to_mel.T @ from_mel.T, 1e-8)
    phase = np.exp(2j * np.pi * draw.random(magnitude.shape, np.float32)).astype(np.complex64)
    previous = np.zeros_like(phase)
    for _ in range(num_iterations):
        projected = spectra.stft(spectra.istft(magnitude * phase, n_fft, hop, len(x)), n_fft, hop)
        phase = projected + momentum * (projected - previous)
        phase *= 1 / (np.abs(phase) + np.float32(1e-12))  # a division would be one of complex numbers
        previous = projected
    return spectra.istft(magnitude * phase, n_fft, hop, len(x))


@functools.lru_cache(maxsize=4)
def _mel_pair(num_mels: int, n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    to_mel = spectra.mel_matrix(num_mels, n_fft, SAMPLE_RATE)
    return to_mel, np.linalg.pinv(to_mel).astype(np.float32)


def lpc_vocoder(x: np.ndarray, draw: np.random.Generator, *, order: int, hop: int) -> np.ndarray:
    """All-pole envelope every hop, excited by pulses or noise (Atal & Hanauer 1971)."""
    length, n_fft = 4 * hop, 1024
    frames = spectra.split_frames(x, length, hop) * spectra.hann(length)
    envelope = _all_pole_envelope(frames, order, n_fft)
    pitch_hz, voiced = spectra.track_pitch(x, SAMPLE_RATE, hop)
    source = spectra.excitation(pitch_hz, voiced, hop, len(x), SAMPLE_RATE, draw)
    source_frames = spectra.split_frames(source, length, hop) * spectra.hann(length)
    shaped = scipy.fft.irfft(scipy.fft.rfft(source_frames, n_fft, axis=1) * envelope, n_fft, axis=1)
    shaped = np.pad(shaped, ((0, 0), (0, -n_fft % hop)))  # longer than the frame: the filter rings on
    return spectra.overlap_add(shaped, hop, len(x), lead=length // 2).astype(np.float32)


def _all_pole_envelope(frames: np.ndarray, order: int, n_fft: int) -> np.ndarray:
    """Complex response gain / A(f), (frames, n_fft // 2 + 1), by the autocorrelation method."""
    power = np.abs(scipy.fft.rfft(frames.astype(np.float64), n_fft, axis=1)) ** 2
    correlation = scipy.fft.irfft(power, axis=1)[:, : order + 1]
    correlation[:, 0] = correlation[:, 0] * (1 + 1e-4) + 1e-9  # a floor at -40 dB keeps the poles inside
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    predictor = np.linalg.solve(correlation[:, lags], correlation[:, 1:, None])[..., 0]
    error = np.maximum(correlation[:, 0] - (predictor * correlation[:, 1:]).sum(axis=1), 1e-12)
    inverse = scipy.fft.rfft(np.concatenate([np.ones((len(frames), 1)), -predictor], axis=1), n_fft, axis=1)
    return (np.sqrt(error / frames.shape[1])[:, None] / inverse).astype(np.complex64)


VOCODERS = {
    "griffin_lim": griffin_lim,
    "lpc_vocoder": lpc_vocoder,
    "world": world,
    "phase_vocoder": phase_vocoder,
    "sinusoidal": sinusoidal,
    "channel_vocoder": channel_vocoder,
    "griffin_lim_8": griffin_lim,
    "griffin_lim_60": griffin_lim,
    "lpc_18": lpc_vocoder,
    "lpc_24": lpc_vocoder,
    "upsampler_160": upsampler,
    "upsampler_200": upsampler,
    "upsampler_256": upsampler,
}


def _twin(**settings: object) -> tuple[dict, dict, tuple[str, ...]]:
    """The same in every language: what tells twins apart is less than what could differ between two checkpoints."""
    return settings, settings, ()


# As "checkpoints" of one system differ between languages: settings, and the languages that have the second ones.
CHECKPOINTS: dict[str, tuple[dict, dict, tuple[str, ...]]] = {
    "griffin_lim": (
        {"n_fft": 1280, "num_mels": 56, "num_iterations": 6},
        {"n_fft": 1024, "num_mels": 48, "num_iterations": 8},
        ("de", "it", "ru"),
    ),
    "lpc_vocoder": ({"order": 12, "hop": 160}, {"order": 16, "hop": 200}, ("de", "fr", "pl")),
    "world": ({"frame_ms": 5.0, "aperiodicity": 1.0}, {"frame_ms": 10.0, "aperiodicity": 0.5}, ("fr", "it", "ru")),
    "phase_vocoder": ({"stretch": 1.25}, {"stretch": 0.8}, ("en", "it", "pl")),
    "sinusoidal": ({"num_peaks": 40, "hop": 160}, {"num_peaks": 60, "hop": 200}, ("de", "it", "pl")),
    "channel_vocoder": ({"num_bands": 24}, {"num_bands": 32}, ("fr", "it", "ru")),
    "griffin_lim_8": _twin(n_fft=1024, num_mels=80, num_iterations=8),
    "griffin_lim_60": _twin(n_fft=1024, num_mels=80, num_iterations=60),
    "lpc_18": _twin(order=18, hop=160),
    "lpc_24": _twin(order=24, hop=160),
    "upsampler_160": _twin(strides=(5, 4, 4, 2), num_bands=32),
    "upsampler_200": _twin(strides=(5, 5, 4, 2), num_bands=32),
    "upsampler_256": _twin(strides=(8, 8, 2, 2), num_bands=32),
}


def vocode(source: str, language: str, x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Speech (T,) at 16 kHz through a vocoder of `VOCODERS` with the settings it has in this language."""
    return VOCODERS[source](x, draw, **checkpoint_settings(source, language))


def checkpoint_settings(source: str, language: str) -> dict:
    """The vocoder settings of a language; empty for a source that is not a vocoder."""
    if source not in CHECKPOINTS:
        return {}
    first, second, languages_of_second = CHECKPOINTS[source]
    return second if language in languages_of_second else first
