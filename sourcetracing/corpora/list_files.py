"""A list file of unknown make (CSV, TSV, TXT) as a table of text, and which of its columns holds what."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import AUDIO_SUFFIXES
from sourcetracing.corpora.list_columns import SPLIT_WORDS, Vocabulary
from sourcetracing.errors import UserError
from sourcetracing.runtime.lists import read_list
from sourcetracing.settings.frontends import VARIANTS
from sourcetracing.settings.names import EDGES, trimmed

HEADER_WORDS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "wav", "wav_path", "audio", "audio_path", "wav_file_path")
    + ("utt", "utt_id", "utterance", "utterance_id"),
    "language": ("language", "lang", "languages", "language_id"),
    "source": ("source", "model", "model_name", "model_id", "model_dir", "system", "generator"),
    "label": ("label", "labels", "class", "class_id", "class_name", "target"),
    "split": ("split", "subset", "set", "partition"),
    "speaker": ("speaker", "spk", "speaker_id", "spk_id", "speaker_label", "pseudo_speaker", "pseudo_speaker_id", "cluster", "cluster_id"),
    "group": ("group", "seen", "seen_unseen", "speaker_group"),
    "heldout": ("heldout", "held_out", "heldout_language", "held_out_language", "unseen_language", "left_out"),
    "variant": ("variant", "emphasis", "augmentation", "noise", "noise_type", "condition"),
}
_NAMES = "|".join(suffix.lstrip(".") for suffix in AUDIO_SUFFIXES)
AUDIO_SUFFIX = rf"\.(?:{_NAMES})$"
LISTED_SUFFIX = rf"\.(?:{_NAMES}|pt|npy)$"
_FEATURE_NAME = rf"^\d{{6,}}_(?P<label>\d+)_(?P<variant>{'|'.join(VARIANTS)})_(?P<stem>.+)$"
_GROUP = {"seen": "seen", "unseen": "unseen", "true": "seen", "false": "unseen", "1": "seen", "0": "unseen"}


@dataclass(frozen=True)
class ListFile:
    """cells: text, indexed by line number. roles: column -> a key of `HEADER_WORDS`, or "" for a column that is ignored."""

    name: str
    cells: pd.DataFrame
    roles: dict[str, str]
    has_header: bool

    def columns(self, role: str) -> list[str]:
        return [column for column, its_role in self.roles.items() if its_role == role]


def read_list_file(path: Path, name: str, vocabulary: Vocabulary) -> ListFile | None:
    """None where nothing in the file looks like a path or the name of an audio file. Raises `UserError` naming file and row."""
    rows = _read_rows(path, name)
    if not rows or not _looks_like_a_list(rows):
        return None
    _refuse_ragged(rows, name)
    has_header = _is_header(rows)
    first = [_heading(cell) for cell in rows[0][1]]
    columns = [cell if has_header and cell and first.count(cell) == 1 else f"{place}" for place, cell in enumerate(first, 1)]
    body = rows[1:] if has_header else rows
    cells = pd.DataFrame([row for _, row in body], columns=columns, index=[line for line, _ in body], dtype="str")
    roles = _roles(cells, has_header, vocabulary)
    if cells.empty or "path" not in roles.values():
        return None
    return ListFile(name, cells, roles, has_header)


def _read_rows(path: Path, name: str) -> list[tuple[int, list[str]]]:
    """(line number, cells) of each line that is not blank."""
    text = read_list(path, name)
    # A tab at an end is an empty cell; other blanks, and invisible signs, are nothing.
    numbered = [(number, line.strip(EDGES.replace("\t", ""))) for number, line in enumerate(text.lines, 1) if line.strip(EDGES)]
    separator = text.separator or (_separator([line for _, line in numbered]) if numbered else None)
    return [(number, _cells(line, separator)) for number, line in numbered]


def _looks_like_a_list(rows: list[tuple[int, list[str]]]) -> bool:
    """Counts and prose beside the lists hold neither paths nor a heading for them, nor one word a line."""
    is_headed = any(_heading(cell) in HEADER_WORDS["path"] for cell in rows[0][1])
    return is_headed or all(len(row) == 1 for _, row in rows) or any(_is_path(cell) for _, row in rows for cell in row)


def _refuse_ragged(rows: list[tuple[int, list[str]]], name: str) -> None:
    for number, row in rows:
        if len(row) != len(rows[0][1]):
            raise UserError(f"{name}, row {number}: {len(row)} cells, but row {rows[0][0]} has {len(rows[0][1])}")


def _separator(lines: list[str]) -> str | None:
    """Tab, comma, bar or semicolon if the first line has it; white space if it cuts all lines into equally many cells; else None."""
    for separator in ("\t", ",", "|", ";"):
        if separator in lines[0]:
            return separator
    num_words = {len(line.split()) for line in lines}
    return " " if len(num_words) == 1 and num_words != {1} else None


def _cells(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return [line.strip(f'"{EDGES}')]
    if separator == " ":
        return line.split()
    return [trimmed(cell) for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]


def _heading(cell: str) -> str:
    return re.sub(r"\W+", "_", cell.strip().lower()).strip("_")


def _is_path(cell: str) -> bool:
    return bool(re.search(LISTED_SUFFIX, cell.lower()) or re.search(r"(?:^|[/\\])fake[/\\]", cell))


def _is_header(rows: list[tuple[int, list[str]]]) -> bool:
    first = rows[0][1]
    if any(_is_path(cell) for cell in first):
        return False
    known = {word for words in HEADER_WORDS.values() for word in words}
    is_known = any(_heading(cell) in known for cell in first)
    return is_known or (len(rows) > 1 and any(_is_path(cell) for cell in rows[1][1]))


def _roles(cells: pd.DataFrame, has_header: bool, vocabulary: Vocabulary) -> dict[str, str]:
    by_word = {word: role for role, words in HEADER_WORDS.items() for word in words}
    roles = {column: by_word.get(column, "") if has_header else _role_of_values(cells[column], vocabulary) for column in cells}
    if "path" not in roles.values():
        guesses = {column: _role_of_values(cells[column], vocabulary) for column, role in roles.items() if not role or not has_header}
        paths = [column for column, guess in guesses.items() if guess == "path"] or [c for c, guess in guesses.items() if guess == "stem"]
        roles |= dict.fromkeys(paths, "path")
    paths = [column for column, role in roles.items() if role == "path"]
    best = max(paths, key=lambda column: (sum(map(_is_path, cells[column])), -paths.index(column)), default=None)
    roles |= {column: "" for column in paths if column != best}
    return {column: "" if role == "stem" else role for column, role in roles.items()}


def _role_of_values(column: pd.Series, vocabulary: Vocabulary) -> str:
    """What a column without a known heading holds, if every cell of it is of that kind."""
    values = [value for value in column.unique() if value]
    tests = {
        "path": _is_path,
        "split": lambda value: value.lower() in SPLIT_WORDS,
        "language": vocabulary.language,
        "group": lambda value: "seen" in value.lower() and group_of(value),
        "variant": lambda value: value.lower() in VARIANTS,
        "speaker": lambda value: vocabulary.speaker_language(value) or re.fullmatch(r"(?:spk|speaker)[-_ ]?\d+", value.lower()),
        "label": str.isdigit,
        "source": vocabulary.source,
        "stem": lambda value: re.fullmatch(r"[^\s/]*[^\W\d][^\s/]*_[^\s/]*\d[^\s/]*", value),
    }
    return next((role for role, test in tests.items() if values and all(test(value) for value in values)), "")


def group_of(word: str) -> str:
    """seen, unseen_speaker, "Seen speakers", true, 0 -> seen or unseen; "" for anything else."""
    return _GROUP.get(re.sub(r"[-_ ]?(?:speakers?|spks?)$", "", word.strip().lower()), "")


def parse_paths(paths: pd.Series, vocabulary: Vocabulary) -> pd.DataFrame:
    """What each path says: columns language, source, folder, stem, suffix, label, variant, split, group, heldout; "" where it says nothing.

    fake/<language>/<folder>/<stem>.wav with anything before it; feature files <count>_<label>_<variant>_<stem>.pt below folders such as
    en-en/train; bare stems. Outside MLAAD's form the innermost folder that says something counts.
    """
    text = paths.str.strip("\"' ").str.replace("\\", "/", regex=False)
    mlaad = text.str.extract(r"^(?:.*/)?fake/(?P<language>[^/]+)/(?P<folder>[^/]+)/(?P<rest>.+)$").fillna("")
    is_mlaad = mlaad["rest"] != ""
    rest = mlaad["rest"].where(is_mlaad, text.str.extract(r"([^/]*)$")[0])
    bare = rest.str.replace(LISTED_SUFFIX, "", regex=True, case=False)
    feature = bare.str.extract(_FEATURE_NAME).fillna("")
    parsed = pd.DataFrame({"label": feature["label"], "variant": feature["variant"]})
    # A feature file of x.wav may be called ..._x.wav.pt.
    parsed["stem"] = feature["stem"].where(feature["stem"] != "", bare).str.replace(AUDIO_SUFFIX, "", regex=True, case=False)
    parsed["suffix"] = rest.str.extract(rf"({AUDIO_SUFFIX})", flags=re.IGNORECASE)[0].fillna(".wav")
    parents = text.str.extract(r"^(.*)/[^/]*$")[0].fillna("").where(~is_mlaad, "")
    readings = {folder: _read_folders(folder, vocabulary) for folder in parents.unique()}
    for place, name in enumerate(("language", "source", "split", "group", "heldout")):
        parsed[name] = parents.map({folder: reading[place] for folder, reading in readings.items()}).astype("str")
    codes = {code: vocabulary.language(code) or code for code in mlaad["language"].unique()}
    parsed["language"] = mlaad["language"].map(codes).where(is_mlaad, parsed["language"])
    return parsed.assign(folder=mlaad["folder"])


def _read_folders(folders: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """(language, source, split, group, held-out language) of the folders in a listed path."""
    found = dict.fromkeys(("languages", "sources", "splits", "groups", "heldout"), "")
    for part in folders.split("/"):
        reading = vocabulary.read_path_part(part)
        for name in found:
            if len(said := getattr(reading, name)) == 1:
                found[name] = said[0]
        found["sources"] = vocabulary.source_words.get(part.lower(), found["sources"])
    return tuple(found.values())
