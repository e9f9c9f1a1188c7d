"""What every reader hands on: a row per file, and the two ways official protocols are written (columns of text, trees of folders)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF
from sourcetracing.errors import UserError

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
    """Lines of a UTF-8 text file. Raises `UserError` naming it."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path} is missing. See detection.roots and docs/detection_data.md") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path} is no text in UTF-8: {error}") from None


def read_table(path: Path, required: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """A table with a header, as text. Raises `UserError` naming the column that is missing."""
    rows = list(csv.DictReader(read_lines(path), delimiter=separator))
    if not rows:
        raise UserError(f"{path} lists no files")
    if missing := [name for name in required if name not in rows[0]]:
        raise UserError(f"{path} has no column {missing[0]!r}; it has: {', '.join(map(str, rows[0]))}")
    for number, row in enumerate(rows, start=2):
        if any(row[name] is None for name in required):
            raise UserError(f"{path}, line {number}: fewer columns than the header has")
    return pd.DataFrame(rows, dtype=str)[list(rows[0])].fillna("")


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
    return found


def _walk(root: Path, folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(root / folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(place).relative_to(root).as_posix()
        yield from (f"{below}/{name}" for name in names if is_audio_name(name) and not name.startswith("."))


def stem(path: str) -> str:
    """The path without its last suffix: the id of a file that a corpus knows by its place."""
    return os.path.splitext(path)[0]
