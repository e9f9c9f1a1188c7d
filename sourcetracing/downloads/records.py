"""One run at a time, room on the disk, and a record of what is complete."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from shutil import disk_usage

from sourcetracing.downloads.sizes import size_text
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_json
from sourcetracing.runtime.locks import held

LOCK = ".download.lock"


def only_run(folder: Path) -> AbstractContextManager[None]:
    """Holds a folder's lock; it may be taken again inside itself. Raises `UserError` at once when another process downloads into it."""
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
