"""Split zip archives, made here because no library writes them."""

from __future__ import annotations

import struct
import zipfile
from io import BytesIO
from pathlib import Path


def split(files: dict[str, bytes], folder: Path, part_bytes: int = 64_000, zip64: bool = False) -> list[Path]:
    """A zip of `files` as name.z01 ... name.zip: the places of its members become (part, offset in it)."""
    plain = BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    infos, list_start = archive.infolist(), archive.start_dir
    body = b"PK\7\10" + plain.getvalue()[:list_start]
    listing = b"".join(_entry(info, *divmod(4 + info.header_offset, part_bytes), zip64) for info in infos)
    pieces = [body[start : start + part_bytes] for start in range(0, len(body), part_bytes)]
    last, list_offset = len(pieces) - 1, len(pieces[-1])
    pieces[-1] += listing
    if zip64:
        end64_offset = len(pieces[-1])
        pieces[-1] += struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, last, last, len(infos), len(infos), len(listing), list_offset)
        pieces[-1] += struct.pack("<4sIQI", b"PK\6\7", last, end64_offset, last + 1)
        pieces[-1] += struct.pack("<4sHHHHIIH", b"PK\5\6", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)
    else:
        pieces[-1] += struct.pack("<4sHHHHIIH", b"PK\5\6", last, last, len(infos), len(infos), len(listing), list_offset, 7) + b"comment"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"x.z{number:02d}" for number in range(1, len(pieces))] + [folder / "x.zip"]
    for path, piece in zip(paths, pieces, strict=True):
        path.write_bytes(piece)
    return paths


def _entry(info: zipfile.ZipInfo, part: int, offset: int, zip64: bool) -> bytes:
    name, sizes, places = info.filename.encode(), [info.compress_size, info.file_size], (part, offset)
    extra = struct.pack("<HHI", 0x5455, 4, 0)
    if zip64:
        extra += struct.pack("<HHQQQI", 1, 28, info.file_size, info.compress_size, offset, part)
        sizes, places = [0xFFFFFFFF] * 2, (0xFFFF, 0xFFFFFFFF)
    fields = [b"PK\1\2", 0x031E, 45, 0x800, info.compress_type, 0, 33, info.CRC, *sizes, len(name), len(extra), 0]
    return struct.pack("<4s6H3I5H2I", *fields, places[0], 0, 0o100644 << 16, places[1]) + name + extra
