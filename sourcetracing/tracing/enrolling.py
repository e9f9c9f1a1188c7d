"""The work of enroll_source.py: a source into a library from files that a trained run hears, and what else is done to a library."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.enrolment.exchange import export_sources, import_sources
from sourcetracing.enrolment.library import Library
from sourcetracing.enrolment.records import EnrolledFile, Source
from sourcetracing.enrolment.source_names import require_source_name
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.names import printable
from sourcetracing.tracing.enrolled import system_of
from sourcetracing.tracing.inputs import list_files
from sourcetracing.tracing.tracer import FileTrace, Tracer

NUM_NAMED = 3  # files that a complaint names


def enrol(name: str, words: Sequence[str], run_folder: str, changes: list[str], folder: Path, notes: str | None) -> Source:
    """Enrols a source from what the words name, or gives it more files; says so. All files or none: raises `UserError`, `BadAudio` too."""
    if not words:
        raise UserError(f"{printable(name)}: no files. A source is enrolled from one file or more: NAME FILE|FOLDER|'PATTERN' ...")
    if os.path.isfile(name):  # no error for a name that is too long to be one
        raise UserError(f"NAME={name} is a file; the name of the source comes first: NAME {name} ...")
    require_source_name(name)
    paths, num_left_out = list_files(words)
    digests = [_digest(path) for path in paths]
    tracer = Tracer.load(run_folder, [*changes, "trace.detector=none"])  # known or unknown is not the question
    system = system_of(tracer)
    Library.planned(folder, system).require_new(name, [(str(path), digest) for path, digest in zip(paths, digests, strict=True)])
    if num_left_out:
        print(f"{num_left_out} files in these folders were left out: their names are not those of audio")
    found = _heard(paths, tracer)
    files = [
        EnrolledFile(one.path, digest, round(one.duration_s, 4), len(one.starts_s)) for one, digest in zip(found, digests, strict=True)
    ]
    library = Library.create(folder, system)
    source = library.add(name, files, np.stack([one.embedding for one in found]), notes)
    more = f" (now {len(source.files)})" if len(source.files) > len(files) else ""
    heard = f"{_counted(len(files), 'file')}{more}, {sum(file.duration_s for file in files):.1f} s"
    print(f"enrolled {printable(name)}: {heard}; {_counted(len(library.names()), 'source')} in {folder}")
    return source


def _digest(path: Path) -> str:
    if not path.is_file():
        raise BadAudio(path, "is missing" if not path.exists() else "is no file")
    return digest_of_file(path)


def _heard(paths: Sequence[Path], tracer: Tracer) -> list[FileTrace]:
    """All files, with a line for what is odd about one. Raises `UserError` where some cannot be used."""
    found, bad = [], []
    least = tracer.system.settings.enrolment.min_seconds
    with bar(total=len(paths), desc="enrol", unit="file", disable=len(paths) == 1) as progress:
        for path in paths:
            try:
                heard = tracer(path)
                if heard.duration_s < least:
                    raise BadAudio(path, f"too short to enrol ({heard.duration_s:.3f} s, enrolment.min_seconds={least:g})")
            except BadAudio as error:
                bad.append(error)
            else:
                found.append(heard)
                for note in heard.notes:
                    progress.write(f"{printable(str(path))}: note: {note}")
            progress.update(1)
    if bad:
        more = f"; and {len(bad) - NUM_NAMED} more" if len(bad) > NUM_NAMED else ""
        reasons = "; ".join(str(error) for error in bad[:NUM_NAMED])
        raise UserError(f"nothing was enrolled, for {_counted(len(bad), 'file')} of {len(paths)} cannot be used: {reasons}{more}")
    return found


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def note(folder: Path, name: str, notes: str) -> None:
    """Changes the notes of a source that is there. Raises `UserError`."""
    Library.open(folder).note(name, notes)
    print(f"noted of {printable(name)} in {folder}: {printable(notes)}")


def show(folder: Path, names: Sequence[str] = ()) -> None:
    """Prints what a library holds. Raises `UserError`, for names too: it shows all."""
    if names:
        raise UserError(f"--list shows every source; leave out {printable(' '.join(names))}")
    library = Library.open(folder)
    sources = library.sources().values()
    print(f"{folder}: {_counted(len(sources), 'source')}, embeddings of {library.system}")
    width = max((len(source.name) for source in sources), default=0)
    for source in sources:
        seconds, notes = sum(file.duration_s for file in source.files), f"  {printable(source.notes)}" if source.notes else ""
        print(f"  {printable(source.name):<{width}}  {_counted(len(source.files), 'file'):>9}  {seconds:8.1f} s  {source.date}{notes}")


def remove(folder: Path, names: Sequence[str]) -> None:
    """Takes sources out. Raises `UserError`, for one that is not there before anything is removed."""
    library = Library.open(folder)
    if not names:
        raise UserError("--remove: which source? Name it: NAME --remove --library FOLDER")
    for name in names:
        library.require_there(name)
    for name in dict.fromkeys(names):
        library.remove(name)
        print(f"removed {printable(name)} from {folder}")


def rename(folder: Path, names: Sequence[str], new: str) -> None:
    """Gives one source another name. Raises `UserError`."""
    if len(names) != 1:
        raise UserError(f"--rename {new}: one source is renamed at a time: NAME --rename NEW --library FOLDER")
    Library.open(folder).rename(names[0], new)
    print(f"renamed {printable(names[0])} to {printable(new)} in {folder}")


def export(folder: Path, names: Sequence[str], target: Path) -> None:
    """Writes named sources, or all, to a zip. Raises `UserError`."""
    written = export_sources(Library.open(folder), target, names)
    print(f"{target}: {_counted(len(written), 'source')}: {', '.join(map(printable, written))}")


def bring(folder: Path, names: Sequence[str], archive: Path) -> None:
    """Takes named sources of a zip in, or all. Raises `UserError`."""
    new, there = import_sources(archive, folder, names)
    kept = f"; there already: {', '.join(map(printable, there))}" if there else ""
    print(f"{folder}: {_counted(len(new), 'source')} imported{': ' if new else ''}{', '.join(map(printable, new))}{kept}")


def trace_command(run_folder: str, folder: Path) -> str:
    """What to run after enrolling."""
    return f"python scripts/trace_audio.py FILE.wav --run {shlex.quote(run_folder)} --library {shlex.quote(str(folder))}"
