"""Models of a library: means of directions, kept on disk, and made again for what has changed, no more and no less."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.enrolment import models as of_models
from sourcetracing.enrolment.library import Library
from sourcetracing.enrolment.models import Nearest, models_in
from sourcetracing.errors import UserError
from sourcetracing.verification.scoring import Space
from tests.support.enrolled import SYSTEM, enrol, library_of

PLAIN = Space()
OTHER = Space(np.full(4, 0.1), np.random.default_rng(0).normal(size=(4, 3)))
FILE = np.array([0.5, 0.5, -0.1, 0.7], np.float32)


@pytest.fixture(params=["as they are", "coded"])
def library(tmp_path, request, monkeypatch) -> Library:
    """Five sources of two or three files; large libraries' codes are for small ones, too."""
    if request.param == "coded":
        monkeypatch.setattr(of_models, "LEAST_CODED", 2)
    library = library_of(tmp_path, "bark", "vits", "tacotron", "xtts")
    enrol(library, "more", (1, 2, 3))
    return library


def expected_scores(library: Library, space: Space, file: np.ndarray) -> dict[str, float]:
    """By hand: every file's direction, their mean, its angle."""

    def directions(rows: np.ndarray) -> np.ndarray:
        mapped = rows if space.matrix is None else (rows - space.mean) @ space.matrix
        return np.array([row / np.sqrt((row**2).sum()) for row in mapped])

    scores = {}
    for name, source in library.sources().items():
        mean = directions(np.load(library.folder / "sources" / name / "embeddings.npy")[: len(source.files)]).mean(axis=0)
        scores[name] = float(mean @ directions(file[None])[0] / np.sqrt((mean**2).sum()))
    return scores


def check(library: Library, space: Space = PLAIN) -> Nearest:
    scores = expected_scores(library, space, FILE)
    best = max(scores, key=scores.get)
    found = models_in(library, space)(space.unit(FILE[None])[0])
    assert (found.name, found.size) == (best, len(library.source(best).files))
    assert found.score == pytest.approx(scores[best], abs=1e-6)
    return found


def read(monkeypatch) -> list[str]:
    """The sources whose embeddings are read from now on."""
    names, real = [], Library.rows
    monkeypatch.setattr(Library, "rows", lambda self, source: names.append(source.name) or real(self, source))
    return names


def test_only_what_changed_is_made_again(library, monkeypatch):
    first = check(library)
    names = read(monkeypatch)
    assert check(library) == first
    assert names == []
    enrol(library, "new")
    check(library)
    assert names == ["new"]
    names.clear()
    enrol(library, "bark", (3,))
    library.remove("vits")
    names.clear()
    check(library)
    assert names == ["bark"]
    names.clear()
    library.rename("bark", "dog")
    check(library)
    assert set(names) <= {"dog"}


def test_another_space_is_another_search(library):
    plain = check(library)
    assert check(library, OTHER) != plain
    assert check(library) == plain


@pytest.mark.parametrize("space", [PLAIN, OTHER], ids=["plain", "other"])
def test_adding_a_source_changes_no_bit_of_the_others(library, space):
    before = models_in(library, space)
    kept = {name: np.array(model) for (name, _, _), model in zip(before.entries, before.search.models, strict=True)}
    enrol(library, "in between")
    after = models_in(library, space)
    now = {name: model for (name, _, _), model in zip(after.entries, after.search.models, strict=True)}
    assert {name: now[name].tobytes() for name in kept} == {name: model.tobytes() for name, model in kept.items()}
    answers = [(before(one), after(one)) for one in space.unit(np.random.default_rng(5).normal(size=(200, 4)).astype(np.float32))]
    assert any(new != old for old, new in answers)
    assert all(new == old or (new.name == "in between" and new.score > old.score) for old, new in answers)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("spoil", [cut, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_search_is_made_again(library, spoil):
    first, folder = check(library), library.folder / "search"
    names = sorted(path.name for path in folder.iterdir())
    assert names in (["models.npy", "search.json"], ["codes.faiss", "models.npy", "search.json"])
    for name in names:
        spoil(folder / name)
        assert check(library) == first
        assert sorted(path.name for path in folder.iterdir()) == names
        json.loads((folder / "search.json").read_text())


def turn_the_sign(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x80
    path.write_bytes(content)


def write_nan(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-16] + np.full(4, np.nan, np.float32).tobytes())


@pytest.mark.parametrize("is_time_kept", [False, True])
@pytest.mark.parametrize("spoil", [turn_the_sign, write_nan])
def test_other_numbers_in_the_search_are_not_believed(library, spoil, is_time_kept):
    first, folder = check(library), library.folder / "search"
    for name in sorted(path.name for path in folder.glob("[!s.]*")):
        right, times = (folder / name).read_bytes(), (folder / name).stat()
        spoil(folder / name)
        if is_time_kept:
            os.utime(folder / name, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert check(library) == first
        assert (folder / name).read_bytes() == right


@pytest.mark.parametrize("spoil", [turn_the_sign, write_nan])
def test_large_files_are_read_where_size_or_time_differ(library, spoil, monkeypatch):
    first, folder = check(library), library.folder / "search"
    monkeypatch.setattr(of_models, "ALWAYS_READ_BYTES", 0)
    digests, real = [], of_models.digest_of_file
    monkeypatch.setattr(of_models, "digest_of_file", lambda path: digests.append(path.name) or real(path))
    assert check(library) == first
    assert set(digests) == {"source.json"}
    for name in sorted(path.name for path in folder.glob("[!s.]*")):
        right = (folder / name).read_bytes()
        spoil(folder / name)
        assert check(library) == first
        assert (folder / name).read_bytes() == right


@pytest.mark.parametrize("spoil", [turn_the_sign, write_nan])
def test_embeddings_that_somebody_changed_are_noticed_though_models_are_kept(library, spoil):
    check(library)
    spoil(library.folder / "sources/vits/embeddings.npy")
    with pytest.raises(UserError, match="vits/embeddings.npy is damaged.*vits --remove"):
        models_in(library, PLAIN)
    library.remove("vits")
    check(library)


def test_embeddings_that_were_copied_are_read_once(library, monkeypatch):
    first = check(library)
    os.utime(library.folder / "sources/vits/embeddings.npy", ns=(1, 1))
    names = read(monkeypatch)
    assert (check(library), check(library)) == (first, first)
    assert names == ["vits"]
    (library.folder / "sources/vits/embeddings.npy").unlink()
    with pytest.raises(UserError, match="vits/embeddings.npy is damaged or missing"):
        models_in(library, PLAIN)


def test_a_search_that_was_not_wholly_written_is_made_again(library, monkeypatch):
    check(library)
    enrol(library, "new")

    def full(*words, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(of_models, "write_text", full)
        models_in(library, PLAIN)
    names = read(monkeypatch)
    check(library)
    assert "bark" in names  # nothing of the half-written one is believed


def test_a_disk_that_cannot_be_written(library, monkeypatch):
    first = check(library)
    enrol(library, "new")

    def refused(*words, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(of_models, "_write", refused)
    assert check(library).score >= first.score
    monkeypatch.setattr(Library, "held", refused)
    assert check(library).score >= first.score


def test_an_empty_library_has_no_nearest(tmp_path):
    empty = models_in(library_of(tmp_path), PLAIN)
    assert (empty(FILE), empty.sizes) == (None, [])
    library = Library.open(tmp_path)
    enrol(library, "bark")
    check(library)
    library.remove("bark")
    assert models_in(library, PLAIN)(FILE) is None


def test_a_damaged_source_is_one_line(library):
    (library.folder / "sources/vits/embeddings.npy").write_bytes(b"x")
    with pytest.raises(UserError, match="vits/embeddings.npy is damaged"):
        models_in(library, PLAIN)
    assert library.system == SYSTEM
