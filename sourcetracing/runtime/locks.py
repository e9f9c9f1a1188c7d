"""Locks between processes; the system frees them when their holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sourcetracing.errors import UserError
from sourcetracing.runtime.progress import say


@contextmanager
def held(lock: Path, busy: str, *, wait: bool = False, reentrant: bool = False) -> Iterator[None]:
    """Holds the lock file. wait: until whoever has it is done. reentrant: it may be taken again inside itself.

    Raises `UserError` at once when it is held: `busy`, then what to do. Folders are made.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    guard = FileLock(lock.resolve(), is_singleton=reentrant)
    try:
        guard.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise UserError(f"{busy}. Wait for it, then run the same command again") from None
        say(f"{busy}: waiting for it")
        guard.acquire(poll_interval=0.1)
    try:
        yield
    finally:
        guard.release()


def is_held(lock: Path) -> bool:
    """Whether some process holds it."""
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
