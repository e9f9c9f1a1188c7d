"""Trivial cues of an utterance: what gives a source away without any speech being understood.

crop_...  of the signal that a system gets: the crop in one acoustic variant, (samples,) float32 at audio.sample_rate
file_...  of the whole file at its own rate: no system gets to hear it, a careless pipeline lets it through;
         where a cure is on (`sourcetracing.audio.conditioning`), of the file as crops are cut from it: trimmed, at audio.sample_rate

Names end in their unit; dbfs is dB relative to an amplitude of 1. Every cue is finite for any signal, silence included.
Spectra are long-term averages (Welch's: Hann windows of 32 ms, half overlapping, each less its mean).
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from sourcetracing.audio.plausibility import FULL_SCALE

GROUPS = {
    "duration": ("file_duration_s", "crop_wrap_padding_s"),
    "silence": ("file_leading_silence_s", "file_trailing_silence_s", "crop_leading_silence_s", "crop_trailing_silence_s"),
    "level": ("crop_rms_dbfs", "crop_peak_dbfs", "crop_crest_factor_db", "crop_clipped_fraction"),
    "bandwidth": (
        "file_sample_rate_hz",
        "crop_rolloff_95_hz",
        "crop_rolloff_99_hz",
        "crop_highest_frequency_hz",
        "crop_energy_above_4khz_db",
        "crop_energy_above_7khz_db",
    ),
    "noise_floor": (
        "crop_dc_offset_fraction",
        "crop_noise_floor_dbfs",
        "crop_repeated_samples_fraction",
        "crop_zero_samples_fraction",
        "crop_effective_bits",
    ),
    "tilt": ("crop_tilt_db_per_octave", "crop_low_to_high_db"),
}
ALL_CUES = tuple(name for names in GROUPS.values() for name in names)
HEARD_CUES = tuple(name for name in ALL_CUES if name.startswith("crop_"))

SILENCE_DB = -40.0  # of the signal's own peak
FLOOR_DBFS = -120.0  # digital silence counts as this level
SPECTRUM_FLOOR_DB = -100.0  # the least that a part of a spectrum counts as
HIGHEST_FREQUENCY_DB = -70.0  # of the strongest bin: below what speech has at 8 kHz, above what resampling leaves of a cut-off band
FRAME_SECONDS, WINDOW_SECONDS = 0.02, 0.032
TILT_HZ = (100.0, 4000.0)  # up to 4 kHz only: where a band ends is another group's matter
LOW_HIGH_HZ = 1000.0
MOST_BITS = 24  # what float32 holds


def file_cues(whole: np.ndarray, rate: int, crop_seconds: float) -> dict[str, float]:
    """Cues of a whole file (samples,) at `rate` Hz, and of how it fills a crop.

    file_duration_s = samples / rate; file_sample_rate_hz = rate; file_leading_silence_s, file_trailing_silence_s: `silence`;
    crop_wrap_padding_s = max(0, crop_seconds - file_duration_s), the part of a crop that repeats what was before.
    """
    seconds = len(whole) / rate
    leading, trailing = silence(whole, rate)
    return {
        "file_duration_s": seconds,
        "file_sample_rate_hz": float(rate),
        "file_leading_silence_s": leading,
        "file_trailing_silence_s": trailing,
        "crop_wrap_padding_s": max(0.0, crop_seconds - seconds),
    }


def crop_cues(crop: np.ndarray, rate: int) -> dict[str, float]:
    """Cues of what a system hears: one variant of a crop, (samples,) float32 at `rate` Hz."""
    leading, trailing = silence(crop, rate)
    cues = {"leading_silence_s": leading, "trailing_silence_s": trailing, **level(crop), **noise_floor(crop, rate)}
    frequencies, power = spectrum(crop, rate)
    cues |= bandwidth(frequencies, power) | tilt(frequencies, power)
    return {f"crop_{name}": value for name, value in cues.items()}


def silence(waveform: np.ndarray, rate: int) -> tuple[float, float]:
    """Seconds before the first and after the last sample above the peak - 40 dB; all of it, twice, of a signal of zeros."""
    magnitude = np.abs(waveform)
    loud = np.flatnonzero(magnitude > magnitude.max() * 10 ** (SILENCE_DB / 20))
    if not len(loud):
        return len(waveform) / rate, len(waveform) / rate
    return float(loud[0] / rate), float((len(waveform) - 1 - loud[-1]) / rate)


def level(waveform: np.ndarray) -> dict[str, float]:
    """rms_dbfs = 10 log10 mean(x^2); peak_dbfs = 20 log10 max|x|; crest_factor_db = their difference;
    clipped_fraction = part of the samples with |x| >= 32767/32768.
    """
    magnitude = np.abs(waveform)
    rms_dbfs = _dbfs(np.square(waveform, dtype=np.float64).mean())
    peak_dbfs = _dbfs(float(magnitude.max()) ** 2)
    clipped = float((magnitude >= FULL_SCALE).mean())
    return {"rms_dbfs": rms_dbfs, "peak_dbfs": peak_dbfs, "crest_factor_db": peak_dbfs - rms_dbfs, "clipped_fraction": clipped}


def noise_floor(waveform: np.ndarray, rate: int) -> dict[str, float]:
    """dc_offset_fraction = mean(x), of full scale; noise_floor_dbfs = 5th percentile over frames of 20 ms of 10 log10 mean(x^2);
    repeated_samples_fraction = part of the samples that equal the one before; zero_samples_fraction = part that is 0;
    effective_bits: `effective_bits`.
    """
    size = round(FRAME_SECONDS * rate)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    energies = np.square(frames, dtype=np.float64).mean(axis=1)
    return {
        "dc_offset_fraction": float(waveform.mean(dtype=np.float64)),
        "noise_floor_dbfs": _dbfs(np.percentile(energies, 5)),
        "repeated_samples_fraction": float((waveform[1:] == waveform[:-1]).mean()),
        "zero_samples_fraction": float((waveform == 0).mean()),
        "effective_bits": float(effective_bits(waveform)),
    }


def effective_bits(waveform: np.ndarray) -> int:
    """The fewest bits b so that all samples are whole multiples of 2^(1-b): 8 or 16 of such a file, 24 after resampling or noise."""
    steps = waveform * np.float32(2 ** (MOST_BITS - 1))  # exact: a power of two
    if not np.array_equal(steps, np.rint(steps)):
        return MOST_BITS
    used = int(np.bitwise_or.reduce(np.abs(steps).astype(np.int64)))
    unused_low_bits = (used & -used).bit_length() - 1
    return max(0, MOST_BITS - unused_low_bits) if used else 0


def spectrum(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (bins,) in Hz and the long-term average power (bins,) of (samples,); its strongest bin is 1, or 0 in silence."""
    size = min(round(WINDOW_SECONDS * rate), len(waveform))
    # scipy.signal.welch goes through the windows one by one in Python, which takes ten times as long and keeps other threads waiting.
    windows = sliding_window_view(waveform, size)[:: size // 2]
    spectra = scipy.fft.rfft((windows - windows.mean(axis=1, keepdims=True)) * np.hanning(size + 1)[:-1].astype(np.float32))
    power = (spectra.real**2 + spectra.imag**2).mean(axis=0, dtype=np.float64)
    return np.fft.rfftfreq(size, 1 / rate), power / (power.max() or 1.0)


def bandwidth(frequencies: np.ndarray, power: np.ndarray) -> dict[str, float]:
    """rolloff_95_hz, rolloff_99_hz: the lowest frequency below which lies so much of the power; highest_frequency_hz: of the last bin
    within 70 dB of the strongest; energy_above_4khz_db, energy_above_7khz_db = 10 log10(power from there on / all power), at least -100.
    """
    total = power.sum()
    cumulative = np.cumsum(power) / total if total else np.ones_like(power)
    reaches = np.flatnonzero(power > 10 ** (HIGHEST_FREQUENCY_DB / 10))
    return {
        "rolloff_95_hz": float(frequencies[np.argmax(cumulative >= 0.95)]),
        "rolloff_99_hz": float(frequencies[np.argmax(cumulative >= 0.99)]),
        "highest_frequency_hz": float(frequencies[reaches[-1]]) if len(reaches) else 0.0,
        "energy_above_4khz_db": _relative_db(power[frequencies >= 4000].sum(), total),
        "energy_above_7khz_db": _relative_db(power[frequencies >= 7000].sum(), total),
    }


def tilt(frequencies: np.ndarray, power: np.ndarray) -> dict[str, float]:
    """tilt_db_per_octave = slope of 10 log10 power (at least -100) over log2 frequency from 100 Hz to 4 kHz, least squares, each octave
    weighing the same; low_to_high_db = 10 log10(power from 100 Hz to 1 kHz / from 1 to 4 kHz), within +-100.
    """
    inside = (frequencies >= TILT_HZ[0]) & (frequencies <= TILT_HZ[1])
    frequencies, power = frequencies[inside], power[inside]
    decibels = 10 * np.log10(np.maximum(power, 10 ** (SPECTRUM_FLOOR_DB / 10)))
    # polyfit squares its weights; bins lie twice as dense in each higher octave.
    slope, _ = np.polyfit(np.log2(frequencies), decibels, 1, w=1 / np.sqrt(frequencies))
    low, high, total = power[frequencies < LOW_HIGH_HZ].sum(), power[frequencies >= LOW_HIGH_HZ].sum(), power.sum()
    return {"tilt_db_per_octave": float(slope), "low_to_high_db": _relative_db(low, total) - _relative_db(high, total)}


def _dbfs(power: float) -> float:
    return max(FLOOR_DBFS, 10 * float(np.log10(power))) if power > 0 else FLOOR_DBFS


def _relative_db(part: float, total: float) -> float:
    return max(SPECTRUM_FLOOR_DB, 10 * float(np.log10(part / total))) if part > 0 else SPECTRUM_FLOOR_DB
