"""An audio file of any length as blocks of samples, and those as windows: memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sourcetracing.audio.reading import crop, resample_blocks
from sourcetracing.audio.silence import Frames, first_loud, last_loud
from sourcetracing.audio.source import Source, open_file, open_source
from sourcetracing.settings.frontends import Audio


@contextmanager
def open_audio(path: str | Path, rules: Audio) -> Iterator[tuple[Source, Iterator[np.ndarray]]]:
    """(the source, its blocks (samples,) float32 at audio.sample_rate). Raises `BadAudio`, also while the blocks are read."""
    with open_file(path) as file, open_source(path, file, rules, listen=True) as source:
        yield source, resample_blocks(source.blocks, source.rate, rules.sample_rate)


@contextmanager
def open_trimmed(path: str | Path, rules: Audio) -> Iterator[tuple[Source, TrimmedBlocks]]:
    """`open_audio` without the silence at its ends, as audio.trim_silence_db says.

    The file is decoded twice where that is on: only its end tells how loud its loudest frame is. The second time all of it is read, too.
    """
    frames = Frames(rules.sample_rate)
    if rules.trim_silence_db:
        with open_file(path) as file, open_source(path, file, rules) as source:
            for block in resample_blocks(source.blocks, source.rate, rules.sample_rate):
                frames.add(block)
    with open_audio(path, rules) as (source, blocks):
        yield source, TrimmedBlocks(blocks, frames, rules.trim_silence_db)


class TrimmedBlocks:
    """A stream of blocks as `sourcetracing.audio.conditioning.trimmed` cuts the whole waveform. frames: of all of it; 0 dB: nothing is cut.

    `start`: how many samples were cut off before the first that came. The stream is read to its end.
    """

    def __init__(self, blocks: Iterable[np.ndarray], frames: Frames, below_db: float):
        self.blocks, self.frames, self.below_db, self.start = blocks, frames, below_db, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        if not self.below_db:
            yield from self.blocks
            return
        size, quiet, is_begun = self.frames.size, self.frames.quiet(self.below_db), False
        kept = np.zeros(0, dtype=np.float32)  # the last frame, whose end may be silent
        for block in self._loud_frames():
            kept = np.concatenate([kept, block])
            if not is_begun and len(kept) >= size:
                kept, is_begun = self._begun(kept, quiet), True
            if is_begun and len(kept) > size:
                yield kept[:-size]
                kept = kept[-size:]
        kept = kept if is_begun else self._begun(kept, quiet)
        yield kept[: last_loud(kept, quiet) + 1]

    def _loud_frames(self) -> Iterator[np.ndarray]:
        self.start, stop = self.frames.loud_part(self.below_db)
        begin, place = self.start, 0
        for block in self.blocks:
            yield block[max(begin - place, 0) : max(stop - place, 0)]
            place += len(block)

    def _begun(self, kept: np.ndarray, quiet: float) -> np.ndarray:
        silent = first_loud(kept[: self.frames.size], quiet)
        self.start += silent
        return kept[silent:]


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
