"""Split zips: a real one of `zip -s 64k`, and made ones with what a real one rarely has."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest

from sourcetracing.downloads import archives
from sourcetracing.downloads.split_zip import unpack_split_zip
from sourcetracing.errors import UserError
from tests.support.places import GOLDEN
from tests.support.split_zips import split

REAL = GOLDEN / "split"
REAL_PARTS = [REAL / "mlaad.z01", REAL / "mlaad.z02", REAL / "mlaad.zip"]
RANDOM = random.Random(1)
FILES = {
    "fake/en/vits/small.wav": RANDOM.randbytes(300),
    "fake/en/vits/over_three_parts.wav": RANDOM.randbytes(150_000),
    "fake/en/vits/meta.csv": b"path|transcript\n" * 500,
    "fake/de/vits/ü.wav": RANDOM.randbytes(20_000),
    "fake/de/vits/empty.wav": b"",
}


def content_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(parts: list[Path], target: Path, named: Path) -> str:
    with pytest.raises(UserError) as caught:
        unpack_split_zip(parts, target)
    assert str(named) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_real_split_zip(tmp_path: Path):
    assert unpack_split_zip(REAL_PARTS, tmp_path) == 16
    found = {name: hashlib.sha256(content).hexdigest() for name, content in content_below(tmp_path).items()}
    assert found == json.loads((REAL / "contents.json").read_text())


def test_only_wanted_members(tmp_path: Path):
    assert unpack_split_zip(REAL_PARTS, tmp_path, wanted=lambda name: name.startswith("fake/de/") and name.endswith(".csv")) == 2
    assert sorted(content_below(tmp_path)) == ["fake/de/griffin_lim/meta.csv", "fake/de/vits/meta.csv"]


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("part_bytes", [64_000, 7_001, 1_000_000])
def test_made_ones_hold_what_the_plain_zip_holds(tmp_path: Path, zip64: bool, part_bytes: int):
    parts = split(FILES, tmp_path / "parts", part_bytes, zip64)
    assert len(parts) == {64_000: 3, 7_001: 25, 1_000_000: 1}[part_bytes]
    if len(parts) > 1:
        assert unpack_split_zip(parts, tmp_path / "out") == len(FILES)
        assert content_below(tmp_path / "out") == FILES


@pytest.mark.parametrize("zip64", [False, True])
def test_one_zip_that_was_cut_into_pieces(tmp_path: Path, zip64: bool):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in FILES.items():
            with archive.open(name, "w", force_zip64=zip64) as file:
                file.write(content)
    content = (tmp_path / "x.zip").read_bytes()
    pieces = [tmp_path / f"x.zip.{number:03d}" for number in range(1, 10)]
    for number, piece in enumerate(pieces):
        piece.write_bytes(content[number * 20_000 : (number + 1) * 20_000])
    assert unpack_split_zip(pieces, tmp_path / "out") == len(FILES)
    assert content_below(tmp_path / "out") == FILES
    with pytest.raises(UserError):
        unpack_split_zip(pieces[:3] + pieces[4:], tmp_path / "gap")


def test_it_goes_on_where_it_was_killed(tmp_path: Path):
    parts = split(FILES, tmp_path / "parts")
    unpack_split_zip(parts, tmp_path / "out")
    kept, lost = tmp_path / "out/fake/en/vits/small.wav", tmp_path / "out/fake/de/vits/ü.wav"
    os.utime(kept, (1, 1))
    lost.unlink()
    assert unpack_split_zip(parts, tmp_path / "out") == len(FILES)
    assert kept.stat().st_mtime == 1 and content_below(tmp_path / "out") == FILES


@pytest.mark.parametrize("zip64", [False, True])
def test_a_missing_part_is_named(tmp_path: Path, zip64: bool):
    parts = split(FILES, tmp_path, 20_000, zip64)
    assert "missing" in refusal(parts[:3] + parts[4:], tmp_path / "out", named=parts[3])
    parts[3].unlink()
    assert "missing" in refusal(parts, tmp_path / "out", named=parts[3])


@pytest.mark.parametrize("zip64", [False, True])
def test_parts_out_of_order(tmp_path: Path, zip64: bool):
    parts = split({f"{number}.wav": RANDOM.randbytes(3_000) for number in range(30)}, tmp_path / "parts", 20_000, zip64)
    assert "out of order" in refusal([parts[1], parts[0], *parts[2:]], tmp_path / "out", named=parts[1])
    refusal([parts[-1], *parts[:-1]], tmp_path / "out", named=parts[-2])
    assert content_below(tmp_path / "out") == {}


def test_a_truncated_part_is_named(tmp_path: Path):
    parts = split({f"{number}.wav": RANDOM.randbytes(3_000) for number in range(30)}, tmp_path / "parts", 20_000)
    for part in parts:
        for cut_bytes in (10, 100, 15_000, part.stat().st_size):
            content = part.read_bytes()
            part.write_bytes(content[: max(0, len(content) - cut_bytes)])
            message = refusal(parts, tmp_path / "out", named=part)
            assert "truncated" in message or "belongs here" in message
            part.write_bytes(content)
    assert content_below(tmp_path / "out") == {}


def test_a_part_of_another_archive(tmp_path: Path):
    parts = [Path(shutil.copy(part, tmp_path)) for part in REAL_PARTS]
    parts[1].write_bytes(os.urandom(parts[1].stat().st_size))
    assert "of another archive" in refusal(parts, tmp_path / "out", named=parts[1])


def test_a_damaged_member_names_its_part(tmp_path: Path):
    parts = split(FILES, tmp_path / "parts", 20_000)
    content = bytearray(parts[4].read_bytes())
    content[10_000] ^= 1
    parts[4].write_bytes(content)
    assert "over_three_parts.wav" in refusal(parts, tmp_path / "out", named=parts[0])


def test_a_last_part_that_is_something_else(tmp_path: Path):
    parts = split(FILES, tmp_path / "parts")
    parts[-1].write_text("<html>Please log in</html>")
    assert "not the last part" in refusal(parts, tmp_path / "out", named=parts[-1])
    whole = split(FILES, tmp_path / "more", 30_000)
    assert "is the last of" in refusal([*parts[:-1], whole[-1]], tmp_path / "out", named=whole[-1])


def test_a_broken_list_is_one_clear_line(tmp_path: Path):
    parts = split(FILES, tmp_path / "parts", zip64=True)
    content = parts[-1].read_bytes()
    first, second = content.index(b"PK\1\2"), content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    for position in [*range(first, second), *range(content.index(b"PK\6\6"), len(content))]:
        broken = bytearray(content)
        broken[position] ^= 0xFF
        parts[-1].write_bytes(broken)
        try:
            unpack_split_zip(parts, tmp_path / "out", wanted=lambda name: name.endswith("small.wav"))
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
    assert set(content_below(tmp_path)) - {f"parts/{part.name}" for part in parts} <= {"out/fake/en/vits/small.wav"}


@pytest.mark.parametrize("name", ["../evil.wav", "/tmp/evil.wav", "a\\evil.wav"])
def test_it_is_as_safe_as_a_plain_zip(tmp_path: Path, name: str, monkeypatch):
    parts = split({**FILES, name: b"1"}, tmp_path / "parts")
    assert repr(name) in refusal(parts, tmp_path / "out", named=parts[-1])
    assert content_below(tmp_path / "out") == {}
    bomb = split({"noise": os.urandom(100_000), "zeros": bytes(20 << 20)}, tmp_path / "bomb")
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 1 << 20)
    monkeypatch.setattr(archives, "MAX_RATIO", 50)
    assert "zeros" in refusal(bomb, tmp_path / "out", named=bomb[-1])
