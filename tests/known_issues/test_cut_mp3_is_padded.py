"""An mp3 cut in half was traced as 25.0 s where 12.4 s are there, and one without a Xing header as 111 s, or half of it was heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sourcetracing.audio.reading import read_audio
from sourcetracing.audio.streaming import open_audio
from sourcetracing.settings.frontends import Audio
from tests.support.audio_doors import RATE, encoded, needs_ffmpeg, samples_by_ffmpeg, speech_like, through_all_doors

pytestmark = needs_ffmpeg
FRAME = 576  # samples of an mp3 frame at 16 kHz
KINDS = {
    "constant rate, Xing": ["-b:a", "64k", "-write_xing", "1"],
    "constant rate": ["-b:a", "64k", "-write_xing", "0"],
    "variable rate, Xing": ["-q:a", "4", "-write_xing", "1"],
    "variable rate": ["-q:a", "4", "-write_xing", "0"],
}


@pytest.mark.parametrize("tag", [True, False], ids=["ID3", "bare"])
@pytest.mark.parametrize("arguments", KINDS.values(), ids=KINDS)
def test_every_sample_of_an_mp3_is_heard_and_no_more(tmp_path, arguments, tag):
    title = ["-metadata", "title=x"] if tag else ["-id3v2_version", "0"]
    path = encoded(tmp_path / "a.mp3", speech_like(33), "-c:a", "libmp3lame", *arguments, *title)
    assert abs(through_all_doors(path) - samples_by_ffmpeg(path)) <= FRAME
    assert abs(through_all_doors(path) - 33 * RATE) <= 3 * FRAME
    half = cut(path, path.stat().st_size // 2 + 9)
    assert "cut off" in through_all_doors(half)
    kept = through_all_doors(half, on_truncated="keep")
    assert abs(kept - samples_by_ffmpeg(half)) <= FRAME


def test_the_header_and_the_file_are_told_apart(tmp_path):
    path = encoded(tmp_path / "a.mp3", speech_like(10), "-c:a", "libmp3lame", "-b:a", "32k", "-write_xing", "1")
    reason = through_all_doors(cut(path, path.stat().st_size // 2))
    assert "header says 10." in reason and "file holds 5.0" in reason or "file holds 4.9" in reason


def test_a_file_under_a_block_ends_where_it_ends(tmp_path):
    """The tail was memory that nobody had written to: three reads, three peaks."""
    path = encoded(tmp_path / "a.mp3", speech_like(6), "-c:a", "libmp3lame", "-b:a", "64k", "-write_xing", "1")
    half, rules = cut(path, path.stat().st_size // 2), Audio(on_truncated="keep")
    whole, _ = read_audio(half, rules)
    for _ in range(3):
        with open_audio(half, rules) as (_, blocks):
            np.testing.assert_array_equal(np.concatenate(list(blocks)), whole)


def cut(path: Path, num_bytes: int) -> Path:
    half = path.with_name("half.mp3")
    half.write_bytes(path.read_bytes()[:num_bytes])
    return half


def test_two_files_end_to_end_are_heard_both(tmp_path):
    path = encoded(tmp_path / "a.mp3", speech_like(4), "-c:a", "libmp3lame", "-b:a", "64k", "-id3v2_version", "0")
    (tmp_path / "two.mp3").write_bytes(2 * path.read_bytes())
    assert abs(through_all_doors(tmp_path / "two.mp3") - 8 * RATE) <= 5 * FRAME
