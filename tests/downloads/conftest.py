"""A faulty server, small parts and short pauses for every test of downloads."""

from __future__ import annotations

import pytest

from sourcetracing.downloads import answers, parts
from tests.support.downloads import PART_BYTES
from tests.support.faulty_server import FaultyServer


@pytest.fixture(autouse=True)
def short_pauses_and_small_parts(monkeypatch):
    monkeypatch.setattr(answers, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(parts, "SMALLEST_PART_BYTES", PART_BYTES)
    monkeypatch.setattr(parts, "LARGEST_PART_BYTES", PART_BYTES)


@pytest.fixture
def server():
    with FaultyServer() as running:
        yield running
