"""What a source is made of: acoustic model, vocoder, architecture, training data, as columns of utterances.csv; "" = not known.

The strongest says it last: a table that comes along (components.csv: MLAAD's systems, the demo's), then the corpus's own columns, then the
user's CSV (corpus.components). Who says what of MLAAD's systems, and how sure that is, stands in components.csv (docs/labels.md).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import StringIO
from pathlib import Path

import pandas as pd

from sourcetracing.corpora.open_quotes import refuse_open_quotes
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.lists import read_list
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.corpora import COMING_ALONG, components_of
from sourcetracing.settings.names import EDGES
from sourcetracing.settings.schema import Settings

COMPONENTS = ("acoustic_model", "vocoder", "architecture", "training_data")
_KEYS = ("utt_id", "source")  # what a user's table may go by
SEPARATORS = (",", ";", "\t", "|")
# Columns that the pipeline writes itself; a user's column of such a name is left out.
_OURS = "utt_id path language source speaker transcript recording split system label prediction variant row unit protocol"
_HEARD = "duration_s sample_rate digest coding rms_dbfs leading_silence_s trailing_silence_s bandwidth_hz"
RESERVED = frozenset(f"{_OURS} {_HEARD}".split())


def with_components(utterances: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Utterances with the columns `COMPONENTS`, and with those of the user's CSV. utterances: columns utt_id, source and any of these.

    Raises `UserError` for a CSV that is missing, says two things of one source, or names none that there is.
    """
    labelled = utterances.assign(**{name: utterances[name].fillna("") if name in utterances else "" for name in COMPONENTS})
    given, own = settings.corpus.components, components_of(settings.corpus.reader)
    for corpus in dict.fromkeys(name for name in (own, given) if name in COMING_ALONG):
        table = known_components(corpus)
        for name in table.columns:
            found = labelled["source"].map(table[name]).fillna("")
            # A v5 model's folder is its name; MLAAD's own column is the last part of that name and no architecture.
            keeps = (found == "") if corpus == given or name == "architecture" else (labelled[name] != "")
            labelled[name] = labelled[name].where(keeps, found)
    return _with_table(labelled, Path(given)) if given and given not in COMING_ALONG else labelled


@cache
def known_components(corpus: str) -> pd.DataFrame:
    """acoustic_model, vocoder, architecture of the systems of mlaad or demo, by source; "" = not known."""
    with files(__package__).joinpath("components.csv").open(encoding="utf-8") as file:
        table = read_csv(file).fillna("")
    return table[table["corpus"] == corpus].set_index("source")[list(COMPONENTS[:3])]


def _with_table(labelled: pd.DataFrame, path: Path) -> pd.DataFrame:
    table, key = _read_table(path)
    if strange := sorted(set(table.index) - set(labelled[key])):
        if len(strange) == len(table):
            raise UserError(f"corpus.components={path}: no {key} of it is in this corpus, such as {strange[0]!r}")
        guess = did_you_mean(strange[0], set(labelled[key]) - set(table.index))
        print(f"{path}: {len(strange)} of {len(table)} {key}s are not in this corpus, such as {strange[0]!r}{guess}")
    for name in table.columns:
        found = labelled[key].map(table[name]).fillna("")
        labelled[name] = found.where(found != "", labelled.get(name, ""))
    return labelled


def _read_table(path: Path) -> tuple[pd.DataFrame, str]:
    """(labels by key, utt_id or source). Rows that say the same twice are one."""
    where = f"corpus.components={path}"
    if not path.is_file():
        raise UserError(f"{where} is no file. Expected: a CSV with columns source, vocoder, architecture and so on; or {COMING_ALONG[0]}")
    text = read_list(path)
    lines = text.lines[text.num_skipped :]
    separator = text.separator or max(SEPARATORS, key=lambda sign: len({*_KEYS, *COMPONENTS} & set(_words(lines, sign))))
    refuse_open_quotes(text, separator, path)
    words = [word for word in _words(lines, separator) if word]
    if twice := next((word for word in words if words.count(word) > 1), ""):
        raise UserError(f"{where} has two columns {twice!r}; keep one")
    try:
        table = read_csv(StringIO("\n".join(lines)), sep=separator).fillna("")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{where} cannot be read as a table: {str(error).strip()}") from None
    table = table.set_axis([str(name).strip(EDGES).lower() for name in table.columns], axis=1).apply(lambda cells: cells.str.strip(EDGES))
    key = next((name for name in _KEYS if name in table), "")
    if not key:
        raise UserError(f"{where} has neither a column utt_id nor source; it has: {', '.join(table.columns)}")
    names = [name for name in table.columns if name not in (*_KEYS, *RESERVED) and not name.startswith("unnamed")]
    if not names:
        raise UserError(f"{where} has no column of labels beside {key}, such as {', '.join(COMPONENTS[:3])}")
    table = table[[key, *names]].drop_duplicates()
    if (twice := table[key].duplicated()).any():
        raise UserError(f"{where} says two things of {key} {table[key][twice].iloc[0]!r}; keep one of its rows")
    return table.set_index(key), key


def _words(lines: list[str], separator: str) -> list[str]:
    return [word.strip(EDGES + '"').lower() for word in lines[0].split(separator)] if lines else []
