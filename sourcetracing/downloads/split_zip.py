"""Unpacks a zip that was split into name.z01, name.z02 ... name.zip, without joining it on the disk.

No library reads one: Python's zipfile refuses zips of several disks. In a split zip (PKWARE's APPNOTE 8.5, as zip -s, WinZip and 7-Zip
write it) a member's place is a part and an offset in it. So zipfile gets the parts end to end with new end records, and is told
afterwards where each part starts.

Records (APPNOTE 4.3.7 to 4.3.16, little-endian); a value of all ones means that the true one is in a ZIP64 field.
"""

from __future__ import annotations

import io
import struct
import zipfile
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO

from sourcetracing.downloads.archives import Wanted, plain_damage, sync_to_disk, unpack_zip
from sourcetracing.errors import UserError

_LOCAL = struct.Struct("<4s22x2H")  # signature, lengths of name and extra
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_LOCAL_MAGIC, _END_MAGIC, _END64_MAGIC, _LOCATOR_MAGIC = b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_NONE16, _NONE32, _ZIP64_TAG = 0xFFFF, 0xFFFFFFFF, 1
_ZIP_VERSION_64 = 45
_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True)
class _End:
    """What the last record says: the list of members lies in part `list_part` from `list_offset` on."""

    last_part: int
    list_part: int
    list_offset: int
    list_bytes: int
    count: int


def unpack_split_zip(parts: Sequence[str | Path], target: str | Path, *, wanted: Wanted | None = None) -> int:
    """Unpacks name.z01 ... name.zip, in this order, into a folder; returns how many of the files are there now, as `archives.unpack`.

    A zip that was cut into pieces afterwards (name.zip.001 ...) is read as well. Raises `UserError` naming the part that is missing, out of
    order, truncated or damaged, and for what `archives.unpack` refuses.
    """
    parts = [Path(part) for part in parts]
    if missing := [part for part in parts if not part.is_file()]:
        raise UserError(
            f"{missing[0]} is missing: all {len(parts)} parts are needed. Run: python scripts/01_download_resources.py CONFIG.yaml"
        )
    with ExitStack() as stack, plain_damage(parts[-1]):
        joined = _Joined([stack.enter_context(part.open("rb", buffering=0)) for part in parts], [part.stat().st_size for part in parts])
        opened = _open_zip(joined, parts)
        count = unpack_zip(
            opened,
            parts[-1],
            Path(target),
            joined.size_bytes,
            wanted,
            part_of=lambda info: parts[bisect_right(joined.starts, info.header_offset) - 1],
        )
    sync_to_disk()
    return count


class _Joined(io.RawIOBase):
    """Files end to end as one that can be read and sought, the first `sizes` bytes of each."""

    def __init__(self, files: Sequence[BinaryIO], sizes: Sequence[int]) -> None:
        super().__init__()
        self._files = list(files)
        self.starts = [0, *accumulate(sizes)]  # and, last, the end
        self._position = 0

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return self.starts[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        if position < 0:
            raise OSError("a position before the start")  # as a file does; zipfile relies on it
        self._position = position
        return position

    def readinto(self, buffer: memoryview) -> int:
        if self._position >= self.size_bytes:
            return 0
        index = bisect_right(self.starts, self._position) - 1
        file = self._files[index]
        file.seek(self._position - self.starts[index])
        num_read = file.readinto(memoryview(buffer)[: self.starts[index + 1] - self._position])
        self._position += num_read
        return num_read

    def read_at(self, position: int, num_bytes: int) -> bytes:
        """Exactly num_bytes from a position on. Raises `EOFError`."""
        if not 0 <= position <= self.size_bytes - num_bytes:
            raise EOFError("it ends too early")
        self.seek(position)
        content = bytearray()
        while len(content) < num_bytes:  # one read ends where a part ends
            content += self.read(num_bytes - len(content))
        return bytes(content)

    def replace_tail(self, start: int, tail: bytes) -> _Joined:
        """The same up to `start`, then `tail`."""
        sizes = [max(0, min(end, start) - begin) for begin, end in pairwise(self.starts)]
        return _Joined([*self._files, io.BytesIO(tail)], [*sizes, len(tail)])


def _open_zip(joined: _Joined, parts: list[Path]) -> zipfile.ZipFile:
    """The parts as one zip. Raises `UserError` naming a part that is not what the list says."""
    end = _read_end(joined, parts)
    if end.last_part == 0:  # one zip cut into pieces: its places count from the start already
        return zipfile.ZipFile(io.BufferedReader(joined, _BUFFER_BYTES))
    _check_number(end.last_part + 1, parts)
    if end.list_part > end.last_part:
        raise EOFError("its end record is broken")
    list_start = joined.starts[end.list_part] + end.list_offset
    records = _end_records(list_start, end)
    opened = zipfile.ZipFile(io.BufferedReader(joined.replace_tail(list_start + end.list_bytes, records), _BUFFER_BYTES))
    for info in opened.infolist():
        _move(info, joined, parts)
    _check_parts(opened.infolist(), list_start, joined, parts)
    return opened


def _move(info: zipfile.ZipInfo, joined: _Joined, parts: list[Path]) -> None:
    """Makes a place in a part one in all of them."""
    part = info.volume
    if part == _NONE16:
        part = _wide_part(info)
    if part >= len(parts) or info.header_offset >= joined.starts[part + 1] - joined.starts[part]:
        raise UserError(f"{parts[min(part, len(parts) - 1)]} is truncated. Delete it and run the same command again")
    info.volume, info.header_offset = part, joined.starts[part] + info.header_offset
    with suppress(AttributeError):  # later Pythons: where the next member starts, by places that counted in parts; `_check_parts` looks
        info._end_offset = None


def _wide_part(info: zipfile.ZipInfo) -> int:
    """The part in the ZIP64 field, which zipfile leaves unread: its last four bytes."""
    extra = info.extra
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<2H", extra)
        if tag == _ZIP64_TAG and length >= 4:
            return int.from_bytes(extra[length : 4 + length], "little")
        extra = extra[4 + length :]
    return _NONE16


def _read_end(joined: _Joined, parts: list[Path]) -> _End:
    tail_bytes = min(joined.size_bytes, _END.size + 0xFFFF)
    tail = joined.read_at(joined.size_bytes - tail_bytes, tail_bytes)
    found = tail.rfind(_END_MAGIC)
    if found < 0 or len(tail) - found < _END.size:
        raise UserError(f"{parts[-1]} is truncated, or not the last part of a split zip. Delete it and run the same command again")
    _, last_part, list_part, _, count, list_bytes, list_offset, _ = _END.unpack_from(tail, found)
    position = joined.size_bytes - tail_bytes + found
    if position >= _LOCATOR.size:
        magic, part64, offset64, num_parts = _LOCATOR.unpack(joined.read_at(position - _LOCATOR.size, _LOCATOR.size))
        if magic == _LOCATOR_MAGIC:
            _check_number(num_parts, parts, at_least_one=True)
            return _read_end64(joined, joined.starts[min(part64, len(parts) - 1)] + offset64)
    return _End(last_part, list_part, list_offset, list_bytes, count)


def _read_end64(joined: _Joined, position: int) -> _End:
    magic, _, _, _, last_part, list_part, _, count, list_bytes, list_offset = _END64.unpack(joined.read_at(position, _END64.size))
    if magic != _END64_MAGIC:
        raise EOFError("its ZIP64 end record is not where it should be")
    return _End(last_part, list_part, list_offset, list_bytes, count)


def _check_number(num_parts: int, parts: list[Path], at_least_one: bool = False) -> None:
    # Pieces of one zip count as one part, or as none.
    if num_parts == len(parts) or (at_least_one and num_parts <= 1):
        return
    names = (parts[-1].with_suffix(f".z{number:02d}") for number in range(1, num_parts))
    absent = next((name for name in names if name not in parts), None)
    hint = f"{absent} is missing: " if absent else ""
    raise UserError(f"{hint}{parts[-1]} is the last of {num_parts} parts, and there are {len(parts)}")


def _check_parts(infos: list[zipfile.ZipInfo], list_start: int, joined: _Joined, parts: list[Path]) -> None:
    """Looks at the first and the last member that begins in each part: they tell a part that is out of place or too short."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    followers = [(info.header_offset, info.volume) for info in ordered[1:]] + [(list_start, len(parts) - 1)]
    previous_part = -1
    for info, (next_start, next_part) in zip(ordered, followers, strict=True):
        if info.volume != previous_part or next_part != info.volume:
            _check_member(info, next_start, next_part, joined, parts)
        previous_part = info.volume


def _check_member(info: zipfile.ZipInfo, next_start: int, next_part: int, joined: _Joined, parts: list[Path]) -> None:
    magic, name_bytes, extra_bytes = _LOCAL.unpack(joined.read_at(info.header_offset, _LOCAL.size))
    if magic != _LOCAL_MAGIC:
        raise UserError(
            f"{parts[info.volume]} is not the part that belongs here: out of order, damaged or of another archive. Delete it and run again"
        )
    if info.header_offset + _LOCAL.size + name_bytes + extra_bytes + info.compress_size > next_start:
        last = max(info.volume, next_part - 1)
        span = str(parts[info.volume]) if last == info.volume else f"one of {parts[info.volume]} ... {parts[last]}"
        raise UserError(f"{span} is truncated. Delete it and run the same command again")


def _end_records(list_start: int, end: _End) -> bytes:
    """What ends a zip of one part whose list of members begins at list_start, in ZIP64."""
    sizes = (_ZIP_VERSION_64, _ZIP_VERSION_64, 0, 0, end.count, end.count, end.list_bytes, list_start)
    end64 = _END64.pack(_END64_MAGIC, _END64.size - 12, *sizes)
    locator = _LOCATOR.pack(_LOCATOR_MAGIC, 0, list_start + end.list_bytes, 1)
    return end64 + locator + _END.pack(_END_MAGIC, 0, 0, _NONE16, _NONE16, _NONE32, _NONE32, 0)
