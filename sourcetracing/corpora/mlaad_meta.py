"""Reads one meta.csv of MLAAD, of any version, by the names of its columns.

v5: separator |, no quotation (N. M. Mueller et al. 2024, arXiv:2401.09512). Later releases go under the same name, with other columns.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from sourcetracing.corpora.corpus import DOWNLOAD_COMMAND
from sourcetracing.corpora.open_quotes import refuse_open_quotes
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.lists import ListText, read_list
from sourcetracing.settings.names import EDGES, trimmed

META_COLUMNS = (
    "path",
    "original_file",
    "language",
    "is_original_language",
    "duration",
    "training_data",
    "model_name",
    "architecture",
    "transcript",
)
SEPARATORS = ("|", ",", ";", "\t")
_DOUBLED = re.compile(r'"(?=.*"")(?:[^"]|"")+"')  # a whole cell that can only have been quoted: "say ""a"""


def read_meta_table(path: Path) -> pd.DataFrame:
    """The rows as text under the names of their columns in lower case, whichever those are and in whatever order.

    The separator is the one that yields most names of `META_COLUMNS`. Between bars quotation marks are text, as in v5, unless the file
    cannot be read so. UTF-8 with or without a byte order mark, or UTF-16; any line ends; blanks around cells but transcripts are dropped.
    Raises `UserError` naming the file where it is missing, empty, no table, or has a column twice.
    """
    try:
        text = read_list(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Run: {DOWNLOAD_COMMAND}") from None
    lines = text.lines[text.num_skipped :]
    if not lines or not lines[0].strip():
        raise UserError(f"{path} is no MLAAD meta.csv: it is empty, or its first line is")
    separator = text.separator or _separator_of(lines[0])
    is_quoted = _is_quoted(lines, separator)
    if is_quoted:
        refuse_open_quotes(text, separator, path)
    table = _parse(text, path, separator, csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE)
    table = table.set_axis([trimmed(str(name)).strip('"').lower() for name in table.columns], axis=1)
    if twice := [name for name, count in Counter(table.columns).items() if count > 1]:
        raise UserError(f"{path} has two columns {twice[0]!r}")
    for name in table.columns.difference(["transcript"]):
        table[name] = table[name].str.strip(EDGES)
    return table[(table != "").any(axis=1)].reset_index(drop=True)


def _parse(text: ListText, path: Path, separator: str, quoting: int) -> pd.DataFrame:
    lines = "\n".join(text.lines[text.num_skipped :])
    try:  # header=None: pandas would rename a column that is there twice
        table = read_csv(io.StringIO(lines), sep=separator, quoting=quoting, header=None, skip_blank_lines=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} is no MLAAD meta.csv: {str(error).strip()}") from None
    table = table.fillna("")
    return table.iloc[1:].reset_index(drop=True).set_axis(table.iloc[0].tolist(), axis=1)


def _separator_of(header: str) -> str:
    def num_known(separator: str) -> int:
        return len({trimmed(name).strip('"').lower() for name in header.split(separator)} & set(META_COLUMNS))

    return max(SEPARATORS, key=num_known)


def _is_quoted(lines: list[str], separator: str) -> bool:
    if separator != "|":
        return True
    num_bars = lines[0].count("|")
    if any(cell.startswith('"') for cell in lines[0].split("|")):
        return True
    return any('"' in line and (line.count("|") > num_bars or any(map(_DOUBLED.fullmatch, line.split("|")))) for line in lines[1:])
