"""Names that lead out of a library, names that are one on some disks, and what a kill left under a name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.enrolment.exchange import export_sources
from sourcetracing.enrolment.library import Library
from sourcetracing.errors import UserError
from tests.support.enrolled import content_of, enrol, library_of, rows_of

DOORS = {
    "remove": lambda library, name, target: library.remove(name),
    "rename": lambda library, name, target: library.rename(name, "taken"),
    "source": lambda library, name, target: library.source(name),
    "note": lambda library, name, target: library.note(name, "x"),
    "export": lambda library, name, target: export_sources(library, target, [name]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "name", ["../../other/sources/vits", "OTHER/sources/vits", ".", "..", "", "./bark", "bark/", "bark/../bark", "../sources/bark"]
)
def test_no_name_leads_out_of_the_library(tmp_path, door, name):
    library = library_of(tmp_path / "mine", "bark")
    library_of(tmp_path / "other", "vits")
    before = content_of(tmp_path)
    name = name.replace("OTHER", str(tmp_path / "other"))
    with pytest.raises(UserError, match="is no source of .*mine: bark$"):
        DOORS[door](library, name, tmp_path / "a.zip")
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["link", "bark"])
def test_a_link_among_the_sources_is_refused(tmp_path, door, name):
    library = library_of(tmp_path / "mine", "bark")
    library_of(tmp_path / "other", "vits")
    (tmp_path / "mine/sources/link").symlink_to(tmp_path / "other/sources/vits")
    before = content_of(tmp_path)
    with pytest.raises(UserError, match="sources/link is a link, and no source: take it out of the library"):
        DOORS[door](library, name, tmp_path / "a.zip")
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("door", DOORS)
def test_a_link_in_place_of_all_sources_is_refused(tmp_path, door):
    library = library_of(tmp_path / "mine")
    library_of(tmp_path / "other", "vits")
    (tmp_path / "mine/sources").symlink_to(tmp_path / "other/sources")
    before = content_of(tmp_path)
    with pytest.raises(UserError, match="mine/sources is a link"):
        DOORS[door](library, "vits", tmp_path / "a.zip")
    assert content_of(tmp_path) == before


def test_a_twin_in_letter_case_and_unicode_form_at_once_is_refused(tmp_path):
    library = library_of(tmp_path, "caf\u00e9", "vits")
    with pytest.raises(UserError, match="looks like the source"):
        enrol(library, "CAFE\u0301")
    with pytest.raises(UserError, match="looks like the source"):
        library.rename("vits", "CAFE\u0301")
    assert library.names() == ["caf\u00e9", "vits"]


def test_a_source_may_change_the_case_of_its_own_name(tmp_path):
    library = library_of(tmp_path, "sin", "vits")
    library.rename("sin", "Sin")
    assert library.names() == ["Sin", "vits"]
    np.testing.assert_array_equal(library.rows(library.source("Sin")), rows_of("sin", (1, 2)))
    with pytest.raises(UserError, match="looks like the source 'Sin'"):
        library.rename("vits", "SIN")


def test_where_letter_case_makes_no_difference_nothing_is_lost_by_renaming(tmp_path, monkeypatch):
    library = library_of(tmp_path, "sin")
    real = Library._place  # such a disk finds the folder under both names
    monkeypatch.setattr(Library, "_place", lambda self, name: real(self, name) if real(self, name).exists() else real(self, name.lower()))
    moved = []
    monkeypatch.setattr(Path, "rename", lambda self, target: moved.append((self.name, target.name)))
    library.rename("sin", "Sin")
    assert moved == [("sin", "sin")]
    np.testing.assert_array_equal(library.rows(library.source("sin")), rows_of("sin", (1, 2)))


def leave(folder: Path) -> list[Path]:
    """What kills and full disks left."""
    left = [
        folder / "sources/bark/.embeddings.4711.partial.npy",
        folder / "sources/bark/.source.4711.partial.json",
        folder / "sources/half/embeddings.npy",
        folder / "sources/half/.source.4711.partial.json",
        folder / "sources/void/.embeddings.4711.partial.npy",
        folder / "search/.models.4711.partial.npy",
        folder / ".library.4711.partial.json",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return left


WRITERS = {
    "add": lambda library: enrol(library, "new"),
    "remove": lambda library: library.remove("vits"),
    "rename": lambda library: library.rename("vits", "half"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_next_writer_removes_what_a_kill_left(tmp_path, writer):
    library, left = library_of(tmp_path, "bark", "vits"), leave(tmp_path)
    WRITERS[writer](library)
    assert not [path for path in left if path.name.startswith(".") and path.exists()]
    assert {path.name for path in (tmp_path / "sources").iterdir()} == set(library.names())
    np.testing.assert_array_equal(library.rows(library.source("bark")), rows_of("bark", (1, 2)))


def test_what_somebody_else_put_there_stays(tmp_path):
    library = library_of(tmp_path, "bark", "vits")
    (tmp_path / "sources/mine").mkdir()
    (tmp_path / "sources/mine/letter.txt").write_text("dear")
    library.remove("vits")
    with pytest.raises(UserError, match="sources/mine holds other things"):
        library.rename("bark", "mine")
    assert (tmp_path / "sources/mine/letter.txt").read_text() == "dear"
    assert library.names() == ["bark"]


def test_notes_of_a_source_that_is_there_are_changed_alone(tmp_path):
    library = library_of(tmp_path, "bark")
    before = library.source("bark")
    library.note("bark", "from the phone")
    after = library.source("bark")
    assert (after.notes, after.files, after.rows) == ("from the phone", before.files, before.rows)
    assert os.listdir(tmp_path / "sources") == ["bark"]
    shutil.rmtree(tmp_path / "sources")
    with pytest.raises(UserError, match="'bark' is no source"):
        library.note("bark", "x")
