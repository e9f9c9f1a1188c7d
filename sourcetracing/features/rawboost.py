"""RawBoost: raw-waveform augmentation by convolutive, impulsive and stationary noise (Tak et al. 2022, arXiv:2111.04433; D58).

Written from the maths. The same draws give what the published code gives, sample for sample: tests/golden/rawboost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.signal

from sourcetracing.errors import UserError
from sourcetracing.settings.frontends import Rawboost

# Anything that draws: ours is a Generator; the fixtures were made with a RandomState.
Draws = np.random.Generator | np.random.RandomState
RESPONSE_POINTS = 512  # of the frequency response that a filter's peak is taken from
BLOCK_SAMPLES = 4096  # of a transform
EDGE_HZ = 0.001  # notches keep so far from 0 and half the sample rate
SERIES = {0: (), 1: (1,), 2: (2,), 3: (3,), 4: (1, 2, 3), 5: (1, 2), 6: (1, 3), 7: (2, 3)}
PARALLEL = 8


def rawboost(waveform: np.ndarray, rate: int, options: Rawboost, draws: Draws) -> np.ndarray:
    """(samples,) at `rate` Hz -> (samples,) by the settings' algorithm; float64 where it filters, else the type it got.

    Raises `UserError` for ranges that are not [least, most].
    """
    check_ranges(options)
    if options.algorithm == PARALLEL:
        return limited(convolutive(waveform, rate, options, draws) + impulsive(waveform, options, draws))
    for step in SERIES[options.algorithm]:
        if step == 1:
            waveform = convolutive(waveform, rate, options, draws)
        elif step == 2:
            waveform = impulsive(waveform, options, draws)
        else:
            waveform = stationary(waveform, rate, options, draws)
    return waveform


def convolutive(waveform: np.ndarray, rate: int, options: Rawboost, draws: Draws) -> np.ndarray:
    """Algorithm 1, linear and non-linear convolutive noise: the sum of filtered powers of the signal, without its mean, peak at most 1.

    Powers above the first get gains that are lower by `bias_db`.
    """
    low_db, high_db = options.gain_db
    filters = []
    for order in range(options.orders):
        least, most = (low_db, high_db) if order == 0 else (low_db - options.bias_db[0], high_db - options.bias_db[1])
        filters.append(draw_filter(rate, options, (least, most), draws))
    boosted = filter_sum(powers(waveform.astype(np.float64), options.orders), filters)
    return limited(boosted - boosted.mean())


def impulsive(waveform: np.ndarray, options: Rawboost, draws: Draws) -> np.ndarray:
    """Algorithm 2, impulsive signal-dependent noise: some samples change by a random part of themselves. Keeps the number type."""
    share = between(0, options.impulse_percent, draws) / 100
    positions = draws.permutation(len(waveform))[: int(len(waveform) * share)]
    first, second = (2 * draws.uniform(size=len(positions)) - 1 for _ in range(2))
    boosted = waveform.copy()
    boosted[positions] += options.impulse_gain * waveform[positions] * (first * second)
    return limited(boosted)


def stationary(waveform: np.ndarray, rate: int, options: Rawboost, draws: Draws) -> np.ndarray:
    """Algorithm 3, stationary signal-independent noise: filtered white noise at an SNR in dB."""
    noise = draws.normal(0, 1, len(waveform))
    noise = filter_sum(noise[None], [draw_filter(rate, options, options.gain_db, draws)])
    snr_db = between(*options.snr_db, draws)
    scale = np.linalg.norm(waveform.astype(np.float64)) / (np.linalg.norm(noise) * 10 ** (snr_db / 20))
    return waveform + scale * noise


def draw_filter(rate: int, options: Rawboost, gain_db: Sequence[float], draws: Draws) -> np.ndarray:
    """Taps of a filter with random notches and a random gain."""
    bands = []
    for _ in range(options.bands):
        center_hz, width_hz = between(*options.center_hz, draws), between(*options.width_hz, draws)
        bands.append((center_hz, width_hz, int(between(*options.taps, draws))))
    return notch_filter(bands, between(*gain_db, draws), rate)


def notch_filter(bands: Sequence[tuple[float, float, int]], gain_db: float, rate: int) -> np.ndarray:
    """Taps (an odd number,) of band-stop filters (centre in Hz, width in Hz, taps) one after the other.

    The peak of the response is the gain; an even number of taps becomes the next odd one.
    """
    taps = np.ones(1)
    for center_hz, width_hz, num_taps in bands:
        edges_hz = np.clip([center_hz - width_hz / 2, center_hz + width_hz / 2], EDGE_HZ, rate / 2 - EDGE_HZ)
        if edges_hz[0] >= edges_hz[1]:  # all of it lies above half the sample rate
            continue
        taps = np.convolve(taps, scipy.signal.firwin(num_taps + (num_taps + 1) % 2, edges_hz, window="hamming", fs=rate))
    _, response = scipy.signal.freqz(taps, worN=RESPONSE_POINTS)
    return taps * (10 ** (gain_db / 20) / np.abs(response).max())


def filter_sum(signals: np.ndarray, filters: Sequence[np.ndarray]) -> np.ndarray:
    """The sum (samples,) of signals (n, samples), each through a filter of its own, in one pass through the frequency domain.

    Each comes out one sample earlier than without delay, as published: sample t is number t + (taps + 1) / 2 of the convolution.
    Overlap-save in blocks that stay in the processor's cache: five times faster than one long transform.
    """
    num_samples = signals.shape[1]
    aligned, lead = _aligned(filters)
    overlap = aligned.shape[1] - 1
    size = max(BLOCK_SAMPLES, scipy.fft.next_fast_len(4 * overlap, real=True))
    step = size - overlap
    num_blocks = -(-(num_samples + lead) // step)
    padded = np.zeros((len(signals), num_blocks * step + overlap))
    padded[:, overlap : overlap + num_samples] = signals
    blocks = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::step]
    spectra = np.einsum("nbf,nf->bf", scipy.fft.rfft(blocks), scipy.fft.rfft(aligned, size))
    return scipy.fft.irfft(spectra, size)[:, overlap:].reshape(-1)[lead : lead + num_samples]


def _aligned(filters: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Filters (n, taps) padded with zeros so that one cut of the sum, `lead` samples from the left, has each of them in its place."""
    leads = [(len(taps) + 1) // 2 for taps in filters]
    lead = max(leads)
    aligned = np.zeros((len(filters), 2 * lead))
    for row, taps, own in zip(aligned, filters, leads, strict=True):
        row[lead - own : lead - own + len(taps)] = taps
    return aligned, lead


def powers(signal: np.ndarray, num_orders: int) -> np.ndarray:
    """(num_orders, samples) float64: the signal, its square ..."""
    made = np.empty((num_orders, len(signal)))
    made[0] = signal
    for order in range(1, num_orders):
        np.multiply(made[order - 1], signal, out=made[order])
    return made


def limited(waveform: np.ndarray) -> np.ndarray:
    """Divided by its peak where that exceeds 1."""
    peak = np.abs(waveform).max()
    return waveform / peak if peak > 1 else waveform


def between(low: float, high: float, draws: Draws) -> float:
    """A uniform draw; `low` may be the larger one, as for the gains of the published code."""
    return low + (high - low) * draws.uniform()


def check_ranges(options: Rawboost) -> None:
    """Raises `UserError` for a range that is not two numbers, the lower one first."""
    for name in ("center_hz", "width_hz", "taps", "gain_db", "bias_db", "snr_db"):
        value = getattr(options, name)
        if len(value) != 2 or value[0] > value[1]:
            raise UserError(f"rawboost.{name}={value}: two numbers are expected, the lower one first")
