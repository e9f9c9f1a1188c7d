"""An audio file of any length as blocks of samples, and those as windows: memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sourcetracing.audio.ffmpeg import decode_with_ffmpeg
from sourcetracing.audio.reading import BadAudio, crop, resample_blocks
from sourcetracing.errors import UserError

BLOCK_SECONDS = 10
_LOSSLESS = {"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64", "NIST", "SPH"}
_LOSSLESS_CODES = ("PCM", "FLOAT", "DOUBLE", "ALAC")


@dataclass(frozen=True)
class AudioStream:
    """An open file: mono blocks (samples,) float32 at the wanted rate; Hz in the file (0 = not known); whether its codec is a lossy one."""

    blocks: Iterator[np.ndarray]
    rate: int
    is_lossy: bool


@contextmanager
def open_audio(path: str | Path, sample_rate: int, *, to_its_end: bool = False) -> Iterator[AudioStream]:
    """Opens a file by soundfile or, where that cannot, by ffmpeg. Raises `BadAudio`, also while the blocks are read.

    to_its_end: refuse a file that ends before its header says.
    """
    path = Path(path)
    _refuse_no_file(path)
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        yield AudioStream(_checked(_by_ffmpeg(path, sample_rate, getattr(error, "error_string", str(error))), path), 0, True)
        return
    with file:
        lossy = file.format not in _LOSSLESS or not file.subtype.startswith(_LOSSLESS_CODES)
        blocks = resample_blocks(_by_soundfile(file, path, to_its_end), file.samplerate, sample_rate)
        yield AudioStream(_checked(blocks, path), file.samplerate, lossy)


def _refuse_no_file(path: Path) -> None:
    if not path.is_file():
        raise BadAudio(path, "is a folder" if path.is_dir() else "is missing")
    try:
        with open(path, "rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        raise BadAudio(path, f"cannot be opened ({error.strerror})") from None
    if is_empty:
        raise BadAudio(path, "is empty (0 bytes)")


def _by_soundfile(file: soundfile.SoundFile, path: Path, to_its_end: bool) -> Iterator[np.ndarray]:
    left = file.frames
    try:
        for block in file.blocks(BLOCK_SECONDS * file.samplerate, dtype="float32", always_2d=True):
            left -= len(block)
            yield block.mean(axis=1)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadAudio(path, f"breaks off ({getattr(error, 'error_string', error)})") from None
    if to_its_end and left > 0:
        raise BadAudio(path, f"ends {left / file.samplerate:.1f} s before its header says")


def _by_ffmpeg(path: Path, sample_rate: int, refusal: str) -> Iterator[np.ndarray]:
    try:
        yield from decode_with_ffmpeg(path, sample_rate)
    except BadAudio:
        raise
    except UserError as error:  # no ffmpeg
        raise BadAudio(path, f"cannot be read by soundfile ({refusal.rstrip('.')}), and {error}") from None


def _checked(blocks: Iterable[np.ndarray], path: Path) -> Iterator[np.ndarray]:
    for block in blocks:
        if not np.isfinite(block).all():
            raise BadAudio(path, "holds samples that are NaN or infinite")
        yield block


class Windows:
    """The windows (start in samples, waveform (window,)) of a stream of blocks, every `hop` samples and one that ends with the stream.

    A stream shorter than a window is repeated from its beginning, as in training (`audio.crop`). `num_samples` counts what has been read.
    """

    def __init__(self, blocks: Iterable[np.ndarray], window: int, hop: int):
        assert 0 < hop <= window, (hop, window)
        self.blocks, self.window, self.hop, self.num_samples = blocks, window, hop, 0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        kept, start, next_start = np.zeros(0, dtype=np.float32), 0, 0  # `kept` begins at sample `start`
        for block in self.blocks:
            self.num_samples += len(block)
            kept = np.concatenate([kept, block])
            while next_start + self.window <= self.num_samples:
                yield next_start, kept[next_start - start : next_start - start + self.window]
                next_start += self.hop
            first_needed = max(start, min(next_start, self.num_samples - self.window))
            kept, start = kept[first_needed - start :].copy(), first_needed
        if 0 < self.num_samples < self.window:
            yield 0, crop(kept, self.window, "head")
        elif self.num_samples and next_start - self.hop + self.window < self.num_samples:
            last = self.num_samples - self.window
            yield last, kept[last - start :]
