"""Through a codec and back by ffmpeg's pipes, delay taken off."""

from __future__ import annotations

from functools import cache

import numpy as np

from sourcetracing.audio.codecs import fitted, there_and_back
from sourcetracing.audio.reading import resample
from sourcetracing.postprocessing.lags import lateness, probe_of
from sourcetracing.postprocessing.operations import Sound

TAIL_SECONDS = 0.2  # of silence behind, for what a codec gives out late
OPUS_SPEECH_KBIT_S = 16  # up to here messengers ask Opus for speech
_READING = {"alaw": ("-ar", "8000"), "mulaw": ("-ar", "8000"), "g726": ("-code_size", "4")}  # what a headerless stream does not tell


def coded(
    waveform: np.ndarray,
    sound: Sound,
    *,
    coder: str,
    stream: str,
    rate_hz: int | None = None,
    kbit_s: float | None = None,
    quality: int | None = None,
) -> np.ndarray:
    """Encoded and decoded, at `rate_hz` where the codec has a rate of its own; as long as before and in step. Raises `FfmpegError`."""
    rate = rate_hz or sound.rate
    inside = resample(waveform, sound.rate, rate)
    trip = (coder, stream, rate, kbit_s, quality)
    back = _round_trip(inside, *trip)[_lag(*trip) :]
    return fitted(resample(fitted(back, len(inside)), rate, sound.rate), len(waveform))


def _round_trip(waveform: np.ndarray, coder: str, stream: str, rate: int, kbit_s: float | None, quality: int | None) -> np.ndarray:
    coding = ["-c:a", coder]
    coding += ["-b:a", f"{round(1000 * kbit_s)}"] if kbit_s else []
    coding += ["-q:a", str(quality)] if quality is not None else []
    coding += ["-application", "voip"] if coder == "libopus" and kbit_s and kbit_s <= OPUS_SPEECH_KBIT_S else []
    tailed = np.concatenate([waveform, np.zeros(round(TAIL_SECONDS * rate), np.float32)])
    return there_and_back(tailed, rate, coding, stream, reading=_READING.get(stream, ()))


@cache
def _lag(coder: str, stream: str, rate: int, kbit_s: float | None, quality: int | None) -> int:
    """Builds and containers differ in what they take off themselves."""
    probe = probe_of(rate)
    return lateness(_round_trip(probe, coder, stream, rate, kbit_s, quality), probe, rate)
