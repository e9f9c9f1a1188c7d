"""Can this be a recording of speech at all? What is wrong with a waveform, and what is odd about it, from its blocks."""

from __future__ import annotations

import numpy as np

from sourcetracing.audio.silence import Frames
from sourcetracing.settings.frontends import Audio

HIGHEST_PEAK = 100.0  # 40 dB above full scale: no sound, but integers in a file of floats, or a damaged one
SILENT_PEAK = 1e-4  # of one channel beside another
FULL_SCALE = 32767 / 32768  # samples from here on count as clipped
HIGHEST_LOSSY_PEAK = 2.0  # a decoder may well overshoot what was encoded
_WINDOW, _MOST_WINDOWS = 512, 8  # samples; windows in a block whose spectrum is taken
_LOW_HZ, _HIGH_HZ = (300, 3400), (5000, 7500)
_NOTHING = 3e-6  # power per Hz between _HIGH_HZ, relative to that between _LOW_HZ: a resampler's stop band, or rounding to 16 bits
_HANN = np.hanning(_WINDOW).astype(np.float32)


class Heard:
    """What a waveform of one channel, made of `num_channels`, is like. listen: take its spectrum and the energy of its frames, too.

    power: (bins,) of the long-term spectrum, up to half the rate; None unless it listens.
    """

    def __init__(self, rate: int, num_channels: int, listen: bool):
        self.rate, self.num_samples, self.low, self.high = rate, 0, 0.0, 0.0
        self.num_bad = 0  # samples that are NaN or infinite
        self.num_clipped = 0  # samples of all channels at full scale or beyond
        self.channel_peaks = np.zeros(num_channels)
        self.power = np.zeros(_WINDOW // 2 + 1) if listen else None
        self.frames = Frames(rate) if listen else None

    def add(self, frames: np.ndarray, mono: np.ndarray) -> None:
        """A block: frames (samples, channels) and what was made of them (samples,)."""
        if not len(mono):
            return
        low, high = float(mono.min()), float(mono.max())  # min and max hand on NaN
        if not np.isfinite(low) or not np.isfinite(high):
            self.num_bad += int((~np.isfinite(mono)).sum())
        self.low, self.high = (min(self.low, low), max(self.high, high)) if self.num_samples else (low, high)
        self.num_samples += len(mono)
        peaks = np.array([max(-low, high)]) if frames.shape[1] == 1 else np.maximum(frames.max(axis=0), -frames.min(axis=0))
        self.channel_peaks[: len(peaks)] = np.fmax(self.channel_peaks[: len(peaks)], peaks)
        if peaks.max(initial=0) >= FULL_SCALE:
            self.num_clipped += int((np.abs(frames) >= FULL_SCALE).sum())
        if self.frames is not None and not self.nonsense():
            self.frames.add(mono)
            if len(mono) >= _WINDOW:
                self.power += _power_of(mono)

    def nonsense(self) -> str | None:
        """What no setting makes good."""
        if self.num_bad:
            return f"{self.num_bad} of its samples are NaN or infinite"
        if (peak := max(-self.low, self.high)) > HIGHEST_PEAK:
            return f"its peak is {peak:g}, where sound stays within -1 ... 1 (integers in a file of floats? divide them by 32768)"
        return None

    def problem(self, rules: Audio) -> str | None:
        """What is wrong with the whole waveform, or None."""
        threshold = 10 ** (rules.silence_peak_dbfs / 20)
        if not self.num_samples:
            return "holds no samples"
        if nonsense := self.nonsense():
            return nonsense
        if (seconds := self.num_samples / self.rate) < rules.min_seconds:
            return f"too short ({seconds:.3f} s, audio.min_seconds={rules.min_seconds:g})"
        if (seconds := self._seconds_trimmed(rules)) < rules.min_seconds:
            settings = f"audio.trim_silence_db={rules.trim_silence_db:g}, audio.min_seconds={rules.min_seconds:g}"
            return f"too short without the silence at its ends ({seconds:.3f} s, {settings})"
        if max(-self.low, self.high) < threshold:
            if self.channel_peaks.max() < threshold:
                return f"silent throughout (its peak is below {rules.silence_peak_dbfs:g} dBFS, audio.silence_peak_dbfs)"
            what = "its channels cancel each other" if rules.channel == "mean" else f"its {rules.channel} channel is silent"
            return f"{what} (audio.channel={rules.channel}); choose one that sounds: audio.channel=left|right|mean"
        if is_constant(self.low, self.high, threshold):
            return f"constant: every sample is about {(self.low + self.high) / 2:.3g}, which is no sound"
        return None

    def _seconds_trimmed(self, rules: Audio) -> float:
        """How long the waveform is as audio.trim_silence_db leaves it; all of it where that is off, or no frames were taken."""
        if not rules.trim_silence_db or self.frames is None:
            return self.num_samples / self.rate
        start, stop = self.frames.loud_part(rules.trim_silence_db)
        return (stop - start) / self.rate

    def notes(self, is_lossy: bool) -> list[str]:
        """What is odd, though it can be used; no figures of the file at the beginning, so that like notes of many files can be counted."""
        notes = []
        peak = self.channel_peaks.max(initial=0)
        if peak > (HIGHEST_LOSSY_PEAK if is_lossy else 1):
            notes.append(f"peaks above 1, up to {peak:.3g}: louder than full scale, clipped by most programs")
        silent = self.channel_peaks < SILENT_PEAK
        if silent.any() and not silent.all():
            number = int(silent.argmax())
            name = ("left", "right")[number] if len(silent) == 2 else f"{number + 1}."
            notes.append(f"one silent channel, the {name} one: audio.channel chooses another than their mean")
        if self._is_upsampled():
            notes.append(f"nothing above 4 kHz, as after upsampling from 8 kHz: the file has {self.rate} Hz")
        return notes

    def _is_upsampled(self) -> bool:
        if self.power is None or not self.power.any():
            return False
        low, high = self._band(*_LOW_HZ), self._band(_HIGH_HZ[0], min(_HIGH_HZ[1], 0.46 * self.rate))
        return len(high) >= 4 and bool(high.mean() < _NOTHING * low.mean())

    def _band(self, lowest_hz: float, highest_hz: float) -> np.ndarray:
        """Power of the frequencies between these."""
        return self.power[int(np.ceil(lowest_hz * _WINDOW / self.rate)) : int(highest_hz * _WINDOW / self.rate) + 1]


def is_constant(low: float, high: float, threshold: float) -> bool:
    """Whether a waveform between these stays on one side of zero and hardly moves. threshold: of silence, as a peak."""
    return high - low < threshold


def _power_of(mono: np.ndarray) -> np.ndarray:
    """Sum of the power spectra of some windows, spread over a block."""
    starts = np.linspace(0, len(mono) - _WINDOW, min(_MOST_WINDOWS, len(mono) // _WINDOW)).astype(int)
    windows = np.stack([mono[start : start + _WINDOW] for start in starts])
    spectra = np.fft.rfft(windows * _HANN)
    return (spectra.real**2 + spectra.imag**2).sum(axis=0)
