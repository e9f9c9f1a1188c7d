"""Vocoders that play the unknown systems of the open-set experiments; same signature as in `vocoders`."""

from __future__ import annotations

import numpy as np

from sourcetracing.errors import UserError
from sourcetracing.synthesis import spectra

SAMPLE_RATE = 16000  # Hz


def world(x: np.ndarray, draw: np.random.Generator, *, frame_ms: float, aperiodicity: float) -> np.ndarray:
    """WORLD analysis and synthesis (Morise et al. 2016). Raises UserError where `pyworld` is not installed."""
    del draw  # WORLD's noise has a fixed seed of its own
    try:
        import pyworld
    except ImportError as error:
        raise UserError("The source `world` needs pyworld. Run: python -m pip install pyworld") from error
    samples = x.astype(np.float64)
    pitch_hz, times = pyworld.harvest(samples, SAMPLE_RATE, f0_floor=65.0, f0_ceil=400.0, frame_period=frame_ms)
    envelope = pyworld.cheaptrick(samples, pitch_hz, times, SAMPLE_RATE)
    noisiness = aperiodicity * pyworld.d4c(samples, pitch_hz, times, SAMPLE_RATE)
    made = pyworld.synthesize(pitch_hz, envelope, noisiness, SAMPLE_RATE, frame_ms)
    return np.pad(made, (0, max(0, len(x) - len(made))))[: len(x)].astype(np.float32)


def phase_vocoder(x: np.ndarray, draw: np.random.Generator, *, stretch: float) -> np.ndarray:
    """Speech read at another speed, brought to length (T,) by a phase vocoder (Flanagan & Golden 1966)."""
    del draw
    n_fft, hop = 1024, 256
    squeezed = _squeeze(_squeeze(x, stretch, n_fft, hop), 1 / stretch, n_fft, hop)
    return np.pad(squeezed, (0, max(0, len(x) - len(squeezed))))[: len(x)].astype(np.float32)


def _squeeze(x: np.ndarray, factor: float, n_fft: int, hop: int) -> np.ndarray:
    """Makes x `factor` times faster at the same pitch: phases advance by the frequency measured between neighbouring frames."""
    spectrum = spectra.stft(x, n_fft, hop)
    positions = np.arange(0, len(spectrum) - 1, factor)
    index, weight = positions.astype(int), (positions % 1)[:, None]
    magnitude = np.abs(spectrum)
    magnitude = (1 - weight) * magnitude[index] + weight * magnitude[index + 1]
    advance = np.angle(spectrum[index + 1] * spectrum[index].conj())
    phase = np.angle(spectrum[0]) + np.concatenate([np.zeros((1, advance.shape[1])), np.cumsum(advance, axis=0)[:-1]])
    made = (magnitude * np.exp(1j * phase)).astype(np.complex64)
    return spectra.istft(made, n_fft, hop, (len(made) - 1) * hop)


def sinusoidal(x: np.ndarray, draw: np.random.Generator, *, num_peaks: int, hop: int) -> np.ndarray:
    """The strongest spectral peaks as sine waves with free phase (McAulay & Quatieri 1986, without peak matching)."""
    length, n_fft = 4 * hop, 2048
    magnitude = np.abs(np.fft.rfft(spectra.split_frames(x, length, hop) * spectra.hann(length), n_fft, axis=1))
    is_peak = np.zeros(magnitude.shape, bool)
    is_peak[:, 1:-1] = (magnitude[:, 1:-1] > magnitude[:, :-2]) & (magnitude[:, 1:-1] >= magnitude[:, 2:])
    peaks = np.where(is_peak, magnitude, 0)
    bins = np.argsort(-peaks, axis=1, kind="stable")[:, :num_peaks]
    heights = np.take_along_axis(peaks, bins, axis=1) / (length / 4)
    start = 2 * np.pi * draw.random(n_fft // 2 + 1)[bins]
    omega = 2 * np.pi * bins / n_fft
    phase = start + omega * (np.arange(len(bins)) * hop)[:, None]  # a sine keeps its phase from frame to frame
    times = np.arange(length) - length // 2
    window = spectra.hann(length) / 2  # at a quarter hop the windows sum to 2
    frames = np.zeros((len(bins), length), np.float32)
    for number in range(num_peaks):
        frames += heights[:, number, None] * np.cos(phase[:, number, None] + omega[:, number, None] * times)
    return spectra.overlap_add(frames * window, hop, len(x))


def channel_vocoder(x: np.ndarray, draw: np.random.Generator, *, num_bands: int) -> np.ndarray:
    """Band envelopes of the speech on bands of pulses or noise (Dudley 1939)."""
    n_fft, hop = 512, 128
    bands = spectra.mel_matrix(num_bands, n_fft, SAMPLE_RATE)
    pitch_hz, voiced = spectra.track_pitch(x, SAMPLE_RATE, hop)
    source = spectra.stft(spectra.excitation(pitch_hz, voiced, hop, len(x), SAMPLE_RATE, draw), n_fft, hop)
    wanted = np.sqrt(np.abs(spectra.stft(x, n_fft, hop)) ** 2 @ bands.T)
    present = np.sqrt(np.abs(source) ** 2 @ bands.T)
    present = (
        np.maximum(present, 0.3 * np.median(present, axis=0)) + 1e-6
    )  # between two slow pulses there is nothing to be amplified: a click
    gain = np.repeat((wanted / present)[::2], 2, axis=0)[: len(wanted)]  # envelopes at half the rate, as slow filters give
    return spectra.istft((source * (gain @ bands)).astype(np.complex64), n_fft, hop, len(x))
