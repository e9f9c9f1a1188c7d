"""What every reader hands on: a row per file, and the two ways official protocols are written (columns of text, trees of folders)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.corpora.open_quotes import refuse_open_quotes
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF
from sourcetracing.errors import UserError
from sourcetracing.runtime.lists import ListText, read_list
from sourcetracing.settings.names import refuse_undecodable, trimmed

# id: unique in its subset. path: below the corpus' folder. recording: what a file was cut from or reads. source: the system that made it.
ROW_COLUMNS = ("id", "path", "label", "speaker", "recording", "source")
LABEL_WORDS = {"bonafide": BONAFIDE, "bona-fide": BONAFIDE, "spoof": SPOOF}


def make_rows(paths: Sequence[str], labels: Sequence[str], **known: Sequence[str]) -> pd.DataFrame:
    """A table with `ROW_COLUMNS`; an id that is not given is the path without suffix, else what a reader does not know is empty."""
    columns = {"id": [stem(path) for path in paths], "path": paths, "label": labels, **known}
    return pd.DataFrame(columns, dtype=str).reindex(columns=list(ROW_COLUMNS), fill_value="")


def read_columns(path: Path, names: Sequence[str], num_required: int) -> pd.DataFrame:
    """A protocol of lines with columns between spaces or tabs and no header, as text; `names` of the first columns, further ones ignored.

    num_required: fewer columns than that are refused. Raises `UserError` with file and line.
    """
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < num_required:
            raise UserError(f"{path}, line {number}: {len(fields)} columns, but at least {num_required} are expected: {' '.join(names)}")
        rows.append((fields + [""] * len(names))[: len(names)])
    if not rows:
        raise UserError(f"{path} lists no files")
    return pd.DataFrame(rows, columns=list(names), dtype=str)


def read_lines(path: Path) -> list[str]:
    """Lines of a list, without what stands invisibly at their ends. Raises `UserError` naming it."""
    return [trimmed(line) for line in _read(path).lines]


def _read(path: Path) -> ListText:
    try:
        return read_list(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing. See detection.roots and docs/detection_data.md") from None
    except IsADirectoryError as error:
        raise UserError(f"{path} is no text in UTF-8: {error}") from None


def read_table(path: Path, required: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """A table with a header, as text. Raises `UserError` naming the column that is missing, or there twice."""
    text = _read(path)
    refuse_open_quotes(text, text.separator or separator, path)
    try:
        header, *rows = csv.reader(text.lines[text.num_skipped :], delimiter=text.separator or separator)
    except (csv.Error, ValueError) as error:
        raise UserError(f"{path} lists no files" + (f": {error}" if isinstance(error, csv.Error) else "")) from None
    header = [trimmed(name) for name in header]
    if not (numbered := [(number, row) for number, row in enumerate(rows, 2 + text.num_skipped) if row]):
        raise UserError(f"{path} lists no files")
    if wrong := [name for name in required if header.count(name) != 1]:
        what = "two columns" if wrong[0] in header else "no column"
        raise UserError(f"{path} has {what} {wrong[0]!r}; it has: {', '.join(header)}")
    if short := [number for number, row in numbered if len(row) <= max(map(header.index, required))]:
        raise UserError(f"{path}, line {short[0]}: fewer columns than the header has")
    cells = [[trimmed(cell) for cell in [*row, *[""] * len(header)][: len(header)]] for _, row in numbered]
    return pd.DataFrame(cells, columns=header, dtype=str)


def to_labels(words: pd.Series, path: Path) -> list[str]:
    """`LABEL_WORDS` of a column. Raises `UserError` with the first word that is none."""
    labels = words.map(LABEL_WORDS)
    if labels.isna().any():
        place = labels.isna().to_numpy().argmax()
        raise UserError(f"{path}, row {place + 1}: {words.iloc[place]!r} is no label; expected: {', '.join(LABEL_WORDS)}")
    return labels.tolist()


def audio_below(root: Path, folder: str) -> list[str]:
    """All audio below a folder of a corpus, sorted, relative to the corpus' root. Raises `UserError` if the folder is missing or empty."""
    if not (root / folder).is_dir():
        raise UserError(f"{root / folder} is missing. See detection.roots and docs/detection_data.md")
    found = sorted(_walk(root, folder))
    if not found:
        raise UserError(f"{root / folder} holds no audio")
    refuse_undecodable(found)
    return found


def _walk(root: Path, folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(root / folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(place).relative_to(root).as_posix()
        yield from (f"{below}/{name}" for name in names if is_audio_name(name) and not name.startswith("."))


def stem(path: str) -> str:
    """The path without its last suffix: the id of a file that a corpus knows by its place."""
    return os.path.splitext(path)[0]
