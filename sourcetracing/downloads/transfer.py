"""Fills a .part file from one server, several parts at a time."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import requests

from sourcetracing.downloads.answers import (
    WRONG_SIZE_HINT,
    Offer,
    Refused,
    Unreachable,
    chunks,
    new_session,
    open_body,
    pause,
    require_pinned_size,
)
from sourcetracing.downloads.parts import Part, PartFile
from sourcetracing.settings.corpora import Download

TICK_SECONDS = 0.1
SAVE_SECONDS = 0.5
STOP_SECONDS = 2.0


class Transfer:
    """One attempt to fetch what is missing in `part_file` from one server.

    The caller's thread shows the progress, saves it and takes Ctrl-C; daemon threads fetch, each with its own session and file handle. A
    thread pool would do but for Ctrl-C: its threads are waited for, which takes a whole timeout where a server is silent.
    """

    def __init__(self, part_file: PartFile, offer: Offer, name: str, download: Download, pinned_bytes: int | None) -> None:
        self._part_file, self._offer, self._name, self._download, self._pinned_bytes = part_file, offer, name, download, pinned_bytes
        self._todo = deque(part_file.missing_parts())
        self._stop = threading.Event()
        self._ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._responses: set[requests.Response] = set()
        self._lock = threading.Lock()

    def run(self, show: Callable[[int], None]) -> None:
        """Returns when every part is done. show: called now and then with the bytes that are there.

        Raises the `Problem` that ended it; what was fetched is saved then, as it is on KeyboardInterrupt.
        """
        threads = [
            threading.Thread(target=self._work, name=f"download {self._name}", daemon=True)
            for _ in range(min(self._download.connections, len(self._todo)))
        ]
        try:
            for thread in threads:
                thread.start()
            self._watch(len(threads), show)
        finally:
            self._end(threads)
            show(self._part_file.done_bytes)

    def _watch(self, running: int, show: Callable[[int], None]) -> None:
        failure: Unreachable | None = None
        next_save = time.monotonic() + SAVE_SECONDS
        while running:
            with suppress(queue.Empty):
                error = self._ended.get(timeout=TICK_SECONDS)
                running -= 1
                if isinstance(error, Unreachable):  # the others go on with its part
                    failure = error
                elif error is not None:
                    raise error
            show(self._part_file.done_bytes)
            if time.monotonic() >= next_save:
                self._part_file.save()
                next_save = time.monotonic() + SAVE_SECONDS
        if failure is not None and self._part_file.missing_parts():
            raise failure

    def _end(self, threads: list[threading.Thread]) -> None:
        self._stop.set()
        with self._lock:
            for response in self._responses:
                with suppress(OSError, ValueError, RuntimeError, AttributeError):
                    response.raw.shutdown()  # wakes a thread that waits for bytes
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._part_file.save()

    def _work(self) -> None:
        outcome: Exception | None = None
        try:
            with new_session() as session, open(self._part_file.path, "rb+") as file:
                self._fetch_parts(session, file)
        except Exception as error:
            outcome = error
        finally:
            self._ended.put(outcome)

    def _fetch_parts(self, session: requests.Session, file: BinaryIO) -> None:
        while not self._stop.is_set():
            try:
                part = self._todo.popleft()
            except IndexError:
                return
            try:
                self._fetch_part(session, file, part)
            except Unreachable:
                self._todo.append(part)
                raise

    def _fetch_part(self, session: requests.Session, file: BinaryIO, part: Part) -> None:
        failures, attempts = 0, self._download.attempts
        while not (part.is_done or self._stop.is_set()):
            before = part.done
            try:
                self._fetch_once(session, file, part)
            except Unreachable as problem:
                has_progress = self._part_file.resumable and part.done > before
                failures = 0 if has_progress else failures + 1
                if failures >= attempts:
                    raise
                pause(self._name, problem, max(1, failures), attempts, self._stop.wait)

    def _fetch_once(self, session: requests.Session, file: BinaryIO, part: Part) -> None:
        """What is missing of a part that can be resumed, or else the whole file."""
        wanted = (part.position, part.end) if self._part_file.resumable else None
        if wanted is None:
            part.done = 0
            file.truncate(0)
        response, version = open_body(session, self._offer, self._name, wanted, self._download.timeout_seconds)
        with self._watched(response):
            if wanted is None:
                self._part_file.version, part.end = version, version.size_bytes
                require_pinned_size(version.size_bytes, self._pinned_bytes)
            file.seek(part.position)
            for chunk in chunks(response):
                self._write(file, part, chunk if wanted is None else chunk[: part.end - part.position])
                if self._stop.is_set() or (wanted and part.is_done):
                    return
        if part.end is None:  # the server told no size: its end is the end
            part.end = part.done
        require_pinned_size(part.end if wanted is None else None, self._pinned_bytes)
        if not part.is_done:
            raise Unreachable("the connection was dropped")

    def _write(self, file: BinaryIO, part: Part, chunk: bytes) -> None:
        if self._stop.is_set():
            return
        file.write(chunk)
        file.flush()
        part.done += len(chunk)
        if self._pinned_bytes is not None and part.position > self._pinned_bytes:
            raise Refused(f"sends more than the expected {self._pinned_bytes} bytes", WRONG_SIZE_HINT)

    @contextmanager
    def _watched(self, response: requests.Response) -> Iterator[None]:
        with self._lock:
            self._responses.add(response)
        try:
            yield
        finally:
            with self._lock:
                self._responses.discard(response)
            response.close()
