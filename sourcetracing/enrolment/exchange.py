"""Sources of a library in one zip, and back into a library of the same system."""

from __future__ import annotations

import lzma
import re
import shlex
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from sourcetracing.downloads.archives import allowed_bytes, safe_name
from sourcetracing.enrolment.library import ENROL, HEAD, RECORD, ROWS, SOURCES, Library
from sourcetracing.enrolment.records import DAMAGE, Source, System, read_rows, read_source, read_system, require_format
from sourcetracing.enrolment.source_names import require_source_name, twin_of
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import atomic_path
from sourcetracing.settings.names import printable

_MEMBER = re.compile(rf"{HEAD}|{SOURCES}/[^/]+/({RECORD}|{ROWS})")
_MOST_JSON_BYTES = 1 << 24  # of one record: some 50,000 files
_MOST_HEADER_BYTES = 1 << 12  # of an .npy
_MOST_NAMED = 20  # sources in a command
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others' sizes cannot be limited while they are unpacked
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError, RuntimeError, *DAMAGE)


def export_sources(library: Library, target: Path, names: Sequence[str] = ()) -> list[str]:
    """Writes a zip with some sources, or all; returns their names. An earlier export is replaced. Raises `UserError`."""
    if target.suffix.lower() != ".zip":
        raise UserError(f"--export {target}: the name of a .zip is expected")
    if target.resolve().is_relative_to(library.folder.resolve()):
        raise UserError(f"--export {target} lies in the library itself; name a place outside {library.folder}")
    if target.is_dir() or (target.exists() and not _is_export(target)):
        raise UserError(f"--export {target} is there, and no export of a library; name another file, or take it away first")
    with library.held_if_possible():
        sources = [library.source(name) for name in dict.fromkeys(names)] or list(library.sources().values())
        if not sources:
            raise UserError(f"--library {library.folder} is empty: there is nothing to export")
        with atomic_path(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(library.folder / HEAD, HEAD)
            for source in sources:
                rows = BytesIO()
                np.save(rows, library.rows(source))
                archive.writestr(f"{SOURCES}/{source.name}/{ROWS}", rows.getvalue())
                archive.write(library.path_of_record(source.name), f"{SOURCES}/{source.name}/{RECORD}")
    return [source.name for source in sources]


def _is_export(path: Path) -> bool:
    """Whether a file holds what an export holds, and nothing else."""
    try:
        with zipfile.ZipFile(path) as opened:
            head = opened.getinfo(HEAD)
            if head.file_size > _MOST_JSON_BYTES:
                return False
            read_system(_content(head, opened))
            return all(_MEMBER.fullmatch(name) for name in opened.namelist())
    except (OSError, *_UNREADABLE):
        return False


def import_sources(archive: Path, folder: str | Path, names: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Takes sources of a zip, named ones or all, into a library, a new one where there is none.

    Returns (names that came, names that were there). Raises `UserError`, and nothing has come or been made then, for another system's, a
    damaged archive or source, and a name or file that the library has with other content.
    """
    if not archive.is_file() or archive.suffix.lower() != ".zip":
        raise UserError(f"--import {archive} is no .zip that --export wrote")
    try:
        opened = zipfile.ZipFile(archive)
    except _UNREADABLE as error:
        raise _damaged(archive, "", error) from None
    with opened:
        brought = _Brought.of(archive, opened, names, Path(folder))
    brought.new_in(Library.planned(folder, brought.system))
    library = Library.create(folder, brought.system)
    with library.held():
        library.remove_leftovers()
        new, there = brought.new_in(library)
        for name in new:
            library.put(*brought.sources[name])
    return new, there


@dataclass(frozen=True)
class _Brought:
    """What is taken from a zip: sources with their embeddings, by name. folder: of the library that gets them."""

    archive: Path
    folder: Path
    system: System
    sources: dict[str, tuple[Source, np.ndarray]]

    @classmethod
    def of(cls, archive: Path, opened: zipfile.ZipFile, names: Sequence[str], folder: Path) -> _Brought:
        """Sizes are looked at before anything is unpacked. Raises `UserError`."""
        members = _members(archive, opened)
        if HEAD not in members:
            raise UserError(f"--import {archive} holds no library: there is no {HEAD} in it")
        try:
            system, form = read_system(_content(members[HEAD], opened))
        except _UNREADABLE as error:
            raise _damaged(archive, HEAD, error) from None
        require_format(f"--import {archive}: {HEAD}", form)
        found = sorted({name.split("/")[1] for name in members if name != HEAD})
        if not found:
            raise UserError(f"--import {archive} holds no sources")
        if missing := next((name for name in names if name not in found), None):
            raise UserError(f"'{printable(missing)}' is not in --import {archive}: {', '.join(found)}")
        wanted = [name for name in found if name in names or not names]
        sources = {name: _source_in(archive, opened, members, name, system.width) for name in wanted}
        brought = cls(archive, folder, system, sources)
        brought.require_apart()
        return brought

    def require_apart(self) -> None:
        """Of an archive that this program did not write. Raises `UserError` for names that are one on some disks, and a file twice."""
        first: dict[str, str] = {}
        for name, (source, _) in self.sources.items():
            if (twin := twin_of(name, self.sources)) is not None:
                line = f"--import {self.archive}: {name!r} and {twin!r} would be one folder on some disks"
                raise UserError(f"{line}. Take one of them: {self._command([name])}")
            if len({file.digest for file in source.files}) < len(source.files):
                raise UserError(f"--import {self.archive}: a file is twice in {name!r}. {self._others(name)}")
            for file in source.files:
                if (other := first.setdefault(file.digest, name)) != name:
                    line = f"--import {self.archive}: {printable(file.path)} is in {other!r} and in {name!r}"
                    raise UserError(f"{line}. {self._others(name)}")

    def new_in(self, library: Library) -> tuple[list[str], list[str]]:
        """(Names that are new to a library, names that are there with the same files). Raises `UserError` for what does not fit."""
        known = library.sources()
        there = [name for name in self.sources if name in known]
        for name in there:
            self._require_same(known[name], library)
        new = [name for name in self.sources if name not in known]
        brought = {file.digest: (name, file) for name in new for file in self.sources[name][0].files}
        if found := library.holder_of(brought):
            name, file = brought[found[1].digest]
            line = f"--import {self.archive}: {printable(file.path)} of {name!r} is enrolled already, in {found[0].name!r}"
            raise UserError(f"{line}. {self._others(name)}")
        for name in new:
            library.require_name(name)
        return new, there

    def _require_same(self, own: Source, library: Library) -> None:
        brought, _ = self.sources[own.name]
        if (own.files, own.rows) != (brought.files, brought.rows):
            again = f"{ENROL} {shlex.quote(own.name)} --rename NEW --library {shlex.quote(str(library.folder))}"
            raise UserError(f"{own.name!r} is in {library.folder} with other files; rename one of the two: {again}")

    def _others(self, name: str) -> str:
        others = [one for one in self.sources if one != name]
        return f"Import the others alone: {self._command(others)}" if others else "There is nothing else to import"

    def _command(self, names: Sequence[str]) -> str:
        words = " ".join(map(shlex.quote, names)) if len(names) <= _MOST_NAMED else "NAME ..."
        return f"{ENROL} {words} --import {shlex.quote(str(self.archive))} --library {shlex.quote(str(self.folder))}"


def _members(archive: Path, opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Those that an export has, by name; others are left out. Raises `UserError` for a name or a size that no export has."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in opened.infolist():
        safe_name(archive, info.orig_filename)  # zipfile cuts `filename` at a NUL
        safe_name(archive, info.filename)
        first, *rest = info.filename.split("/")
        if first == SOURCES and len(rest) > 1:
            try:
                require_source_name(rest[0])
            except UserError as error:
                raise UserError(f"--import {archive}: member {printable(info.filename)}: {error}") from None
        if _MEMBER.fullmatch(info.filename):
            if info.filename in members:
                raise UserError(f"--import {archive}: member {printable(info.filename)} is there twice. {_FROM_A_SOURCE}")
            members[info.filename] = info
    num_bytes, most = sum(info.file_size for info in members.values()), allowed_bytes(archive.stat().st_size)
    if num_bytes > most:
        raise UserError(f"--import {archive} would become {num_bytes:,} bytes (at most {most:,}). {_FROM_A_SOURCE}")
    for name, info in members.items():
        if not name.endswith(f"/{ROWS}") and info.file_size > _MOST_JSON_BYTES:
            raise _too_large(archive, info, _MOST_JSON_BYTES)
    return members


def _source_in(
    archive: Path, opened: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, width: int
) -> tuple[Source, np.ndarray]:
    record, rows = f"{SOURCES}/{name}/{RECORD}", f"{SOURCES}/{name}/{ROWS}"
    for member in (record, rows):
        if member not in members:
            raise _damaged(archive, member, EOFError("it is not there"))
    try:
        source = read_source(name, _content(members[record], opened))
    except _UNREADABLE as error:
        raise _damaged(archive, record, error) from None
    if members[rows].file_size > (most := 4 * width * len(source.files) + _MOST_HEADER_BYTES):
        raise _too_large(archive, members[rows], most)
    try:
        return source, read_rows(BytesIO(_content(members[rows], opened)), source, width)
    except _UNREADABLE as error:
        raise _damaged(archive, rows, error) from None


def _content(info: zipfile.ZipInfo, opened: zipfile.ZipFile) -> bytes:
    """A member, of which no more than it claims to be is unpacked: `ZipFile.read` cuts it off afterwards."""
    if info.compress_type not in _METHODS:
        raise zipfile.BadZipFile("compressed by a method that no export has")
    with opened.open(info) as file:
        return file.read(info.file_size)


_FROM_A_SOURCE = "Get it from somebody you trust"


def _too_large(archive: Path, info: zipfile.ZipInfo, most: int) -> UserError:
    line = f"--import {archive}: member {printable(info.filename)} would become {info.file_size:,} bytes, and at most {most:,} fit"
    return UserError(f"{line}. {_FROM_A_SOURCE}")


def _damaged(archive: Path, member: str, error: BaseException) -> UserError:
    where = f": member {printable(member)}" if member else ""
    reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0] or type(error).__name__
    what = "is damaged or missing" if member else "is damaged, incomplete or no .zip"
    return UserError(f"--import {archive}{where} {what} ({printable(reason)}). Export it again where it was made, or copy it anew")
