"""What a recording adds to a source: a microphone curve, band limits, a noise floor, a level, cut ends. The same for every source.

The lower limit and the cut ends take away what would give a source away without listening to it: the offset of one-sided pulses, and the
milliseconds before the first sound, which differ between synthesizers (scripts/11_audit_shortcuts.py measures what is left).

A corpus may be recorded file by file instead (`Recording.by_file`): what the channel does is drawn for each file anew, so it tells nothing
of source, language or speaker, and there is much more of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr

from sourcetracing.runtime.seeding import rng

SAMPLE_RATE = 16000  # Hz
BAND_LIMIT_HZ, BAND_EDGE_HZ = 7200.0, 300.0  # cut and width of the cut
LOW_LIMIT_HZ, LOW_EDGE_HZ = 80.0, 40.0  # the same at the low end, downwards
STOP_BAND_DB = -60.0
MOST_CUT_SECONDS = 0.03  # from each end
SPEAKER_CURVE_DB, LANGUAGE_CURVE_DB = 1.0, 2.0  # standard deviation over frequency
LEVEL_DBFS, LEVEL_SPREAD_DB = -23.0, 3.0
NOISE_FLOOR_DB = (28.0, 42.0)  # below the speech
PEAK_CEILING = 0.97
TRIM_BELOW_DB = -30.0  # re the loudest 10 ms; the noise floor of a speaker's channel lies below
# Of a channel by file.
FILE_CURVE_DB = 4.0  # standard deviation over frequency
FILE_BAND_LIMIT_HZ, FILE_NOISE_FLOOR_DB = (3400.0, 7200.0), (15.0, 45.0)
CODECS = ("none", "none", "mu_law", "8_bit", "resampled")  # each as likely as the others
RESAMPLED_HZ = (8000, 11025, 12000, 14700)
CODEC_PEAK = 0.5  # full scale = 1: a codec's noise depends on the level


@dataclass(frozen=True)
class Recording:
    """How a corpus is recorded: how far levels lie from their middle; a channel for each file, or for speaker and language; trimmed?"""

    level_spread_db: float = LEVEL_SPREAD_DB
    by_file: bool = False
    trim: bool = False


AS_EVER = Recording()


def trim_silence(x: np.ndarray, sample_rate: int, threshold_db: float = -40.0) -> np.ndarray:
    """Cuts both ends of (T,) where 10 ms frames stay below the threshold (dB re the loudest frame)."""
    hop = sample_rate // 100
    frames = x[: len(x) // hop * hop].reshape(-1, hop).astype(np.float64)
    power = (frames**2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (threshold_db / 10))
    return x[loud[0] * hop : (loud[-1] + 1) * hop]


def dither(x: np.ndarray, draw: np.random.Generator, below_db: float = 55.0) -> np.ndarray:
    """Adds white noise `below_db` under the speech, so that no vocoder ever sees exact silence."""
    return (x + rms(x) * 10 ** (-below_db / 20) * draw.standard_normal(len(x), np.float32)).astype(np.float32)


def record(x: np.ndarray, speaker_key: str, language: str, seed: int, draw: np.random.Generator, how: Recording = AS_EVER) -> np.ndarray:
    """(T,) at 16 kHz as recorded: each speaker's and each language's curve, then noise floor, band limits, level; the ends cut off.

    With how.by_file curve, noise floor and band limit are drawn for this file, and perhaps a codec. The wider levels spread, the lower lies
    their middle: the loudest stay where they were, or the peak ceiling would bring down those of a source with higher peaks.
    """
    if how.by_file:
        heard = file_channel(x, draw)
    else:
        curve = _curve_db(SPEAKER_CURVE_DB, rng("microphone", seed, speaker_key)) + _curve_db(
            LANGUAGE_CURVE_DB, rng("room tone", seed, language)
        )
        heard = _with_noise(_filtered(x, 10 ** (curve / 20)), draw.uniform(*NOISE_FLOOR_DB), draw)
    heard = _cut_ends(_filtered(heard, _band_limits(BAND_LIMIT_HZ)), draw)
    heard = trim_silence(heard, SAMPLE_RATE, TRIM_BELOW_DB) if how.trim else heard
    middle_dbfs = LEVEL_DBFS - (how.level_spread_db - LEVEL_SPREAD_DB)
    level_dbfs = middle_dbfs + draw.uniform(-how.level_spread_db, how.level_spread_db)
    gain = 10 ** (level_dbfs / 20) / rms(heard)
    return heard * np.float32(min(gain, PEAK_CEILING / np.abs(heard).max()))  # no limiter: it would splash over the band limit


def file_channel(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(T,) through an equalizer, a noise floor, a band limit and perhaps a codec, all drawn; the lower band limit is not among them."""
    heard = _filtered(x, 10 ** (_curve_db(FILE_CURVE_DB, draw) / 20))
    heard = _with_noise(heard, draw.uniform(*FILE_NOISE_FLOOR_DB), draw)
    heard = _filtered(heard, _band_limits(draw.uniform(*FILE_BAND_LIMIT_HZ)))
    codec, rate_hz = CODECS[draw.integers(len(CODECS))], RESAMPLED_HZ[draw.integers(len(RESAMPLED_HZ))]
    heard *= np.float32(CODEC_PEAK / np.abs(heard).max())
    if codec == "mu_law":
        compressed = np.sign(heard) * np.log1p(255 * np.abs(heard)) / np.log(256)
        compressed = np.round(compressed * 127) / 127
        heard = np.sign(compressed) * np.expm1(np.abs(compressed) * np.log(256)) / 255
    elif codec == "8_bit":
        heard = np.round(heard * 127) / 127
    elif codec == "resampled":
        there = soxr.resample(heard, SAMPLE_RATE, rate_hz, quality="QQ")  # quick and dirty: it leaves images
        heard = soxr.resample(there, rate_hz, SAMPLE_RATE, quality="QQ")
        heard = np.pad(heard, (0, max(0, len(x) - len(heard))))[: len(x)]
    return heard.astype(np.float32)


def rms(x: np.ndarray) -> float:
    """Root mean square, never 0."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) + 1e-9


_NUM_POINTS = 129  # of a curve, from 0 to half the sample rate


def _curve_db(deviation_db: float, draw: np.random.Generator) -> np.ndarray:
    """A smooth random curve over frequency: five cosines on a warped axis."""
    axis = np.sqrt(np.linspace(0, 1, _NUM_POINTS))
    weights, phases = draw.standard_normal(5), draw.uniform(0, 2 * np.pi, 5)
    curve = sum(
        weight * np.cos(np.pi * (number + 1) * axis + phase) for number, (weight, phase) in enumerate(zip(weights, phases, strict=True))
    )
    return deviation_db * (curve - curve.mean()) / curve.std()


def _with_noise(heard: np.ndarray, floor_db: float, draw: np.random.Generator) -> np.ndarray:
    return heard + rms(heard) * 10 ** (-floor_db / 20) * draw.standard_normal(len(heard), np.float32)


def _band_limits(limit_hz: float) -> np.ndarray:
    frequency_hz = np.arange(SAMPLE_RATE // 2 + 1)
    high = np.clip((frequency_hz - limit_hz) / BAND_EDGE_HZ, 0, 1)
    low = np.clip((LOW_LIMIT_HZ - frequency_hz) / LOW_EDGE_HZ, 0, 1)
    return 10 ** (STOP_BAND_DB * (high + low) / 20)


def _cut_ends(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    first, last = draw.integers(0, round(MOST_CUT_SECONDS * SAMPLE_RATE), 2)
    return x[first : len(x) - last]


def _filtered(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Zero-phase filter (T,) by a gain curve from 0 to half the sample rate."""
    n_fft = _fast_length(len(x) + 1024)
    at_bins = np.interp(np.linspace(0, 1, n_fft // 2 + 1), np.linspace(0, 1, len(gain)), gain).astype(np.float32)
    return scipy.fft.irfft(scipy.fft.rfft(x, n_fft) * at_bins, n_fft)[: len(x)].astype(np.float32)


def _fast_length(at_least: int) -> int:
    step = 1 << max(0, at_least.bit_length() - 4)
    return -(-at_least // step) * step
