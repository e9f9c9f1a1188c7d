"""A quotation mark that is not closed makes one cell of a table of all that follows, up to the next mark: found before rows get lost."""

from __future__ import annotations

import csv
from pathlib import Path

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.errors import UserError
from sourcetracing.runtime.lists import ListText
from sourcetracing.settings.names import trimmed


def refuse_open_quotes(text: ListText, separator: str, path: Path) -> None:
    """Raises `UserError`, naming the line, where a cell reaches over lines that must be rows, or to the end of the table.

    A text of several lines in quotation marks, as spreadsheets write it, is none of these.
    """
    lines = text.lines[text.num_skipped :]
    reader, first = csv.reader(lines, delimiter=separator), 0
    try:
        for _ in reader:
            swallowed, is_last = lines[first + 1 : reader.line_num], reader.line_num == len(lines)
            if any(_is_a_row(line, separator) for line in swallowed) or (is_last and _is_open(lines[first:], separator)):
                lost = f", and so {len(swallowed)} more lines are lost in it" if swallowed else ""
                number = 1 + first + text.num_skipped
                raise UserError(
                    f"{path}, line {number}: a cell starts with a quotation mark that does not end with the cell{lost}. "
                    'Close it; a mark inside a cell in quotation marks is written ""'
                )
            first = reader.line_num
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num + text.num_skipped}: cannot be read as a table: {error}") from None


def _is_a_row(line: str, separator: str) -> bool:
    """Commas and semicolons do occur in text; tabs and bars together with a line break do not."""
    return (separator not in ",;" and separator in line) or any(is_audio_name(trimmed(cell).strip('"')) for cell in line.split(separator))


def _is_open(lines: list[str], separator: str) -> bool:
    try:
        list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False
