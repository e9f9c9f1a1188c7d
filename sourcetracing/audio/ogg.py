"""The pages of an Ogg file (RFC 3533): where each of its streams begins and ends, and whether a page is missing or damaged."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

_PAGE = struct.Struct("<4sBBqIIIB")  # OggS, version, flags, granule, stream, number, CRC, segments
_CRC_PLACE = 22
_BEGINS, _ENDS = 2, 4
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def scan_ogg(file: BinaryIO, start: int, stop: int) -> tuple[list[tuple[int, int]], str]:
    """((begin, end) in bytes of each link of a chained file, what is missing or damaged, "" = nothing)."""
    begins, next_numbers, ended, damage = [start], {}, set(), ""
    is_heading, place = True, start
    while place < stop:
        page = _read_page(file, place, stop)
        if isinstance(page, str):
            is_junk = place > start and not _unended(next_numbers, ended) and not _begins_page(file, place)
            damage = damage or ("" if is_junk else page)
            break
        flags, stream, number, length = page
        if flags & _BEGINS and not is_heading:
            damage = damage or _unended(next_numbers, ended)
            begins.append(place)
            next_numbers, ended = {}, set()
        is_heading = bool(flags & _BEGINS)
        if number != next_numbers.get(stream, number):
            damage = damage or f"Ogg pages are missing {_where(place, start, stop)}"
        next_numbers[stream] = number + 1
        if flags & _ENDS:
            ended.add(stream)
        place += length
    damage = damage or _unended(next_numbers, ended)
    return list(zip(begins, [*begins[1:], stop], strict=True)), damage


def _read_page(file: BinaryIO, place: int, stop: int) -> tuple[int, int, int, int] | str:
    """(flags, stream, number, bytes) of the page at `place`, or what is wrong with it."""
    file.seek(place)
    header = file.read(_PAGE.size)
    if len(header) < _PAGE.size:
        return "its last Ogg page is cut"
    magic, _, flags, _, stream, number, crc, num_segments = _PAGE.unpack(header)
    if magic != b"OggS":
        return f"no Ogg page {_where(place, 0, stop)}"
    lengths = file.read(num_segments)
    body = file.read(sum(lengths))
    length = _PAGE.size + num_segments + sum(lengths)
    if place + length > stop or len(body) < sum(lengths):
        return "its last Ogg page is cut"
    if crc_of(header[:_CRC_PLACE] + bytes(4) + header[_CRC_PLACE + 4 :] + lengths + body) != crc:
        return f"the checksum of an Ogg page is wrong {_where(place, 0, stop)}"
    return flags, stream, number, length


def _begins_page(file: BinaryIO, place: int) -> bool:
    file.seek(place)
    return b"OggS".startswith(file.read(4))


def _where(place: int, start: int, stop: int) -> str:
    return f"after {(place - start) / max(stop - start, 1):.0%} of the file"


def _unended(next_numbers: dict[int, int], ended: set[int]) -> str:
    return "its last Ogg page is missing" if set(next_numbers) - ended else ""


def crc_of(content: bytes) -> int:
    """Ogg's CRC-32: zlib's polynomial, from the other end of each byte, without inversions."""
    mirrored = zlib.crc32(content.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
