"""An unfinished file: NAME.part, and beside it NAME.part.json that says which bytes of it are there."""

from __future__ import annotations

import glob
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sourcetracing.downloads.answers import Offer, Version
from sourcetracing.runtime.files import write_json

SMALLEST_PART_BYTES = 1_000_000
LARGEST_PART_BYTES = 64_000_000


@dataclass
class Part:
    """Bytes [start, end) of a file, the first `done` of them fetched. end None: not known before it ends."""

    start: int
    end: int | None
    done: int = 0

    @property
    def position(self) -> int:
        return self.start + self.done

    @property
    def is_done(self) -> bool:
        return self.end is not None and self.position >= self.end


@dataclass
class PartFile:
    """sources: the servers its bytes came from. resumable: fetched in parts of a known version, hence with a sidecar."""

    path: Path
    version: Version
    parts: list[Part]
    sources: list[str] = field(default_factory=list)
    resumable: bool = True

    @property
    def done_bytes(self) -> int:
        return sum(part.done for part in self.parts)

    def missing_parts(self) -> list[Part]:
        return [part for part in self.parts if not part.is_done]

    def save(self) -> None:
        """Makes the bytes durable, then says so in the sidecar; whatever is fetched in between counts next time."""
        if not self.resumable:
            return
        parts = [[part.start, part.end, part.done] for part in self.parts]
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())
        write_json(sidecar_path(self.path), {"sources": self.sources, **asdict(self.version), "parts": parts})


def part_path(folder: Path, name: str) -> Path:
    """Where `name` grows until it is complete."""
    return folder / f"{name}.part"


def sidecar_path(part: Path) -> Path:
    """Where the progress of a .part file is."""
    return part.with_name(f"{part.name}.json")


def load_parts(path: Path) -> PartFile | None:
    """What an earlier run left at `path` with a readable sidecar, else None."""
    try:
        state = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
        version = Version(state["size_bytes"], state["etag"], state["last_modified"])
        parts = [Part(*numbers) for numbers in state["parts"]]
        is_whole = _covers(parts, version.size_bytes) and path.stat().st_size == version.size_bytes
        return PartFile(path, version, parts, list(state["sources"])) if is_whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _covers(parts: list[Part], size_bytes: int) -> bool:
    borders = [0, *(part.end for part in parts)]
    return (
        borders[-1] == size_bytes
        and all(part.start == before for part, before in zip(parts, borders, strict=False))
        and all(0 <= part.done <= part.end - part.start for part in parts)
    )


def new_parts(path: Path, offer: Offer, connections: int) -> PartFile:
    """An empty file of the offered size (sparse: it takes no room yet) cut into parts; replaces what is at `path`."""
    discard(path)
    size_bytes = offer.version.size_bytes
    with open(path, "wb") as file:
        file.truncate(size_bytes)
    part_bytes = max(SMALLEST_PART_BYTES, min(LARGEST_PART_BYTES, -(-size_bytes // connections)))
    parts = [Part(start, min(start + part_bytes, size_bytes)) for start in range(0, size_bytes, part_bytes)]
    return PartFile(path, offer.version, parts, [offer.source])


def new_stream(path: Path, offer: Offer) -> PartFile:
    """An empty file that is fetched in one piece and cannot be resumed; replaces what is at `path`."""
    discard(path)
    path.touch()
    return PartFile(path, offer.version, [Part(0, offer.version.size_bytes)], [offer.source], resumable=False)


def discard(path: Path) -> None:
    """Removes a .part file and everything beside it that belongs to it. The sidecar goes first: it vouches for the bytes."""
    discard_sidecar(path)
    path.unlink(missing_ok=True)


def discard_sidecar(path: Path) -> None:
    """Removes the sidecar, and temporary ones that a killed run left."""
    sidecar_path(path).unlink(missing_ok=True)
    for stray in path.parent.glob(f".{glob.escape(path.name)}.*.partial.json"):
        stray.unlink(missing_ok=True)


def occupied_bytes(path: Path) -> int:
    """Bytes on disk that a .part file already takes."""
    return getattr(path.stat(), "st_blocks", 0) * 512 if path.exists() else 0
