"""A FLAC that was written into a pipe leaves its length open: valid, yet "cannot be read"; a damaged one says how much is there."""

from __future__ import annotations

import numpy as np

from sourcetracing.audio.checking import check_file
from sourcetracing.audio.reading import read_audio
from sourcetracing.audio.streaming import open_audio
from sourcetracing.settings.frontends import Audio
from tests.support.audio_doors import RATE, needs_ffmpeg, speech_like, through_all_doors, written


@needs_ffmpeg
def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path):
    path = written(tmp_path / "a.flac", speech_like(3))
    expected, content = read_audio(path, Audio())[0], path.read_bytes()
    path.write_bytes(content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:])
    assert through_all_doors(path) == 3 * RATE
    np.testing.assert_array_equal(read_audio(path, Audio())[0], expected)
    with open_audio(path, Audio()) as (source, _):
        assert not source.is_lossy


def test_a_damaged_flac_is_named_and_can_be_kept(tmp_path):
    path = written(tmp_path / "a.flac", speech_like(30))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    assert through_all_doors(path).startswith("cut off or damaged: header says 30.00 s, file holds 1")
    kept = check_file(path, Audio(on_truncated="keep"))
    assert 10 < kept.duration_s < 20
    assert kept.notes[0].startswith("cut off or damaged: header says 30.00 s")
