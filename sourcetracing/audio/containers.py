"""What the bytes of an audio file say of it before anything is decoded: is all of it there, and does libsndfile read all of it?

libsndfile takes the data that a header promises for less without a word, stops at the estimated length of an mp3 and at the first
stream of a chained Ogg file. Headers are read by RFC 3533 (Ogg), RFC 9639 (FLAC), Microsoft's RIFF, Apple's AIFF-C and CAF, Sony's W64.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from sourcetracing.audio.mp3 import scan_mp3
from sourcetracing.audio.ogg import scan_ogg

HEADER_SLIP_BYTES = 64  # programs that count the header in promise so much too much; nothing is missing then
_NO_LENGTH = {0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000}  # written into a pipe, whose writer did not know: read to the end
_ID3_HEADER = 10
_MOST_CHUNKS = 10_000  # a damaged size leads among the samples, where zeros look like empty chunks


@dataclass
class Container:
    """parts: what libsndfile opens, one after the other. held: which part of the promised bytes is there. damage: what else is missing.

    least_samples: fewer than these, by libsndfile's count, means that its count is wrong. by_ffmpeg: it is known to be.
    """

    kind: str
    parts: list[BinaryIO] = field(default_factory=list)
    held: float = 1.0
    damage: str = ""
    least_samples: int = 0
    counts: bool = True  # whether libsndfile's number of samples comes from the file, not from an estimate
    by_ffmpeg: bool = False


class Slice(io.RawIOBase):
    """A part of a file as a file of its own; `patch` (place, bytes) stands there instead of what the file has."""

    def __init__(self, file: BinaryIO, start: int, stop: int, patch: tuple[int, bytes] = (0, b"")):
        self.file, self.start, self.size, self.place, self.patch = file, start, max(stop - start, 0), 0, patch

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence])
        return self.place

    def readinto(self, buffer) -> int:
        self.file.seek(self.start + self.place)
        count = self.file.readinto(memoryview(buffer)[: max(0, min(len(buffer), self.size - self.place))])
        for number, byte in enumerate(self.patch[1], self.patch[0] - self.place):
            if 0 <= number < count:
                buffer[number : number + 1] = bytes([byte])
        self.place += count
        return count


class Content(io.BytesIO):
    """A file in memory. libsndfile asks for places before the beginning of a damaged one: it gets the beginning."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return super().seek(max(offset, 0) if whence == os.SEEK_SET else offset, whence)


@dataclass(frozen=True)
class _Chunks:
    """How a family of containers writes its chunks."""

    first: int  # where they begin
    id_bytes: int
    size: struct.Struct
    counts_header: bool
    alignment: int
    data: bytes  # id of the one with the samples


_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_CHUNKS = {
    "WAV": _Chunks(12, 4, struct.Struct("<I"), False, 2, b"data"),
    "RIFX": _Chunks(12, 4, struct.Struct(">I"), False, 2, b"data"),
    "AIFF": _Chunks(12, 4, struct.Struct(">I"), False, 2, b"SSND"),
    "W64": _Chunks(40, 16, struct.Struct("<Q"), True, 8, _W64_DATA),
    "CAF": _Chunks(8, 4, struct.Struct(">Q"), False, 1, b"data"),
}
_MAGIC = {b"NIST": "NIST", b"fLaC": "FLAC", b"OggS": "OGG", b".snd": "AU", b"riff": "W64", b"caff": "CAF", b"RIFX": "RIFX"}


def look_into(file: BinaryIO) -> Container:
    """What an open file holds; reads headers, and of Ogg and mp3 every page and frame, in flat memory."""
    size = file.seek(0, os.SEEK_END)
    start = _after_id3(file)
    head = _read(file, start, 12)
    kind = _MAGIC.get(head[:4], "")
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
        kind = "WAV"
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        kind = "AIFF"
    whole = file if start == 0 else Slice(file, start, size)  # libsndfile loses as many bytes at the end as a tag has at the beginning
    if kind in _CHUNKS:
        return _of_chunks(whole, kind)
    if kind == "AU":
        return _of_au(whole)
    if kind == "NIST":
        return _of_nist(whole)
    if kind == "FLAC":
        return Container(kind, [whole], by_ffmpeg=_has_no_length(whole))
    if kind == "OGG":
        return _of_ogg(file, start, size)
    return _of_mp3(whole, has_tag=start > 0)


def _read(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _after_id3(file: BinaryIO) -> int:
    """Where the sound begins: behind ID3v2 tags, which stand before any kind of file."""
    place = 0
    while (head := _read(file, place, _ID3_HEADER))[:3] == b"ID3" and len(head) == _ID3_HEADER and max(head[6:]) < 0x80:
        length = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        place += _ID3_HEADER + length + (_ID3_HEADER if head[5] & 0x10 else 0)
    return place


def _of_chunks(file: BinaryIO, kind: str) -> Container:
    """A WAV, AIFF, W64 or CAF: are the samples that it promises there?"""
    how, size, long_bytes = _CHUNKS[kind], _size(file), None
    place, header = how.first, how.id_bytes + how.size.size
    for _ in range(_MOST_CHUNKS):
        if place > size or len(head := _read(file, place, header)) < header:
            break
        name, length = head[: how.id_bytes], how.size.unpack_from(head, how.id_bytes)[0]
        length -= header if how.counts_header else 0
        if name == b"ds64":
            long_bytes = struct.unpack("<Q", _read(file, place + header + 8, 8).ljust(8, b"\0"))[0]
        if name == how.data:
            return _of_data(file, kind, place + how.id_bytes, length, long_bytes, size - place - header)
        place += header + max(length, 0) + -length % how.alignment
    return Container(kind, [file])


def _of_data(file: BinaryIO, kind: str, place: int, length: int, long_bytes: int | None, there: int) -> Container:
    """place: of the size field; length: what it says; long_bytes: what RF64 says instead; there: bytes up to the end of the file."""
    if long_bytes is not None and length in (0, 0xFFFFFFFF):
        length = long_bytes
    elif kind in ("WAV", "RIFX") and length in _NO_LENGTH:
        if length or not there or _are_chunks(file, place + 4, kind):
            return Container(kind, [file])
        return Container(kind, [Slice(file, 0, _size(file), (place, b"\xff" * 4))])
    elif kind == "CAF" and length == 0xFFFFFFFFFFFFFFFF:
        return Container(kind, [file])
    missing = length - there
    return Container(kind, [file], held=there / length if missing > HEADER_SLIP_BYTES else 1.0)


def _are_chunks(file: BinaryIO, place: int, kind: str) -> bool:
    """Whether there is nothing but chunks with names of text up to the end of the file: then data of size 0 is empty indeed."""
    how, size = _CHUNKS[kind], _size(file)
    while place + 8 <= size:
        head = _read(file, place, 8)
        if not head[:4].isascii() or not head[:4].decode().isprintable():
            return False
        length = how.size.unpack_from(head, 4)[0]
        place += 8 + length + length % 2
    return place in (size, size + 1)


def _of_au(file: BinaryIO) -> Container:
    begin, length = struct.unpack(">II", _read(file, 4, 8).ljust(8, b"\0"))
    there = _size(file) - begin
    is_cut = length not in (0, 0xFFFFFFFF) and length - there > HEADER_SLIP_BYTES
    return Container("AU", [file], held=max(there, 0) / length if is_cut else 1.0)


def _of_nist(file: BinaryIO) -> Container:
    """SPHERE: its header is text, `sample_count -i 46797`."""
    header = _read(file, 0, 1024)
    if b"shorten" in header:  # packed: fewer bytes than samples
        return Container("NIST", [file])
    said = dict(re.findall(rb"^(\w+) -i (\d+)", header, re.MULTILINE))
    begin = int(header[8:16]) if header[8:16].strip().isdigit() else 1024
    length = math.prod(int(said.get(name, 0)) for name in (b"sample_count", b"sample_n_bytes", b"channel_count"))
    there = max(_size(file) - begin, 0)
    return Container("NIST", [file], held=there / length if length - there > HEADER_SLIP_BYTES else 1.0)


def _has_no_length(file: BinaryIO) -> bool:
    """Whether a FLAC file leaves open how many samples it has, as one does that was written into a pipe. libsndfile refuses such."""
    return int.from_bytes(_read(file, 18, 8), "big") & 0xFFFFFFFFF == 0


def _of_ogg(file: BinaryIO, start: int, size: int) -> Container:
    links, damage = scan_ogg(file, start, size)
    whole = len(links) <= 1 and start == 0
    return Container("OGG", [file] if whole else [Slice(file, begin, end) for begin, end in links], damage=damage)


def _of_mp3(file: BinaryIO, has_tag: bool) -> Container:
    """Of a file that is no mp3, nothing is known."""
    found = scan_mp3(file, _size(file), seeks_first=has_tag)
    if found is None:
        return Container("", [file])
    promised = found.num_promised
    holds = f"file holds {found.seconds(found.num_frames):.2f} s"
    if promised is not None and found.num_frames < promised - 1:
        damage = f"header says {found.seconds(promised):.2f} s, {holds}"
    else:
        damage = f"{found.damage}, {holds}" if found.damage else ""
    if promised is None:  # libsndfile estimates
        least = (found.num_frames - 1) * found.samples_per_frame
        return Container("MP3", [file], damage=damage, least_samples=least, counts=False)
    return Container("MP3", [file], damage=damage, by_ffmpeg=found.num_frames > promised + 1)
