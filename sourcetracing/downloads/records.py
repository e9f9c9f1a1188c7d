"""What lies on the disk: one run at a time, room, checksums (md5:<hex> or sha256:<hex>), and a record of what is complete."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import AbstractContextManager
from pathlib import Path
from shutil import disk_usage

from tqdm import tqdm

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_json
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.progress import bar

LOCK = ".download.lock"
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_HEX_DIGITS = {"md5": 32, "sha256": 64}
_CHUNK_BYTES = 1 << 20
_BIG_FILE_BYTES = 100_000_000


def size_text(size_bytes: int | None) -> str:
    """For example "11.09 GB" (1 GB = 1e9 bytes), "512 bytes", "size unknown"."""
    if size_bytes is None:
        return "size unknown"
    for unit_bytes, unit in _UNITS:
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.2f} {unit}"
    return f"{size_bytes} bytes"


def byte_bar(desc: str, total_bytes: int | None, initial_bytes: int = 0, disable: bool = False) -> tqdm:
    """A progress bar in bytes, shown as kB, MB, GB."""
    return bar(total=total_bytes, desc=desc, unit="B", initial=initial_bytes, unit_scale=True, disable=disable)


def say(line: str) -> None:
    """Prints a line on stdout without tearing the bars."""
    with tqdm.external_write_mode():
        print(line, flush=True)


def only_run(folder: Path) -> AbstractContextManager[None]:
    """Holds a folder's lock. Raises `UserError` at once when another process downloads into it."""
    return held(folder / LOCK, f"another process is downloading into {folder}", reentrant=True)


def free_bytes(folder: Path) -> int:
    """Free space where `folder` is or would be."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return disk_usage(existing).free


def require_free_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raises `UserError` if the disk of `folder` (which need not exist yet) has less than `needed_bytes` free.

    purpose: what needs them, as the subject of the message, for example "musan.tar.gz".
    """
    free = free_bytes(folder)
    if needed_bytes > free:
        raise UserError(
            f"{folder}: {purpose} needs {size_text(needed_bytes)}, but only {size_text(free)} are free there. "
            "Free some space or choose a folder on another disk, then run the same command again"
        )


def normal_checksum(text: str) -> str:
    """A checksum in lower case; "" stays "" (not known). Raises `UserError` if it is not md5:<hex> or sha256:<hex>."""
    checksum = text.strip().lower()
    algorithm, _, digits = checksum.partition(":")
    if checksum and not re.fullmatch(f"[0-9a-f]{{{_HEX_DIGITS.get(algorithm, 0)}}}", digits or "-"):
        raise UserError(f"checksum {text!r}: write md5: and 32 or sha256: and 64 hexadecimal digits")
    return checksum


def checksum_of(path: Path, like: str = "") -> str:
    """The checksum of a file, by the algorithm that `like` has (sha256 for ""); a progress bar where that takes a while."""
    algorithm, size_bytes = like.partition(":")[0] or "sha256", path.stat().st_size
    digest = hashlib.new(algorithm, usedforsecurity=False)
    shown = byte_bar(f"checking {path.name.removesuffix('.part')}", size_bytes, disable=size_bytes < _BIG_FILE_BYTES)
    with open(path, "rb") as file, shown as progress:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            progress.update(len(chunk))
    return f"{algorithm}:{digest.hexdigest()}"


def record_path(folder: Path, name: str) -> Path:
    """Where the completion record of `name` is."""
    return folder / f".complete-{name}.json"


def mark_complete(folder: Path, name: str, facts: dict) -> None:
    """Records that `name` in `folder` is complete. To be called last, when everything it vouches for is on disk."""
    write_json(record_path(folder, name), facts)


def read_complete(folder: Path, name: str) -> dict | None:
    """The facts that `mark_complete` recorded; None where there is no readable record."""
    try:
        facts = json.loads(record_path(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def discard(path: Path) -> None:
    """Removes a downloaded file and its record, for example an archive that was unpacked."""
    path.unlink(missing_ok=True)
    record_path(path.parent, path.name).unlink(missing_ok=True)
