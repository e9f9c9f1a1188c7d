"""A truncated WAV passed as a shorter one; a streamed one, whose header says 0, "holds no samples"; a tag before RIFF cost 10 samples."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sourcetracing.audio.checking import check_corpus
from sourcetracing.audio.reading import read_audio
from sourcetracing.errors import UserError
from sourcetracing.settings.frontends import Audio
from tests.support.audio_doors import RATE, speech_like, through_all_doors, written
from tests.support.audio_files import small_audio_settings, write_corpus

HEADER = 44


@pytest.fixture
def wav(tmp_path) -> Path:
    return written(tmp_path / "a.wav", speech_like(2))


def with_data_size(path: Path, size: int) -> bytes:
    content = path.read_bytes()
    assert content[36:40] == b"data"
    return content[:40] + struct.pack("<I", size) + content[HEADER:]


def test_a_cut_wav_is_named_with_both_lengths(wav):
    wav.write_bytes(wav.read_bytes()[: HEADER + 2 * RATE])
    assert through_all_doors(wav) == "cut off: header says 2.00 s, file holds 1.00 s"
    assert through_all_doors(wav, on_truncated="skip") == "cut off: header says 2.00 s, file holds 1.00 s"
    assert through_all_doors(wav, on_truncated="keep") == RATE


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_streamed_wav_is_read_to_its_end(wav, size):
    whole, _ = read_audio(wav, Audio())
    wav.write_bytes(with_data_size(wav, size))
    assert through_all_doors(wav) == 2 * RATE
    np.testing.assert_array_equal(read_audio(wav, Audio())[0], whole)


@pytest.mark.parametrize("too_much", [36, 44])
def test_a_header_that_counts_itself_in_misses_nothing(wav, too_much):
    wav.write_bytes(with_data_size(wav, 4 * RATE + too_much))
    assert through_all_doors(wav) == 2 * RATE


def test_no_samples_are_no_samples(wav):
    wav.write_bytes(with_data_size(wav, 0)[:HEADER])
    assert through_all_doors(wav) == "holds no samples"
    wav.write_bytes(wav.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    assert through_all_doors(wav) == "holds no samples"


KINDS = {"aiff": "AIFF", "au": "AU", "w64": "W64", "rf64": "RF64", "sph": "NIST", "flac": "FLAC", "caf": "CAF"}


@pytest.mark.parametrize(("suffix", "kind"), KINDS.items())
def test_other_containers_are_measured_likewise(tmp_path, suffix, kind):
    path = written(tmp_path / f"a.{suffix}", speech_like(2), format=kind)
    assert through_all_doors(path) == 2 * RATE
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert through_all_doors(path).startswith("cut off")
    kept = through_all_doors(path, on_truncated="keep") if kind != "CAF" else RATE  # ffmpeg has to read that one
    assert 0.4 * RATE < kept < 1.8 * RATE


@pytest.mark.parametrize("tag", [b"ID3\x03\0\0\0\0\0\0", b"ID3\x03\0\0\0\0\0\x0a" + bytes(10), b"ID3\x03\0\0\0\0\1\x00" + bytes(128)])
@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_tag_before_the_file_costs_nothing(tmp_path, tag, kind):
    path = written(tmp_path / "a.wav", speech_like(1), format=kind)
    expected, _ = soundfile.read(path, dtype="float32")
    path.write_bytes(tag + path.read_bytes())
    np.testing.assert_array_equal(read_audio(path, Audio())[0], expected)
    assert through_all_doors(path) == RATE


def test_the_check_pass_stops_leaves_out_or_keeps(tmp_path, capsys):
    settings, (utterances, _) = small_audio_settings(tmp_path), write_corpus(tmp_path / "corpus")
    victim = tmp_path / "corpus" / utterances["path"][2]  # half a second
    victim.write_bytes(victim.read_bytes()[: HEADER + 8000])
    rows = utterances.drop(columns="digest")
    with pytest.raises(UserError, match=r"1 of 6 .*2\.wav: cut off: header says 0\.50 s, file holds 0\.25 s.*audio\.on_truncated=skip"):
        check_corpus(rows, settings.paths.corpus, settings)
    settings.audio.on_truncated = "skip"
    checked, problems = check_corpus(rows, settings.paths.corpus, settings)
    assert (len(checked), len(problems)) == (5, 1)
    settings.audio.on_truncated = "keep"
    checked, problems = check_corpus(rows, settings.paths.corpus, settings)
    assert (checked["duration_s"][2], len(problems)) == (0.25, 0)
    assert "1 of 6 files: cut off" in capsys.readouterr().err


@pytest.mark.parametrize("rate", [1, 3999, 400_000, 2**31 - 1])
def test_no_recording_has_such_a_rate(wav, rate):
    """64 kB at 1 Hz became 512 million samples."""
    content = wav.read_bytes()
    wav.write_bytes(content[:24] + struct.pack("<I", rate) + content[28:])
    assert through_all_doors(wav) == f"its header says {rate} Hz; 4000 to 384000 Hz can be"
