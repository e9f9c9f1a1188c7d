"""Lists that users bring: text as spreadsheets and editors of all systems write it, and files that are called almost as a list says."""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.settings.names import same_but_for_form, why_different

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what Excel calls Unicode text


@dataclass(frozen=True)
class ListText:
    """lines: of the file, without their ends; "" in the place of Excel's first line `sep=;`. separator: what that line says, or ""."""

    lines: list[str]
    separator: str

    @property
    def num_skipped(self) -> int:
        """Lines before the first one of the table: 1 behind Excel's, else 0."""
        return int(bool(self.separator))


def read_list(path: Path, name: object = "") -> ListText:
    """A list: UTF-8 with or without a byte order mark, or UTF-16 with one. Raises `UserError`, and OSError where it is missing."""
    content = Path(path).read_bytes()
    try:
        text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name or path} is no UTF-8 text ({error}). Save it as CSV in UTF-8, or remove it if it is no list") from None
    lines = re.split(r"\r\n|\r|\n", text)
    separator = re.fullmatch(r'"?sep=(.|\\t)"?[,;\s]*', lines[0])
    if separator:
        lines[0] = ""
    return ListText(lines[:-1] if lines[-1] == "" else lines, separator[1].replace("\\t", "\t") if separator else "")


def lookalike(path: Path) -> str:
    """Where a file is missing and one is there whose name looks the same: a sentence that says so. "" otherwise."""
    folder = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        if not (folder / part).exists():
            there = same_but_for_form(part, _names_in(folder))
            fault = f"{folder / there} looks the same, but {part!r} {why_different(part, there)}" if there else ""
            return f"{fault}. Make the two the same" if fault else ""
        folder = folder / part
    return ""


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
