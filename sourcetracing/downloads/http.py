"""Plain HTTP downloads that can be interrupted, resumed and trusted.

A file with its final name is complete and was verified. Until then it is NAME.part beside NAME.part.json; .complete-NAME.json
records what was fetched from where.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sourcetracing.downloads.parts import load_parts, occupied_bytes, part_path
from sourcetracing.downloads.records import (
    byte_bar,
    free_bytes,
    normal_checksum,
    only_run,
    read_complete,
    require_free_space,
    say,
    size_text,
)
from sourcetracing.downloads.retrieval import Mirrors, RemoteFile, Retrieval, accept_file
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Download

ATTEMPTS_TO_ASK = 3


def remote_size(file: RemoteFile, download: Download) -> int | None:
    """Bytes the server says the file has, None if it will not say. Raises `UserError` if no mirror has it or can be reached."""
    _require_sound([file])
    return Mirrors(file, download).offer(min(ATTEMPTS_TO_ASK, download.attempts)).version.size_bytes


def fetch(files: Sequence[RemoteFile], folder: Path, download: Download) -> list[Path]:
    """Fetches what is missing of `files` into `folder`; returns the paths of all of them, in the same order.

    Complete files cost no request. Sizes and free space are printed first. Raises `UserError`: another process is at work there, the
    disk is too full, no mirror brings a file, or a checksum is wrong. Whenever it ends, the same call goes on from there.
    """
    folder = Path(folder)
    _require_sound(files)
    with only_run(folder):
        missing = [file for file in files if not _is_complete(file, folder)]
        if missing:
            _fetch_missing(missing, folder, download)
    return [folder / file.name for file in files]


def _fetch_missing(files: list[RemoteFile], folder: Path, download: Download) -> None:
    mirrors = [Mirrors(file, download) for file in files]
    sizes = [
        mirror.offer().version.size_bytes if file.size_bytes is None else file.size_bytes
        for file, mirror in zip(files, mirrors, strict=True)
    ]
    begun = [load_parts(part_path(folder, file.name)) for file in files]
    here = [part_file.done_bytes if part_file else 0 for part_file in begun]
    _announce(files, sizes, here, folder)
    total_bytes = None if None in sizes else sum(sizes)
    with byte_bar("all files", total_bytes, sum(here), disable=len(files) < 2) as progress:
        for file, mirror, shown_bytes in zip(files, mirrors, here, strict=True):
            Retrieval(file, folder, normal_checksum(file.checksum), mirror, download, progress.update, shown_bytes).run()


def _announce(files: list[RemoteFile], sizes: list[int | None], here: list[int], folder: Path) -> None:
    """Prints what is to be fetched and how much room there is. Raises `UserError` if it is not enough."""
    width = max(len(file.name) for file in files)
    say(f"to download into {folder}:")
    for file, size_bytes, done_bytes in zip(files, sizes, here, strict=True):
        known = f" ({size_text(done_bytes)} of it here already)" if done_bytes else ""
        say(f"  {file.name:{width}}  {size_text(size_bytes):>12}  {file.urls[0]}{known}")
    occupied = [min(occupied_bytes(part_path(folder, file.name)), size_bytes or 0) for file, size_bytes in zip(files, sizes, strict=True)]
    needed_bytes = sum(size_bytes or 0 for size_bytes in sizes) - sum(occupied)
    unknown = f" and {sizes.count(None)} of unknown size" if None in sizes else ""
    say(f"  room needed: {size_text(needed_bytes)}{unknown}; free: {size_text(free_bytes(folder))}")
    require_free_space(folder, needed_bytes, files[0].name if len(files) == 1 else f"the download of {len(files)} files")


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


def _require_sound(files: Sequence[RemoteFile]) -> None:
    names = [file.name for file in files]
    for file in files:
        if file.name in ("", "..") or file.name != Path(file.name).name or "\\" in file.name:
            raise UserError(f"{file.name!r} is no file name: a download has a plain name without folders")
        if not file.urls:
            raise UserError(f"{file.name}: no address is given to download it from")
        if names.count(file.name) > 1:
            raise UserError(f"{file.name}: two downloads would have this name")
        normal_checksum(file.checksum)
