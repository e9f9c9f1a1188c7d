"""The frames of an mp3 file (ISO 11172-3, 13818-3): how many there are, how many its Xing or VBRI header promises, where it breaks."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

_KBITS = {  # (MPEG 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = (44100, 48000, 32000)
_SEEK_BYTES = (4096, 65536)  # how far from a break the next frame is looked for at first, and then at a time
_TAGS = (b"TAG", b"APETAGEX", b"LYRICS", b"ID3")


@dataclass(frozen=True)
class Frame:
    """What a frame's header says."""

    length: int  # bytes
    num_samples: int
    rate: int  # Hz
    layer: int


@dataclass(frozen=True)
class FramesFound:
    """num_frames: whole ones with sound. num_promised: what the header says; None = nothing. damage: what is wrong, "" = nothing."""

    num_frames: int
    num_promised: int | None
    samples_per_frame: int
    rate: int
    damage: str

    def seconds(self, num_frames: int) -> float:
        return num_frames * self.samples_per_frame / self.rate


@lru_cache(maxsize=4096)
def frame_of(header: bytes) -> Frame | None:
    """The frame that 4 bytes begin; None where they do not, or where its length is open ("free format")."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, hertz, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bits in (0, 15) or hertz == 3:
        return None
    is_first = version == 3
    rate = _HERTZ[hertz] >> {3: 0, 2: 1, 0: 2}[version]
    bits_per_s = 1000 * _KBITS[is_first, layer][bits - 1]
    if layer == 1:
        return Frame((12 * bits_per_s // rate + padding) * 4, 384, rate, layer)
    num_samples = 1152 if layer == 2 or is_first else 576
    return Frame(num_samples // 8 * bits_per_s // rate + padding, num_samples, rate, layer)


def scan_mp3(file: BinaryIO, size: int, *, seeks_first: bool) -> FramesFound | None:
    """Walks over all frames; None for what is no mp3. seeks_first: bytes between a tag and the first frame are skipped."""
    place = _seek(file, 0, size, None) if seeks_first else 0
    first = None if place is None else frame_of(_bytes(file, place, 4))
    if first is None or _next(file, place, first, size) is None:
        return None
    promised, is_header = _promised(_bytes(file, place, min(first.length, 512)))
    count, damage = -1 if is_header else 0, ""
    while place + 4 <= size:
        frame = frame_of(header := _bytes(file, place, 4))
        if frame is None or not _is_alike(frame, first):
            is_tag = header.startswith(tuple(tag[:4] for tag in _TAGS))
            found = _seek(file, place, size, first)
            if found is None:
                break
            damage = damage or ("" if is_tag else f"damaged after {place / size:.0%} of the file")
            place = found
        elif place + frame.length > size:
            damage = damage or "it ends inside a frame"
            break
        else:
            count, place = count + 1, place + frame.length
    if 0 < size - place < 4 and _bytes(file, place, 1) == b"\xff":
        damage = damage or "it ends inside a frame"
    return FramesFound(max(count, 0), promised, first.num_samples, first.rate, damage)


def _bytes(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _is_alike(frame: Frame, first: Frame) -> bool:
    return (frame.rate, frame.layer, frame.num_samples) == (first.rate, first.layer, first.num_samples)


def _next(file: BinaryIO, place: int, frame: Frame, size: int) -> Frame | None:
    """The frame behind a frame, or the frame itself where the file ends with it."""
    behind = place + frame.length
    if behind >= size - 4:
        return frame
    after = frame_of(header := _bytes(file, behind, 4))
    if after is None:
        return frame if header.startswith(tuple(tag[:4] for tag in _TAGS)) else None
    return after if _is_alike(after, frame) else None


def _seek(file: BinaryIO, place: int, size: int, like: Frame | None) -> int | None:
    """Where the next two frames begin, from `place` on."""
    near, further = _SEEK_BYTES
    while place < size:
        content, near = _bytes(file, place, near), further
        at = content.find(b"\xff")
        while 0 <= at < len(content) - 3:
            if _begins_two(file, place + at, size, frame_of(content[at : at + 4]), like):
                return place + at
            at = content.find(b"\xff", at + 1)
        place += max(len(content) - 3, 1)
    return None


def _begins_two(file: BinaryIO, place: int, size: int, frame: Frame | None, like: Frame | None) -> bool:
    if frame is None or (like is not None and not _is_alike(frame, like)) or place + frame.length > size:
        return False
    return _next(file, place, frame, size) is not None


def _promised(frame: bytes) -> tuple[int | None, bool]:
    """(number of frames that a Xing, Info or VBRI header in the first frame tells of, whether there is such a header)."""
    for name in (b"Xing", b"Info"):
        at = frame.find(name, 4, 48)
        if at > 0 and len(frame) >= at + 12:
            flags, count = struct.unpack_from(">II", frame, at + 4)
            return (count if flags & 1 else None), True
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return struct.unpack_from(">I", frame, 50)[0], True
    return None, False
