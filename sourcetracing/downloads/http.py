"""Plain HTTP downloads that can be interrupted, resumed and trusted.

A file with its final name is complete and was verified. Until then it is NAME.part beside NAME.part.json; .complete-NAME.json
records what was fetched from where.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sourcetracing.downloads.checksums import normal_checksum
from sourcetracing.downloads.mirrors import AGAIN, Mirrors
from sourcetracing.downloads.parts import load_parts, occupied_bytes, part_path
from sourcetracing.downloads.records import free_bytes, only_run, read_complete, require_free_space
from sourcetracing.downloads.retrieval import Retrieval, accept_file
from sourcetracing.downloads.sizes import byte_bar, say, size_text
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Download

ATTEMPTS_TO_ASK = 3
_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}


@dataclass(frozen=True)
class RemoteFile:
    """name: of the file on disk, whatever the server calls it. urls: mirrors, tried in order.

    size_bytes: pinned size, None = not known. checksum: "md5:<hex>", "sha256:<hex>" or "" (not known).
    """

    name: str
    urls: tuple[str, ...]
    size_bytes: int | None = None
    checksum: str = ""


def remote_size(file: RemoteFile, download: Download) -> int | None:
    """Bytes the server says the file has, None if it will not say. Raises `UserError` if no mirror has it or can be reached."""
    _require_sound(file)
    return _mirrors(file, download).offer(min(ATTEMPTS_TO_ASK, download.attempts)).version.size_bytes


def fetch(files: Sequence[RemoteFile], folder: Path, download: Download) -> list[Path]:
    """Fetches what is missing of `files` into `folder`; returns the paths of all of them, in the same order.

    Complete files cost no request. Sizes and free space are printed first. Raises `UserError`: another process is at work there, the
    disk is too full, no mirror brings a file, or a checksum is wrong. Whenever it ends, the same call goes on from there.
    """
    folder = Path(folder)
    for file in files:
        _require_sound(file)
    _require_different_names(files)
    with _disk_trouble_as_user_error(folder), only_run(folder):
        missing = [file for file in files if not _is_complete(file, folder)]
        if missing:
            _fetch_missing(missing, folder, download)
    return [folder / file.name for file in files]


def _fetch_missing(files: list[RemoteFile], folder: Path, download: Download) -> None:
    mirrors = [_mirrors(file, download) for file in files]
    sizes = [
        mirror.offer().version.size_bytes if file.size_bytes is None else file.size_bytes
        for file, mirror in zip(files, mirrors, strict=True)
    ]
    _announce(files, sizes, folder)
    here = [_done_bytes(file, folder) for file in files]
    with _total_bar(sizes, here) as advance:
        for file, mirror, shown_bytes in zip(files, mirrors, here, strict=True):
            Retrieval(file.name, folder, file.size_bytes, normal_checksum(file.checksum), mirror, download, advance, shown_bytes).run()


def _announce(files: list[RemoteFile], sizes: list[int | None], folder: Path) -> None:
    """Prints what is to be fetched and how much room there is. Raises `UserError` if it is not enough."""
    width = max(len(file.name) for file in files)
    say(f"to download into {folder}:")
    for file, size_bytes in zip(files, sizes, strict=True):
        done_bytes = _done_bytes(file, folder)
        here = f" ({size_text(done_bytes)} of it here already)" if done_bytes else ""
        say(f"  {file.name:{width}}  {size_text(size_bytes):>12}  {file.urls[0]}{here}")
    known = [size_bytes for size_bytes in sizes if size_bytes is not None]
    occupied = [min(occupied_bytes(part_path(folder, file.name)), size_bytes or 0) for file, size_bytes in zip(files, sizes, strict=True)]
    needed_bytes = sum(known) - sum(occupied)
    unknown = f" and {len(sizes) - len(known)} of unknown size" if len(known) < len(sizes) else ""
    say(f"  room needed: {size_text(needed_bytes)}{unknown}; free: {size_text(free_bytes(folder))}")
    require_free_space(folder, needed_bytes, files[0].name if len(files) == 1 else f"the download of {len(files)} files")


@contextmanager
def _total_bar(sizes: list[int | None], here: list[int]) -> Iterator[Callable[[int], object]]:
    total_bytes = None if None in sizes else sum(sizes)
    with nullcontext() if len(sizes) < 2 else byte_bar("all files", total_bytes, sum(here)) as progress:
        yield (lambda gained_bytes: None) if progress is None else progress.update


def _is_complete(file: RemoteFile, folder: Path) -> bool:
    """True if the file is there as it was recorded, or turns out to be the right one. Raises `UserError` if it is a wrong one."""
    path, checksum = folder / file.name, normal_checksum(file.checksum)
    if not path.exists():
        return False
    record = read_complete(folder, file.name) or {}
    stat = path.stat()
    untouched = (record.get("size_bytes"), record.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)
    if not (untouched and checksum in ("", record.get("checksum")) and file.size_bytes in (None, stat.st_size)):
        accept_file(path, file.size_bytes, checksum, record)
    say(f"{path}: complete")
    return True


def _done_bytes(file: RemoteFile, folder: Path) -> int:
    begun = load_parts(part_path(folder, file.name))
    return begun.done_bytes if begun else 0


def _mirrors(file: RemoteFile, download: Download) -> Mirrors:
    return Mirrors(file.name, file.urls, file.size_bytes, download)


def _require_sound(file: RemoteFile) -> None:
    if file.name in ("", "..") or file.name != Path(file.name).name or "\\" in file.name:
        raise UserError(f"{file.name!r} is no file name: a download has a plain name without folders")
    if not file.urls:
        raise UserError(f"{file.name}: no address is given to download it from")
    normal_checksum(file.checksum)


def _require_different_names(files: Sequence[RemoteFile]) -> None:
    names = [file.name for file in files]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name}: two downloads would have this name")


@contextmanager
def _disk_trouble_as_user_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise
        raise UserError(f"{error.filename or folder}: {error.strerror}. Mend that. {AGAIN}") from error
