"""The parts of the Hugging Face Hub that a data set needs, on this machine: look-up, listing, files, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

HUB_ID = "org/set"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Answer = tuple[int, dict[str, str], bytes]


class FakeHub:
    """A Hub with one data set. Use as a context manager; `url` is its HF_ENDPOINT, `requests` what was asked of it.

    token: without it, files are refused as gated. listed_sizes, listed_sha256: what the listing claims of a file, where it is not true.
    drops: paths whose next answer ends half-way. busy: paths whose next answer is 503. page_size: entries of a page of the listing.
    """

    def __init__(self, files: dict[str, bytes], page_size: int = 2) -> None:
        self.files, self.page_size = files, page_size
        self.branches = {"main": COMMIT, COMMIT: COMMIT}
        self.token, self.refused_tokens = "", set()
        self.listed_sizes: dict[str, int] = {}
        self.listed_sha256: dict[str, str] = {}
        self.drops: set[str] = set()
        self.busy: set[str] = set()
        self.delay_seconds = 0.0
        self.is_login_page = False
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, method: str, start: str) -> list[str]:
        """The paths, with their queries, of the requests that begin so."""
        return [path for verb, path, _ in self.requests if verb == method and path.startswith(start)]

    def answer(self, method: str, address: str, headers: dict[str, str]) -> Answer:
        """Status, headers and body."""
        self.requests.append((method, unquote(address), headers))
        parts = urlsplit(address)
        words = unquote(parts.path).strip("/").split("/")
        if self.is_login_page:
            return 200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"
        if headers.get("authorization", "").removeprefix("Bearer ") in self.refused_tokens:
            return _refuse(401, "", "Invalid credentials in Authorization header")
        if words[:2] == ["api", "datasets"] and words[4:5] == ["revision"]:
            return self._look_up("/".join(words[2:4]), "/".join(words[5:]))
        if words[:2] == ["api", "datasets"] and words[4:5] == ["tree"]:
            return self._list("/".join(words[2:4]), words[5], "/".join(words[6:]), parse_qs(parts.query))
        if words[:1] == ["datasets"] and words[3:4] == ["resolve"]:
            return self._file(words[4], "/".join(words[5:]), headers)
        return _refuse(404, "", "no such page")

    def _look_up(self, hub_id: str, revision: str) -> Answer:
        if hub_id != HUB_ID:
            return _refuse(401, "RepoNotFound", "Repository not found")
        if revision not in self.branches:
            return _refuse(404, "RevisionNotFound", "Invalid rev id")
        return _json({"id": hub_id, "sha": self.branches[revision]})

    def _list(self, hub_id: str, revision: str, folder: str, query: dict[str, list[str]]) -> Answer:
        if self._look_up(hub_id, revision)[0] != 200:
            return self._look_up(hub_id, revision)
        paths = sorted(path for path in self.files if not folder or path.startswith(f"{folder}/"))
        if not paths:
            return _refuse(404, "EntryNotFound", "no such folder")
        start = int(query.get("cursor", ["0"])[0])
        folders = [{"type": "directory", "path": folder or "data", "oid": "1"}] if start == 0 else []
        page = folders + [self._entry(path) for path in paths[start : start + self.page_size]]
        more = f"{self.url}/api/datasets/{hub_id}/tree/{revision}/{folder}?recursive=True&cursor={start + self.page_size}"
        return _json(page, {"Link": f'<{more}>; rel="next"'} if start + self.page_size < len(paths) else {})

    def _entry(self, path: str) -> dict:
        size = self.listed_sizes.get(path, len(self.files[path]))
        entry = {"type": "file", "path": path, "size": size, "oid": hashlib.sha1(self.files[path]).hexdigest()}
        if not path.endswith(".wav"):
            return entry
        listed = self.listed_sha256.get(path, hashlib.sha256(self.files[path]).hexdigest())
        return {**entry, "lfs": {"oid": listed, "size": size, "pointerSize": 130}}

    def _file(self, revision: str, path: str, headers: dict[str, str]) -> Answer:
        time.sleep(self.delay_seconds)
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            return _refuse(403 if "authorization" in headers else 401, "GatedRepo", "Access to this data set is restricted")
        if path not in self.files or revision not in self.branches:
            return _refuse(404, "EntryNotFound", "Entry not found")
        if path in self.busy:
            self.busy.remove(path)
            return _refuse(503, "", "try later")
        content = self.files[path]
        facts = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        start = int(headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start:
            return 206, {**facts, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}, content[start:]
        return 200, facts, content

    def sent_bytes(self, address: str, body: bytes) -> int:
        """How much of an answer's body leaves before the connection breaks."""
        dropped = [path for path in self.drops if unquote(address).endswith(path)]
        self.drops -= set(dropped)
        return len(body) // 2 if dropped else len(body)


def _json(value: object, headers: dict[str, str] | None = None) -> Answer:
    return 200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode()


def _refuse(status: int, code: str, message: str) -> Answer:
    return status, {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}, b""


def _handler_of(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._send(with_body=False)

        def do_GET(self) -> None:
            self._send(with_body=True)

        def _send(self, with_body: bool) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, facts, body = hub.answer(self.command, self.path, headers)
            self.send_response(status)
            for name, value in facts.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                sent = hub.sent_bytes(self.path, body)
                self.wfile.write(body[:sent])
                self.close_connection = self.close_connection or sent < len(body)

        def log_message(self, *words: object) -> None:
            pass

    return Handler
