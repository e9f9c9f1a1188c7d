"""A web server on this machine whose faults can be switched on."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK_BYTES = 4096


@dataclass
class Served:
    """One file and its faults. `statuses` and `drops` are used up, one for each request of a body (a one-byte probe is none)."""

    content: bytes
    etag: str | None = None  # None: from the content; "": not sent
    last_modified: float | None = None  # seconds since 1970
    content_type: str = "application/octet-stream"
    sends_ranges: bool = True
    honours_if_range: bool = True
    redirect_to: str = ""
    probe_statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    always_status: int = 0
    drops: list[int] = field(default_factory=list)  # bytes sent before the connection is cut
    length_lie: int = 0  # added to Content-Length of bodies
    range_lie: int = 0  # added to the start in Content-Range of bodies
    tells_length: bool = True
    surplus: bytes = b""  # sent after every body, and counted in its Content-Length
    pause_per_block_seconds: float = 0.0
    stalls_after: int | None = None  # body bytes of all requests together, then silence
    before_request: Callable[[Served, bool], int | None] | None = None  # (served, is_probe) -> status of this answer, None = as usual

    def current_etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"' if self.etag is None else self.etag


@dataclass
class Request:
    path: str
    range: str
    if_range: str
    encodings: str

    @property
    def is_probe(self) -> bool:
        return self.range == "bytes=0-0"


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients of these tests hang up all the time."""


class FaultyServer:
    """Serves `files` (path without slash -> Served); remembers requests and counts body bytes of everything but probes."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[Request] = []
        self.body_bytes = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        handler = type("BoundHandler", (_Handler,), {"owner": self})
        self._server = _QuietServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def add(self, name: str, content: bytes, **faults: object) -> str:
        """Serves a file; returns its address."""
        self.files[name] = Served(content, **faults)
        return self.url(name)

    def body_requests(self) -> list[Request]:
        return [request for request in self.requests if not request.is_probe]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.lstrip("/").partition("?")[0]
        headers = (self.headers.get(key, "") for key in ("Range", "If-Range", "Accept-Encoding"))
        request = Request(name, *headers)
        with self.owner.lock:
            self.owner.requests.append(request)
        served = self.owner.files.get(name)
        if served is None:
            self._send_status(404, {})
            return
        status, extra = served.before_request(served, request.is_probe) if served.before_request else None, {}
        if served.redirect_to:
            self._send_status(302, {"Location": served.redirect_to})
            return
        status = status or served.always_status
        with self.owner.lock:
            queue = served.probe_statuses if request.is_probe else served.statuses
            if queue and not status:
                status, extra = queue.pop(0)
        if status:
            self._send_status(status, extra)
        else:
            self._send_file(served, request)

    def _send_status(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(key, value)
        self.end_headers()

    def _send_file(self, served: Served, request: Request) -> None:
        content, validators = served.content, [served.current_etag(), _date(served.last_modified)]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.range)
        is_current = not request.if_range or not served.honours_if_range or request.if_range in validators
        start, stop = 0, len(content)
        if wanted and served.sends_ranges and is_current:
            start, stop = int(wanted[1]), min(stop, int(wanted[2] or stop) + 1)
            if start >= len(content):
                self._send_status(416, {"Content-Range": f"bytes */{len(content)}"})
                return
            self.send_response(206)
            named_start = start + (0 if request.is_probe else served.range_lie)
            self.send_header("Content-Range", f"bytes {named_start}-{stop - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:stop] + (b"" if request.is_probe else served.surplus)
        self._send_headers(served, len(body) + (0 if request.is_probe else served.length_lie), validators)
        self._send_body(served, body, request.is_probe)

    def _send_headers(self, served: Served, length: int, validators: list[str]) -> None:
        self.send_header("Content-Type", served.content_type)
        self.send_header("Content-Disposition", 'attachment; filename="another-name.bin"')
        for key, value in zip(("ETag", "Last-Modified"), validators, strict=True):
            if value:
                self.send_header(key, value)
        if served.tells_length:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send_body(self, served: Served, body: bytes, is_probe: bool) -> None:
        with self.owner.lock:
            limit = served.drops.pop(0) if served.drops and not is_probe else None
        cut = body if limit is None else body[:limit]
        for offset in range(0, len(cut), BLOCK_BYTES):
            block = cut[offset : offset + BLOCK_BYTES]
            if served.stalls_after is not None and not is_probe and self.owner.body_bytes >= served.stalls_after:
                self.owner.closing.wait()
            try:
                self.wfile.write(block)
            except OSError:
                self.close_connection = True
                return
            if not is_probe:
                with self.owner.lock:
                    self.owner.body_bytes += len(block)
                time.sleep(served.pause_per_block_seconds) if served.pause_per_block_seconds else None
        if limit is not None or served.length_lie > 0 or not served.tells_length:
            self.close_connection = True


def _date(seconds: float | None) -> str:
    return "" if seconds is None else formatdate(seconds, usegmt=True)
