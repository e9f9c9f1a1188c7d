"""Sources of a library in one zip, and back into a library of the same system."""

from __future__ import annotations

import re
import shlex
import tempfile
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from sourcetracing.downloads.archives import unpack
from sourcetracing.enrolment.library import HEAD, RECORD, ROWS, SOURCES, Library, Source
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import atomic_path
from sourcetracing.settings.names import printable

_MEMBER = re.compile(rf"{HEAD}|{SOURCES}/[^/]+/({RECORD}|{ROWS})")


def export_sources(library: Library, target: Path, names: Sequence[str] = ()) -> list[str]:
    """Writes a zip with some sources, or all; returns their names. Raises `UserError`."""
    if target.suffix.lower() != ".zip":
        raise UserError(f"--export {target}: the name of a .zip is expected")
    with library.held():
        sources = [library.source(name) for name in dict.fromkeys(names)] or list(library.sources().values())
        if not sources:
            raise UserError(f"--library {library.folder} is empty: there is nothing to export")
        with atomic_path(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(library.folder / HEAD, HEAD)
            for source in sources:
                rows = BytesIO()
                np.save(rows, library.rows(source))
                archive.writestr(f"{SOURCES}/{source.name}/{ROWS}", rows.getvalue())
                archive.write(library.folder / SOURCES / source.name / RECORD, f"{SOURCES}/{source.name}/{RECORD}")
    return [source.name for source in sources]


def import_sources(archive: Path, folder: str | Path) -> tuple[list[str], list[str]]:
    """Takes all sources of a zip into a library, a new one where there is none; returns (names that came, names that were there).

    Raises `UserError`, and nothing has come then, for another system's, a damaged archive or source, and a name or file that the library
    has with other content.
    """
    if not archive.is_file() or archive.suffix.lower() != ".zip":
        raise UserError(f"--import {archive} is no .zip that --export wrote")
    with tempfile.TemporaryDirectory() as unpacked:
        unpack(archive, unpacked, wanted=_MEMBER.fullmatch)
        if not Path(unpacked, HEAD).is_file():
            raise UserError(f"--import {archive} holds no library: there is no {HEAD} in it")
        return _take(archive, Library.open(unpacked), folder)


def _take(archive: Path, brought: Library, folder: str | Path) -> tuple[list[str], list[str]]:
    found = [(source, brought.rows(source)) for source in brought.sources().values()]
    if not found:
        raise UserError(f"--import {archive} holds no sources")
    library = Library.create(folder, brought.system)
    with library.held():
        known = library.sources()
        there = [source.name for source, _ in found if source.name in known]
        for name in there:
            _require_same(known[name], brought.source(name), library)
        new = [(source, rows) for source, rows in found if source.name not in known]
        for source, _ in new:
            library.require_new(source.name, [(file.path, file.digest) for file in source.files])
        _require_apart([source for source, _ in new], archive)
        for source, rows in new:
            library.put(source, rows)
    return [source.name for source, _ in new], there


def _require_same(own: Source, brought: Source, library: Library) -> None:
    if (own.files, own.rows) != (brought.files, brought.rows):
        again = f"python scripts/enroll_source.py {shlex.quote(own.name)} --rename NEW --library {shlex.quote(str(library.folder))}"
        raise UserError(f"{own.name!r} is in {library.folder} with other files; rename one of the two: {again}")


def _require_apart(sources: Sequence[Source], archive: Path) -> None:
    """Of an archive that this program did not write: a file in two sources."""
    first: dict[str, str] = {}
    for source in sources:
        for file in source.files:
            if (other := first.setdefault(file.digest, source.name)) != source.name:
                raise UserError(f"--import {archive}: {printable(file.path)} is in {other!r} and in {source.name!r}")
