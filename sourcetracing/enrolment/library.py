"""The library of enrolled sources: a folder that a person can read, complete after every kill, of one trained system.

    library.json                     whose embeddings these are: the system, its weights' digest, its classes
    sources/<name>/source.json       notes, date, and of each file: path, digest, length, windows
    sources/<name>/embeddings.npy    (K, E) float32, a row for each file, in that order
    search/                          derived (`sourcetracing.enrolment.models`)

`source.json` is written last and counts the rows that hold: an array that has more of them, or lies there alone, is what a kill left.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import atomic_path, digest_of_bytes, write_json
from sourcetracing.runtime.locks import held
from sourcetracing.settings.names import printable, require_folder_name, same_but_for_form, why_different

FORMAT = 1
HEAD, SOURCES, RECORD, ROWS, SEARCH = "library.json", "sources", "source.json", "embeddings.npy", "search"
WHAT = "a row for each file: the mean of its windows' embeddings"
_ENROL = "python scripts/enroll_source.py"


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


class Library:
    """The sources in a folder. Writers wait for each other; what is read is what was whole at that moment."""

    def __init__(self, folder: Path, system: System):
        self.folder, self.system = folder, system

    @classmethod
    def open(cls, folder: str | Path, system: System | None = None) -> Library:
        """system: whose library it has to be; None: whosever it is. Raises `UserError`."""
        folder = Path(folder)
        if not (folder / HEAD).is_file():
            what = "is no library of sources" if folder.is_dir() else "does not exist"
            raise UserError(f"--library {folder} {what}. Enrol a source: {_ENROL} NAME FILE ... --run RUN_FOLDER --library {folder}")
        library = cls(folder, _read_head(folder / HEAD))
        library.require(system)
        return library

    @classmethod
    def planned(cls, folder: str | Path, system: System) -> Library:
        """The library that `create` would give; nothing is written. Raises `UserError` as it does."""
        folder = Path(folder)
        if (folder / HEAD).is_file():
            return cls.open(folder, system)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--library {folder} is a file; name a folder")
        there = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")] if folder.is_dir() else []
        if there:
            raise UserError(f"--library {folder} holds other things ({', '.join(there[:3])}); name a new or empty folder")
        return cls(folder, system)

    @classmethod
    def create(cls, folder: str | Path, system: System) -> Library:
        """A new library, or the one of this system that is there. Raises `UserError` for another system's and a folder of other things."""
        library = cls.planned(folder, system)
        with library.held():
            if not (library.folder / HEAD).is_file():
                write_json(library.folder / HEAD, {"format": FORMAT, "embeddings": WHAT, "date": _now(), "system": asdict(system)})
        return cls.open(folder, system)

    def require(self, system: System | None) -> None:
        """Raises `UserError` where the library is another system's."""
        if system is not None and not self.system.is_same(system):
            raise UserError(f"--library {self.folder} belongs to {self.system}, not to {system}: their embeddings cannot be compared")

    def held(self) -> AbstractContextManager[None]:
        """Keeps other writers away; may be taken again inside itself."""
        return _held(self.folder)

    def names(self) -> list[str]:
        """Of all sources, sorted. Raises `UserError` for what is none."""
        root = self.folder / SOURCES
        found = [path for path in sorted(root.iterdir()) if not path.name.startswith(".")] if root.is_dir() else []
        if strange := next((path for path in found if not path.is_dir()), None):
            raise UserError(f"{strange} is no source: take it out of the library")
        return [path.name for path in found if (path / RECORD).is_file()]

    def sources(self) -> dict[str, Source]:
        """By name, sorted. Raises `UserError` for a damaged one."""
        return {name: self.source(name) for name in self.names()}

    def source(self, name: str) -> Source:
        """Raises `UserError` for one that is not there or is damaged."""
        path = self._place(name) / RECORD
        if not path.is_file():
            raise UserError(f"{name!r} is no source of {self.folder}: {', '.join(self.names()) or 'it is empty'}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            files = tuple(
                EnrolledFile(str(one["path"]), str(one["digest"]), float(one["duration_s"]), int(one["windows"]))
                for one in content["files"]
            )
            if not files:
                raise ValueError("no files")
            return Source(name, str(content["notes"]), str(content["date"]), files, str(content["rows"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise self._damaged(path, name) from None

    def rows(self, source: Source) -> np.ndarray:
        """Embeddings (K, E) float32 of a source's files. Raises `UserError` where they are not what was enrolled."""
        path, num_files = self._place(source.name) / ROWS, len(source.files)
        try:
            rows = np.load(path, allow_pickle=False)
            if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != self.system.width or len(rows) < num_files:
                raise ValueError("another shape")
        except (OSError, ValueError, EOFError):
            raise self._damaged(path, source.name) from None
        rows = rows[:num_files]
        if _digest(rows) != source.rows or not _says_something(rows).all():
            raise self._damaged(path, source.name)
        return rows

    def add(self, name: str, files: Sequence[EnrolledFile], rows: np.ndarray, notes: str | None = None) -> Source:
        """Enrols a source from files with embeddings (K, E), or gives one that is there more files; returns it.

        notes: None leaves those that are there. Raises `UserError`, and nothing has changed then.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.shape != (len(files), self.system.width):
            raise UserError(f"{name}: embeddings of shape {rows.shape}, where {len(files)} files of width {self.system.width} are enrolled")
        if not (useful := _says_something(rows)).all():
            path = printable(files[int(useful.argmin())].path)
            raise UserError(f"{path}: its embedding has NaN or infinite numbers, or nothing but zeros")
        with self.held():
            self.require_new(name, [(file.path, file.digest) for file in files])
            before = self.source(name) if self.has(name) else None
            old = self.rows(before) if before else rows[:0]
            kept = before.notes if before else ""
            together = np.concatenate([old, rows])
            every = (*(before.files if before else ()), *files)
            source = Source(name, kept if notes is None else notes, _now(), every, _digest(together))
            self.put(source, together)
        return source

    def has(self, name: str) -> bool:
        """Whether there is a source of this name."""
        return name in self.names()

    def require_new(self, name: str, files: Sequence[tuple[str, str]]) -> None:
        """Raises `UserError` unless files (path, digest) can be enrolled under a name: some, each once, none of them in the library."""
        self.require_name(name)
        if not files:
            raise UserError(f"{name}: no files. A source is enrolled from one file or more")
        first: dict[str, str] = {}
        for path, digest in files:
            if (other := first.setdefault(digest, path)) != path or sum(one == (path, digest) for one in files) > 1:
                same = "is listed twice" if other == path else f"and {printable(other)} are the same file"
                raise UserError(f"{printable(path)} {same}; name it once")
        for source in self.sources().values():
            for file in source.files:
                if file.digest in first:
                    was = f" (as {printable(file.path)})" if file.path != first[file.digest] else ""
                    raise UserError(f"{printable(first[file.digest])} is enrolled already, in {source.name!r}{was}; leave it out")

    def require_name(self, name: str) -> None:
        """Raises `UserError` for a name that no folder can have, that is a class of the system, or that looks like another one's."""
        require_folder_name("NAME", name)
        if name.startswith("."):
            raise UserError(f"NAME={name!r}: a name without a dot in front is expected: such folders are hidden")
        if name.startswith("-"):
            raise UserError(f"NAME={name!r} reads like a flag; begin with a letter")
        if name in self.system.classes:
            raise UserError(f"{name!r} is a class that {self.system} was trained on; enrol the source under another name")
        for others, whose in ((self.system.classes, "the class"), (self.names(), "the source")):
            if (other := same_but_for_form(name, others)) is not None:
                raise UserError(f"{name!r} looks like {whose} {other!r}, but {why_different(name, other)}. Use that name, or another")
            if other := next((one for one in others if one != name and one.casefold() == name.casefold()), None):
                raise UserError(f"{name!r} and {whose} {other!r} would be one folder on some disks. Use that name, or another")

    def remove(self, name: str) -> None:
        """Takes a source out, a damaged one too. Raises `UserError` where there is none."""
        with self.held():
            if not self.has(name):
                self.source(name)
            (self._place(name) / RECORD).unlink()  # without it there is no source, whatever of it is left
            shutil.rmtree(self._place(name))

    def rename(self, name: str, new: str) -> None:
        """Raises `UserError` where there is no such source, or the new name is taken or no name."""
        with self.held():
            self.source(name)
            if self.has(new):
                raise UserError(f"{new!r} is there already; remove it first, or take another name")
            self.require_name(new)
            shutil.rmtree(self._place(new), ignore_errors=True)  # what a kill left
            self._place(name).rename(self._place(new))

    def put(self, source: Source, rows: np.ndarray) -> None:
        """Writes a source with its embeddings (K, E) as they are; nobody asks whether it fits (`require_new`).

        The rows first: earlier ones stay what they are, so an earlier record still holds if this ends in between.
        """
        with atomic_path(self._place(source.name) / ROWS) as partial:
            np.save(partial, rows)
        content = asdict(source)
        write_json(self._place(source.name) / RECORD, {key: content[key] for key in ("notes", "date", "files", "rows")})

    def _place(self, name: str) -> Path:
        return self.folder / SOURCES / name

    def _damaged(self, path: Path, name: str) -> UserError:
        again = f"{_ENROL} {shlex.quote(name)} --remove --library {shlex.quote(str(self.folder))}"
        return UserError(f"{path} is damaged or missing. Take the source out, then enrol it again: {again}")


def _held(folder: Path) -> AbstractContextManager[None]:
    return held(folder / ".lock", f"another process is changing {folder}", wait=True, reentrant=True)


def _read_head(path: Path) -> System:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        system = content["system"]
        found = System(**{**system, "classes": tuple(system["classes"])})
        if not isinstance(found.weights, str) or not isinstance(found.width, int):
            raise ValueError("no weights")
        form = content["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path} is damaged or no library of sources. Name another folder, or restore it from an export") from None
    if form != FORMAT:
        raise UserError(f"{path} has format {form!r}, and this version reads {FORMAT}. Use the version that wrote it")
    return found


def _says_something(rows: np.ndarray) -> np.ndarray:
    """(K,) whether embeddings (K, E) have a direction."""
    return np.isfinite(rows).all(axis=1) & rows.any(axis=1)


def _digest(rows: np.ndarray) -> str:
    return digest_of_bytes(np.ascontiguousarray(rows, "<f4").tobytes())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
