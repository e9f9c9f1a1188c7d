"""MUSAN and RIRS_NOISES: fetched from a local server, unpacked, counted; a folder of the user's own is never touched."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from sourcetracing.corpora import noise_corpora
from sourcetracing.corpora.noise_corpora import MUSAN, RIRS_NOISES
from sourcetracing.errors import UserError
from sourcetracing.settings.reading import load_settings
from tests.support.faulty_server import FaultyServer

NOISES = {f"musan/{kind}/x/{number}.wav": f"{kind} {number}".encode() * 50 for kind in MUSAN.counts for number in range(3)}
ROOMS = {f"RIRS_NOISES/{folder}/a/{number}.wav": bytes([number]) * 90 for folder in RIRS_NOISES.counts for number in range(2)}
SMALL_MUSAN = replace(MUSAN, counts=dict.fromkeys(MUSAN.counts, 3), unpacked_bytes=10_000)
SMALL_RIRS = replace(RIRS_NOISES, counts=dict.fromkeys(RIRS_NOISES.counts, 2), unpacked_bytes=10_000)


def tar_gz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def settings_for(root: Path, urls: list[str], content: bytes, *words: str):
    checksum = f"md5:{hashlib.md5(content).hexdigest()}"
    places = [f"paths.musan={root}/noises", f"paths.rirs={root}/rooms", "corpus.reader=folder", "download.attempts=2"]
    served = [f"download.{kind}_urls=[{','.join(urls)}]" for kind in ("musan", "rirs")]
    return load_settings([*places, *served, f"download.musan_checksum={checksum}", f"download.rirs_checksum={checksum}", *words])


@pytest.mark.parametrize(
    ("corpus", "files", "content", "folder"), [(SMALL_MUSAN, NOISES, tar_gz(NOISES), "noises"), (SMALL_RIRS, ROOMS, zipped(ROOMS), "rooms")]
)
def test_an_archive_becomes_a_counted_folder(tmp_path, corpus, files, content, folder):
    with FaultyServer() as server:
        settings = settings_for(tmp_path, [server.add("archive", content)], content)
        assert noise_corpora.resource(corpus, settings).is_here is False
        noise_corpora.download(corpus, settings)
        num_requests = len(server.requests)
        noise_corpora.download(corpus, settings)  # there is nothing left to do
        assert len(server.requests) == num_requests
    root = tmp_path / folder
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.wav")}
    assert found == {name.split("/", 1)[1]: text for name, text in files.items()}
    assert noise_corpora.check(corpus, settings) == len(files)
    assert noise_corpora.resource(corpus, settings).is_here
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {folder} <= {".download.lock"}  # neither the archive nor half-unpacked folders


def test_an_archive_can_be_kept(tmp_path):
    content = tar_gz(NOISES)
    with FaultyServer() as server:
        settings = settings_for(tmp_path, [server.add("archive", content)], content, "download.keep_archives=true")
        noise_corpora.download(SMALL_MUSAN, settings)
    assert (tmp_path / "musan.tar.gz").read_bytes() == content


def test_a_file_that_vanished_is_noticed(tmp_path):
    content = tar_gz(NOISES)
    with FaultyServer() as server:
        settings = settings_for(tmp_path, [server.add("archive", content)], content)
        noise_corpora.download(SMALL_MUSAN, settings)
    (tmp_path / "noises" / "music" / "x" / "1.wav").unlink()
    with pytest.raises(UserError, match=r"MUSAN/music has 2 of 3 files.*01_download_resources"):
        noise_corpora.check(SMALL_MUSAN, settings)


def test_a_killed_unpacking_goes_on(tmp_path, monkeypatch):
    content = tar_gz(NOISES)
    with FaultyServer() as server:
        settings = settings_for(tmp_path, [server.add("archive", content)], content)
        with monkeypatch.context() as patch:
            patch.setattr(noise_corpora, "unpack", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                noise_corpora.download(SMALL_MUSAN, settings)
        assert not (tmp_path / "noises").exists()  # absent until it is complete
        num_requests = len(server.requests)
        noise_corpora.download(SMALL_MUSAN, settings)
        assert len(server.requests) == num_requests  # the archive was there
    assert noise_corpora.check(SMALL_MUSAN, settings) == len(NOISES)


def test_an_archive_of_something_else_is_refused(tmp_path):
    content = tar_gz({"readme.txt": b"not what you want"})
    with FaultyServer() as server:
        settings = settings_for(tmp_path, [server.add("archive", content)], content)
        with pytest.raises(UserError, match="holds no folder musan"):
            noise_corpora.download(SMALL_MUSAN, settings)


def test_an_own_folder_is_used_and_never_written_to(tmp_path):
    own = tmp_path / "noises" / "speech" / "mine"
    own.mkdir(parents=True)
    (own / "a.wav").write_bytes(b"x")
    settings = settings_for(tmp_path, ["http://127.0.0.1:9/never-asked"], b"", "augment.variants=[original,speech]")
    noise_corpora.download(MUSAN, settings)
    assert [path.name for path in tmp_path.rglob("*")] == ["noises", "speech", "mine", "a.wav"]
    assert noise_corpora.check(MUSAN, settings) == 1
    settings.augment.variants = ["original", "speech", "music"]
    with pytest.raises(UserError, match=r"MUSAN/music has 0 of 1 files.*paths.musan"):
        noise_corpora.check(MUSAN, settings)


@pytest.mark.parametrize(
    ("variants", "expected"),
    [("[original]", []), ("[original,reverb]", ["RIRS_NOISES"]), ("[noise]", ["MUSAN"]), ("[reverb,music]", ["MUSAN", "RIRS_NOISES"])],
)
def test_only_what_the_variants_draw_from_is_needed(variants, expected):
    settings = load_settings([f"augment.variants={variants}"])
    assert [corpus.name for corpus in noise_corpora.needed_corpora(settings)] == expected


def test_the_published_archives_are_pinned():
    settings = load_settings([])
    assert MUSAN.remote(settings.download).size_bytes == 11_086_114_085
    assert RIRS_NOISES.remote(settings.download).checksum == "md5:e6f48e257286e05de56413b4779d8ffb"
    assert sum(MUSAN.counts.values()) == 2016
    assert sum(RIRS_NOISES.counts.values()) == 61_260
    settings.download.musan_checksum = ""  # another archive has another size
    assert MUSAN.remote(settings.download).size_bytes is None
