"""A corpus of your own: a tree <paths.corpus>/<language>/<source>/**/*.wav, or a table (folder.table) with a row per audio file.

The table is a CSV or TSV with a header: path, language, source [, speaker, transcript, recording, split]; further columns are kept, such as
vocoder (`sourcetracing.corpora.components`). A path is relative to paths.corpus, or absolute. The utt_id of a file is that path without its
suffix, so it stays when labels are corrected.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import AUDIO_SUFFIXES, is_audio_name
from sourcetracing.corpora.components import RESERVED, SEPARATORS
from sourcetracing.corpora.corpus import UTTERANCE_COLUMNS, Corpus, is_present, utterances_of_settings
from sourcetracing.corpora.list_columns import SPLIT_WORDS
from sourcetracing.corpora.mlaad import model_dir_of
from sourcetracing.corpora.open_quotes import refuse_open_quotes
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.lists import ListText, read_list
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.names import EDGES, invisible_sign, refuse_undecodable, trimmed
from sourcetracing.settings.schema import Settings

REQUIRED_COLUMNS = ("path", "language", "source")
OPTIONAL_COLUMNS = ("speaker", "transcript", "recording", "split")


class FolderCorpus(Corpus):
    """Nothing of it is downloaded. Whether the files of a table exist is left to `check`: a protocol can be built without audio."""

    advice = "See paths.corpus"
    num_named = 3

    def download(self) -> None:
        """Raises `UserError` with the expected layout where the corpus is missing."""
        (_require_table if self.settings.folder.table else _require_root)(self.settings)

    def prepare(self) -> pd.DataFrame:
        """Sorted by utt_id; prints what was left out."""
        rows, notes = _read(self.settings)
        for note in notes:
            print(note)
        return rows

    def files(self) -> pd.DataFrame:
        rows, _ = _read(self.settings)
        return rows.assign(present=is_present(rows["path"], self.root) if self.settings.folder.table else True)


def _read(settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    """(utterances of the settings' languages and sources, lines about what was left out)."""
    found, notes = _read_table(settings) if settings.folder.table else _read_tree(settings)
    rows = _select(found, settings)
    if len(rows) < len(found):
        chosen = "corpus.languages, corpus.sources and corpus.unknown_sources"
        notes.append(f"{_where(settings)}: left out {len(found) - len(rows)} of {len(found)} utterances that {chosen} do not name")
    rows["utt_id"] = rows["path"].str.replace(r"([^/])\.[^./]+$", r"\1", regex=True).str.lstrip("/")
    _refuse_same_id(rows)
    for column in set(UTTERANCE_COLUMNS) - set(rows.columns):
        rows[column] = ""
    further = [column for column in found.columns if column not in RESERVED]
    columns = [*UTTERANCE_COLUMNS, *(["split"] if "split" in rows else []), *further]
    return rows[columns].sort_values("utt_id", ignore_index=True), notes


def _where(settings: Settings) -> str:
    return settings.folder.table or settings.paths.corpus


def _select(found: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    corpus, where = settings.corpus, _where(settings)
    rows = utterances_of_settings(found, settings, where)
    for setting, names, column in (("corpus.languages", corpus.languages, "language"), ("corpus.sources", corpus.sources, "source")):
        if absent := [name for name in names if name not in set(rows[column].unique())]:
            raise UserError(f"{setting}: {where} has {absent[0]!r}, but not together with the other settings of the corpus")
    return rows


def _refuse_same_id(rows: pd.DataFrame) -> None:
    if (twice := rows["utt_id"].duplicated()).any():
        utt_id = rows["utt_id"][twice].iloc[0]
        first, second = rows["path"][rows["utt_id"] == utt_id].iloc[:2]
        raise UserError(f"{first} and {second} would both be utterance {utt_id}. Rename one of them")


# --- a tree


def _require_root(settings: Settings) -> None:
    root = settings.paths.corpus
    if not os.path.isdir(root):
        layout = f"{root}/<language>/<source>/*.wav, such as {root}/en/my_vocoder/1.wav"
        raise UserError(f"paths.corpus={root} is no folder. Expected: {layout}; or a table with path, language, source as folder.table")


def _read_tree(settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    _require_root(settings)
    root = os.path.abspath(settings.paths.corpus)
    paths, others = _sort_out(root, files_below(root, _other_folders(settings)))
    if not paths:
        held = f"; it holds {_count_suffixes(others)}" if others else ""
        raise UserError(f"{settings.paths.corpus} holds no <language>/<source>/*.wav, or flac, mp3, m4a and so on{held}. See paths.corpus")
    refuse_undecodable(paths)
    source_of = {model_dir_of(source): source for source in [*settings.corpus.sources, *settings.corpus.unknown_sources]}
    folders = [path.split("/", 2) for path in paths]
    columns = {
        "path": paths,
        "language": [parts[0] for parts in folders],
        "source": [source_of.get(parts[1], parts[1]) for parts in folders],
    }
    notes = [f"{settings.paths.corpus}: ignored {len(others)} other files ({_count_suffixes(others)})"] if others else []
    return pd.DataFrame(columns, dtype="str"), notes


def _other_folders(settings: Settings) -> set[str]:
    """Noises or results that lie inside the corpus folder are no languages of it."""
    return {os.path.abspath(path) for path in (settings.paths.musan, settings.paths.rirs, settings.paths.exp)}


def files_below(folder: str, skipped: set[str], ancestors: tuple = ()) -> Iterator[str]:
    """Absolute paths of all files but hidden ones, through links too; a link to a folder around itself is not followed."""
    stat = os.stat(folder)
    identity = (stat.st_dev, stat.st_ino)
    if identity in ancestors:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.path in skipped:
                continue
            if entry.is_dir():
                yield from files_below(entry.path, skipped, (*ancestors, identity))
            else:
                yield entry.path


def _sort_out(root: str, files: Iterator[str]) -> tuple[list[str], list[str]]:
    """(audio below <language>/<source>/, everything else), sorted and relative to root, with forward slashes."""
    audio, others = [], []
    for file in files:
        path = os.path.relpath(file, root).replace(os.sep, "/") if os.sep != "/" else file[len(root.rstrip("/")) + 1 :]
        is_audio = is_audio_name(path) and path.count("/") >= 2
        (audio if is_audio else others).append(path)
    return sorted(audio), sorted(others)


def _count_suffixes(paths: list[str]) -> str:
    """Such as: 3 .txt, 2 .m4a, 1 .wav outside <language>/<source>/."""
    kinds = [os.path.splitext(path)[1].lower() or "without suffix" for path in paths]
    outside = " outside <language>/<source>/"
    counts = Counter(kind + (outside if kind in AUDIO_SUFFIXES else "") for kind in kinds)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common(5)) + (", ..." if len(counts) > 5 else "")


# --- a table


def _require_table(settings: Settings) -> Path:
    path = Path(settings.folder.table)
    if not path.is_file():
        expected = f"a CSV with columns path, language, source, the paths relative to paths.corpus ({settings.paths.corpus})"
        raise UserError(f"folder.table={path} is no file. Expected: {expected}")
    return path


def _read_table(settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    path = _require_table(settings)
    text = read_list(path)
    columns, separator = _read_header(text, path)
    cells = _read_cells(text, path, columns, separator)
    ours = REQUIRED_COLUMNS + OPTIONAL_COLUMNS
    extra = [column for column in columns if column not in ours and column in RESERVED]
    rows = cells[[column for column in columns if column in ours or column and column not in RESERVED]].copy()
    for column in REQUIRED_COLUMNS:
        _refuse(rows[column] == "", path, lambda row, column=column: f"empty {column}")
    for column in ("language", "source"):
        hidden = {name: invisible_sign(name) for name in rows[column].unique()}
        _refuse(rows[column].map(hidden) != "", path, lambda row, column=column, hidden=hidden: _hidden(column, rows[column][row], hidden))
    rows["path"] = _normalize_paths(rows["path"], path, settings.paths.corpus)
    _refuse_listed_twice(rows["path"], path)
    if "split" in rows:
        rows = _with_splits(rows, path)
    return rows, [f"{path}: ignored the columns {', '.join(extra)}, which the pipeline writes itself"] if extra else []


def _hidden(column: str, name: str, hidden: dict[str, str]) -> str:
    return f"the {column} {name.replace(hidden[name], '')!r} holds the invisible sign U+{ord(hidden[name]):04X}; type it anew"


def _read_header(text: ListText, path: Path) -> tuple[list[str], str]:
    """(column names in lower case, separator). The separator is the one that yields most of the names that we know."""
    separators = (text.separator,) if text.separator else SEPARATORS
    found = {separator: _first_row(text, path, separator) for separator in separators}
    separator = max(separators, key=lambda separator: len(set(found[separator]) & {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS}))
    columns = found[separator]
    for column in REQUIRED_COLUMNS:
        if column not in columns:
            raise UserError(f"{path} has no column {column!r}{did_you_mean(column, [name for name in columns if name])}")
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise UserError(f"{path} has two columns {twice[0]!r}")
    return columns, separator


def _first_row(text: ListText, path: Path, separator: str) -> list[str]:
    try:
        row = next(csv.reader(text.lines[text.num_skipped :], delimiter=separator), [])
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as a table: {error}") from None
    if not row:
        raise UserError(f"{path} is empty, or its first line is. Expected: a header with path, language, source")
    return [trimmed(name).lower() for name in row]


def _read_cells(text: ListText, path: Path, columns: list[str], separator: str) -> pd.DataFrame:
    """All cells as text, indexed by row as a spreadsheet counts them (the header is row 1); blank rows left out."""
    names = [column or f"unnamed {place}" for place, column in enumerate(columns)]
    refuse_open_quotes(text, separator, path)
    source = io.StringIO("\n".join(text.lines[text.num_skipped :]))
    try:
        cells = read_csv(source, sep=separator, header=0, names=names, skip_blank_lines=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} cannot be read as a table: {str(error).strip()}") from None
    cells = cells.fillna("").set_axis(cells.index + 2 + text.num_skipped)
    for name in set(names) - {"transcript"}:
        cells[name] = cells[name].str.strip(EDGES)
    cells = cells[(cells != "").any(axis=1)]
    if cells.empty:
        raise UserError(f"{path} lists no utterances")
    return cells


def _refuse(mask: pd.Series, path: Path, reason) -> None:
    """Raises `UserError` for the first row in the mask; reason: text for the row's number."""
    if mask.any():
        row = mask.idxmax()
        others = f" (and {int(mask.sum()) - 1} more rows)" if mask.sum() > 1 else ""
        raise UserError(f"{path}, row {row}: {reason(row)}{others}")


def _normalize_paths(paths: pd.Series, table: Path, root: str) -> pd.Series:
    """Forward slashes, no ./ and //; relative to root wherever they lie below it. Refuses `..`."""
    given, paths = paths, paths.str.replace("\\", "/", regex=False)
    _refuse(paths.str.contains(r"(?:^|/)\.\.(?:/|$)"), table, lambda row: f"{given[row]} leaves its folder by '..'; write the path without")
    paths = paths.str.replace(r"/(?:\.?/)+", "/", regex=True).str.replace(r"^\./", "", regex=True)
    for prefix in {os.path.abspath(root), os.path.realpath(root)}:
        paths = paths.str.removeprefix(prefix.replace(os.sep, "/").rstrip("/") + "/")
    _refuse(paths.str.endswith("/"), table, lambda row: f"{given[row]} is a folder, but one audio file for each row is expected")
    return paths


def _refuse_listed_twice(paths: pd.Series, table: Path) -> None:
    if (twice := paths.duplicated()).any():
        second = twice.idxmax()
        first = (paths == paths[second]).idxmax()
        raise UserError(f"{table}, rows {first} and {second}: both list {paths[second]}")


def _with_splits(rows: pd.DataFrame, table: Path) -> pd.DataFrame:
    words = rows["split"].str.lower()
    if (words == "").all():
        return rows.drop(columns="split")
    full = (words != "").idxmax()
    _refuse(words == "", table, lambda row: f"no split, but row {full} has {rows['split'][full]!r}; give one to every row or to none")
    splits = words.map(SPLIT_WORDS)
    _refuse(splits.isna(), table, lambda row: f"unknown split {rows['split'][row]!r}; use train, dev or eval")
    return rows.assign(split=splits)
