"""Unpacks archives that came from outside: .zip, .tar, .tar.gz and .tgz.

Whatever an archive holds, nothing is written outside the target folder, no link or device is made, and a bomb is stopped.
A file with its final name is complete; a killed unpacking goes on when it is run again. An earlier file is kept only if its content is
what the archive holds.

Read by zipfile and tarfile, but not written by shutil.unpack_archive or tarfile's filter="data". Those know no limits, write under the
final name, and let pass links within the folder and names that lead out of it on Windows.
"""

from __future__ import annotations

import filecmp
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
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from sourcetracing.downloads.records import byte_bar
from sourcetracing.errors import UserError
from sourcetracing.settings.names import fitting_name

Wanted = Callable[[str], bool]
# What an archive may become. The corpora here unpack to less than 10 times their archive; deflated zeros to 1,000 times.
MAX_FILES = 5_000_000
MAX_BYTES_TOTAL = 4 << 40
MAX_RATIO = 200.0  # unpacked bytes / bytes of the archive
RATIO_FLOOR_BYTES = 1 << 30  # a small archive may become this large whatever its ratio
CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_TAR_HEADER_BYTES = 1 << 20  # a member's long name or attributes, which tarfile reads into memory
_TAR_HEADER_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, struct.error)
_DAMAGE += (UnicodeDecodeError, RecursionError)


def allowed_bytes(archive_bytes: int) -> int:
    """Unpacked bytes that an archive of this size may hold."""
    return int(min(MAX_BYTES_TOTAL, max(RATIO_FLOOR_BYTES, MAX_RATIO * archive_bytes)))


def unpack(archive: str | Path, target: str | Path, *, wanted: Wanted | None = None) -> int:
    """Unpacks an archive into a folder; returns how many of its files are there now, those of an earlier run included.

    wanted: says for a member's name, as in "musan/noise/x.wav", whether it is unpacked; None = all.
    Raises `UserError`, naming archive and member, for a member that would leave the folder, is a link or a device, is encrypted, differs
    from a namesake, or exceeds the limits, and for an archive that is damaged. A zip is checked whole before anything is written; a tar
    stops at the member, and the files before it stay.
    """
    archive, target = Path(archive), Path(target)
    if not archive.is_file():
        raise UserError(f"{archive} does not exist. Run: python scripts/01_download_resources.py CONFIG.yaml")
    with archive.open("rb") as file, plain_damage(archive):
        if archive.suffix.lower() == ".zip":
            count = unpack_zip(zipfile.ZipFile(file), archive, target, archive.stat().st_size, wanted)
        elif archive.name.lower().endswith(_TAR_SUFFIXES):
            count = _unpack_tar(file, archive, target, wanted)
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


def _is_wanted(name: str, wanted: Wanted | None) -> bool:
    is_junk = name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith("._")
    return not is_junk and (wanted is None or wanted(name))


# zip


def unpack_zip(
    opened: zipfile.ZipFile,
    archive: Path,
    target: Path,
    archive_bytes: int,
    wanted: Wanted | None,
    part_of: Callable[[zipfile.ZipInfo], Path] | None = None,
) -> int:
    """`unpack` for an open zip. part_of: the file to name when a member is damaged; None = archive."""
    members = _plan_zip(opened.infolist(), archive, archive_bytes, wanted)
    with byte_bar(f"unpack {archive.name}", sum(info.file_size for info in members.values())) as progress:
        for name, info in members.items():
            with plain_damage(part_of(info) if part_of else archive, name), opened.open(info) as stream:
                _write(stream, info.file_size, target / name, progress.update)
    return len(members)


def _plan_zip(infos: Sequence[zipfile.ZipInfo], archive: Path, archive_bytes: int, wanted: Wanted | None) -> dict[str, zipfile.ZipInfo]:
    _check_zip_totals(infos, archive, archive_bytes)
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


def _check_zip_totals(infos: Sequence[zipfile.ZipInfo], archive: Path, archive_bytes: int) -> None:
    # The sizes that a zip claims are a true limit: zipfile reads no member past its claimed size.
    claimed_bytes, most_bytes = sum(info.file_size for info in infos), allowed_bytes(archive_bytes)
    if claimed_bytes > most_bytes:
        largest = max(infos, key=lambda info: info.file_size)
        raise _refusal(archive, largest.filename, f"and the others would become {claimed_bytes:,} bytes (at most {most_bytes:,})")
    if len(infos) > MAX_FILES:
        raise _refusal(archive, infos[MAX_FILES].filename, f"is one of more than {MAX_FILES:,}")
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


# tar


def _unpack_tar(file: BinaryIO, archive: Path, target: Path, wanted: Wanted | None) -> int:
    archive_bytes = archive.stat().st_size
    is_gzip = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    stream = gzip.GzipFile(fileobj=file) if is_gzip else file
    seen: set[str] = set()
    num_bytes = 0
    with (
        byte_bar(f"unpack {archive.name}", archive_bytes) as progress,
        tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK_BYTES, tarinfo=_StrictTarInfo) as opened,
    ):

        def show(_: int = 0) -> None:
            progress.update(file.tell() - progress.n)

        for number, member in enumerate(opened, start=1):
            name = safe_name(archive, member.name)
            is_wanted = not member.isdir() and _is_wanted(name, wanted)
            num_bytes += member.size
            if fault := (is_wanted and _special_kind(member)) or _excess(number, num_bytes, allowed_bytes(archive_bytes)):
                raise _refusal(archive, name, fault)
            if is_wanted:
                with opened.extractfile(member) as content:
                    is_new = _write(content, member.size, target / name, show, keep=name in seen)
                if is_new and name in seen:
                    raise _refusal(archive, name, "is there twice with different content")
                seen.add(name)
            show()
        while stream.read(CHUNK_BYTES):  # to the end, where gzip has its checksum
            show()
    return len(seen)


def _excess(num_files: int, num_bytes: int, most_bytes: int) -> str:
    if num_bytes > most_bytes:
        return f"takes the archive past the {most_bytes:,} bytes that it may become"
    return f"is one of more than {MAX_FILES:,}" if num_files > MAX_FILES else ""


def _special_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname!r}"
    if member.issparse():
        return "is a sparse file"
    return "" if member.isreg() else "is a device or another special file"


class _StrictTarInfo(tarfile.TarInfo):
    """tarfile takes a broken header for the end of the archive, and a header for as long as it says."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # the block of zeros
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None

    @classmethod
    def frombuf(cls, *words: object) -> tarfile.TarInfo:
        member = super().frombuf(*words)
        if member.type in _TAR_HEADER_TYPES and member.size > _TAR_HEADER_BYTES:
            raise tarfile.ReadError("headers of more than a megabyte")
        return member


# files


def _write(stream: BinaryIO, size_bytes: int, path: Path, on_chunk: Callable[[int], object], keep: bool = False) -> bool:
    """Writes a member under a temporary name, which takes its place at the end; returns whether it differs from what was there.

    keep: what is there stays in any case.
    """
    # No fsync here, see `sync_to_disk`. The temporary name ends in .partial, so that a killed run leaves nothing that looks like audio.
    partial = path.with_name(fitting_name(f".{path.name}.partial"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                while chunk := stream.read(CHUNK_BYTES):
                    file.write(chunk)
                    on_chunk(len(chunk))
            if partial.stat().st_size != size_bytes:
                raise EOFError(f"{partial.stat().st_size:,} of {size_bytes:,} bytes")
            is_new = not (path.is_file() and filecmp.cmp(partial, path, shallow=False))
            if is_new and not keep:
                os.replace(partial, path)
            return is_new
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:  # a damaged gzip is an OSError too
            raise
        raise UserError(
            f"{path} cannot be written ({error.strerror}). Mend that and run the same command again; it goes on from here"
        ) from None
