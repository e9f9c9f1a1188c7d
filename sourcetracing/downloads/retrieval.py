"""One file, from its first request to its final name: parts, other mirrors, checksum, rename."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sourcetracing.downloads.answers import Changed, Expired, Offer, RangesUnusable, Refused, Unreachable
from sourcetracing.downloads.checksums import checksum_of
from sourcetracing.downloads.mirrors import Mirrors
from sourcetracing.downloads.parts import PartFile, discard, discard_sidecar, load_parts, new_parts, new_stream, part_path
from sourcetracing.downloads.records import mark_complete
from sourcetracing.downloads.sizes import byte_bar, say, size_text
from sourcetracing.downloads.transfer import Transfer
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Download

CHANGES_BEFORE_ONE_PIECE = 2
CHECKSUM_HINT = (
    "What was fetched is removed. Run the same command again to fetch it afresh; if that does not help, the publisher has changed "
    "the file or the checksum in the settings is wrong"
)


@dataclass
class Retrieval:
    """checksum: pinned, normal form, or "". advance: called with the bytes gained (negative: lost) since the last call."""

    name: str
    folder: Path
    size_bytes: int | None
    checksum: str
    mirrors: Mirrors
    download: Download
    advance: Callable[[int], object]
    shown_bytes: int = 0  # that `advance` has been told of
    changes: int = 0
    in_one_piece: bool = False

    @property
    def part(self) -> Path:
        return part_path(self.folder, self.name)

    def run(self) -> Path:
        """The finished file. Raises `UserError` when no mirror brought it; what can be resumed is kept."""
        while True:
            offer = self.mirrors.offer()
            try:
                part_file = self._fetch(offer)
                checksum = self._verify(part_file)
            except RangesUnusable as problem:
                self._fall_back(problem)
            except Expired:
                continue
            except Changed as problem:
                self._start_over(problem)
            except (Refused, Unreachable) as problem:
                self.mirrors.strike(offer.url, problem)
            else:
                if checksum:
                    return self._finish(part_file, offer, checksum)

    def _fetch(self, offer: Offer) -> PartFile:
        part_file = self._open(offer)
        size_bytes = offer.version.size_bytes if offer.version.size_bytes is not None else self.size_bytes
        with byte_bar(self.name, size_bytes, part_file.done_bytes) as progress:

            def show(done_bytes: int) -> None:
                progress.update(done_bytes - progress.n)
                self.advance(done_bytes - self.shown_bytes)
                self.shown_bytes = done_bytes

            self._transfer(part_file, offer, show)
        return part_file

    def _transfer(self, part_file: PartFile, offer: Offer, show: Callable[[int], None]) -> None:
        begun_at = part_file.done_bytes
        try:
            Transfer(part_file, offer, self.name, self.download, self.size_bytes).run(show)
        except Refused as problem:  # signed addresses of a content network live for an hour or so
            if part_file.resumable and offer.address != offer.url and part_file.done_bytes > begun_at:
                raise Expired(str(problem)) from problem
            raise

    def _open(self, offer: Offer) -> PartFile:
        found = load_parts(self.part)
        if not self._can_split(offer):
            if found is not None:
                say(f"{self.name}: {offer.url} sends it in one piece only; starting over")
            return new_stream(self.part, offer)
        if found is None:
            return new_parts(self.part, offer, self.download.connections)
        if not self._continues(found, offer):
            say(f"{self.name}: it is another file on {offer.url} than the one that was begun; starting over")
            return new_parts(self.part, offer, self.download.connections)
        if found.done_bytes:
            say(f"{self.name}: going on at {size_text(found.done_bytes)} of {size_text(offer.version.size_bytes)}")
        return self._adopt(found, offer)

    def _can_split(self, offer: Offer) -> bool:
        can_prove = bool(offer.version.validator or self.checksum)
        return offer.sends_ranges and bool(offer.version.size_bytes) and can_prove and not self.in_one_piece

    def _continues(self, found: PartFile, offer: Offer) -> bool:
        """Same ETag or date, or bytes of another mirror whose fit the pinned checksum will tell."""
        if found.version.same_as(offer.version):
            return True
        has_changed_there = offer.source in found.sources and found.version.contradicts(offer.version)
        same_size = found.version.size_bytes == offer.version.size_bytes
        return bool(self.checksum) and same_size and not has_changed_there

    def _adopt(self, found: PartFile, offer: Offer) -> PartFile:
        found.proven = found.proven and found.version.same_as(offer.version)
        found.version = offer.version
        if offer.source not in found.sources:
            found.sources.append(offer.source)
        return found

    def _fall_back(self, problem: RangesUnusable) -> None:
        self.in_one_piece = True
        say(f"{self.name}: {problem}; fetching it in one piece")

    def _start_over(self, problem: Changed) -> None:
        self.changes += 1
        self.in_one_piece = self.in_one_piece or self.changes >= CHANGES_BEFORE_ONE_PIECE
        discard(self.part)
        say(f"{self.name}: the file changed on the server while it was fetched ({problem}); starting over")

    def _verify(self, part_file: PartFile) -> str:
        """The checksum of the complete .part file, or "" if it was put together from several mirrors and has to be fetched again."""
        found = checksum_of(self.part, like=self.checksum)
        if self.checksum in ("", found):
            return found
        discard(self.part)
        if part_file.proven:
            raise Refused(f"wrong checksum of {self.name}: expected {self.checksum}, found {found}", CHECKSUM_HINT)
        say(f"{self.name}: parts of several downloads do not fit together (wrong checksum); starting over")
        return ""

    def _finish(self, part_file: PartFile, offer: Offer, checksum: str) -> Path:
        path = self.folder / self.name
        if part_file.version.size_bytes is None:
            say(f"{self.name}: {offer.url} did not tell its size; taken as complete at {size_text(self.part.stat().st_size)}")
        with open(self.part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.part, path)
        _sync_folder(self.folder)
        mark_complete(self.folder, self.name, completion_facts(path, checksum, bool(self.checksum), offer.url, part_file.version.etag))
        discard_sidecar(self.part)
        return path


def completion_facts(path: Path, checksum: str, is_pinned: bool, url: str, etag: str) -> dict[str, object]:
    """What the completion record of a file says. is_pinned: the checksum was known beforehand."""
    stat = path.stat()
    return {
        "name": path.name,
        "size_bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "checksum": checksum,
        "checksum_was_known": is_pinned,
        "url": url,
        "etag": etag,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def accept_file(path: Path, size_bytes: int | None, checksum: str, record: dict) -> None:
    """Records a file that is there, but not as it was recorded. Raises `UserError` if it is not the expected one; it is left alone.

    checksum: pinned, or "": then it must still have the checksum of its record, if there is one.
    """
    expected, found_bytes = checksum or record.get("checksum", ""), path.stat().st_size
    if size_bytes not in (None, found_bytes):
        raise _not_the_file(path, f"{found_bytes} bytes, expected {size_bytes}")
    found = checksum_of(path, like=expected)
    if expected not in ("", found):
        raise _not_the_file(path, f"checksum {found}, expected {expected}")
    if not expected:
        say(f"{path.name}: was there already and is taken as it is; nothing is known to check it against")
    is_same = found == record.get("checksum")
    url, etag = (record.get("url", ""), record.get("etag", "")) if is_same else ("", "")
    mark_complete(path.parent, path.name, completion_facts(path, found, bool(checksum), url, etag))


def _not_the_file(path: Path, difference: str) -> UserError:
    return UserError(f"{path} is there, but not the file that is wanted: {difference}. Move or delete it, then run the same command again")


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
