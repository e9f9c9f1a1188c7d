"""Archives with names and sizes that no export has, and targets that an export must not replace."""

from __future__ import annotations

import json
import re
import shlex
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.downloads import archives
from sourcetracing.enrolment.exchange import export_sources, import_sources
from sourcetracing.enrolment.library import Library
from sourcetracing.enrolment.records import EnrolledFile
from sourcetracing.errors import UserError
from tests.support.enrolled import SYSTEM, content_of, enrol, files_of, library_of, rows_of


@pytest.fixture
def archive(tmp_path) -> Path:
    """A zip with the sources bark and vits."""
    export_sources(library_of(tmp_path / "theirs", "bark", "vits"), tmp_path / "theirs.zip")
    return tmp_path / "theirs.zip"


def with_members(archive: Path, target: Path, more: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A copy of a zip, some members of which are others, or more."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w", method) as copy:
        for name, content in ({name: source.read(name) for name in source.namelist()} | more).items():
            copy.writestr(name, content)
    return target


def refused(path: Path, folder: Path, line: str, names: tuple[str, ...] = ()) -> str:
    """What an import says that has to be refused and leave nothing."""
    with pytest.raises(UserError, match=line) as raised:
        import_sources(path, folder, names)
    assert "\n" not in str(raised.value)
    assert not folder.exists() and "no .zip" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (".hid", "without a dot in front"),
        ("...", "without a dot in front"),
        (".", "not the name of a folder"),
        ("", "is empty"),
        ("CON", "the name of a device"),
        ("a:b", "a name without ':'"),
        ("bark ", "ends with a blank"),
        ("-x", "reads like a flag"),
        ("KNOWN", "looks like the class"),
    ],
)
def test_members_of_a_name_that_no_source_has_are_refused(tmp_path, archive, name, line):
    opened = zipfile.ZipFile(archive)
    more = {f"sources/{name}/{one}": opened.read(f"sources/bark/{one}") for one in ("source.json", "embeddings.npy")}
    record = json.loads(more[f"sources/{name}/source.json"])
    for number, file in enumerate(record["files"]):
        file["digest"] = f"{number:032x}"
    more[f"sources/{name}/source.json"] = json.dumps(record).encode()
    refused(with_members(archive, tmp_path / "odd.zip", more), tmp_path / "mine", line)


def test_incoming_names_are_compared_among_themselves(tmp_path):
    library = library_of(tmp_path / "theirs", "caf\u00e9")
    odd = "CAFE\u0301"
    library.put(library.source("caf\u00e9"), library.rows(library.source("caf\u00e9")))
    enrol(library, "other")
    (tmp_path / "theirs/sources/other").rename(tmp_path / "theirs/sources" / odd)
    export_sources(Library.open(tmp_path / "theirs"), tmp_path / "a.zip")
    line = refused(tmp_path / "a.zip", tmp_path / "mine", "would be one folder on some disks. Take one of them: ")
    words = shlex.split(line.partition("Take one of them: ")[2])
    assert import_sources(tmp_path / "a.zip", tmp_path / "mine", words[2 : words.index("--import")]) == ([odd], [])


def test_named_sources_alone_are_imported(tmp_path, archive):
    refused(archive, tmp_path / "mine", "'nobody' is not in --import .*theirs.zip: bark, vits", ("bark", "nobody"))
    assert import_sources(archive, tmp_path / "mine", ("vits",)) == (["vits"], [])
    assert Library.open(tmp_path / "mine").names() == ["vits"]
    assert import_sources(archive, tmp_path / "mine", ("vits", "bark")) == (["bark"], ["vits"])


def test_the_command_that_a_refusal_names_works(tmp_path, archive):
    mine = library_of(tmp_path / "mine", "bark")
    mine.rename("bark", "renamed")
    with pytest.raises(UserError, match=r"in/bark1.wav of 'bark' is enrolled already, in 'renamed'") as raised:
        import_sources(archive, tmp_path / "mine")
    words = shlex.split(str(raised.value).partition("alone: ")[2])
    assert words == ["python", "scripts/enroll_source.py", "vits", "--import", str(archive), "--library", str(tmp_path / "mine")]
    assert import_sources(archive, tmp_path / "mine", ["vits"]) == (["vits"], [])


def test_a_file_twice_in_one_source_is_refused(tmp_path, archive):
    record = json.loads(zipfile.ZipFile(archive).read("sources/bark/source.json"))
    record["files"][1] = record["files"][0]
    more = {"sources/bark/source.json": json.dumps(record).encode()}
    refused(with_members(archive, tmp_path / "odd.zip", more), tmp_path / "mine", "a file is twice in 'bark'")


def test_a_damaged_member_is_named(tmp_path, archive):
    info = zipfile.ZipFile(archive).getinfo("sources/vits/embeddings.npy")
    content = bytearray(archive.read_bytes())
    start = content.index(b"sources/vits/embeddings.npy") + len(info.filename)
    content[start + 20] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(content)
    line = refused(tmp_path / "bad.zip", tmp_path / "mine", "bad.zip: member sources/vits/embeddings.npy is damaged or missing")
    assert "Export it again where it was made" in line and "--remove" not in line
    assert import_sources(tmp_path / "bad.zip", tmp_path / "mine", ["bark"]) == (["bark"], [])


@pytest.mark.parametrize("member", ["sources/bark/embeddings.npy", "sources/bark/source.json", "library.json"])
def test_sizes_are_looked_at_before_anything_is_unpacked(tmp_path, archive, member, monkeypatch):
    path = with_members(archive, tmp_path / "bomb.zip", {member: bytes(20 << 20)})
    unpacked, real = [], zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, info, *more: unpacked.append(info.filename) or real(self, info, *more))
    refused(path, tmp_path / "mine", f"member {member} would become 20,971,520 bytes, and at most .* fit")
    assert member not in unpacked


def test_a_size_that_is_a_lie_is_no_way_round(tmp_path, archive):
    path = with_members(archive, tmp_path / "lie.zip", {"sources/bark/embeddings.npy": bytes(20 << 20)})
    claimed = zipfile.ZipFile(archive).getinfo("sources/bark/embeddings.npy").file_size - 1
    content = path.read_bytes().replace((20 << 20).to_bytes(4, "little"), claimed.to_bytes(4, "little"))
    path.write_bytes(content)
    tracemalloc.start()
    refused(path, tmp_path / "mine", "member sources/bark/embeddings.npy is damaged or missing")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_an_import_removes_what_a_kill_left(tmp_path, archive):
    mine = library_of(tmp_path / "mine", "tacotron")
    left = [tmp_path / "mine/sources/half/embeddings.npy", tmp_path / "mine/sources/tacotron/.embeddings.4711.partial.npy"]
    left[0].parent.mkdir()
    for path in left:
        path.write_bytes(b"x")
    import_sources(archive, mine.folder)
    assert not [path for path in left if path.exists()] and not left[0].parent.exists()


def test_the_sum_of_sizes_has_a_limit(tmp_path, archive, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 0)
    monkeypatch.setattr(archives, "MAX_RATIO", 0.1)
    refused(archive, tmp_path / "mine", r"would become [\d,]+ bytes \(at most")


def test_another_compression_is_refused(tmp_path, archive):
    path = with_members(archive, tmp_path / "bz2.zip", {}, zipfile.ZIP_BZIP2)
    refused(path, tmp_path / "mine", "compressed by a method that no export has")


def test_what_is_no_export_is_not_replaced(tmp_path):
    library = library_of(tmp_path / "mine", "bark")
    (tmp_path / "text.zip").write_text("dear")
    (tmp_path / "folder.zip").mkdir()
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as photos:
        photos.writestr("a.jpg", b"x")
    export_sources(library, tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as export, zipfile.ZipFile(tmp_path / "mixed.zip", "w") as mixed:
        mixed.writestr("library.json", export.read("library.json"))
        mixed.writestr("a.jpg", b"x")
    before = content_of(tmp_path)
    for name in ("text.zip", "folder.zip", "photos.zip", "mixed.zip"):
        with pytest.raises(UserError, match=f"{name} is there, and no export of a library"):
            export_sources(library, tmp_path / name)
    assert content_of(tmp_path) == before
    enrol(library, "vits")
    assert export_sources(library, tmp_path / "export.zip") == ["bark", "vits"]  # an earlier one is replaced


@pytest.mark.parametrize("place", ["a.zip", "sources/a.zip", "sources/bark/a.zip", "search/a.zip", "../mine/a.zip", "../link/a.zip"])
def test_no_export_into_the_library(tmp_path, place):
    library = library_of(tmp_path / "mine", "bark")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    before = content_of(tmp_path)
    with pytest.raises(UserError, match="lies in the library itself"):
        export_sources(library, tmp_path / "mine" / place)
    assert content_of(tmp_path) == before


def test_a_library_that_cannot_be_written_is_exported(tmp_path):
    library = library_of(tmp_path / "mine", "bark")
    (tmp_path / "mine/.lock").unlink()
    (tmp_path / "mine/.lock").mkdir()  # no lock can be had, whoever asks
    with pytest.raises(OSError, match="lock"):
        enrol(library, "vits")
    assert export_sources(library, tmp_path / "a.zip") == ["bark"]
    assert import_sources(tmp_path / "a.zip", tmp_path / "other") == (["bark"], [])


def test_a_refused_import_leaves_a_library_as_it_was(tmp_path, archive):
    mine = Library.create(tmp_path / "mine", SYSTEM)
    mine.add("other", [EnrolledFile("x.wav", files_of("vits", (2,))[0].digest, 1.5, 3)], rows_of("x", (1,)))
    (tmp_path / "mine/.lock").unlink()
    with pytest.raises(UserError, match="in/vits2.wav of 'vits' is enrolled already, in 'other'"):
        import_sources(archive, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["library.json", "sources"]
    assert np.load(tmp_path / "mine/sources/other/embeddings.npy").shape == (1, 4)
    assert re.fullmatch("other", *mine.names())
