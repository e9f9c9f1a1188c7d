"""Names of files for a page: without the folder that all of them lie in, so that files of one name stay apart."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sourcetracing.settings.names import printable


def common_folder(paths: Sequence[str | Path]) -> str:
    """The folder that all files lie in, as they were named; "" without one."""
    try:
        common = os.path.commonpath([str(Path(path).parent) for path in paths])
    except ValueError:  # some as from here, some as from the root
        return ""
    return printable(common) if common not in ("", ".", os.sep) else ""


def short_name(path: str | Path, common: str) -> str:
    """A file's name as from `common`."""
    name = printable(str(path))
    return name.removeprefix(f"{common}{os.sep}") if common else name
