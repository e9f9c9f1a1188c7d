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
    PAUSE_WORTH_A_LINE_SECONDS,
    WRONG_SIZE_HINT,
    Offer,
    Refused,
    Unreachable,
    chunks,
    new_session,
    open_range,
    open_whole,
    pause_seconds,
    require_pinned_size,
)
from sourcetracing.downloads.parts import Part, PartFile
from sourcetracing.downloads.sizes import say
from sourcetracing.settings.corpora import Download

TICK_SECONDS = 0.1
SAVE_SECONDS = 0.5
STOP_SECONDS = 2.0


class Transfer:
    """One attempt to fetch what is missing in `part_file` from one server.

    The caller's thread shows the progress, saves it and takes Ctrl-C; daemon threads fetch, each with its own session and file handle.
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
        while self._todo and not self._stop.is_set():
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
        fetch = self._fetch_range if self._part_file.resumable else self._fetch_whole
        failures = 0
        while not (part.is_done or self._stop.is_set()):
            before = part.done
            try:
                fetch(session, file, part)
            except Unreachable as problem:
                has_progress = self._part_file.resumable and part.done > before
                failures = 0 if has_progress else failures + 1
                if failures >= self._download.attempts:
                    raise
                self._pause(problem, failures)

    def _pause(self, problem: Unreachable, failures: int) -> None:
        seconds = pause_seconds(max(1, failures), problem.retry_after_seconds)
        if seconds >= PAUSE_WORTH_A_LINE_SECONDS and not self._stop.is_set():
            say(f"{self._name}: {problem}; trying again in {seconds:.0f} s (failure {failures} of {self._download.attempts})")
        self._stop.wait(seconds)

    def _fetch_range(self, session: requests.Session, file: BinaryIO, part: Part) -> None:
        with self._watched(
            open_range(session, self._offer, self._name, part.position, part.end, self._download.timeout_seconds)
        ) as response:
            file.seek(part.position)
            for chunk in chunks(response):
                self._write(file, part, chunk[: part.end - part.position])
                if part.is_done or self._stop.is_set():
                    return
        raise Unreachable("the connection was dropped")

    def _fetch_whole(self, session: requests.Session, file: BinaryIO, part: Part) -> None:
        part.done = 0
        file.truncate(0)
        file.seek(0)
        response, version = open_whole(session, self._offer, self._name, self._download.timeout_seconds)
        with self._watched(response):
            self._part_file.version, part.end = version, version.size_bytes
            require_pinned_size(version.size_bytes, self._pinned_bytes)
            for chunk in chunks(response):
                if self._stop.is_set():
                    return
                self._write(file, part, chunk)
                if self._pinned_bytes is not None and part.done > self._pinned_bytes:
                    raise Refused(f"sends more than the expected {self._pinned_bytes} bytes", WRONG_SIZE_HINT)
        part.end = part.done if part.end is None else part.end
        require_pinned_size(part.end, self._pinned_bytes)
        if not part.is_done:
            raise Unreachable("the connection was dropped")

    def _write(self, file: BinaryIO, part: Part, chunk: bytes) -> None:
        if self._stop.is_set():
            return
        file.write(chunk)
        file.flush()
        part.done += len(chunk)

    @contextmanager
    def _watched(self, response: requests.Response) -> Iterator[requests.Response]:
        with self._lock:
            self._responses.add(response)
        try:
            yield response
        finally:
            with self._lock:
                self._responses.discard(response)
            response.close()
