"""Work that is not done again while neither what it is made from nor what it made has changed, by content and never by time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sourcetracing.runtime.files import digest_of_file, digest_of_json, is_whole, noted_files, write_json, written_together
from sourcetracing.runtime.locks import held
from sourcetracing.settings.places import PACKAGE_ROOT

LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn", "matplotlib")
CODE_SUFFIXES = (".py", ".html", ".css", ".js", ".csv", ".yaml")


def made_once(record: Path, inputs: str, make: Callable[[], str]) -> str:
    """The text that `make` returns, or returned when it last ran on these inputs, if all files that it wrote are as it left them.

    record: where that is written down, last. inputs: a digest (`digest_of_inputs`). A second process waits for the first.
    """
    if (text := _kept(record, inputs)) is not None:  # before the lock, which a disk that may only be read has no place for
        return text
    with held(record.with_name(f".{record.name}.lock"), f"another process is writing {record.parent}", wait=True):
        if (text := _kept(record, inputs)) is not None:
            return text
        with written_together(record):
            with noted_files() as written:
                text = make()
            files = {os.path.relpath(path, record.parent): digest_of_file(path) for path in dict.fromkeys(written)}
            write_json(record, {"inputs": inputs, "text": text, "files": files})
        return text


def _kept(record: Path, inputs: str) -> str | None:
    try:
        made = json.loads(record.read_text(encoding="utf-8")) if is_whole(record) else {}
        if made.get("inputs") != inputs:
            return None
        is_intact = all(digest_of_file(record.parent / name) == digest for name, digest in made["files"].items())
        return made["text"] if is_intact else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def digest_of_inputs(facts: object, files: Iterable[Path]) -> str:
    """Of JSON-able facts, the content of files (those that are not there count as such), this project's code and its libraries."""
    contents = {str(path): digest_of_file(path) if path.is_file() else "" for path in files}
    return digest_of_json([facts, contents, _digest_of_code(), {name: version(name) for name in LIBRARIES}])


@cache
def _digest_of_code() -> str:
    files = sorted(path for path in PACKAGE_ROOT.rglob("*") if path.suffix in CODE_SUFFIXES)
    return digest_of_json({str(path.relative_to(PACKAGE_ROOT)): digest_of_file(path) for path in files})
