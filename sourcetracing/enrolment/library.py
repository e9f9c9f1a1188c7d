"""The library of enrolled sources: a folder that a person can read, complete after every kill, of one trained system.

    library.json                     whose embeddings these are: the system, its weights' digest, its classes
    sources/<name>/source.json       notes, date, and of each file: path, digest, length, windows
    sources/<name>/embeddings.npy    (K, E) float32, a row for each file, in that order
    search/                          derived (`sourcetracing.enrolment.models`)

`source.json` is written last and counts the rows that hold: an array that has more of them, or lies there alone, is what a kill left.
The next writer removes what lies alone.
"""

from __future__ import annotations

import re
import shlex
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from sourcetracing.enrolment.records import (
    DAMAGE,
    FORMAT,
    EnrolledFile,
    Source,
    System,
    digest_of_rows,
    read_rows,
    read_source,
    read_system,
    require_format,
    says_something,
)
from sourcetracing.enrolment.source_names import BUT_FOR_FORM, require_source_name, twin_of
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import atomic_path, write_json
from sourcetracing.runtime.locks import held
from sourcetracing.settings.names import printable

HEAD, SOURCES, RECORD, ROWS, SEARCH = "library.json", "sources", "source.json", "embeddings.npy", "search"
WHAT = "a row for each file: the mean of its windows' embeddings"
ENROL = "python scripts/enroll_source.py"
_HALF_WRITTEN = re.compile(r"\..+\.\d+\.partial\.\w+")  # of `atomic_path`, after a kill


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
            raise UserError(f"--library {folder} {what}. Enrol a source: {ENROL} NAME FILE ... --run RUN_FOLDER --library {folder}")
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

    @contextmanager
    def held_if_possible(self) -> Iterator[None]:
        """`held` for who only reads: on a disk that cannot be written there is no lock, and nobody to be kept away."""
        with ExitStack() as stack:
            with suppress(OSError):
                stack.enter_context(self.held())
            yield

    def names(self) -> list[str]:
        """Of all sources, sorted. Raises `UserError` for what is none, a link to elsewhere too."""
        found = self._folders()
        if strange := next((path for path in found if path.is_symlink() or not path.is_dir()), None):
            what = "a link, and no source" if strange.is_symlink() else "no source"
            raise UserError(f"{strange} is {what}: take it out of the library")
        return [path.name for path in found if (path / RECORD).is_file()]

    def sources(self) -> dict[str, Source]:
        """By name, sorted. Raises `UserError` for a damaged one."""
        return {name: self._read(name) for name in self.names()}

    def source(self, name: str) -> Source:
        """Raises `UserError` for one that is not there or is damaged."""
        self.require_there(name)
        return self._read(name)

    def require_there(self, name: str) -> None:
        """Raises `UserError` unless this is the name of a source: ../other/sources/x is none. Before anything is done to a name."""
        if name not in self.names():
            raise self._none_of(name)

    def rows(self, source: Source) -> np.ndarray:
        """Embeddings (K, E) float32 of a source's files. Raises `UserError` where they are not what was enrolled."""
        path = self.path_of_rows(source.name)
        try:
            with path.open("rb") as file:
                return read_rows(file, source, self.system.width)
        except (OSError, *DAMAGE):
            raise self._damaged(path, source.name) from None

    def path_of_rows(self, name: str) -> Path:
        """Where a source's embeddings lie."""
        return self._place(name) / ROWS

    def path_of_record(self, name: str) -> Path:
        """Where it is written what a source is."""
        return self._place(name) / RECORD

    def add(self, name: str, files: Sequence[EnrolledFile], rows: np.ndarray, notes: str | None = None) -> Source:
        """Enrols a source from files with embeddings (K, E), or gives one that is there more files; returns it.

        notes: None leaves those that are there. Raises `UserError`, and nothing has changed then.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.shape != (len(files), self.system.width):
            raise UserError(f"{name}: embeddings of shape {rows.shape}, where {len(files)} files of width {self.system.width} are enrolled")
        if not (useful := says_something(rows)).all():
            path = printable(files[int(useful.argmin())].path)
            raise UserError(f"{path}: its embedding has NaN or infinite numbers, or nothing but zeros")
        with self.held():
            self.remove_leftovers()
            self.require_new(name, [(file.path, file.digest) for file in files])
            before = self.source(name) if self.has(name) else None
            old = self.rows(before) if before else rows[:0]
            kept = before.notes if before else ""
            together = np.concatenate([old, rows])
            every = (*(before.files if before else ()), *files)
            source = Source(name, kept if notes is None else notes, _now(), every, digest_of_rows(together))
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
        if found := self.holder_of(first):
            source, file = found
            was = f" (as {printable(file.path)})" if file.path != first[file.digest] else ""
            raise UserError(f"{printable(first[file.digest])} is enrolled already, in {source.name!r}{was}; leave it out")

    def holder_of(self, digests: Collection[str]) -> tuple[Source, EnrolledFile] | None:
        """The first source that one of these files is enrolled in, and that file; None if there is none."""
        held = ((source, file) for source in self.sources().values() for file in source.files)
        return next(((source, file) for source, file in held if file.digest in digests), None)

    def require_name(self, name: str, instead_of: str | None = None) -> None:
        """Raises `UserError` for a name that some disk cannot have, that is a class of the system, or that looks like another one's.

        instead_of: the source that gets this name.
        """
        require_source_name(name)
        if name in self.system.classes:
            raise UserError(f"{name!r} is a class that {self.system} was trained on; enrol the source under another name")
        others = [one for one in self.names() if one != instead_of]
        for names, whose in ((self.system.classes, "the class"), (others, "the source")):
            if (other := twin_of(name, names)) is not None:
                raise UserError(f"{name!r} looks like {whose} {other!r}: {BUT_FOR_FORM}. Use that name, or another")

    def note(self, name: str, notes: str) -> None:
        """Changes what to remember of a source. Raises `UserError` where there is none."""
        with self.held():
            self._write_record(replace(self.source(name), notes=notes, date=_now()))

    def remove(self, name: str) -> None:
        """Takes a source out, a damaged one too. Raises `UserError` where there is none."""
        with self.held():
            self.remove_leftovers()
            self.require_there(name)
            self.path_of_record(name).unlink()  # without it there is no source, whatever of it is left
            shutil.rmtree(self._place(name))

    def rename(self, name: str, new: str) -> None:
        """Raises `UserError` where there is no such source, or the new name is taken or no name."""
        with self.held():
            self.remove_leftovers()
            self.source(name)
            if self.has(new):
                raise UserError(f"{new!r} is there already; remove it first, or take another name")
            self.require_name(new, instead_of=name)
            place, target = self._place(name), self._place(new)
            if target.exists() and not target.samefile(place):  # where letter case makes no difference it is the same folder
                raise UserError(f"{target} holds other things; take it out of the library")
            place.rename(target)

    def remove_leftovers(self) -> None:
        """What a kill or a full disk left: half-written files, and embeddings without a record. Only for who `held` the library."""
        folders = [folder for folder in self._folders() if folder.is_dir() and not folder.is_symlink()]
        for folder in (self.folder, self.folder / SEARCH, *folders):
            for path in list(folder.iterdir()) if folder.is_dir() else []:
                if _HALF_WRITTEN.fullmatch(path.name):
                    path.unlink(missing_ok=True)
        for folder in folders:
            if not (folder / RECORD).is_file():
                (folder / ROWS).unlink(missing_ok=True)
                with suppress(OSError):  # somebody put other things there
                    folder.rmdir()

    def put(self, source: Source, rows: np.ndarray) -> None:
        """Writes a source with its embeddings (K, E) as they are; nobody asks whether it fits (`require_new`).

        The rows first: earlier ones stay what they are, so an earlier record still holds if this ends in between.
        """
        with atomic_path(self._place(source.name) / ROWS) as partial:
            np.save(partial, rows)
        self._write_record(source)

    def _write_record(self, source: Source) -> None:
        content = asdict(source)
        write_json(self.path_of_record(source.name), {key: content[key] for key in ("notes", "date", "files", "rows")})

    def _read(self, name: str) -> Source:
        path = self.path_of_record(name)
        try:
            return read_source(name, path.read_bytes())
        except FileNotFoundError:  # removed meanwhile
            raise self._none_of(name) from None
        except DAMAGE:
            raise self._damaged(path, name) from None

    def _folders(self) -> list[Path]:
        root = self.folder / SOURCES
        if root.is_symlink():
            raise UserError(f"{root} is a link: what it leads to is no part of the library. Put a folder in its place")
        return [path for path in sorted(root.iterdir()) if not path.name.startswith(".")] if root.is_dir() else []

    def _place(self, name: str) -> Path:
        return self.folder / SOURCES / name

    def _none_of(self, name: str) -> UserError:
        return UserError(f"'{printable(name)}' is no source of {self.folder}: {', '.join(map(printable, self.names())) or 'it is empty'}")

    def _damaged(self, path: Path, name: str) -> UserError:
        again = f"{ENROL} {shlex.quote(name)} --remove --library {shlex.quote(str(self.folder))}"
        return UserError(f"{path} is damaged or missing. Take the source out, then enrol it again: {again}")


def _held(folder: Path) -> AbstractContextManager[None]:
    return held(folder / ".lock", f"another process is changing {folder}", wait=True, reentrant=True)


def _read_head(path: Path) -> System:
    try:
        found, form = read_system(path.read_bytes())
    except (OSError, *DAMAGE):
        raise UserError(f"{path} is damaged or no library of sources. Name another folder, or restore it from an export") from None
    require_format(str(path), form)
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
