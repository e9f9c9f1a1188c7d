"""The folder of enrolled sources: what is in it, what is refused, and that a kill or another process never leaves it broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.enrolment.library import Library
from sourcetracing.enrolment.records import EnrolledFile, System
from sourcetracing.errors import UserError
from tests.support.enrolled import OTHER_SYSTEM, SYSTEM, content_of, enrol, files_of, library_of, rows_of
from tests.support.places import ROOT


def test_a_person_can_read_it(tmp_path):
    library = library_of(tmp_path / "mine")
    enrol(library, "bark", notes="from the phone")
    head = json.loads((tmp_path / "mine" / "library.json").read_text())
    assert (head["system"]["name"], head["system"]["weights"], head["system"]["width"]) == ("lfcc_ecapa_tdnn", "ab" * 16, 4)
    record = json.loads((tmp_path / "mine/sources/bark/source.json").read_text())
    assert record["notes"] == "from the phone" and record["date"].startswith("20")
    assert [file["path"] for file in record["files"]] == ["in/bark1.wav", "in/bark2.wav"]
    np.testing.assert_array_equal(np.load(tmp_path / "mine/sources/bark/embeddings.npy"), rows_of("bark", (1, 2)))


def test_more_files_come_behind_those_that_are_there(tmp_path):
    library = library_of(tmp_path / "mine", "bark")
    enrol(library, "bark", (3,))
    source = Library.open(tmp_path / "mine").source("bark")
    assert [file.path for file in source.files] == ["in/bark1.wav", "in/bark2.wav", "in/bark3.wav"]
    np.testing.assert_array_equal(library.rows(source), rows_of("bark", (1, 2, 3)))
    enrol(library, "bark", (4,), notes="now with notes")
    enrol(library, "bark", (5,))
    assert library.source("bark").notes == "now with notes"


def test_remove_and_rename(tmp_path):
    library = library_of(tmp_path / "mine", "bark", "vits")
    before = library.rows(library.source("bark"))
    library.rename("bark", "bark 2 (ü)")
    library.remove("vits")
    assert library.names() == ["bark 2 (ü)"]
    np.testing.assert_array_equal(library.rows(library.source("bark 2 (ü)")), before)
    enrol(library, "vits")  # its files are free again
    for name in ("nobody", ""):
        with pytest.raises(UserError, match=f"'{name}' is no source of .*: bark 2 .ü., vits"):
            library.remove(name)
    with pytest.raises(UserError, match="'vits' is there already"):
        library.rename("bark 2 (ü)", "vits")
    with pytest.raises(UserError, match="'known' is a class that lfcc_ecapa_tdnn"):
        library.rename("vits", "known")


NAMES = {
    "": "is empty",
    " bark": "begins or ends with a blank",
    "a/b": "a name without '/'",
    "a\\b": "a name without",
    "..": "not the name of a folder",
    ".hidden": "without a dot in front",
    "-x": "reads like a flag",
    "two\nlines": "cannot be printed",
    "x" * 101: "101 bytes long",
    "known": "is a class that",
    "KNOWN": "looks like the class 'known': they differ in letter case or Unicode form alone, and would be one folder on some disks",
    "classe\u0301": "looks like the class 'classé'",
    "bark\u200b": "invisible sign",
    "Bark": "'Bark' looks like the source 'bark'",
    "ｋｎｏｗｎ": "looks like the class 'known'",
    "CLASSE\u0301": "looks like the class 'classé'",
    "ＢＡＲＫ": "looks like the source 'bark'",
    "a:b": "a name without ':'",
    "what?": "a name without",
    "a*": "a name without",
    "a|b": "a name without",
    "<a": "a name without",
    "a>": "a name without",
    'a"b': "a name without",
    "ends.": "ends with a dot",
    "NUL": "is the name of a device",
    "con.txt": "is the name of a device",
    "com1": "is the name of a device",
}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_that_would_mean_two_things_are_refused(tmp_path, name):
    library = library_of(tmp_path / "mine", "bark")
    before = content_of(tmp_path)
    with pytest.raises(UserError, match=NAMES[name]):
        library.add(name, files_of("x", (1,)), rows_of("x", (1,)))
    assert content_of(tmp_path) == before


def test_files_that_are_there_are_named(tmp_path):
    library = library_of(tmp_path / "mine", "bark", "vits")
    before = content_of(tmp_path)
    one = files_of("bark", (1,))[0]
    copy = EnrolledFile("copy.wav", one.digest, 1.5, 3)
    new = files_of("new", (1, 2))
    wrong = {
        "in/bark1.wav is enrolled already, in 'bark'; leave it out": ("vits", [one]),
        "copy.wav is enrolled already, in 'bark' .as in/bark1.wav.": ("bark", [copy]),
        "in/new1.wav is listed twice; name it once": ("new", [new[0], new[0]]),
        "new: no files": ("new", []),
    }
    for line, (name, files) in wrong.items():
        with pytest.raises(UserError, match=line):
            library.add(name, files, rows_of("new", range(len(files)) or (1,))[: len(files)])
    twins = [new[0], EnrolledFile("twin.wav", new[0].digest, 1.5, 3)]
    with pytest.raises(UserError, match="twin.wav and in/new1.wav are the same file"):
        library.add("new", twins, rows_of("new", (1, 2)))
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_embeddings_that_say_nothing_are_refused(tmp_path, value):
    library = library_of(tmp_path / "mine")
    rows = rows_of("new", (1, 2))
    rows[1] = value
    with pytest.raises(UserError, match="in/new2.wav: its embedding has NaN or infinite numbers, or nothing but zeros"):
        library.add("new", files_of("new", (1, 2)), rows)
    with pytest.raises(UserError, match=r"embeddings of shape \(2, 5\)"):
        library.add("new", files_of("new", (1, 2)), np.ones((2, 5)))
    assert library.names() == []


def test_another_system_is_refused(tmp_path):
    library_of(tmp_path / "mine", "bark")
    for door in (Library.open, Library.create, Library.planned):
        with pytest.raises(UserError, match=r"belongs to lfcc_ecapa_tdnn \(en-seed1, weights abababab\), not to lfcc_aasist"):
            door(tmp_path / "mine", OTHER_SYSTEM)
    moved = System("lfcc_ecapa_tdnn", "exported", SYSTEM.weights, 4, SYSTEM.classes)
    assert Library.open(tmp_path / "mine", moved).names() == ["bark"]  # the same weights in another folder


def test_what_is_no_library_is_refused_and_left_alone(tmp_path):
    with pytest.raises(UserError, match="does not exist. Enrol a source"):
        Library.open(tmp_path / "nowhere")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(UserError, match="is no library of sources"):
        Library.open(tmp_path / "letters")
    with pytest.raises(UserError, match=r"holds other things \(a.txt\)"):
        Library.create(tmp_path / "letters", SYSTEM)
    with pytest.raises(UserError, match="is a file"):
        Library.create(tmp_path / "letters" / "a.txt", SYSTEM)
    assert content_of(tmp_path) == {"letters/a.txt": b"dear"}
    assert not (tmp_path / "nowhere").exists()


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def turn_a_number(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(bytes(content))


DAMAGE = {
    "library.json cut": ("library.json", shorten, "library.json is damaged"),
    "library.json a list": ("library.json", lambda path: path.write_text("[]"), "library.json is damaged"),
    "another format": (
        "library.json",
        lambda path: path.write_text(path.read_text().replace('"format": 1', '"format": 2')),
        "has format 2",
    ),
    "source.json cut": ("sources/bark/source.json", shorten, "source.json is damaged or missing.*bark --remove --library"),
    "source.json without files": (
        "sources/bark/source.json",
        lambda path: path.write_text('{"notes": "", "date": "", "files": [], "rows": ""}'),
        "source.json is damaged",
    ),
    "embeddings cut": ("sources/bark/embeddings.npy", shorten, "embeddings.npy is damaged or missing"),
    "embeddings gone": ("sources/bark/embeddings.npy", Path.unlink, "embeddings.npy is damaged or missing"),
    "embeddings changed": ("sources/bark/embeddings.npy", turn_a_number, "embeddings.npy is damaged or missing"),
    "a length that is none": (
        "sources/bark/source.json",
        lambda path: path.write_text(path.read_text().replace("1.5", '"long"')),
        "source.json is damaged",
    ),
    "embeddings of objects": (
        "sources/bark/embeddings.npy",
        lambda path: np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True),
        "embeddings.npy is damaged",
    ),
    "a stranger": ("sources/notes.txt", lambda path: path.write_text("x"), "notes.txt is no source: take it out"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_line(tmp_path, case):
    library_of(tmp_path, "bark", "vits")
    name, spoil, line = DAMAGE[case]
    spoil(tmp_path / name)
    with pytest.raises(UserError, match=line) as raised:
        library = Library.open(tmp_path)
        for source in library.sources().values():
            library.rows(source)
    assert "\n" not in str(raised.value)
    if "bark/" in name:  # and the command that the line names helps
        library.remove("bark")
        assert list(Library.open(tmp_path).sources()) == ["vits"]


class Killed(BaseException):
    pass


def killed_at(monkeypatch, number: int, after: bool) -> list[int]:
    """From the number-th file that takes its name on nothing happens any more; returns a list of how many there were."""
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(1)
        if len(calls) >= number and not after:
            raise Killed
        real(source, target)
        if len(calls) >= number:
            raise Killed

    monkeypatch.setattr(os, "replace", replace)
    return calls


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", ["bark", "new"])
def test_a_kill_between_files_leaves_the_old_library_or_the_new_one(tmp_path, monkeypatch, name, number, after):
    library = library_of(tmp_path, "bark", "vits")
    before = {one: library.rows(source) for one, source in library.sources().items()}
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, number, after)
        enrol(library, name, (7, 8))
    (tmp_path / "sources" / name / ".embeddings.1.partial.npy").write_bytes(b"left by a real kill")
    found = Library.open(tmp_path)
    is_done = (number, after) == (2, True)
    expected = {**before, name: np.concatenate([before.get(name, np.zeros((0, 4), np.float32)), rows_of(name, (7, 8))])}
    expected = expected if is_done else before
    assert found.names() == sorted(expected)
    for one, rows in expected.items():
        np.testing.assert_array_equal(found.rows(found.source(one)), rows)
    if not is_done:  # and the same command again does it
        enrol(found, name, (7, 8))
        assert found.source(name).files[-1].path == f"in/{name}8.wav"
    found.remove(name)
    assert not (tmp_path / "sources" / name).exists()


def test_what_a_killed_removal_leaves_is_no_source(tmp_path):
    library = library_of(tmp_path, "bark", "vits")
    (tmp_path / "sources/bark/source.json").unlink()
    assert library.names() == ["vits"]
    library.rename("vits", "bark")
    np.testing.assert_array_equal(library.rows(library.source("bark")), rows_of("vits", (1, 2)))


WRITER = """
import sys
from pathlib import Path
from tests.support.enrolled import enrol, library_of
library = library_of(Path(sys.argv[1]))
for number in range(12):
    enrol(library, f"{sys.argv[2]}{number}", (1,))
    enrol(library, "both", (number + int(sys.argv[3]),))
"""


def test_two_processes_at_once_lose_nothing(tmp_path):
    words = [("one", "0"), ("two", "100")]
    started = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "mine", *pair], cwd=ROOT) for pair in words]
    assert [process.wait(60) for process in started] == [0, 0]
    library = Library.open(tmp_path / "mine")
    sources = library.sources()
    assert set(sources) == {"both", *(f"{name}{number}" for name in ("one", "two") for number in range(12))}
    numbers = [int(file.path.removeprefix("in/both").removesuffix(".wav")) for file in sources["both"].files]
    assert sorted(numbers) == [*range(12), *range(100, 112)]
    np.testing.assert_array_equal(library.rows(sources["both"]), rows_of("both", numbers))
