"""Unpacking: what is right comes out whole, and nothing leaves the folder."""

from __future__ import annotations

import gzip
import io
import os
import resource
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from sourcetracing.downloads import archives
from sourcetracing.downloads.archives import allowed_bytes, unpack
from sourcetracing.errors import UserError

FILES = {"musan/noise/a.wav": b"a" * 5000, "musan/music/b.wav": bytes(range(256)) * 9000, "musan/README": b"", "musan/ü.wav": b"umlaut"}
EVIL_NAMES = ["../evil", "a/../../evil", "{tmp_path}/evil", "C:/evil", "C:evil", "..\\evil", "a\\b", "\\\\host\\share\\evil", "a\nb"]
KINDS = ["zip", "tar", "tar.gz", "tgz"]


def write_zip(path: Path, members: dict[str, bytes] | list[tuple[object, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return path


def tar_member(name: str, **facts: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(member, key, value)
    return member


def write_tar(path: Path, members: dict[str, bytes] | list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    pairs = [(tar_member(name), content) for name, content in members.items()] if isinstance(members, dict) else members
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for member, content in pairs:
            member.size = member.size or len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write(path: Path, members: dict[str, bytes]) -> Path:
    return write_zip(path, members) if path.suffix == ".zip" else write_tar(path, members)


def content_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(archive: Path, target: Path) -> str:
    with pytest.raises(UserError) as caught:
        unpack(archive, target)
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    assert not [path for path in target.rglob("*") if path.name.endswith(".partial")]
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_out(tmp_path: Path, kind: str):
    archive = write(tmp_path / f"x.{kind}", FILES)
    assert unpack(archive, tmp_path / "out") == 4
    assert content_below(tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", KINDS)
def test_only_wanted_members(tmp_path: Path, kind: str):
    archive = write(tmp_path / f"x.{kind}", {f"./{name}": content for name, content in FILES.items()})
    assert unpack(archive, tmp_path / "out", wanted=lambda name: name.startswith("musan/noise/")) == 1
    assert content_below(tmp_path / "out") == {"musan/noise/a.wav": FILES["musan/noise/a.wav"]}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_folders_are_fine_and_macos_leftovers_are_left_out(tmp_path: Path, kind: str):
    archive = tmp_path / f"x.{kind}"
    if kind == "zip":
        write_zip(archive, [("./", b""), ("a/", b""), ("a/x.wav", b"1"), ("__MACOSX/a/._x.wav", b"2"), ("a/._x.wav", b"3")])
    else:
        folders = [(tar_member(name, type=tarfile.DIRTYPE), b"") for name in ("./", "./a")]
        write_tar(archive, [*folders, (tar_member("./a/x.wav"), b"1"), (tar_member("./a/._x.wav"), b"2")])
    assert unpack(archive, tmp_path / "out") == 1
    assert content_below(tmp_path / "out") == {"a/x.wav": b"1"}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, kind: str, name: str):
    archive, target, name = tmp_path / f"x.{kind}", tmp_path / "deep" / "out", name.format(tmp_path=tmp_path)
    message = refusal(write(archive, {"first.wav": b"1", name: b"evil"}), target)
    assert repr(name) in message
    assert content_below(target) == ({} if kind == "zip" else {"first.wav": b"1"})
    assert set(tmp_path.rglob("*evil*")) == set()


def test_a_zip_name_with_a_nul_is_refused(tmp_path: Path):
    archive = write_zip(tmp_path / "x.zip", {"good.wav": b"1", "a.wav_b": b"2"})
    archive.write_bytes(archive.read_bytes().replace(b"a.wav_b", b"a.wav\0b"))
    assert "no proper name" in refusal(archive, tmp_path / "out")
    assert content_below(tmp_path / "out") == {}


def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path):
    links = [tar_member("x", type=tarfile.SYMTYPE, linkname="/etc"), tar_member("x", type=tarfile.LNKTYPE, linkname="first.wav")]
    others = [tar_member("x", type=kind) for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"?")]
    for number, member in enumerate(links + others):
        archive, target = tmp_path / f"{number}.tar.gz", tmp_path / str(number)
        through = [(tar_member("x/passwd"), b"evil")] if member.issym() else []
        message = refusal(write_tar(archive, [(tar_member("first.wav"), b"1"), (member, b""), *through]), target)
        assert "'x'" in message and ("is a link to" if member.linkname else "is a device") in message
        assert content_below(target) == {"first.wav": b"1"} and not (target / "x").is_symlink()


@pytest.mark.parametrize("file_type", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, file_type: int):
    link = zipfile.ZipInfo("x")
    link.create_system, link.external_attr = 3, (file_type | 0o777) << 16
    message = refusal(write_zip(tmp_path / "x.zip", [("first.wav", b"1"), (link, b"/etc")]), tmp_path / "out")
    assert "'x'" in message and ("is a symbolic link" if file_type == stat.S_IFLNK else "is a device") in message
    assert content_below(tmp_path / "out") == {}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_permissions_are_those_of_new_files(tmp_path: Path, kind: str):
    if kind == "zip":
        info = zipfile.ZipInfo("x.sh")
        info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o6777) << 16
        archive = write_zip(tmp_path / "x.zip", [(info, b"1")])
    else:
        archive = write_tar(tmp_path / "x.tar", [(tar_member("x.sh", mode=0o6777), b"1")])
    unpack(archive, tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out" / "x.sh").stat().st_mode) & 0o7111 == 0


# bombs


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_stopped(tmp_path: Path, kind: str, monkeypatch):
    archive = write(tmp_path / f"x.{kind}", {"first.wav": b"1", "zeros": bytes(20 << 20)})
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 4 << 20)
    assert "zeros" in refusal(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "zeros").exists()
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 30 << 20)
    assert unpack(archive, tmp_path / "out") == 2


def test_a_zip_that_lies_about_its_size_yields_no_more_than_it_says(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FLOOR_BYTES", 4 << 20)
    archive = write_zip(tmp_path / "x.zip", {"zeros": bytes(20 << 20)})
    archive.write_bytes(archive.read_bytes().replace((20 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    assert "zeros" in refusal(archive, tmp_path / "out")
    assert content_below(tmp_path / "out") == {}


def test_a_zip_whose_members_share_their_bytes_is_refused(tmp_path: Path):
    archive = write_zip(tmp_path / "x.zip", {"a": os.urandom(100_000), "b": os.urandom(10)})
    first, second = archive.read_bytes().split(b"PK\x01\x02")[1:]
    content = archive.read_bytes()
    archive.write_bytes(content.replace(second[:42], first[:42]))  # the second entry of the directory: sizes and place of the first
    assert "overlaps" in refusal(archive, tmp_path / "out")


def test_a_tar_with_endless_headers_is_stopped(tmp_path: Path):
    member = tar_member("x.wav")
    member.pax_headers = {"comment": "z" * (40 << 20)}
    archive = write_tar(tmp_path / "x.tar.gz", [(tar_member("first.wav"), b"1"), (member, b"1")])
    assert archive.stat().st_size < 200_000
    assert "headers" in refusal(archive, tmp_path / "out")


def test_a_sparse_tar_is_refused(tmp_path: Path):
    (tmp_path / "holes").write_bytes(b"")
    os.truncate(tmp_path / "holes", 1 << 40)
    subprocess.run(["tar", "--sparse", "-C", tmp_path, "-cf", tmp_path / "x.tar", "holes"], check=True)
    assert "sparse" in refusal(tmp_path / "x.tar", tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_too_many_files_are_refused(tmp_path: Path, kind: str, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 10)
    archive = write(tmp_path / f"x.{kind}", {str(number): b"" for number in range(11)})
    assert "more than 10:" in refusal(archive, tmp_path / "out")
    monkeypatch.setattr(archives, "MAX_FILES", 11)
    assert unpack(archive, tmp_path / "out") == 11


def test_published_corpora_are_within_the_limits():
    published = {"MUSAN": (11_086_114_085, 12_500_000_000), "RIRS_NOISES": (1_311_166_223, 9_000_000_000), "MLAAD": (60 << 30, 200 << 30)}
    for archive_bytes, unpacked_bytes in published.values():
        assert allowed_bytes(archive_bytes) > 10 * unpacked_bytes
    assert allowed_bytes(10_000) == 1 << 30


# damage


def test_a_truncated_archive_is_one_clear_line(tmp_path: Path):
    for kind in KINDS:
        archive = write(tmp_path / f"x.{kind}", {"a.wav": os.urandom(3000), "b.wav": os.urandom(3000)})
        content = archive.read_bytes()
        for kept in (0, 300, len(content) // 2, len(content) - 20 if kind != "tar" else 6000):
            archive.write_bytes(content[:kept])
            assert "Delete it and run the same command again" in refusal(archive, tmp_path / f"{kind}{kept}")


def test_a_tar_that_ends_between_two_members_is_incomplete(tmp_path: Path):
    archive = write_tar(tmp_path / "x.tar", {"a.wav": bytes(512), "b.wav": bytes(512)})
    archive.write_bytes(archive.read_bytes()[:1024])
    assert "incomplete" in refusal(archive, tmp_path / "out")


def test_a_broken_header_is_not_taken_for_the_end(tmp_path: Path):
    archive = write_tar(tmp_path / "x.tar", {"a.wav": bytes(512), "b.wav": bytes(512)})
    content = bytearray(archive.read_bytes())
    content[1024 + 3] ^= 1
    archive.write_bytes(content)
    assert "damaged" in refusal(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_flipped_bit_is_found(tmp_path: Path, kind: str):
    noise = os.urandom(100_000)
    archive = write(tmp_path / f"x.{kind}", {"a.wav": noise})
    content = bytearray(archive.read_bytes())
    content[50_000] ^= 1  # deflate keeps noise as it is, so that only the checksum can tell
    archive.write_bytes(content)
    assert "damaged" in refusal(archive, tmp_path / "out")
    write(archive, {"a.wav": noise})
    unpack(archive, tmp_path / "out")
    assert content_below(tmp_path / "out") == {"a.wav": noise}, "a file from the damaged archive was believed"


@pytest.mark.parametrize("kind", KINDS)
def test_something_else_under_an_archives_name(tmp_path: Path, kind: str):
    archive = tmp_path / f"x.{kind}"
    archive.write_text("<!DOCTYPE html><html>Please log in</html>" * 40)
    assert "no archive of its kind" in refusal(archive, tmp_path / "out")
    archive.write_bytes(gzip.compress(b"no tar in here"))
    assert "no archive of its kind" in refusal(archive, tmp_path / "out")


def test_an_unknown_kind_and_a_missing_file(tmp_path: Path):
    (tmp_path / "x.rar").write_bytes(b"Rar!")
    assert ".tar.gz" in refusal(tmp_path / "x.rar", tmp_path)
    assert "does not exist" in refusal(tmp_path / "none.zip", tmp_path)


def test_an_encrypted_zip_is_refused(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"secret")
    subprocess.run(["zip", "-q", "-j", "-P", "password", tmp_path / "x.zip", tmp_path / "a.wav"], check=True)
    assert "encrypted" in refusal(tmp_path / "x.zip", tmp_path / "out")


# namesakes


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_member_that_is_there_twice(tmp_path: Path, kind: str):
    same, other = [("a.wav", b"same"), ("./a.wav", b"same")], [("a.wav", b"this"), ("a.wav", b"that")]
    if kind == "zip":
        with pytest.warns(UserWarning, match="Duplicate"):
            archives = [write_zip(tmp_path / "same.zip", same), write_zip(tmp_path / "other.zip", other)]
    else:
        named = [[(tar_member(name), content) for name, content in pairs] for pairs in (same, other)]
        archives = [write_tar(tmp_path / "same.tar.gz", named[0]), write_tar(tmp_path / "other.tar.gz", named[1])]
    assert unpack(archives[0], tmp_path / "same") == 1
    assert "twice with different content" in refusal(archives[1], tmp_path / "other")
    assert content_below(tmp_path / "other") == ({} if kind == "zip" else {"a.wav": b"this"})


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_name_that_is_a_file_and_a_folder(tmp_path: Path, kind: str):
    archive = write(tmp_path / f"x.{kind}", {"a": b"1", "a/b": b"2"})
    with pytest.raises(UserError, match="a file and a folder|cannot be written"):
        unpack(archive, tmp_path / "out")


# going on


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_it_goes_on_where_it_was_killed(tmp_path: Path, kind: str):
    archive, target = write(tmp_path / f"x.{kind}", FILES), tmp_path / "out"
    unpack(archive, target)
    kept, shorter, changed = target / "musan/noise/a.wav", target / "musan/music/b.wav", target / "musan/ü.wav"
    os.utime(kept, (1, 1))
    shorter.write_bytes(shorter.read_bytes()[:100])
    changed.write_bytes(b"UMLAUT")
    (target / "musan/music/.b.wav.partial").write_bytes(b"of the killed run; its name is not one of audio")
    assert unpack(archive, target) == 4
    assert kept.stat().st_mtime == 1, "a file that was complete has been written again"
    assert content_below(target) == FILES


def test_only_the_last_part_of_a_long_file_differs(tmp_path: Path):
    content = os.urandom(3 << 20)
    archive, target = write_tar(tmp_path / "x.tar", {"a.wav": content}), tmp_path / "out"
    target.mkdir()
    (target / "a.wav").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    unpack(archive, target)
    assert content_below(target) == {"a.wav": content}


def test_a_kill_leaves_only_complete_files(tmp_path: Path):
    members = {f"{number}.wav": bytes([number]) * (2 << 20) for number in range(40)}
    archive, target = write_tar(tmp_path / "x.tar", members), tmp_path / "out"
    code = "import sys; from sourcetracing.downloads.archives import unpack; unpack(sys.argv[1], sys.argv[2])"
    process = subprocess.Popen([sys.executable, "-c", code, str(archive), str(target)], stderr=subprocess.DEVNULL)
    while not (target / "3.wav").exists() and process.poll() is None:
        pass
    process.kill()
    process.wait()
    there = {name: content for name, content in content_below(target).items() if not name.endswith(".partial")}
    assert len(there) >= 4 and there.items() <= members.items()
    assert unpack(archive, target) == 40
    assert content_below(target) == members


def test_a_disk_that_takes_no_more_is_one_clear_line(tmp_path: Path):
    archive = write_tar(tmp_path / "x.tar", {"small.wav": b"1", "large.wav": bytes(1 << 20)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"large\.wav cannot be written \(File too large\)"):
            unpack(archive, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert content_below(tmp_path / "out") == {"small.wav": b"1"}
