"""Unpacks a zip that was split into name.z01, name.z02 ... name.zip, without joining it on the disk.

Python's zipfile reads one file whose list of members counts from its start. In a split zip (PKWARE's APPNOTE 8.5, as zip -s, WinZip and
7-Zip write it) a member's place is a part and an offset in it. So zipfile gets a file that ends differently: the parts end to end, and
after them the same list with places that count from the start of the first part.

Records (APPNOTE 4.3.7 to 4.3.16, little-endian); a value of all ones means that the true one is in a ZIP64 field.
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO

from sourcetracing.downloads.archives import DEFAULT_LIMITS, Limits, Wanted, plain_damage, sync_to_disk, unpack_zip
from sourcetracing.errors import UserError

_LOCAL = struct.Struct("<4s22x2H")  # signature, lengths of name and extra
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_LOCAL_MAGIC, _ENTRY_MAGIC, _END_MAGIC, _END64_MAGIC, _LOCATOR_MAGIC = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_NONE16, _NONE32, _ZIP64_TAG = 0xFFFF, 0xFFFFFFFF, 1
_ZIP_VERSION_64 = 45
_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True)
class _End:
    """What the last record says. Places are (part, offset in it)."""

    last_part: int
    list_place: tuple[int, int]
    list_bytes: int


@dataclass(frozen=True)
class _Entry:
    """A member: where its data begins and the line of the new list."""

    part: int
    start: int
    packed_bytes: int
    line: bytes


def unpack_split_zip(
    parts: Sequence[str | Path], target: str | Path, *, wanted: Wanted | None = None, limits: Limits = DEFAULT_LIMITS
) -> int:
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
        files = [stack.enter_context(part.open("rb", buffering=0)) for part in parts]
        sizes = [part.stat().st_size for part in parts]
        starts = [0, *accumulate(sizes)][:-1]
        joined = _in_one_list(_Joined(files, sizes), parts, sizes, starts)
        count = unpack_zip(
            io.BufferedReader(joined, _BUFFER_BYTES),
            parts[-1],
            Path(target),
            archive_bytes=sum(sizes),
            wanted=wanted,
            limits=limits,
            part_of=lambda info: parts[bisect_right(starts, info.header_offset) - 1],
        )
    sync_to_disk()
    return count


class _Joined(io.RawIOBase):
    """Files end to end as one that can be read and sought, the first `sizes` bytes of each."""

    def __init__(self, files: Sequence[BinaryIO], sizes: Sequence[int]) -> None:
        super().__init__()
        self._files = list(files)
        self._starts = [0, *accumulate(sizes)]
        self._position = 0

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return self._starts[-1]

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
        index = bisect_right(self._starts, self._position) - 1
        file = self._files[index]
        file.seek(self._position - self._starts[index])
        num_read = file.readinto(memoryview(buffer)[: self._starts[index + 1] - self._position])
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
        sizes = [max(0, min(end, start) - begin) for begin, end in pairwise(self._starts)]
        return _Joined([*self._files, io.BytesIO(tail)], [*sizes, len(tail)])


def _in_one_list(joined: _Joined, parts: list[Path], sizes: list[int], starts: list[int]) -> _Joined:
    """The parts as a zip that zipfile can read. Raises `UserError` naming a part that is not what the list says."""
    end = _read_end(joined, parts, starts)
    if end.last_part == 0:
        return joined  # one zip cut into pieces: its places count from the start already
    _check_number(end.last_part + 1, parts)
    if end.list_place[0] > end.last_part:
        raise EOFError("its end record is broken")
    list_start = starts[end.list_place[0]] + end.list_place[1]
    entries = _read_entries(joined.read_at(list_start, end.list_bytes), parts, sizes, starts)
    _check_parts(entries, list_start, joined, parts)
    return joined.replace_tail(list_start, _new_list(entries, list_start))


def _read_end(joined: _Joined, parts: list[Path], starts: list[int]) -> _End:
    tail_bytes = min(joined.size_bytes, _END.size + 0xFFFF)
    tail = joined.read_at(joined.size_bytes - tail_bytes, tail_bytes)
    found = tail.rfind(_END_MAGIC)
    if found < 0 or len(tail) - found < _END.size:
        raise UserError(f"{parts[-1]} is truncated, or not the last part of a split zip. Delete it and run the same command again")
    _, last_part, list_part, _, _, list_bytes, list_offset, _ = _END.unpack_from(tail, found)
    position = joined.size_bytes - tail_bytes + found
    if position >= _LOCATOR.size:
        magic, part64, offset64, num_parts = _LOCATOR.unpack(joined.read_at(position - _LOCATOR.size, _LOCATOR.size))
        if magic == _LOCATOR_MAGIC:
            _check_number(num_parts, parts, at_least_one=True)
            return _read_end64(joined, starts[min(part64, len(parts) - 1)] + offset64)
    return _End(last_part, (list_part, list_offset), list_bytes)


def _read_end64(joined: _Joined, position: int) -> _End:
    fields = _END64.unpack(joined.read_at(position, _END64.size))
    magic, _, _, _, last_part, list_part, _, _, list_bytes, list_offset = fields
    if magic != _END64_MAGIC:
        raise EOFError("its ZIP64 end record is not where it should be")
    return _End(last_part, (list_part, list_offset), list_bytes)


def _check_number(num_parts: int, parts: list[Path], at_least_one: bool = False) -> None:
    # Pieces of one zip count as one part, or as none.
    if num_parts == len(parts) or (at_least_one and num_parts <= 1):
        return
    names = (parts[-1].with_suffix(f".z{number:02d}") for number in range(1, num_parts))
    absent = next((name for name in names if name not in parts), None)
    hint = f"{absent} is missing: " if absent else ""
    raise UserError(f"{hint}{parts[-1]} is the last of {num_parts} parts, and there are {len(parts)}")


def _read_entries(listing: bytes, parts: list[Path], sizes: list[int], starts: list[int]) -> list[_Entry]:
    entries, position = [], 0
    while position < len(listing):
        fields = list(_ENTRY.unpack_from(listing, position))
        if fields[0] != _ENTRY_MAGIC:
            raise EOFError("its list of members is broken")
        rest_start, lengths = position + _ENTRY.size, fields[10:13]
        name, extra, comment = _cut(listing, rest_start, lengths)
        position = rest_start + sum(lengths)
        unpacked_bytes, packed_bytes, offset, part, other_extra = _wide_values(fields, extra)
        if part >= len(parts) or offset >= sizes[part]:
            raise UserError(f"{parts[min(part, len(parts) - 1)]} is truncated. Delete it and run the same command again")
        start = starts[part] + offset
        new_extra = struct.pack("<2H3Q", _ZIP64_TAG, 24, unpacked_bytes, packed_bytes, start) + other_extra
        fields[8:10], fields[11], fields[13], fields[16] = [_NONE32, _NONE32], len(new_extra), 0, _NONE32
        entries.append(_Entry(part, start, packed_bytes, _ENTRY.pack(*fields) + name + new_extra + comment))
    return entries


def _cut(content: bytes, start: int, lengths: Sequence[int]) -> list[bytes]:
    ends = [*accumulate(lengths, initial=start)]
    if ends[-1] > len(content):
        raise EOFError("its list of members is cut off")
    return [content[begin:end] for begin, end in pairwise(ends)]


def _wide_values(fields: list, extra: bytes) -> tuple[int, int, int, int, bytes]:
    """(unpacked_bytes, packed_bytes, offset, part, the extra fields without ZIP64's) of an entry."""
    wide, others = b"", b""
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<2H", extra)
        field, extra = extra[: 4 + length], extra[4 + length :]
        if tag == _ZIP64_TAG:
            wide = field[4:]
        else:
            others += field
    values = []
    for value, none, width in ((fields[9], _NONE32, 8), (fields[8], _NONE32, 8), (fields[16], _NONE32, 8), (fields[13], _NONE16, 4)):
        if value == none and len(wide) >= width:
            value, wide = int.from_bytes(wide[:width], "little"), wide[width:]
        values.append(value)
    return (*values, others)


def _check_parts(entries: list[_Entry], list_start: int, joined: _Joined, parts: list[Path]) -> None:
    """Looks at the first and the last member that begins in each part: they tell a part that is out of place or too short."""
    ordered = sorted(entries, key=lambda entry: entry.start)
    followers = [*ordered[1:], _Entry(len(parts) - 1, list_start, 0, b"")]
    previous_part = -1
    for entry, follower in zip(ordered, followers, strict=True):
        if entry.part != previous_part or follower.part != entry.part:
            _check_member(entry, follower, joined, parts)
        previous_part = entry.part


def _check_member(entry: _Entry, follower: _Entry, joined: _Joined, parts: list[Path]) -> None:
    magic, name_bytes, extra_bytes = _LOCAL.unpack(joined.read_at(entry.start, _LOCAL.size))
    if magic != _LOCAL_MAGIC:
        raise UserError(
            f"{parts[entry.part]} is not the part that belongs here: out of order, damaged or of another archive. Delete it and run again"
        )
    if entry.start + _LOCAL.size + name_bytes + extra_bytes + entry.packed_bytes > follower.start:
        last = max(entry.part, follower.part - 1)
        span = str(parts[entry.part]) if last == entry.part else f"one of {parts[entry.part]} ... {parts[last]}"
        raise UserError(f"{span} is truncated. Delete it and run the same command again")


def _new_list(entries: list[_Entry], start: int) -> bytes:
    """The list of members and its end records, all in ZIP64, for a list that begins at `start`."""
    listing, count = b"".join(entry.line for entry in entries), len(entries)
    end64 = _END64.pack(_END64_MAGIC, _END64.size - 12, _ZIP_VERSION_64, _ZIP_VERSION_64, 0, 0, count, count, len(listing), start)
    locator = _LOCATOR.pack(_LOCATOR_MAGIC, 0, start + len(listing), 1)
    end = _END.pack(_END_MAGIC, 0, 0, _NONE16, _NONE16, _NONE32, _NONE32, 0)
    return listing + end64 + locator + end
