"""Short-time analysis shared by the vocoders: frames, overlap-add, STFT, pitch. NumPy and SciPy, float32: SciPy's transforms
of many rows are two to five times as fast as NumPy's."""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view


def hann(length: int) -> np.ndarray:
    """Periodic Hann window (length,); its square sums to a constant at hops of a quarter length."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def split_frames(x: np.ndarray, window_length: int, hop: int) -> np.ndarray:
    """(T,) to (frames, window_length); frame i is centred at sample i * hop (reflected at both ends)."""
    padded = np.pad(x, window_length // 2, mode="reflect")
    padded = np.pad(padded, (0, -(len(padded) - window_length) % hop))
    return sliding_window_view(padded, window_length)[::hop]


def overlap_add(frames: np.ndarray, hop: int, num_samples: int, lead: int | None = None) -> np.ndarray:
    """(frames, window_length) to (num_samples,): the inverse of `split_frames`; the window length is a multiple of the hop.

    `lead`: samples of the first frame before time 0; None = half of them.
    """
    count, length = frames.shape
    assert length % hop == 0, "overlap-add wants a window of whole hops"
    num_parts = length // hop
    summed = np.zeros((count + num_parts - 1, hop), frames.dtype)
    for part in range(num_parts):
        summed[part : part + count] += frames[:, part * hop : (part + 1) * hop]
    lead = length // 2 if lead is None else lead
    return summed.reshape(-1)[lead : lead + num_samples]


def stft(x: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """(T,) float32 to (frames, n_fft // 2 + 1) complex64, Hann window."""
    return scipy.fft.rfft(split_frames(x, n_fft, hop) * hann(n_fft), axis=1)


def istft(spectrum: np.ndarray, n_fft: int, hop: int, num_samples: int) -> np.ndarray:
    """Least-squares inverse of `stft` (Griffin & Lim 1984, eq. 6)."""
    frames = scipy.fft.irfft(spectrum, n_fft, axis=1) * hann(n_fft)
    return overlap_add(frames, hop, num_samples) / _window_power(len(frames), n_fft, hop, num_samples)


@functools.lru_cache(maxsize=2)  # the same again in every iteration of Griffin-Lim
def _window_power(num_frames: int, n_fft: int, hop: int, num_samples: int) -> np.ndarray:
    return overlap_add(np.broadcast_to(hann(n_fft) ** 2, (num_frames, n_fft)), hop, num_samples) + np.float32(1e-8)


def mel_matrix(num_mels: int, n_fft: int, sample_rate: int) -> np.ndarray:
    """(num_mels, n_fft // 2 + 1) triangular filters, evenly spaced in HTK mel from 0 to half the sample rate."""
    top_mel = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, num_mels + 2) / 2595) - 1)
    bins_hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def track_pitch(x: np.ndarray, sample_rate: int, hop: int, voiced_above: float = 0.45) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz and voicing (bool), one each per hop: the peak of the autocorrelation of 40 ms between 65 and 400 Hz."""
    length = int(0.04 * sample_rate)
    frames = split_frames(x, length, hop) * hann(length)
    n_fft = 1 << (2 * length - 1).bit_length()
    correlation = scipy.fft.irfft(np.abs(scipy.fft.rfft(frames, n_fft, axis=1)) ** 2, axis=1)
    window = scipy.fft.irfft(np.abs(scipy.fft.rfft(hann(length), n_fft)) ** 2)
    shortest, longest = sample_rate // 400, min(sample_rate // 65, length - 1)
    normalised = correlation[:, shortest:longest] / (correlation[:, :1] + 1e-9) * (window[0] / window[shortest:longest])
    normalised *= np.linspace(1.0, 0.9, normalised.shape[1])  # of two octaves equally good take the higher
    best = normalised.argmax(axis=1)
    loud = correlation[:, 0] > 1e-3 * correlation[:, 0].max()
    return sample_rate / (best + shortest), (normalised.max(axis=1) > voiced_above) & loud


def excitation(
    pitch_hz: np.ndarray, voiced: np.ndarray, hop: int, num_samples: int, sample_rate: int, draw: np.random.Generator
) -> np.ndarray:
    """(num_samples,) of unit power: pulses at the pitch where voiced, white noise elsewhere."""
    at_samples = np.arange(num_samples)
    pitch = np.interp(at_samples, np.arange(len(pitch_hz)) * hop, pitch_hz)
    is_voiced = voiced[np.minimum(at_samples // hop, len(voiced) - 1)]
    phase = np.cumsum(pitch / sample_rate)
    pulses = np.diff(np.floor(phase), prepend=0) * np.sqrt(sample_rate / pitch)
    return np.where(is_voiced, pulses, draw.standard_normal(num_samples)).astype(np.float32)
