"""Audio in: whole files as waveforms: decode, one channel, resample, trim, crop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.conditioning import trimmed
from sourcetracing.audio.containers import Content
from sourcetracing.audio.source import open_file, open_source
from sourcetracing.runtime.files import digest_of_bytes
from sourcetracing.settings.frontends import Audio

CHECK_COMMAND = "python scripts/02_build_protocols.py CONFIG.yaml"


def load_utterance(
    path: str | Path,
    rules: Audio,
    expected_digest: str | None = None,
    check_command: str = CHECK_COMMAND,
    sample_rate: int | None = None,
) -> np.ndarray:
    """One audio file as (samples,) float32, resampled to `sample_rate` Hz (None: audio.sample_rate) by soxr HQ, without the silence at its
    ends where audio.trim_silence_db says so. Raises `BadAudio`.

    expected_digest: refuse the file if its bytes are no longer those that `check_command` checked.
    """
    with open_file(path) as file:
        content = file.read()
    if expected_digest is not None and digest_of_bytes(content) != expected_digest:
        raise BadAudio(path, f"has changed since it was checked. Run: {check_command}")
    waveform, rate = _decode(path, Content(content), rules)
    wanted = sample_rate or rules.sample_rate
    return trimmed(resample(waveform, rate, wanted), rules, wanted)


def read_audio(path: str | Path, rules: Audio) -> tuple[np.ndarray, int]:
    """An audio file as ((samples,) float32, Hz), at its own rate; one channel, as audio.channel says. Raises `BadAudio`."""
    with open_file(path) as file:
        return _decode(path, file, rules)


def samples_at_most(path: str | Path, rules: Audio) -> int:
    """Never fewer samples than a file has at audio.sample_rate, a few too many when it gets resampled; decoded only if need be."""
    with open_file(path) as file, open_source(path, file, rules) as source:
        count = sum(map(len, source.blocks)) if source.most_samples is None else source.most_samples
    return count if source.rate == rules.sample_rate else -(-count * rules.sample_rate // source.rate) + 2


def _decode(path: str | Path, file: BinaryIO, rules: Audio) -> tuple[np.ndarray, int]:
    with open_source(path, file, rules) as source:
        blocks = list(source.blocks)
    if not any(map(len, blocks)):
        raise BadAudio(path, "holds no samples")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), source.rate


def resample(waveform: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """(samples,) float32 at `rate` Hz to `sample_rate` Hz, by soxr's high quality (about 16 bits)."""
    return waveform if rate == sample_rate else soxr.resample(waveform, rate, sample_rate, quality="HQ")


def resample_blocks(blocks: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """`resample` of a waveform that comes in blocks (samples,) and never lies in memory as a whole."""
    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    yield from (stream.resample_chunk(block) for block in blocks)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def crop(waveform: np.ndarray, num_samples: int, mode: str, generator: np.random.Generator | None = None) -> np.ndarray:
    """Exactly `num_samples` of a waveform: a part of a longer one, a shorter one repeated from its beginning (as np.pad's "wrap").

    mode: head, center, or random (needs a generator).
    """
    surplus = len(waveform) - num_samples
    if surplus < 0:
        return np.resize(waveform, num_samples)
    if mode == "random":
        assert generator is not None, "a random crop needs its generator"
        start = int(generator.integers(surplus + 1))
    else:
        start = {"head": 0, "center": surplus // 2}[mode]
    return waveform[start : start + num_samples]
