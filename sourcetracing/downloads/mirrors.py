"""The addresses of one file: tried in order, dropped with a reason."""

from __future__ import annotations

import time
from collections.abc import Sequence

import requests

from sourcetracing.downloads.answers import (
    PAUSE_WORTH_A_LINE_SECONDS,
    Offer,
    Problem,
    Refused,
    Unreachable,
    new_session,
    pause_seconds,
    probe,
    require_pinned_size,
)
from sourcetracing.downloads.sizes import say
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Download

AGAIN = "Run the same command again: it goes on where it stopped"


class Mirrors:
    """Which addresses are left. One object per file and run, so a mirror that failed is not asked again."""

    def __init__(self, name: str, urls: Sequence[str], size_bytes: int | None, download: Download) -> None:
        self._name, self._urls, self._size_bytes, self._download = name, tuple(urls), size_bytes, download
        self._struck: dict[str, Problem] = {}
        self._passing: dict[str, Unreachable] = {}

    def offer(self, attempts: int | None = None) -> Offer:
        """The first mirror's answer that it has the file; after a passing trouble with all of them they are asked again.

        attempts: rounds, by default those of the settings. Raises `UserError` naming every address and what is wrong with it.
        """
        attempts = attempts or self._download.attempts
        with new_session() as session:
            for failures in range(1, attempts + 1):
                for url in self._left():
                    try:
                        return self._probe(session, url)
                    except Refused as problem:
                        self.strike(url, problem)
                    except Unreachable as problem:
                        self._note(url, problem)
                if self._left() and failures < attempts:
                    self._pause(failures, attempts)
        raise self._failure()

    def strike(self, url: str, problem: Problem) -> None:
        """Leaves an address out from now on; says so if there is another one."""
        self._struck[url] = problem
        if self._left():
            say(f"{self._name}: {url}: {problem}. Trying the next mirror")

    def _left(self) -> list[str]:
        return sorted((url for url in self._urls if url not in self._struck), key=lambda url: url in self._passing)  # those in trouble last

    def _note(self, url: str, problem: Unreachable) -> None:
        is_news = url not in self._passing
        self._passing[url] = problem
        if is_news and len(self._left()) > 1:
            say(f"{self._name}: {url}: {problem}. Trying another mirror")

    def _probe(self, session: requests.Session, url: str) -> Offer:
        offer = probe(session, url, self._name, self._download.timeout_seconds)
        require_pinned_size(offer.version.size_bytes, self._size_bytes)
        return offer

    def _pause(self, failures: int, attempts: int) -> None:
        left = self._left()
        problems = [self._passing[url] for url in left]
        seconds = pause_seconds(failures, max(problem.retry_after_seconds for problem in problems))
        if seconds >= PAUSE_WORTH_A_LINE_SECONDS:
            say(f"{self._name}: {left[0]}: {problems[0]}; trying again in {seconds:.0f} s (failure {failures} of {attempts})")
        time.sleep(seconds)

    def _failure(self) -> UserError:
        problems = {url: self._struck.get(url) or self._passing[url] for url in self._urls}
        reasons = "; ".join(f"{url}: {problem}" for url, problem in problems.items())
        hints = {AGAIN if isinstance(problem, Unreachable) else getattr(problem, "hint", AGAIN): None for problem in problems.values()}
        hint = AGAIN if AGAIN in hints else ". ".join(hints)
        return UserError(f"{self._name} was not downloaded. {reasons}. {hint}")
