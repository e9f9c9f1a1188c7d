"""What a server answers about a file: its version, whether it sends parts, and why it does not send it at all.

By requests, whose own repeats (urllib3's Retry) are not used. They ask the same server again and start a body afresh; here the next mirror
is asked, and a body goes on where it broke.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, NameResolutionError, ReadTimeoutError
from urllib3.util import Retry

from sourcetracing.downloads.records import say, size_text

BACKOFF_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
PAUSE_WORTH_A_LINE_SECONDS = 3.0
LONGEST_RETRY_AFTER_SECONDS = 120.0
CHUNK_BYTES = 1 << 18
WRONG_SIZE_HINT = "The publisher may have changed the file"
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PLAIN_REASONS = {
    NameResolutionError: "the host name is not known (is there a network?)",
    ConnectTimeoutError: "no connection in time",
    ReadTimeoutError: "the server fell silent",
}
_HOPELESS = (
    requests.TooManyRedirects,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)


class Problem(Exception):
    """A request that did not bring what was asked for; the message says why in a few words, without the address."""


class Unreachable(Problem):
    """It may work later."""

    def __init__(self, reason: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class RangesUnusable(Unreachable):
    """The server does not send the part that was asked for; the whole file in one piece may still work."""


class Refused(Problem):
    """Asking again would not help. `hint`: what the user can do."""

    def __init__(self, reason: str, hint: str = "Check the address and whether you have access") -> None:
        super().__init__(reason)
        self.hint = hint


class Changed(Problem):
    """The file on the server is another one than before."""


class Expired(Problem):
    """The address behind a redirect does not work any more; the original one may lead to another."""


@dataclass(frozen=True)
class Version:
    """What tells one state of a file on a server from another. A weak ETag counts as none."""

    size_bytes: int | None
    etag: str
    last_modified: str

    @property
    def validator(self) -> str:
        """For If-Range; "" if the server gave none."""
        return self.etag or self.last_modified

    def same_as(self, other: Version) -> bool:
        """True if both are proven to be one state: same size and same ETag, or without ETags the same Last-Modified."""
        return bool(self.validator) and self.size_bytes == other.size_bytes and self.validator == other.validator

    def contradicts(self, other: Version) -> bool:
        """True if something that both state differs."""
        pairs = [(self.size_bytes, other.size_bytes), (self.etag, other.etag)]
        if not (self.etag or other.etag):
            pairs.append((self.last_modified, other.last_modified))
        return any(one not in (None, "") and two not in (None, "") and one != two for one, two in pairs)


@dataclass(frozen=True)
class Offer:
    """A server's answer that it has the file. url: as given; address: where its redirects led."""

    url: str
    address: str
    version: Version
    sends_ranges: bool

    @property
    def source(self) -> str:
        """The address without its query, which may be a signature that changes every time."""
        return self.address.partition("?")[0]


def new_session() -> requests.Session:
    """A session (for one thread) whose bodies come as they are stored."""
    session = requests.Session()
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "sourcetracing"})
    return session


def pause_seconds(failures: int, retry_after_seconds: float = 0.0) -> float:
    """How long to wait after so many failures in a row: doubling, with jitter, and never less than the server asks (within reason)."""
    longest = min(LONGEST_PAUSE_SECONDS, BACKOFF_SECONDS * 2 ** (min(failures, 16) - 1))
    return max(longest * random.uniform(0.5, 1.0), min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))


def pause(where: str, problem: Unreachable, failures: int, attempts: int, sleep: Callable[[float], object] = time.sleep) -> None:
    """Waits after a failure; says so where it takes a while."""
    seconds = pause_seconds(failures, problem.retry_after_seconds)
    if seconds >= PAUSE_WORTH_A_LINE_SECONDS:
        say(f"{where}: {problem}; trying again in {seconds:.0f} s (failure {failures} of {attempts})")
    sleep(seconds)


def probe(session: requests.Session, url: str, name: str, timeout_seconds: float) -> Offer:
    """Asks for the first byte: tells the size, the version and whether parts are sent. Raises `Unreachable` or `Refused`."""
    with closing(_get(session, url, {"Range": "bytes=0-0"}, timeout_seconds)) as response:
        if response.status_code == 416 and response.headers.get("Content-Range", "").strip() == "bytes */0":
            return Offer(url, response.url, _version(response, 0), sends_ranges=False)
        _require_file(response, name, (200, 206))
        if response.status_code == 200:
            return Offer(url, response.url, _version(response, _content_length(response)), sends_ranges=False)
        first, last, total = _content_range(response)
        if (first, last) != (0, 0):
            return Offer(url, response.url, _version(response, None), sends_ranges=False)
        next(chunks(response), b"")  # read, so that the connection serves the next request too
        return Offer(url, response.url, _version(response, total), sends_ranges=True)


def open_body(
    session: requests.Session, offer: Offer, name: str, part: tuple[int, int] | None, timeout_seconds: float
) -> tuple[requests.Response, Version]:
    """A response whose body is bytes [start, end) of the very version that was offered, or for None the whole file; and its version.

    Raises `Changed` if a part is of another file by now, else `RangesUnusable`, `Unreachable` or `Refused`.
    """
    headers = {} if part is None else {"Range": f"bytes={part[0]}-{part[1] - 1}"}
    if part and offer.version.validator:
        headers["If-Range"] = offer.version.validator
    response = _get(session, offer.address, headers, timeout_seconds)
    try:
        if part is None:
            _require_file(response, name, (200,))
        else:
            _require_range(response, offer, name, *part)
    except BaseException:
        response.close()
        raise
    return response, _version(response, _content_length(response))


def chunks(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives, at most CHUNK_BYTES at a time. Raises `Unreachable` when the connection breaks."""
    while True:
        try:
            chunk = response.raw.read1(CHUNK_BYTES, decode_content=False)
        except (HTTPError, requests.RequestException, OSError) as error:
            raise Unreachable(_plain_reason(error)) from error
        if not chunk:
            return
        yield chunk


def _get(session: requests.Session, url: str, headers: dict[str, str], timeout_seconds: float) -> requests.Response:
    try:
        return session.get(url, headers=headers, stream=True, timeout=timeout_seconds)
    except _HOPELESS as error:
        raise Refused(" ".join(str(error).split())) from error
    except requests.RequestException as error:
        raise Unreachable(_plain_reason(error)) from error


def _require_file(response: requests.Response, name: str, expected_status: tuple[int, ...]) -> None:
    status = response.status_code
    if status in _PASSING_STATUS:
        raise Unreachable(_status_text(status), _retry_after_seconds(response))
    if status not in expected_status:
        raise Refused(_status_text(status))
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type in ("text/html", "application/xhtml+xml") and not name.lower().endswith((".html", ".htm")):
        raise Refused(
            f"a web page ({content_type}) came instead of {name}, perhaps a login page", "Open the address in a browser to see why"
        )


def _require_range(response: requests.Response, offer: Offer, name: str, start: int, end: int) -> None:
    if response.status_code == 416:
        raise Changed("it is shorter now")
    _require_file(response, name, (200, 206))
    first, last, total = _content_range(response)
    found_bytes = _content_length(response) if response.status_code == 200 else total
    if _version(response, found_bytes).contradicts(offer.version):
        raise Changed("it has another ETag, date or size now")
    if response.status_code == 200:
        raise RangesUnusable("the whole file came instead of a part")
    if first != start or last is None or last >= end or total != offer.version.size_bytes:
        raise RangesUnusable(f"another part came than the one that was asked for: {response.headers.get('Content-Range', 'not named')}")


def _version(response: requests.Response, size_bytes: int | None) -> Version:
    etag = response.headers.get("ETag", "").strip()
    strong = etag if etag.startswith('"') and etag.endswith('"') else ""
    return Version(size_bytes, strong, response.headers.get("Last-Modified", "").strip())


def _content_range(response: requests.Response) -> tuple[int | None, int | None, int | None]:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return tuple(map(int, match.groups())) if match else (None, None, None)


def _content_length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _retry_after_seconds(response: requests.Response) -> float:
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        return 0.0


def _status_text(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}" if status in list(HTTPStatus) else f"HTTP status {status}"


def _plain_reason(error: BaseException) -> str:
    """A few words instead of the nested representations that requests and urllib3 print."""
    causes = list(_causes(error))
    for cause in causes:
        if type(cause) in _PLAIN_REASONS:
            return _PLAIN_REASONS[type(cause)]
    spoken = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return spoken[-1][:120].lower() if spoken else "the connection was dropped"


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def require_pinned_size(found_bytes: int | None, pinned_bytes: int | None) -> None:
    """Raises `Refused` where both sizes are known and differ."""
    if None not in (found_bytes, pinned_bytes) and found_bytes != pinned_bytes:
        raise Refused(f"it has {found_bytes} bytes ({size_text(found_bytes)}), expected {pinned_bytes}", WRONG_SIZE_HINT)
