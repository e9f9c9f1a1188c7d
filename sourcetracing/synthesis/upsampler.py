"""A vocoder that leaves what neural ones leave: its filter is brought from frames to samples by transposed convolutions.

A source-filter generator. Its weights are drawn, not trained. The kernels nearly interpolate; what they lack is the same for each phase of
a stride, so the output carries a ripple with the period of the frames (Odena et al. 2016 on images, Pons et al. 2021 on audio).
"""

from __future__ import annotations

from math import prod

import numpy as np
import scipy.fft
from scipy.signal import upfirdn

from sourcetracing.runtime.seeding import rng
from sourcetracing.synthesis import spectra

SAMPLE_RATE = 16000  # Hz
_N_FFT = 1024  # of the analysis
_LEAST_SHARE = 0.3  # of a band's mean level: a frame in which the excitation has less would be blown up to a click
_MOST_DELAY = 96  # samples
_UNEVENNESS = 0.25  # standard deviation of a kernel's weights, relative


def upsampler(x: np.ndarray, draw: np.random.Generator, *, strides: tuple[int, ...], num_bands: int) -> np.ndarray:
    """Speech (T,) from the gains of `num_bands` mel bands in frames of prod(strides) samples, on pulses or noise."""
    hop = prod(strides)
    source = spectra.excitation(*spectra.track_pitch(x, SAMPLE_RATE, hop), hop, len(x), SAMPLE_RATE, draw)
    to_mel = spectra.mel_matrix(num_bands, _N_FFT, SAMPLE_RATE)
    wanted, present = (np.sqrt(_power(signal, hop) @ to_mel.T) for signal in (x, source))
    gains = wanted / np.maximum(present, _LEAST_SHARE * present.mean(axis=0))
    for number, stride in enumerate(strides):
        gains = _transposed_convolution(gains, kernel_of(stride, number, hop), stride)
    gains = np.pad(gains, ((0, max(0, len(x) - len(gains))), (0, 0)), mode="edge")[: len(x)]
    delays = rng("upsampler", "delays").integers(0, _MOST_DELAY, num_bands)  # else all bands of a pulse add up to a click
    bands = np.stack([np.roll(band, delay) for band, delay in zip(_bands(source, num_bands), delays, strict=True)])
    return (bands * gains.T).sum(axis=0).astype(np.float32)


def kernel_of(stride: int, layer: int, hop: int) -> np.ndarray:
    """(2 * stride,) weights of a layer: linear interpolation, unevenly."""
    places = np.arange(2 * stride)
    even = 1 - np.abs(places - (stride - 0.5)) / stride
    return even * (1 + _UNEVENNESS * rng("upsampler", hop, layer).standard_normal(2 * stride))


def _transposed_convolution(frames: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """(frames, bands) to (frames * stride, bands); frame i lies at i * stride."""
    return upfirdn(kernel, frames, up=stride, axis=0)[stride - 1 :][: len(frames) * stride]


def _power(x: np.ndarray, hop: int) -> np.ndarray:
    """(frames, bins) of the spectrum every hop."""
    return np.abs(scipy.fft.rfft(spectra.split_frames(x, _N_FFT, hop) * spectra.hann(_N_FFT), axis=1)) ** 2


def _bands(x: np.ndarray, num_bands: int) -> np.ndarray:
    """(num_bands, T): x through each of the mel filters, without delay; they sum to x between the lowest and the highest."""
    spectrum = scipy.fft.rfft(x)
    filters = spectra.mel_matrix(num_bands, 2 * (len(spectrum) - 1), SAMPLE_RATE)
    return scipy.fft.irfft(spectrum * filters, len(x), axis=1)
