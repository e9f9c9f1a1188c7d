"""The models of a library's sources in the space of a verifier: derived, kept in the folder search/, made again for what has changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sourcetracing.enrolment.library import RECORD, SEARCH, SOURCES, Library
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
        entries = _entries(library)
        return _searched(entries, _made(library, space, entries, {}), _digest_of(entries, space))


def _kept(library: Library, space: Space) -> Models:
    entries, root = _entries(library), library.folder / SEARCH
    digest = _digest_of(entries, space)
    before = _read(root, space)
    if before and before["digest"] == digest and entries:
        models = np.load(root / "models.npy", mmap_mode="r")
        if before["code"] is None:
            return _searched(entries, models, digest)
        with suppress(RuntimeError, TypeError):  # faiss on a damaged file
            return Models(entries, SourceSearch.load(models, root / "codes.faiss", before["code"]), digest)
    models = _made(library, space, entries, _models_by_record(root, before))
    found = _searched(entries, models, digest)
    if found.search is not None:
        _write(root, found, space)
    return found


def _write(root: Path, found: Models, space: Space) -> None:
    with written_together(root / "search.json"):
        with atomic_path(root / "models.npy", sync=False) as partial:
            np.save(partial, found.search.models)
        code = found.search.save(root / "codes.faiss") if found.search.code else None
        facts = {"format": FORMAT, "space": _digest_of_space(space), "digest": found.digest, "code": code}
        write_text(root / "search.json", json.dumps({**facts, "entries": found.entries}, ensure_ascii=False))


def _entries(library: Library) -> list[tuple[str, str, int]]:
    found = []
    for name, source in library.sources().items():
        found.append((name, digest_of_file(library.folder / SOURCES / name / RECORD), len(source.files)))
    return found


def _searched(entries: list[tuple[str, str, int]], models: np.ndarray, digest: str) -> Models:
    return Models(entries, SourceSearch.of(models, LEAST_CODED) if len(models) else None, digest)


def _made(library: Library, space: Space, entries: list[tuple[str, str, int]], known: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
    """(M, D) float32: models of an earlier time where record and space are the same, else of their embeddings."""
    rows = []
    for name, record, _ in entries:
        if (model := known.get((name, record))) is None:
            units = space.unit(library.rows(library.source(name)))
            model = models_of(units, [np.arange(len(units))])[0]
        rows.append(model)
    return np.array(rows, np.float32)


def _models_by_record(root: Path, before: dict | None) -> dict[tuple[str, str], np.ndarray]:
    if before is None:
        return {}
    models = np.load(root / "models.npy", mmap_mode="r")
    return {(name, record): model for (name, record, _), model in zip(before["entries"], models, strict=True)}


def _read(root: Path, space: Space) -> dict | None:
    """What search.json tells, None where it or what it tells of is not whole, of another space, or unreadable."""
    try:
        content = json.loads((root / "search.json").read_text(encoding="utf-8"))
        models = np.load(root / "models.npy", mmap_mode="r")
        is_ours = (content["format"], content["space"]) == (FORMAT, _digest_of_space(space)) and len(models) == len(content["entries"])
        is_coded = content["code"] is None or (root / "codes.faiss").is_file()
        return content if is_ours and is_coded and is_whole(root / "search.json") else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _digest_of(entries: list[tuple[str, str, int]], space: Space) -> str:
    return digest_of_json([FORMAT, _digest_of_space(space), entries])


def _digest_of_space(space: Space) -> str:
    parts = [np.asarray(part, np.float64).tobytes() for part in (space.mean, space.matrix) if part is not None]
    return digest_of_bytes(b"".join(parts)) if parts else "as they are"
