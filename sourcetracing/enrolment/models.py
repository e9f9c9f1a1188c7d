"""The models of a library's sources in the space of a verifier: derived, kept in the folder search/, made again for what has changed.

Kept ones are believed as long as their files are what was written. Files of up to `ALWAYS_READ_BYTES` are read through at each start,
which takes up to 0.2 s; larger ones, and embeddings of sources, where size or time differ from what was noted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sourcetracing.enrolment.library import SEARCH, Library
from sourcetracing.enrolment.records import Source
from sourcetracing.enrolment.search import LEAST_CODED, SourceSearch
from sourcetracing.runtime.files import (
    atomic_path,
    digest_of_bytes,
    digest_of_file,
    digest_of_json,
    is_whole,
    write_text,
    written_together,
)
from sourcetracing.verification.scoring import Space, models_of

FORMAT = 1  # goes up when the same embeddings give other models
ALWAYS_READ_BYTES = 128 << 20
MODELS, CODES = "models.npy", "codes.faiss"


@dataclass(frozen=True)
class Nearest:
    """The enrolled source that a file is most like. size: files of its model; score: cosine."""

    name: str
    size: int
    score: float


class Models:
    """Called with a direction (D,) it gives the `Nearest`, None of an empty library. digest: of all that the models were made from."""

    def __init__(self, entries: list[tuple[str, str, int]], search: SourceSearch | None, digest: str):
        """entries: (name, digest of its record, number of files) of each source, in the order of the search's models."""
        self.entries, self.search, self.digest = entries, search, digest

    def __call__(self, direction: np.ndarray) -> Nearest | None:
        if self.search is None:
            return None
        row, score = self.search(direction)
        name, _, size = self.entries[row]
        return Nearest(name, size, score)

    @property
    def sizes(self) -> list[int]:
        """The numbers of files that sources have, each once, sorted."""
        return sorted({size for _, _, size in self.entries})


def models_in(library: Library, space: Space) -> Models:
    """Those of the sources as they are now. Raises `UserError` for a damaged source.

    On a disk that cannot be written they are made anew each time.
    """
    try:
        with library.held():
            return _kept(library, space)
    except OSError:
        sources = library.sources()
        entries = _entries(library, sources)
        return _searched(entries, _made(library, space, sources, entries, {}), _digest_of(entries, space))


def _kept(library: Library, space: Space) -> Models:
    sources = library.sources()
    entries, root, stamps = _entries(library, sources), library.folder / SEARCH, _stamps(library, sources)
    digest = _digest_of(entries, space)
    before = _read(root, space)
    if before:
        for name in _touched(entries, stamps, before):  # their records are what they were, so these must be, too
            library.rows(sources[name])
    if before and before["digest"] == digest and before["stamps"] == stamps and entries:
        models = np.load(root / MODELS, mmap_mode="r")
        if before["code"] is None:
            return _searched(entries, models, digest)
        with suppress(RuntimeError, TypeError):  # faiss on a damaged file
            return Models(entries, SourceSearch.load(models, root / CODES, before["code"]), digest)
    models = _made(library, space, sources, entries, _models_by_record(root, before))
    found = _searched(entries, models, digest)
    if found.search is not None:
        _write(root, found, space, stamps)
    return found


def _touched(entries: list[tuple[str, str, int]], stamps: Mapping[str, list[int]], before: dict) -> list[str]:
    """Sources whose models are kept although somebody has written their embeddings since."""
    kept = {(name, record) for name, record, _ in before["entries"]}
    return [name for name, record, _ in entries if (name, record) in kept and stamps[name] != before["stamps"][name]]


def _write(root: Path, found: Models, space: Space, stamps: Mapping[str, list[int]]) -> None:
    with written_together(root / "search.json"):
        with atomic_path(root / MODELS, sync=False) as partial:
            np.save(partial, found.search.models)
        code = found.search.save(root / CODES) if found.search.code else None
        files = {name: _note_of(root / name) for name in _names_of_files(code)}
        facts = {"format": FORMAT, "space": _digest_of_space(space), "digest": found.digest, "code": code, "files": files, "stamps": stamps}
        write_text(root / "search.json", json.dumps({**facts, "entries": found.entries}, ensure_ascii=False))


def _names_of_files(code: dict | None) -> list[str]:
    return [MODELS] if code is None else [MODELS, CODES]


def _stamp(path: Path) -> list[int]:
    """Size and time of a file, [] of one that is not there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _stamps(library: Library, sources: Iterable[str]) -> dict[str, list[int]]:
    return {name: _stamp(library.path_of_rows(name)) for name in sources}


def _note_of(path: Path) -> dict[str, Any]:
    return {"stamp": _stamp(path), "digest": digest_of_file(path)}


def _is_as_noted(path: Path, note: dict[str, Any]) -> bool:
    stamp = _stamp(path)
    if not stamp or stamp[0] != note["stamp"][0]:
        return False
    is_believed = stamp[0] > ALWAYS_READ_BYTES and stamp == note["stamp"]
    return is_believed or digest_of_file(path) == note["digest"]


def _entries(library: Library, sources: Mapping[str, Source]) -> list[tuple[str, str, int]]:
    return [(name, digest_of_file(library.path_of_record(name)), len(source.files)) for name, source in sources.items()]


def _searched(entries: list[tuple[str, str, int]], models: np.ndarray, digest: str) -> Models:
    return Models(entries, SourceSearch.of(models, LEAST_CODED) if len(models) else None, digest)


def _made(
    library: Library,
    space: Space,
    sources: Mapping[str, Source],
    entries: list[tuple[str, str, int]],
    known: Mapping[tuple[str, str], np.ndarray],
) -> np.ndarray:
    """(M, D) float32: models of an earlier time where record and space are the same, else of their embeddings."""
    rows = []
    for name, record, _ in entries:
        if (model := known.get((name, record))) is None:
            units = space.unit(library.rows(sources[name]))
            model = models_of(units, [np.arange(len(units))])[0]
        rows.append(model)
    return np.array(rows, np.float32)


def _models_by_record(root: Path, before: dict | None) -> dict[tuple[str, str], np.ndarray]:
    if before is None:
        return {}
    models = np.load(root / MODELS, mmap_mode="r")
    return {(name, record): model for (name, record, _), model in zip(before["entries"], models, strict=True)}


def _read(root: Path, space: Space) -> dict | None:
    """What search.json tells, None where it or what it tells of is not whole, of another space, or unreadable."""
    try:
        content = json.loads((root / "search.json").read_text(encoding="utf-8"))
        is_ours = (content["format"], content["space"]) == (FORMAT, _digest_of_space(space)) and is_whole(root / "search.json")
        is_right = is_ours and all(_is_as_noted(root / name, content["files"][name]) for name in _names_of_files(content["code"]))
        names = {name for name, _, _ in content["entries"]}
        is_right = is_right and len(np.load(root / MODELS, mmap_mode="r")) == len(content["entries"]) and names == set(content["stamps"])
        return content if is_right else None
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, EOFError):
        return None


def _digest_of(entries: list[tuple[str, str, int]], space: Space) -> str:
    return digest_of_json([FORMAT, _digest_of_space(space), entries])


def _digest_of_space(space: Space) -> str:
    parts = [np.asarray(part, np.float64).tobytes() for part in (space.mean, space.matrix) if part is not None]
    return digest_of_bytes(b"".join(parts)) if parts else "as they are"
