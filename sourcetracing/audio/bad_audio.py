"""What is raised for a file that cannot be used."""

from __future__ import annotations

from pathlib import Path

from sourcetracing.errors import UserError

KEEP_HINT = "audio.on_truncated=keep uses what is there of it"


class BadAudio(UserError):
    """An audio file that cannot be used, and why."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):  # an exception is pickled with its message alone, which would not do for two arguments
        return type(self), (self.path, self.reason)


class Truncated(BadAudio):
    """A file that is cut off or damaged: a part of its sound is not there. audio.on_truncated says what becomes of it."""

    def __str__(self) -> str:
        return f"{super().__str__()}; {KEEP_HINT}"
