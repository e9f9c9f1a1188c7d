"""Tables that benchmarks write into documents, between two marked lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.errors import UserError


def with_table(document: str, lines: Sequence[str], markers: tuple[str, str]) -> str:
    """A document with other lines between the markers. Raises `UserError` where they are not there once each, in order."""
    begin, finish = markers
    if document.count(begin) != 1 or document.count(finish) != 1 or document.index(begin) > document.index(finish):
        raise UserError(f"the document needs the lines {begin} and {finish} once each: the table stands between them")
    before, after = document.split(begin)[0], document.split(finish)[1]
    return "\n".join([before + begin, *lines, finish + after])
