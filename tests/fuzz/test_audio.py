"""Audio with changed headers and bodies: heard, by every reader alike, or refused in one line that names the file."""

from __future__ import annotations

import io
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st

from sourcetracing.audio import ffmpeg
from sourcetracing.audio.checking import check_file
from sourcetracing.audio.reading import load_utterance
from sourcetracing.audio.streaming import open_audio
from sourcetracing.errors import UserError
from sourcetracing.settings.frontends import Audio
from tests.fuzz.test_settings import assert_one_line
from tests.support.fuzzing import SHORT_AND_LONG, run_cases
from tests.support.mutations import mutated

RULES = Audio()
KINDS = {  # suffix, format, subtype
    "16 bits": (".wav", "WAV", "PCM_16"),
    "24 bits": (".wav", "WAV", "PCM_24"),
    "floats": (".wav", "WAV", "FLOAT"),
    "A-law": (".wav", "WAV", "ALAW"),
    "extensible": (".wav", "WAVEX", "PCM_16"),
    "flac": (".flac", "FLAC", "PCM_16"),
    "mp3": (".mp3", "MP3", "MPEG_LAYER_III"),
    "vorbis": (".ogg", "OGG", "VORBIS"),
    "opus": (".ogg", "OGG", "OPUS"),
    "aiff": (".aiff", "AIFF", "PCM_16"),
}
PIECES = (b"RIFF", b"RF64", b"WAVE", b"fmt ", b"data", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"LIST", b"\0\0\0\0", b"\xff\xff\xff\xff")
PIECES += tuple(number.to_bytes(4, "little") for number in (1, 3, 100, 4000, 384000, 2**31 - 1, 10**9)) + (
    b"\0\0",
    b"\xff\xff",
    b"\1\0",
    b"\x40\0",
)
HEADER_BYTES = 90


@cache
def good(kind: str) -> bytes:
    """A quarter of a second in two channels."""
    samples = np.random.default_rng(1).normal(0, 0.1, (4000, 2))
    buffer = io.BytesIO()
    _, name, subtype = KINDS[kind]
    soundfile.write(buffer, samples, 16000, format=name, subtype=subtype)
    return buffer.getvalue()


@st.composite
def changed_audio(draw: st.DrawFn) -> tuple[str, bytes]:
    """A kind of file and its bytes."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    return kind, draw(mutated(good(kind), PIECES, head=HEADER_BYTES))


def check_audio(folder: Path, case: tuple[str, bytes]) -> None:
    kind, content = case
    path = folder / f"odd{KINDS[kind][0]}"
    path.write_bytes(content)
    for use in (_check, _load, _stream):
        try:
            use(path)
        except UserError as error:
            assert_one_line(error)
            assert path.name in str(error)


def _check(path: Path) -> None:
    found = check_file(path, RULES)
    assert found.reason or (np.isfinite(found.duration_s) and found.duration_s > 0 and found.sample_rate > 0 and found.digest)


def _load(path: Path) -> None:
    assert load_utterance(path, RULES).ndim == 1


def _stream(path: Path) -> None:
    with open_audio(path, RULES) as (_, blocks):
        assert all(block.ndim == 1 for block in blocks)


@pytest.fixture
def no_ffmpeg(monkeypatch):
    """It is asked where soundfile refuses, and starting it takes longer than a hundred cases."""

    def refuse() -> str:
        raise UserError("there is no ffmpeg here")

    monkeypatch.setattr(ffmpeg, "ffmpeg_program", refuse)


@SHORT_AND_LONG
def test_audio(tmp_path, is_long, no_ffmpeg):
    run_cases("audio", is_long, changed_audio(), partial(check_audio, tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_the_good_ones_are_heard(tmp_path, kind):
    path = tmp_path / f"good{KINDS[kind][0]}"
    path.write_bytes(good(kind))
    for use in (_check, _load, _stream):
        use(path)
