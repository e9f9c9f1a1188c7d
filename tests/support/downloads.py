"""What the tests of HTTP downloads share: a faulty server, small parts, short pauses."""

from __future__ import annotations

import hashlib
import random

import pytest

from sourcetracing.downloads import records
from sourcetracing.downloads.http import RemoteFile, fetch
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Download

NAME = "musan.tar.gz"
CONTENT = random.Random(1).randbytes(400_000)
OTHER = random.Random(2).randbytes(400_000)
PART_BYTES = 50_000


def settings(**changes) -> Download:
    return Download(**{"connections": 3, "timeout_seconds": 5.0, "attempts": 4, **changes})


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def names(folder) -> set[str]:
    """Everything in a folder but the lock."""
    return {path.name for path in folder.iterdir()} - {records.LOCK}


def assert_arrived(folder, content=CONTENT, name=NAME):
    assert (folder / name).read_bytes() == content
    assert names(folder) == {name, f".complete-{name}.json"}


def begin(server, folder, served_bytes=150_000, **faults):
    """A first run that fails after some bytes; leaves a .part file. Returns the address."""
    url = server.add(NAME, CONTENT, drops=[served_bytes // 3] * 3 + [0] * 12, **faults)
    with pytest.raises(UserError, match="goes on"):
        fetch([RemoteFile(NAME, (url,))], folder, settings(attempts=2, connections=1))
    server.files[NAME].drops.clear()
    return url
