"""Ogg files: a cut or damaged one passed as a shorter one; of a chained one everything after the first stream was lost."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.audio.ogg import crc_of
from sourcetracing.audio.reading import read_audio
from sourcetracing.settings.frontends import Audio
from tests.support.audio_doors import RATE, speech_like, through_all_doors, written

CODECS = ["VORBIS", "OPUS"]


@pytest.fixture(params=CODECS)
def ogg(request, tmp_path) -> Path:
    path = written(tmp_path / "a.ogg", speech_like(8), format="OGG", subtype=request.param)
    assert through_all_doors(path) == 8 * RATE
    return path


def pages(content: bytes) -> list[bytes]:
    """Cut at the marks that pages begin with."""
    return [b"OggS" + part for part in content.split(b"OggS")[1:]]


def test_the_checksum_is_the_one_of_the_specification():
    """Bit by bit: polynomial 0x04c11db7, beginning with zero, highest bit first."""
    content, remainder = bytes(range(256)) * 3, 0
    for byte in content:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x04C11DB7 if remainder & 1 << 31 else 0)) & 0xFFFFFFFF
    assert crc_of(content) == remainder


def test_a_cut_file_is_named(ogg):
    ogg.write_bytes(ogg.read_bytes()[: ogg.stat().st_size * 3 // 4])
    assert through_all_doors(ogg) == "cut off or damaged: its last Ogg page is cut"
    assert 0.1 * RATE < through_all_doors(ogg, on_truncated="keep") < 7.9 * RATE


def test_a_file_cut_between_two_pages_is_named(ogg):
    ogg.write_bytes(b"".join(pages(ogg.read_bytes())[:-1]))
    assert through_all_doors(ogg) == "cut off or damaged: its last Ogg page is missing"


def test_a_flipped_byte_is_named(ogg):
    content = bytearray(ogg.read_bytes())
    content[len(content) // 2] ^= 0x55
    ogg.write_bytes(content)
    assert "the checksum of an Ogg page is wrong" in through_all_doors(ogg)


def test_a_page_that_is_missing_is_named(ogg):
    found = pages(ogg.read_bytes())
    if len(found) < 5:
        found = found[:-1] + [renumbered(found[-1], 9)]
    else:
        found.pop(3)
    ogg.write_bytes(b"".join(found))
    assert "Ogg pages are missing" in through_all_doors(ogg)


def renumbered(page: bytes, number: int) -> bytes:
    """The page as one of that number, its checksum right."""
    bare = page[:18] + struct.pack("<I", number) + bytes(4) + page[26:]
    return bare[:22] + struct.pack("<I", crc_of(bare)) + bare[26:]


def test_both_streams_of_a_chained_file_are_heard(ogg):
    single, _ = read_audio(ogg, Audio())
    ogg.write_bytes(2 * ogg.read_bytes())
    assert through_all_doors(ogg) == 16 * RATE
    np.testing.assert_array_equal(read_audio(ogg, Audio())[0], np.concatenate([single, single]))


def test_junk_behind_the_last_page_is_no_damage(ogg):
    ogg.write_bytes(ogg.read_bytes() + b"TAG" + bytes(125))
    assert through_all_doors(ogg) == 8 * RATE
