"""Unpacks archives that came from outside: .zip, .tar, .tar.gz and .tgz.

Whatever an archive holds, nothing is written outside the target folder, no link or device is made, and a bomb is stopped at `Limits`.
A file with its final name is complete; a killed unpacking goes on when it is run again, and an earlier file is kept only if its content is
what the archive holds, not because its name and size are right.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from tqdm import tqdm

from sourcetracing.downloads.sizes import byte_bar
from sourcetracing.errors import UserError

Wanted = Callable[[str], bool]
CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_TAR_HEADER_BYTES = 1 << 20  # room for a member's own headers, long names and attributes included
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, struct.error, UnicodeDecodeError)


@dataclass(frozen=True)
class Limits:
    """What an archive may become. The corpora here unpack to less than 10 times their archive; deflated zeros to 1,000 times."""

    max_files: int = 5_000_000
    max_bytes_total: int = 4 << 40
    max_ratio: float = 200.0  # unpacked bytes / bytes of the archive
    ratio_floor_bytes: int = 1 << 30  # a small archive may become this large whatever its ratio

    def allowed_bytes(self, archive_bytes: int) -> int:
        """Unpacked bytes that an archive of this size may hold."""
        return int(min(self.max_bytes_total, max(self.ratio_floor_bytes, self.max_ratio * archive_bytes)))


DEFAULT_LIMITS = Limits()


def unpack(archive: str | Path, target: str | Path, *, wanted: Wanted | None = None, limits: Limits = DEFAULT_LIMITS) -> int:
    """Unpacks an archive into a folder; returns how many of its files are there now, those of an earlier run included.

    wanted: says for a member's name, as in "musan/noise/x.wav", whether it is unpacked; None = all.
    Raises `UserError`, naming archive and member, for a member that would leave the folder, is a link or a device, is encrypted, differs
    from a namesake, or exceeds the limits, and for an archive that is damaged. A zip is checked whole before anything is written; a tar
    stops at the member, and the files before it stay.
    """
    archive, target = Path(archive), Path(target)
    if not archive.is_file():
        raise UserError(f"{archive} does not exist. Run: python scripts/01_download_resources.py CONFIG.yaml")
    with archive.open("rb") as file:
        if archive.suffix.lower() == ".zip":
            count = unpack_zip(file, archive, target, archive_bytes=archive.stat().st_size, wanted=wanted, limits=limits)
        elif archive.name.lower().endswith(_TAR_SUFFIXES):
            count = _unpack_tar(file, archive, target, wanted, limits)
        else:
            raise UserError(f"{archive}: only .zip, .tar, .tar.gz and .tgz can be unpacked")
    sync_to_disk()
    return count


def sync_to_disk() -> None:
    """Waits until the files are on the disk, so that a completion record written next can be believed after a power cut."""
    # Once for all of them: an fsync for each of 60,000 small files takes minutes. A file that a power cut spoils before this point has no
    # completion record beside it, and the next run compares its content.
    if hasattr(os, "sync"):
        os.sync()


def unpack_zip(
    file: BinaryIO,
    archive: Path,
    target: Path,
    *,
    archive_bytes: int,
    wanted: Wanted | None,
    limits: Limits,
    part_of: Callable[[zipfile.ZipInfo], Path] | None = None,
) -> int:
    """`unpack` for an open zip (seekable, binary). part_of: the file to name when a member is damaged; None = archive."""
    with plain_damage(archive), zipfile.ZipFile(file) as opened:
        members = _plan_zip(opened.infolist(), archive, archive_bytes, wanted, limits)
        total_bytes = sum(info.file_size for info in members.values())
        with byte_bar(f"unpack {archive.name}", total_bytes) as progress:
            for name, info in members.items():
                with plain_damage(part_of(info) if part_of else archive, name):
                    _unpack_zip_member(opened, info, target / name, progress)
    return len(members)


@contextmanager
def plain_damage(archive: Path, name: str = "") -> Iterator[None]:
    """Turns what the libraries raise for a damaged archive into one line."""
    try:
        yield
    except _DAMAGE as error:
        where = f" at {name!r}" if name else ""
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{archive} is damaged, incomplete or no archive of its kind{where} ({reason}). Delete it and run the same command again"
        ) from None
    except NotImplementedError as error:
        raise UserError(f"{archive} cannot be read here ({error}). Unpack it by hand with another program") from None


def safe_name(archive: object, name: str) -> str:
    """A member's name as a path below a folder, such as "a/b.wav". Raises `UserError` where it could mean any other place."""
    if not name or any(ord(letter) < 32 for letter in name):
        raise _refusal(archive, name, "has no proper name")
    windows = PureWindowsPath(name)
    parts = PurePosixPath(name).parts
    # A backslash or a drive is a plain character here, but a way out of the folder when the same data is unpacked on Windows.
    if "\\" in name or windows.drive or windows.root or ".." in parts:
        raise _refusal(archive, name, "would leave the target folder")
    return "/".join(parts)


def _refusal(archive: object, name: str, why: str) -> UserError:
    shown = name if len(name) <= 200 else f"{name[:200]}..."
    return UserError(f"{archive}: member {shown!r} {why}: refused. Delete the archive and get it from a source you trust")


def _is_junk(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith("._")


def _is_wanted(name: str, wanted: Wanted | None) -> bool:
    return not _is_junk(name) and (wanted is None or wanted(name))


# zip


def _plan_zip(
    infos: Sequence[zipfile.ZipInfo], archive: Path, archive_bytes: int, wanted: Wanted | None, limits: Limits
) -> dict[str, zipfile.ZipInfo]:
    _check_zip_totals(infos, archive, archive_bytes, limits)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        safe_name(archive, info.orig_filename)  # zipfile cuts `filename` at a NUL
        name = safe_name(archive, info.filename)
        if info.is_dir() or not _is_wanted(name, wanted):
            continue
        _check_zip_member(info, archive)
        first = members.setdefault(name, info)
        if (first.CRC, first.file_size) != (info.CRC, info.file_size):
            raise _refusal(archive, name, "is there twice with different content")
    folders = {name[:end] for name in members for end, letter in enumerate(name) if letter == "/"}
    if both := folders & members.keys():
        raise _refusal(archive, min(both), "is both a file and a folder")
    return members


def _check_zip_totals(infos: Sequence[zipfile.ZipInfo], archive: Path, archive_bytes: int, limits: Limits) -> None:
    # The sizes that a zip claims are a true limit: zipfile reads no member past its claimed size.
    claimed_bytes, allowed_bytes = sum(info.file_size for info in infos), limits.allowed_bytes(archive_bytes)
    if claimed_bytes > allowed_bytes:
        largest = max(infos, key=lambda info: info.file_size)
        raise _refusal(archive, largest.filename, f"and the others would become {claimed_bytes:,} bytes (at most {allowed_bytes:,})")
    if len(infos) > limits.max_files:
        raise _refusal(archive, infos[limits.max_files].filename, f"is one of more than {limits.max_files:,}")
    if sum(info.compress_size for info in infos) > archive_bytes:
        raise _refusal(archive, infos[-1].filename, "overlaps with others")


def _check_zip_member(info: zipfile.ZipInfo, archive: Path) -> None:
    file_type = stat.S_IFMT(info.external_attr >> 16)
    if file_type not in (0, stat.S_IFREG):
        raise _refusal(archive, info.filename, "is a symbolic link" if stat.S_ISLNK(file_type) else "is a device or another special file")
    if info.flag_bits & 0x1:
        raise _refusal(archive, info.filename, "is encrypted")
    if info.compress_type not in _ZIP_METHODS:
        raise UserError(
            f"{archive}: member {info.filename!r} is compressed by method {info.compress_type}, which Python cannot read. "
            "Unpack it by hand with another program"
        )


def _unpack_zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, progress: tqdm) -> None:
    if _holds(path, info.file_size, info.CRC):
        progress.update(info.file_size)
        return
    written_bytes = 0
    with opened.open(info) as stream, _replacing(path) as file:
        for chunk in _chunks(stream):
            file.write(chunk)
            written_bytes += len(chunk)
            progress.update(len(chunk))
        if written_bytes != info.file_size:
            raise zipfile.BadZipFile(f"{written_bytes:,} of {info.file_size:,} bytes")


def _holds(path: Path, size_bytes: int, checksum: int) -> bool:
    if not path.is_file() or path.stat().st_size != size_bytes:
        return False
    found = 0
    with path.open("rb") as file:
        for chunk in _chunks(file):
            found = zlib.crc32(chunk, found)
    return found == checksum


# tar


def _unpack_tar(file: BinaryIO, archive: Path, target: Path, wanted: Wanted | None, limits: Limits) -> int:
    archive_bytes = archive.stat().st_size
    is_gzip = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    with plain_damage(archive), byte_bar(f"unpack {archive.name}", archive_bytes) as progress:
        inside = gzip.GzipFile(fileobj=file) if is_gzip else file
        stream = _Metered(inside, archive, limits.allowed_bytes(archive_bytes), lambda: progress.update(file.tell() - progress.n))
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK_BYTES, tarinfo=_StrictTarInfo) as opened:
            count = _unpack_tar_members(opened, stream, archive, target, wanted, limits)
        stream.drain()
    return count


def _unpack_tar_members(
    opened: tarfile.TarFile, stream: _Metered, archive: Path, target: Path, wanted: Wanted | None, limits: Limits
) -> int:
    seen: set[str] = set()
    for number, member in enumerate(opened, start=1):
        if number > limits.max_files:
            raise _refusal(archive, member.name, f"is one of more than {limits.max_files:,}")
        stream.expect(member)
        name = safe_name(archive, member.name)
        if member.isdir() or not _is_wanted(name, wanted):
            continue
        if kind := _special_kind(member):
            raise _refusal(archive, name, f"is {kind}")
        _unpack_tar_member(opened, member, target / name, archive if name in seen else None)
        seen.add(name)
    return len(seen)


def _unpack_tar_member(opened: tarfile.TarFile, member: tarfile.TarInfo, path: Path, twice_in: Path | None) -> None:
    """twice_in: the archive, where it held a file of this name before; its content must be the same then."""
    with opened.extractfile(member) as source:
        chunks = _chunks(source)
        difference = _first_difference(path, chunks, member.size)
        if difference is None:
            return
        if twice_in is not None:
            raise _refusal(twice_in, member.name, "is there twice with different content")
        same_bytes, chunk = difference
        with _replacing(path) as file:
            for piece in chain(_head(path, same_bytes), [chunk], chunks):
                file.write(piece)


def _first_difference(path: Path, chunks: Iterator[bytes], size_bytes: int) -> tuple[int, bytes] | None:
    """None if a file holds just these bytes; else the length of what agrees and the chunk after that, taken from `chunks`."""
    # A stream cannot be read twice, and its content is only known once it was read: so it is compared on the way.
    if not path.is_file() or path.stat().st_size != size_bytes:
        return 0, b""
    same_bytes = 0
    with path.open("rb") as file:
        for chunk in chunks:
            if file.read(len(chunk)) != chunk:
                return same_bytes, chunk
            same_bytes += len(chunk)
    return None


def _head(path: Path, num_bytes: int) -> Iterator[bytes]:
    if num_bytes:
        with path.open("rb") as file:
            while num_bytes and (chunk := file.read(min(CHUNK_BYTES, num_bytes))):
                num_bytes -= len(chunk)
                yield chunk


def _special_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"a link to {member.linkname!r}"
    if member.issparse():
        return "a sparse file"
    return "" if member.isreg() else "a device or another special file"


class _StrictTarInfo(tarfile.TarInfo):
    """tarfile takes a broken header for the end of the archive; here only the block of zeros is the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


class _Metered:
    """A tar's bytes, counted as they come out: past a limit there are none, neither for a file nor for endless headers in memory."""

    def __init__(self, stream: BinaryIO, archive: Path, allowed_bytes: int, on_read: Callable[[], object]) -> None:
        self._stream, self._archive, self._on_read = stream, archive, on_read
        self._count = 0
        self._allowed_bytes, self._stop_at = allowed_bytes, 2 * CHUNK_BYTES + _TAR_HEADER_BYTES
        self._member = ""

    def expect(self, member: tarfile.TarInfo) -> None:
        """Lets pass what this member and the headers of the next need."""
        self._member = member.name
        # Two chunks: one that tarfile reads ahead, and one that it rounds up to.
        self._stop_at = member.offset_data + member.size + _TAR_HEADER_BYTES + 2 * CHUNK_BYTES

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """At most `size` bytes."""
        content = self._stream.read(size)
        self._count += len(content)
        if self._count > self._allowed_bytes:
            raise _refusal(self._archive, self._member, f"takes the archive past the {self._allowed_bytes:,} bytes that it may become")
        if self._count > self._stop_at:
            raise _refusal(self._archive, self._member, "is followed by headers of more than a megabyte")
        self._on_read()
        return content

    def drain(self) -> None:
        """Reads to the end, where gzip has its checksum."""
        self._stop_at = self._allowed_bytes
        while self.read():
            pass


# files


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file under a temporary name that takes its place when all went well."""
    # No fsync here, see `sync_to_disk`. The temporary name ends in .partial, so that a killed run leaves nothing that looks like audio.
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield file
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:  # a damaged gzip is an OSError too
            raise
        raise UserError(
            f"{path} cannot be written ({error.strerror}). Mend that and run the same command again; it goes on from here"
        ) from None
