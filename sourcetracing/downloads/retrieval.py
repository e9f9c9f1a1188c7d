"""One file, from its first request to its final name: mirrors, parts, checksum, rename.

pooch and huggingface_hub fetch a file in one piece from one address. What is needed here is not theirs: parts of a file at a time, another
mirror that goes on, and bytes that are only joined when ETag, date or checksum prove that they belong together.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sourcetracing.downloads.answers import (
    Changed,
    Expired,
    Offer,
    Problem,
    RangesUnusable,
    Refused,
    Unreachable,
    new_session,
    pause,
    probe,
    require_pinned_size,
)
from sourcetracing.downloads.parts import PartFile, discard, discard_sidecar, load_parts, new_parts, new_stream, part_path
from sourcetracing.downloads.records import byte_bar, checksum_of, mark_complete, say, size_text
from sourcetracing.downloads.transfer import Transfer
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Download

AGAIN = "Run the same command again: it goes on where it stopped"
CHANGES_BEFORE_ONE_PIECE = 2
CHECKSUM_HINT = (
    "What was fetched is removed. Run the same command again to fetch it afresh; if that does not help, the publisher has changed "
    "the file or the checksum in the settings is wrong"
)


@dataclass(frozen=True)
class RemoteFile:
    """name: of the file on disk, whatever the server calls it. urls: mirrors, tried in order.

    size_bytes: pinned size, None = not known. checksum: "md5:<hex>", "sha256:<hex>" or "" (not known).
    """

    name: str
    urls: tuple[str, ...]
    size_bytes: int | None = None
    checksum: str = ""


class Mirrors:
    """Which addresses are left. One object per file and run, so a mirror that failed is not asked again."""

    def __init__(self, file: RemoteFile, download: Download) -> None:
        self._file, self._download = file, download
        self._problems: dict[str, Problem] = {}
        self._struck: set[str] = set()

    def offer(self, attempts: int | None = None) -> Offer:
        """The first mirror's answer that it has the file; after a passing trouble with all of them they are asked again.

        attempts: rounds, by default those of the settings. Raises `UserError` naming every address and what is wrong with it.
        """
        attempts = attempts or self._download.attempts
        with new_session() as session:
            for failures in range(1, attempts + 1):
                for url in self._left():
                    try:
                        offer = probe(session, url, self._file.name, self._download.timeout_seconds)
                        require_pinned_size(offer.version.size_bytes, self._file.size_bytes)
                        return offer
                    except (Refused, Unreachable) as problem:
                        self._note(url, problem)
                if (left := self._left()) and failures < attempts:
                    slowest = max(left, key=lambda url: self._problems[url].retry_after_seconds)
                    pause(f"{self._file.name}: {slowest}", self._problems[slowest], failures, attempts)
        raise self._failure()

    def _note(self, url: str, problem: Problem) -> None:
        if isinstance(problem, Refused):
            self.strike(url, problem)
            return
        is_news = url not in self._problems
        self._problems[url] = problem
        if is_news and len(self._left()) > 1:
            say(f"{self._file.name}: {url}: {problem}. Trying another mirror")

    def strike(self, url: str, problem: Problem) -> None:
        """Leaves an address out from now on; says so if there is another one."""
        self._struck.add(url)
        self._problems[url] = problem
        if self._left():
            say(f"{self._file.name}: {url}: {problem}. Trying the next mirror")

    def _left(self) -> list[str]:
        """Those in trouble last."""
        return sorted((url for url in self._file.urls if url not in self._struck), key=lambda url: url in self._problems)

    def _failure(self) -> UserError:
        reasons = "; ".join(f"{url}: {self._problems[url]}" for url in self._file.urls)
        hints = list(dict.fromkeys(getattr(self._problems[url], "hint", AGAIN) for url in self._file.urls))
        return UserError(f"{self._file.name} was not downloaded. {reasons}. {AGAIN if AGAIN in hints else '. '.join(hints)}")


@dataclass
class Retrieval:
    """checksum: pinned, normal form, or "". advance: called with the bytes gained (negative: lost) since the last call."""

    file: RemoteFile
    folder: Path
    checksum: str
    mirrors: Mirrors
    download: Download
    advance: Callable[[int], object]
    shown_bytes: int  # that `advance` has been told of
    changes: int = 0
    in_one_piece: bool = False
    name: str = field(init=False)
    part: Path = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.part = self.file.name, part_path(self.folder, self.file.name)

    def run(self) -> None:
        """Returns when the file is finished. Raises `UserError` when no mirror brought it; what can be resumed is kept."""
        while True:
            offer = self.mirrors.offer()
            try:
                part_file = self._fetch(offer)
                if checksum := self._verify(part_file):
                    self._finish(part_file, offer, checksum)
                    return
            except RangesUnusable as problem:
                self.in_one_piece = True
                say(f"{self.name}: {problem}; fetching it in one piece")
            except Expired:
                continue
            except Changed as problem:
                self.changes += 1
                self.in_one_piece = self.in_one_piece or self.changes >= CHANGES_BEFORE_ONE_PIECE
                discard(self.part)
                say(f"{self.name}: the file changed on the server while it was fetched ({problem}); starting over")
            except (Refused, Unreachable) as problem:
                self.mirrors.strike(offer.url, problem)

    def _fetch(self, offer: Offer) -> PartFile:
        part_file = self._open(offer)
        begun_at, size_bytes = part_file.done_bytes, offer.version.size_bytes
        with byte_bar(self.name, self.file.size_bytes if size_bytes is None else size_bytes, begun_at) as progress:

            def show(done_bytes: int) -> None:
                progress.update(done_bytes - progress.n)
                self.advance(done_bytes - self.shown_bytes)
                self.shown_bytes = done_bytes

            try:
                Transfer(part_file, offer, self.name, self.download, self.file.size_bytes).run(show)
            except Refused as problem:  # signed addresses of a content network live for an hour or so
                if part_file.resumable and offer.address != offer.url and part_file.done_bytes > begun_at:
                    raise Expired(str(problem)) from problem
                raise
        return part_file

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
        found.version = offer.version
        found.sources += [] if offer.source in found.sources else [offer.source]
        return found

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

    def _verify(self, part_file: PartFile) -> str:
        """The checksum of the complete .part file, or "" if it was put together from several mirrors and has to be fetched again."""
        found = checksum_of(self.part, like=self.checksum)
        if self.checksum in ("", found):
            return found
        discard(self.part)
        if len(part_file.sources) == 1:
            raise Refused(f"wrong checksum of {self.name}: expected {self.checksum}, found {found}", CHECKSUM_HINT)
        say(f"{self.name}: parts of several downloads do not fit together (wrong checksum); starting over")
        return ""

    def _finish(self, part_file: PartFile, offer: Offer, checksum: str) -> None:
        path = self.folder / self.name
        if part_file.version.size_bytes is None:
            say(f"{self.name}: {offer.url} did not tell its size; taken as complete at {size_text(self.part.stat().st_size)}")
        with open(self.part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.part, path)
        record_file(path, checksum, bool(self.checksum), offer.url, part_file.version.etag)
        discard_sidecar(self.part)


def record_file(path: Path, checksum: str, is_pinned: bool, url: str, etag: str) -> None:
    """Records that a file is complete. is_pinned: the checksum was known beforehand."""
    stat = path.stat()
    facts = {"name": path.name, "size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "checksum": checksum}
    origin = {"checksum_was_known": is_pinned, "url": url, "etag": etag, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    mark_complete(path.parent, path.name, facts | origin)


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
    record_file(path, found, bool(checksum), *((record.get("url", ""), record.get("etag", "")) if is_same else ("", "")))


def _not_the_file(path: Path, difference: str) -> UserError:
    return UserError(f"{path} is there, but not the file that is wanted: {difference}. Move or delete it, then run the same command again")
