"""The one reader of audio: every door gets its samples here, a block at a time, so that all of them count the same.

soundfile decodes what it reads whole; ffmpeg everything else: formats that libsndfile does not know or would stop short in. Both give
frames at the file's own rate, and what is done with them is the same: one channel is made, implausible samples are refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from sourcetracing.audio.bad_audio import BadAudio, Truncated
from sourcetracing.audio.containers import Container, Content, Slice, look_into
from sourcetracing.audio.ffmpeg import FfmpegSound
from sourcetracing.audio.plausibility import Heard
from sourcetracing.errors import UserError
from sourcetracing.settings.frontends import Audio

LOWEST_HZ, HIGHEST_HZ = 4000, 384_000
MEMORY_BYTES = 2**22  # a smaller file is read at once: libsndfile asks for a few kB at a time
BLOCK_SECONDS, BLOCK_VALUES = 10, 2**22  # a block is no longer than either: a header may tell of a thousand channels
_SMALL_BLOCK = 256  # frames at a time where a file breaks: what stands before the break is heard
_LOSSLESS = {"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64", "NIST", "SPH"}
_LOSSLESS_CODES = ("PCM", "FLOAT", "DOUBLE", "ALAC")
_REFUSALS = (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError)


@dataclass
class Source:
    """An open file. blocks: (samples,) float32 of one channel at `rate` Hz; heard: what they were like so far.

    most_samples: no more than these will come; None = not known. coding: container and codec, such as WAV PCM_16.
    missing: why a file that is kept is cut off, "" = it is whole.
    """

    rate: int
    is_lossy: bool
    blocks: Iterator[np.ndarray]
    heard: Heard
    most_samples: int | None
    coding: str
    missing: str = ""

    def notes(self) -> list[str]:
        """What is odd about the file; it can be used. Complete when all blocks have been read."""
        return [*([f"{self.missing}: what is there was used"] if self.missing else []), *self.heard.notes(self.is_lossy)]


@contextmanager
def open_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file for reading. Raises `BadAudio` when it is missing, a folder, empty, or cannot be opened."""
    path = Path(path)
    if not path.is_file():
        raise BadAudio(path, "is a folder" if path.is_dir() else "is no file" if path.exists() else "is missing")
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below, where an OSError is none of opening
    except OSError as error:
        raise BadAudio(path, f"cannot be opened ({error.strerror})") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise BadAudio(path, "is empty (0 bytes)")
        yield Slice(file, 0, size) if size > MEMORY_BYTES else Content(file.read())


@contextmanager
def open_source(path: str | Path, file: BinaryIO, rules: Audio, *, listen: bool = False) -> Iterator[Source]:
    """The sound of an open file, whose name is `path`. listen: `heard` learns the spectrum, too.

    Raises `BadAudio`, also while blocks are read; `Truncated` for a file that is cut off or damaged, unless audio.on_truncated=keep.
    """
    container = look_into(file)
    if container.damage and rules.on_truncated != "keep":
        raise Truncated(path, _cut(container, []))
    opened = "it would not read all" if container.by_ffmpeg else _open_parts(path, container)
    if isinstance(opened, list):
        first, frames = opened[0], _by_soundfile(path, container, opened)
        facts = first.samplerate, max(part.channels for part in opened), _is_lossy(first), _most_samples(container, opened), _coding(first)
        yield _source(path, rules, frames, facts, _cut(container, opened), listen)
        return
    with closing(_start_ffmpeg(path, opened)) as sound:
        frames = sound.blocks(_block_frames(sound.rate, sound.num_channels))
        facts = sound.rate, sound.num_channels, container.kind != "FLAC", None, container.kind or Path(path).suffix.lstrip(".").upper()
        yield _source(path, rules, frames, facts, _cut(container, []), listen)


def _start_ffmpeg(path: str | Path, refusal: str) -> FfmpegSound:
    """refusal: why soundfile does not read the file."""
    try:
        return FfmpegSound(path)
    except BadAudio:
        raise
    except UserError as error:  # no ffmpeg
        raise BadAudio(path, f"cannot be read as audio by soundfile ({refusal}), and {error}") from None


def _block_frames(rate: int, num_channels: int) -> int:
    return max(1, min(BLOCK_SECONDS * rate, BLOCK_VALUES // max(num_channels, 1)))


def _source(path: str | Path, rules: Audio, frames: Iterator[np.ndarray], facts: tuple, missing: str, listen: bool) -> Source:
    rate, num_channels, is_lossy, most_samples, coding = facts
    if not LOWEST_HZ <= rate <= HIGHEST_HZ:
        raise BadAudio(path, f"its header says {rate} Hz; {LOWEST_HZ} to {HIGHEST_HZ} Hz can be")
    if missing and rules.on_truncated != "keep":
        raise Truncated(path, missing)
    source = Source(rate, is_lossy, iter(()), Heard(rate, num_channels, listen), most_samples, coding, missing)
    source.blocks = _one_channel(path, rules, frames, source)
    return source


def _one_channel(path: str | Path, rules: Audio, frames: Iterator[np.ndarray], source: Source) -> Iterator[np.ndarray]:
    try:
        for block in frames:
            with np.errstate(over="ignore", invalid="ignore"):  # nonsense is refused by its own line
                mono = mix(block, rules.channel)
                source.heard.add(block, mono)
            if problem := source.heard.nonsense():
                raise BadAudio(path, problem)
            yield mono
    except Truncated as error:
        if rules.on_truncated != "keep":
            raise
        source.missing = source.missing or error.reason


def mix(frames: np.ndarray, channel: str) -> np.ndarray:
    """One channel (samples,) of frames (samples, channels), as audio.channel says; of a file with one channel that one."""
    if frames.shape[1] == 1:
        return frames[:, 0]
    if channel != "mean":
        return np.ascontiguousarray(frames[:, ("left", "right").index(channel)])
    return frames.mean(axis=1)


# --- soundfile


def _open_parts(path: str | Path, container: Container) -> list[soundfile.SoundFile] | str:
    """Open files, or why libsndfile does not do."""
    try:
        parts = [_open_part(part) for part in container.parts]
    except _REFUSALS as error:
        return str(getattr(error, "error_string", "") or "unknown format").rstrip(".")
    if rates := {part.samplerate for part in parts} - {parts[0].samplerate}:
        raise BadAudio(path, f"its streams have different rates ({parts[0].samplerate} and {rates.pop()} Hz)")
    return "it would not read all" if sum(part.frames for part in parts) < container.least_samples else parts


def _open_part(part: BinaryIO) -> soundfile.SoundFile:
    part.seek(0)
    return soundfile.SoundFile(part)


def _is_lossy(file: soundfile.SoundFile) -> bool:
    return file.format not in _LOSSLESS or not file.subtype.startswith(_LOSSLESS_CODES)


def _coding(file: soundfile.SoundFile) -> str:
    return f"{file.format} {file.subtype}"


def _most_samples(container: Container, parts: list[soundfile.SoundFile]) -> int | None:
    return sum(part.frames for part in parts) if container.counts else None


def _cut(container: Container, parts: list[soundfile.SoundFile]) -> str:
    """What the container says is missing, in words."""
    if container.damage:
        return f"cut off or damaged: {container.damage}"
    if container.held == 1:
        return ""
    if container.held == 0 or not parts:
        return f"cut off: file holds {container.held:.0%} of what its header says"
    there_s = parts[0].frames / max(parts[0].samplerate, 1)
    return f"cut off: header says {there_s / container.held:.2f} s, file holds {there_s:.2f} s"


def _by_soundfile(path: str | Path, container: Container, parts: list[soundfile.SoundFile]) -> Iterator[np.ndarray]:
    for file, part in zip(container.parts, parts, strict=True):
        yield from _frames(path, container, file, part)


def _frames(path: str | Path, container: Container, file: BinaryIO, part: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Blocks (samples, channels) until a read returns nothing. Raises `Truncated` where fewer come than the header says."""
    size, count = _block_frames(part.samplerate, part.channels), 0
    try:
        while count < part.frames and len(block := part.read(size, dtype="float32", always_2d=True)):
            count += len(block)
            yield block
    except _REFUSALS:
        for block in _up_to_the_break(file, count):
            count += len(block)
            yield block
        raise Truncated(path, f"cut off or damaged: header says {_says(part)}, file holds {count / part.samplerate:.2f} s") from None
    if container.counts and container.held == 1 and not container.damage and count < part.frames:
        raise Truncated(path, f"cut off: header says {_says(part)}, file holds {count / part.samplerate:.2f} s")


def _says(part: soundfile.SoundFile) -> str:
    return f"{part.frames / part.samplerate:.2f} s"


def _up_to_the_break(file: BinaryIO, start: int) -> Iterator[np.ndarray]:
    """What can be read of a file from a sample on, before reading fails."""
    try:
        part = _open_part(file)
        part.seek(start)
        while len(block := part.read(_SMALL_BLOCK, dtype="float32", always_2d=True)):
            yield block
    except _REFUSALS:
        return
