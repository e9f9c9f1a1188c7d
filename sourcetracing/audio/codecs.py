"""Sound through an encoder of ffmpeg and back, by pipes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from sourcetracing.audio.ffmpeg import run_pipe
from sourcetracing.errors import UserError


def there_and_back(
    waveform: np.ndarray, rate: int, coding: Sequence[str], stream: str, source: str = "", reading: Sequence[str] = ()
) -> np.ndarray:
    """(samples,) float32 at `rate` Hz encoded and decoded: (other samples,) float32, with whatever delay and padding the codec has.

    coding: ffmpeg's arguments of the encoder; stream: the container, which needs no seeking; source: its demuxer where that has another
    name; reading: arguments of it. Raises `FfmpegError`.
    """
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", "1"]
    arguments = [*raw, "-i", "pipe:0", *coding, "-threads", "1", "-f", stream, "pipe:1"]
    encoded = run_pipe(arguments, np.ascontiguousarray(waveform, "<f4").tobytes())
    decoded = run_pipe([*reading, "-f", source or stream, "-i", "pipe:0", *raw, "pipe:1"], encoded)
    return np.frombuffer(decoded, "<f4").astype(np.float32, copy=False)


def filtered(waveform: np.ndarray, rate: int, filters: str) -> np.ndarray:
    """(samples,) float32 at `rate` Hz through a chain of ffmpeg's audio filters. Raises `FfmpegError`."""
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", "1"]
    content = run_pipe(
        [*raw, "-i", "pipe:0", "-af", filters, "-threads", "1", *raw, "pipe:1"], np.ascontiguousarray(waveform, "<f4").tobytes()
    )
    return np.frombuffer(content, "<f4").astype(np.float32, copy=False)


def fitted(waveform: np.ndarray, num_samples: int) -> np.ndarray:
    """(num_samples,): what is too much cut off at the end, what is missing filled with silence."""
    return np.pad(waveform[:num_samples], (0, max(0, num_samples - len(waveform))))


@cache
def known_encoders() -> frozenset[str]:
    """The names of the encoders that ffmpeg was built with. Raises `UserError` where there is no ffmpeg."""
    return _second_words("-encoders")


@cache
def known_filters() -> frozenset[str]:
    """The names of its filters. Raises `UserError` where there is no ffmpeg."""
    return _second_words("-filters")


def _second_words(question: str) -> frozenset[str]:
    lines = run_pipe([question]).decode(errors="replace").splitlines()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)


@cache
def ffmpeg_version() -> str:
    """As ffmpeg prints it; "none" where there is no ffmpeg."""
    try:
        return run_pipe(["-version"]).decode(errors="replace").split(" Copyright")[0].removeprefix("ffmpeg version ").strip()
    except UserError:
        return "none"
