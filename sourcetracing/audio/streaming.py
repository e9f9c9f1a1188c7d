"""An audio file of any length as blocks of samples, and those as windows: memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sourcetracing.audio.reading import crop, resample_blocks
from sourcetracing.audio.silence import Frames
from sourcetracing.audio.source import Source, open_file, open_source
from sourcetracing.settings.frontends import Audio


@contextmanager
def open_audio(path: str | Path, rules: Audio) -> Iterator[tuple[Source, Iterator[np.ndarray]]]:
    """(the source, its blocks (samples,) float32 at audio.sample_rate). Raises `BadAudio`, also while the blocks are read."""
    with open_file(path) as file, open_source(path, file, rules, listen=True) as source:
        yield source, resample_blocks(source.blocks, source.rate, rules.sample_rate)


@contextmanager
def open_trimmed(path: str | Path, rules: Audio) -> Iterator[tuple[Source, int, Iterator[np.ndarray]]]:
    """`open_audio` without the silence at its ends, as audio.trim_silence_db says, and where in the file that begins (samples).

    The file is decoded twice where that is on: only its end tells how loud its loudest frame is. The second time all of it is read, too.
    """
    if not rules.trim_silence_db:
        with open_audio(path, rules) as (source, blocks):
            yield source, 0, blocks
        return
    frames = Frames(rules.sample_rate)
    with open_file(path) as file, open_source(path, file, rules) as source:
        for block in resample_blocks(source.blocks, source.rate, rules.sample_rate):
            frames.add(block)
    start, stop = frames.loud_part(rules.trim_silence_db)
    with open_audio(path, rules) as (source, blocks):
        yield source, start, _between(blocks, start, stop)


def _between(blocks: Iterable[np.ndarray], start: int, stop: int) -> Iterator[np.ndarray]:
    """The samples of a stream from `start` to `stop`; reads it to its end."""
    place = 0
    for block in blocks:
        part = block[max(start - place, 0) : max(stop - place, 0)]
        place += len(block)
        if len(part):
            yield part


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
