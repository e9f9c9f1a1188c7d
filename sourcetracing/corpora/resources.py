"""What a corpus module answers to "what would you fetch?" (script 01 --dry-run)."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.downloads.http import RemoteFile


@dataclass(frozen=True)
class Resource:
    """One thing to be fetched or made.

    origin: its address. size_bytes: None where nobody knows before asking the server. target: the folder it goes to.
    remote: the file whose size the server can be asked for. is_here: nothing is to be done.
    """

    name: str
    origin: str
    size_bytes: int | None
    licence: str
    target: str
    is_here: bool = False
    is_estimate: bool = False
    remote: RemoteFile | None = None
