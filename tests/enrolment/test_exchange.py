"""Sources in a zip, there and back; archives that are none, or somebody's trap."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.enrolment.exchange import export_sources, import_sources
from sourcetracing.enrolment.library import Library
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_bytes
from tests.support.enrolled import OTHER_SYSTEM, content_of, enrol, library_of


@pytest.fixture
def archive(tmp_path) -> Path:
    """A zip with the sources bark and vits."""
    export_sources(library_of(tmp_path / "theirs", "bark", "vits"), tmp_path / "theirs.zip")
    return tmp_path / "theirs.zip"


def test_there_and_back(tmp_path, archive):
    assert import_sources(archive, tmp_path / "mine") == (["bark", "vits"], [])
    theirs, mine = content_of(tmp_path / "theirs"), content_of(tmp_path / "mine")
    assert theirs.keys() == mine.keys()
    assert all(mine[name] == theirs[name] for name in theirs if name != "library.json")  # which has a date of its own
    assert import_sources(archive, tmp_path / "mine") == ([], ["bark", "vits"])  # the same again changes nothing
    assert content_of(tmp_path / "mine") == mine


def test_some_sources_alone(tmp_path, archive):
    library = library_of(tmp_path / "mine", "bark", "vits", "tacotron")
    assert export_sources(library, tmp_path / "two.zip", ["vits", "tacotron", "vits"]) == ["vits", "tacotron"]
    assert import_sources(tmp_path / "two.zip", tmp_path / "other") == (["tacotron", "vits"], [])
    with pytest.raises(UserError, match="'nobody' is no source"):
        export_sources(library, tmp_path / "no.zip", ["vits", "nobody"])
    with pytest.raises(UserError, match="the name of a .zip is expected"):
        export_sources(library, tmp_path / "no.tar")
    with pytest.raises(UserError, match="is empty"):
        export_sources(library_of(tmp_path / "void"), tmp_path / "no.zip")
    assert not (tmp_path / "no.zip").exists()


def test_rows_that_a_kill_left_are_not_exported(tmp_path):
    library = library_of(tmp_path / "mine", "bark")
    rows = library.rows(library.source("bark"))
    np.save(tmp_path / "mine/sources/bark/embeddings.npy", np.concatenate([rows, rows]))
    export_sources(library, tmp_path / "a.zip")
    import_sources(tmp_path / "a.zip", tmp_path / "other")
    np.testing.assert_array_equal(np.load(tmp_path / "other/sources/bark/embeddings.npy"), rows)


def test_what_does_not_fit_is_refused_whole(tmp_path, archive):
    mine = library_of(tmp_path / "mine", "tacotron")
    enrol(mine, "vits", (7,))
    before = content_of(tmp_path / "mine")
    with pytest.raises(UserError, match="'vits' is in .*mine with other files; rename one of the two"):
        import_sources(archive, tmp_path / "mine")
    mine.rename("vits", "vits 2")
    enrol(mine, "vits 2", (1,))  # the file that the archive has as one of bark's or vits'
    mine.rename("vits 2", "mine")
    before = content_of(tmp_path / "mine")
    clash = library_of(tmp_path / "clash")
    clash.add("other name", Library.open(tmp_path / "theirs").source("bark").files, np.ones((2, 4)))
    with pytest.raises(UserError, match="in/bark1.wav of 'bark' is enrolled already, in 'other name'. Import the others alone: "):
        import_sources(archive, tmp_path / "clash")
    assert Library.open(tmp_path / "clash").names() == ["other name"]
    library_of(tmp_path / "stranger", system=OTHER_SYSTEM)
    with pytest.raises(UserError, match="belongs to lfcc_aasist .* not to lfcc_ecapa_tdnn"):
        import_sources(archive, tmp_path / "stranger")
    assert content_of(tmp_path / "mine") == before


def rewritten(archive: Path, target: Path, changes: dict[str, bytes | None]) -> Path:
    """A copy of a zip with other members: None leaves one out."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as copy:
        members = {name: source.read(name) for name in source.namelist()} | changes
        for name, content in members.items():
            if content is not None:
                copy.writestr(name, content)
    return target


def test_archives_that_are_none_or_a_trap(tmp_path, archive):
    nan = io.BytesIO()
    np.save(nan, np.full((2, 4), np.nan, np.float32))
    told = json.loads(zipfile.ZipFile(archive).read("sources/bark/source.json"))
    told["rows"] = digest_of_bytes(np.full((2, 4), np.nan, np.float32).tobytes())
    poison = {"sources/bark/embeddings.npy": nan.getvalue(), "sources/bark/source.json": json.dumps(told).encode()}
    (tmp_path / "text.zip").write_text("this is text")
    record = zipfile.ZipFile(archive).read("sources/bark/source.json")
    class_name = {
        f"sources/known/{name}": zipfile.ZipFile(archive).read(f"sources/bark/{name}") for name in ("source.json", "embeddings.npy")
    }
    gone = dict.fromkeys(("sources/bark/source.json", "sources/bark/embeddings.npy"))
    twice = {name.replace("known", "bark 2"): content for name, content in class_name.items()}
    wrong = {
        "text.zip is damaged, incomplete or no .zip": tmp_path / "text.zip",
        "is no .zip that --export wrote": tmp_path / "missing.zip",
        "would leave the target folder": rewritten(archive, tmp_path / "slip.zip", {"../../evil.json": b"x"}),
        "leave the target folder": rewritten(archive, tmp_path / "slip2.zip", {"sources/../../../source.json": record}),
        "there is no library.json in it": rewritten(archive, tmp_path / "headless.zip", {"library.json": None}),
        "half.zip: member sources/bark/embeddings.npy is damaged or missing": rewritten(
            archive, tmp_path / "half.zip", {"sources/bark/embeddings.npy": None}
        ),
        "nan.zip: member sources/bark/embeddings.npy is damaged": rewritten(archive, tmp_path / "nan.zip", poison),
        "record.zip: member sources/bark/source.json is damaged": rewritten(
            archive, tmp_path / "record.zip", {"sources/bark/source.json": b"{}"}
        ),
        "'known' is a class that": rewritten(archive, tmp_path / "class.zip", {**gone, **class_name}),
        "in/bark1.wav is in 'bark' and in 'bark 2'": rewritten(archive, tmp_path / "twice.zip", twice),
        "holds no sources": rewritten(archive, tmp_path / "void.zip", {**gone, **{name.replace("bark", "vits"): None for name in gone}}),
    }
    for line, path in wrong.items():
        with pytest.raises(UserError, match=line) as raised:
            import_sources(path, tmp_path / "mine")
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "mine").exists()
        assert "/tmp" not in str(raised.value).replace(str(tmp_path), "")
    assert not list(tmp_path.rglob("evil.json"))


def test_other_members_are_left_out(tmp_path, archive):
    more = {"sources/bark/run.py": b"x", "search/search.json": b"{}", "readme.txt": b"x"}
    import_sources(rewritten(archive, tmp_path / "more.zip", more), tmp_path / "mine")
    assert set(content_of(tmp_path / "mine")) == set(content_of(tmp_path / "theirs"))
    assert json.loads((tmp_path / "mine/library.json").read_text())["system"]["run"] == "en-seed1"
