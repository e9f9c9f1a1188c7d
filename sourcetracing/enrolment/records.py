"""What the files of a library say, checked: library.json, source.json, embeddings.npy. Their layout: `sourcetracing.enrolment.library`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import IO

import numpy as np

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_bytes

FORMAT = 1
# What `read_source`, `read_rows` and `read_system` raise for content that is not what was written.
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, EOFError, MemoryError)


@dataclass(frozen=True)
class System:
    """Whose embeddings a library holds: two systems are one if their weights are. width: of an embedding."""

    name: str
    run: str
    weights: str
    width: int
    classes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.run}, weights {self.weights[:8]})"

    def is_same(self, other: System) -> bool:
        """Whether embeddings of both can be compared."""
        return (self.weights, self.width) == (other.weights, other.width)


@dataclass(frozen=True)
class EnrolledFile:
    """A file that a source was enrolled from. path: as it was given; digest: `digest_of_file`."""

    path: str
    digest: str
    duration_s: float
    windows: int


@dataclass(frozen=True)
class Source:
    """An enrolled source. rows: digest of its embeddings; date: of its last change."""

    name: str
    notes: str
    date: str
    files: tuple[EnrolledFile, ...]
    rows: str


def read_system(content: bytes) -> tuple[System, object]:
    """The system and the format that library.json tells. Raises one of `DAMAGE`."""
    head = json.loads(content.decode("utf-8"))
    found = System(**{**head["system"], "classes": tuple(head["system"]["classes"])})
    if not isinstance(found.weights, str) or type(found.width) is not int or found.width < 1:
        raise ValueError("no weights")
    return found, head["format"]


def read_source(name: str, content: bytes) -> Source:
    """What source.json tells. Raises one of `DAMAGE`."""
    record = json.loads(content.decode("utf-8"))
    files = tuple(
        EnrolledFile(str(one["path"]), str(one["digest"]), float(one["duration_s"]), int(one["windows"])) for one in record["files"]
    )
    if not files:
        raise ValueError("no files")
    return Source(name, str(record["notes"]), str(record["date"]), files, str(record["rows"]))


def read_rows(file: IO[bytes], source: Source, width: int) -> np.ndarray:
    """Embeddings (K, width) float32 of a source's files in embeddings.npy. Raises one of `DAMAGE` for others than were enrolled."""
    rows = np.load(file, allow_pickle=False)
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != width or len(rows) < len(source.files):
        raise ValueError("another shape")
    rows = rows[: len(source.files)]
    if digest_of_rows(rows) != source.rows or not says_something(rows).all():
        raise ValueError("other numbers")
    return rows


def require_format(where: str, form: object) -> None:
    """Raises `UserError` for a format of another version. where: the file that says so."""
    if form != FORMAT:
        raise UserError(f"{where} has format {form!r}, and this version reads {FORMAT}. Use the version that wrote it")


def says_something(rows: np.ndarray) -> np.ndarray:
    """(K,) whether embeddings (K, E) have a direction."""
    return np.isfinite(rows).all(axis=1) & rows.any(axis=1)


def digest_of_rows(rows: np.ndarray) -> str:
    """Of embeddings (K, E), the same on every machine."""
    return digest_of_bytes(np.ascontiguousarray(rows, "<f4").tobytes())
