"""Checksums written as md5:<hex> or sha256:<hex>."""

from __future__ import annotations

import hashlib
import re
from contextlib import nullcontext
from pathlib import Path

from sourcetracing.downloads.sizes import byte_bar
from sourcetracing.errors import UserError

DEFAULT_ALGORITHM = "sha256"
_HEX_DIGITS = {"md5": 32, "sha256": 64}
_CHUNK_BYTES = 1 << 20
_BIG_FILE_BYTES = 100_000_000


def normal_checksum(text: str) -> str:
    """A checksum in lower case; "" stays "" (not known). Raises `UserError` if it is not md5:<hex> or sha256:<hex>."""
    checksum = text.strip().lower()
    algorithm, _, digits = checksum.partition(":")
    if checksum and not re.fullmatch(f"[0-9a-f]{{{_HEX_DIGITS.get(algorithm, 0)}}}", digits or "-"):
        raise UserError(f"checksum {text!r}: write md5: and 32 or sha256: and 64 hexadecimal digits")
    return checksum


def checksum_of(path: Path, like: str = "") -> str:
    """The checksum of a file, by the algorithm that `like` has (sha256 for ""); a progress bar where that takes a while."""
    algorithm = like.partition(":")[0] or DEFAULT_ALGORITHM
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size_bytes = path.stat().st_size
    is_big = size_bytes >= _BIG_FILE_BYTES
    shown = byte_bar(f"checking {path.name.removesuffix('.part')}", size_bytes) if is_big else nullcontext()
    with open(path, "rb") as file, shown as progress:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            if progress is not None:
                progress.update(len(chunk))
    return f"{algorithm}:{digest.hexdigest()}"
