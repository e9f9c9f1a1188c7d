"""What each source is made of: acoustic model, vocoder, architecture, training data, as columns of utterances.csv; "" = not known.

Who knows it, first ones first: a user's own table of files, the CSV of `corpus.components`, the corpus (MLAAD's meta.csv), the tables in
`components/`, which its README tells of.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from functools import cache
from pathlib import Path

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.lists import read_list
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.names import EDGES, trimmed

LABEL_COLUMNS = ("acoustic_model", "vocoder", "architecture", "training_data")
# Columns of our tables that are no labels: one of that name in a user's table would be mistaken for ours.
RESERVED = ("utt_id", "path", "language", "source", "speaker", "transcript", "recording", "split")
RESERVED += ("duration_s", "sample_rate", "digest", "coding", "rms_dbfs", "leading_silence_s", "trailing_silence_s", "bandwidth_hz")
RESERVED += ("system", "row", "variant", "label", "prediction", "unit", "known_from", "confidence", "note")
_SEPARATORS = (",", ";", "\t", "|")


@cache
def shipped_components(name: str) -> pd.DataFrame:
    """source and what is known of it, of a table in `components/` (mlaad, demo), all text."""
    table = read_csv(Path(__file__).with_name("components") / f"{name}.csv")
    return table[["source", *(column for column in LABEL_COLUMNS if column in table)]]


def with_components(utterances: pd.DataFrame, tables: Collection[pd.DataFrame]) -> pd.DataFrame:
    """The utterances with all of LABEL_COLUMNS and the further columns of `tables`; what a cell says already stays.

    tables: columns utt_id or source (each value once), and labels; those of earlier ones go before those of later ones.
    """
    found = utterances.copy()
    for table in tables:
        key = "utt_id" if "utt_id" in table else "source"
        own = table.set_index(key)
        for column in labels_in(table):
            said = found[key].map(own[column]).fillna("")
            found[column] = said if column not in found else found[column].where(found[column] != "", said)
    for column in LABEL_COLUMNS:
        if column not in found:
            found[column] = ""
    return found


def labels_in(table: pd.DataFrame) -> list[str]:
    """The columns of a table that may be traced, besides source: LABEL_COLUMNS first, then those that a user brought."""
    return [*(name for name in LABEL_COLUMNS if name in table), *(name for name in table if name not in {*LABEL_COLUMNS, *RESERVED})]


def read_components(path: Path) -> pd.DataFrame:
    """A user's CSV: column source or utt_id, and labels (LABEL_COLUMNS or others); each source, or utt_id, once.

    Raises `UserError` where it cannot be read so, and for a source that is there twice with different labels.
    """
    if not path.is_file():
        raise UserError(f"corpus.components={path} is no file. Expected: a CSV with a column source (or utt_id) and labels such as vocoder")
    table = _cells(path)
    key = next((name for name in ("utt_id", "source") if name in table), None)
    if key is None:
        raise UserError(f"{path} has no column 'source'{did_you_mean('source', table.columns)}")
    labels = labels_in(table)
    if not labels:
        raise UserError(f"{path} has no label: name columns {', '.join(LABEL_COLUMNS)}, or others that are not {', '.join(RESERVED[:8])}")
    table = table[table[key] != ""][[key, *labels]].drop_duplicates()
    if (twice := table[key].duplicated()).any():
        name = table[key][twice].iloc[0]
        first, second = table[table[key] == name].iloc[:2].to_dict("records")
        column = next(column for column in labels if first[column] != second[column])
        raise UserError(f"{path}: {name} is there twice, with the {column} {first[column]!r} and {second[column]!r}. Keep one of them")
    return table.reset_index(drop=True)


def _cells(path: Path) -> pd.DataFrame:
    """All cells as text without blanks around them; names of columns in lower case. The separator is the sign most of in the first line."""
    text = read_list(path)
    lines = text.lines[text.num_skipped :]
    separators = (text.separator,) if text.separator else _SEPARATORS
    separator = max(separators, key=lambda each: lines[0].count(each) if lines else 0)
    try:
        table = read_csv(io.StringIO("\n".join(lines)), sep=separator, quoting=csv.QUOTE_MINIMAL)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} cannot be read as a table: {str(error).strip()}") from None
    names = [trimmed(name).lower() for name in table]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path} has two columns {twice[0]!r}")
    table = table.set_axis(names, axis=1).fillna("")
    return table.apply(lambda column: column.str.strip(EDGES))
