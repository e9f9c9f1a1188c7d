"""Looks at a table of audio files that nobody described: CSV or TSV, its columns by many names, its paths relative to what fits."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.corpora.corpus import is_present
from sourcetracing.corpora.folder import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, SEPARATORS
from sourcetracing.corpora.found_files import COLUMNS, UNKNOWN_LANGUAGE, FoundFiles, refuse_one_source, with_usable_names
from sourcetracing.corpora.list_columns import SPLIT_WORDS
from sourcetracing.corpora.list_files import HEADER_WORDS
from sourcetracing.corpora.open_quotes import refuse_open_quotes
from sourcetracing.errors import UserError
from sourcetracing.runtime.lists import read_list
from sourcetracing.settings.names import trimmed

# A column by any of these names is what the key says; its own name first, then in this order.
WORDS = {
    **{column: HEADER_WORDS[column] for column in ("path", "language", "source", "speaker", "split")},
    "transcript": ("transcript", "text", "sentence", "transcription", "normalized_text"),
    "recording": ("recording", "original_file", "original"),
}
WORDS["source"] += HEADER_WORDS["label"]
_NUM_PARENTS = 4  # folders above the table that its paths may be relative to


def look_at_table(place: Path) -> FoundFiles:
    """The files of a table that are there. Raises `UserError`: no table, no column for paths or sources, no file there, one source only."""
    header, cells = _read(place)
    columns = _columns(header, place)
    rows = pd.DataFrame({column: cells[columns[column]] if column in columns else "" for column in COLUMNS}, dtype="str")
    root = _root_of(rows["path"], place)
    as_listed = rows["path"].copy()
    rows["path"] = [_below(path, root) for path in rows["path"]]
    named = ", ".join(f"{column} ({header[number]})" if header[number] != column else column for column, number in columns.items())
    found = FoundFiles(rows, root, f"columns {named}", table=place)
    found.is_as_read = all(column in header for column in REQUIRED_COLUMNS) and (rows["path"] == as_listed).all()
    found.is_as_read &= not (set(columns) - {column for column in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if column in header})
    found.drop(rows["path"] == "", "because their rows have no path")
    num_sources = found.rows.groupby("path")["source"].transform("nunique")
    found.drop(num_sources > 1, "which the table lists under several sources")
    found.drop(found.rows["path"].duplicated(), "which the table lists before")
    found.drop(~is_present(found.rows["path"], root), "which are not there")
    if found.rows.empty:
        raise UserError(f"{place}: none of the {len(rows)} files that it lists is there, such as {root / str(rows['path'].iloc[0])}")
    found.drop(found.rows["source"] == "", "because their rows have no source")
    _complete(found, "language" in columns)
    with_usable_names(found)
    refuse_one_source(found, place)
    return found


def _complete(found: FoundFiles, has_languages: bool) -> None:
    """Languages for rows without one; splits only where every row has one that we know."""
    rows, without = found.rows, found.rows["language"] == ""
    if without.any():
        rows.loc[without, "language"], found.is_as_read = UNKNOWN_LANGUAGE, False
        what = f"{int(without.sum())} rows have no language" if has_languages else "no column names the languages"
        found.notes.append(f"{what}: they count as one language, {UNKNOWN_LANGUAGE!r}")
    splits = rows["split"].str.lower().map(SPLIT_WORDS)
    if (rows["split"] != "").any() and splits.isna().any():
        strange = next((word for word in rows["split"][splits.isna()] if word), "")
        found.notes.append(f"the column of splits is not used: {f'{strange!r} is none' if strange else 'it is empty in some rows'}")
        found.is_as_read = False
    rows["split"] = "" if splits.isna().any() else splits


def _read(place: Path) -> tuple[list[str], pd.DataFrame]:
    """(column names in lower case, cells as text by the number of their column). Raises `UserError`."""
    text = read_list(place)
    separators = (text.separator,) if text.separator else SEPARATORS
    known = {word for words in WORDS.values() for word in words}
    try:
        tables = [
            [row for row in csv.reader(text.lines[text.num_skipped :], delimiter=sign) if any(map(trimmed, row))] for sign in separators
        ]
    except csv.Error as error:
        raise UserError(f"{place} cannot be read as a table: {error}") from None
    headers = [[_heading(cell) for cell in table[0]] if table else [] for table in tables]
    best = max(range(len(tables)), key=lambda number: len(known.intersection(headers[number])))
    if tables[best] and (files := [trimmed(cell) for cell in tables[best][0] if is_audio_name(trimmed(cell))]):
        raise UserError(
            f"{place} has no header: its first row is that of a file, {files[0]}. Put a line with the names of its columns "
            "above it, such as path,language,source"
        )
    refuse_open_quotes(text, separators[best], place)
    header, body = headers[best], tables[best][1:]
    if not body:
        raise UserError(f"{place} lists no files. Expected: a table with a header: path, language, source")
    width = len(header)
    return header, pd.DataFrame([[trimmed(cell) for cell in [*row, *[""] * width][:width]] for row in body], dtype="str")


def _heading(cell: str) -> str:
    return re.sub(r"\W+", "_", trimmed(cell).lower()).strip("_")


def _columns(header: Sequence[str], place: Path) -> dict[str, int]:
    """Column of ours -> number of the table's. Raises `UserError` where path or source is missing."""
    found: dict[str, int] = {}
    for column, words in WORDS.items():
        taken = next((word for word in (column, *words) if word in header and header.index(word) not in found.values()), None)
        if taken is not None:
            found[column] = header.index(taken)
    for column in ("path", "source"):
        if column not in found:
            there = ", ".join(name for name in header if name) or "no names"
            raise UserError(f"{place} has no column {column} (or {', '.join(WORDS[column][1:5])}); its first row is: {there[:200]}")
    return found


def _root_of(paths: pd.Series, place: Path) -> Path:
    """The folder that most of the first paths are relative to: the table's own, one above it, or the working folder."""
    some = [_forward(path) for path in paths[paths != ""].head(50)]
    folders = [place.parent, *list(place.parent.parents)[:_NUM_PARENTS], Path()]
    return max(folders, key=lambda folder: sum((folder / path).is_file() for path in some))


def _forward(path: str) -> str:
    return path.replace("\\", "/")


def _below(path: str, root: Path) -> str:
    """Relative to root where it lies below it, without . and .. parts; else absolute."""
    if not path:
        return ""
    path = os.path.normpath(_forward(path))
    if not os.path.isabs(path) and not path.startswith(".."):
        return path
    whole, above = os.path.normpath(os.path.abspath(root / path)), os.path.abspath(root)
    return os.path.relpath(whole, above) if whole.startswith(f"{above}/") else whole
