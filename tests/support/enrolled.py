"""A library of sources with made-up embeddings, for tests that need no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sourcetracing.enrolment.library import Library
from sourcetracing.enrolment.records import EnrolledFile, System
from sourcetracing.runtime.files import digest_of_bytes

SYSTEM = System("lfcc_ecapa_tdnn", "en-seed1", "ab" * 16, 4, ("known", "classé"))
OTHER_SYSTEM = System("lfcc_aasist", "en-seed1", "cd" * 16, 4, ("known",))


def files_of(name: str, numbers: Sequence[int]) -> list[EnrolledFile]:
    """Files that are told apart by name and number."""
    return [EnrolledFile(f"in/{name}{number}.wav", digest_of_bytes(f"{name}{number}".encode()), 1.5, 3) for number in numbers]


def rows_of(name: str, numbers: Sequence[int], width: int = 4) -> np.ndarray:
    """Their embeddings (K, width)."""
    return np.stack([np.random.default_rng([*name.encode(), number]).normal(size=width) for number in numbers]).astype(np.float32)


def enrol(library: Library, name: str, numbers: Sequence[int] = (1, 2), notes: str | None = None) -> None:
    """Files of a source by their numbers."""
    library.add(name, files_of(name, numbers), rows_of(name, numbers, library.system.width), notes)


def library_of(folder: Path, *names: str, system: System = SYSTEM) -> Library:
    """A library with sources of two files each."""
    library = Library.create(folder, system)
    for name in names:
        enrol(library, name)
    return library


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file that is no lock and nothing derived or half-written, by its path below a folder."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path: path.relative_to(folder).as_posix() for path in found}
    return {name: path.read_bytes() for path, name in names.items() if not name.startswith("search/") and "/." not in f"/{name}"}
