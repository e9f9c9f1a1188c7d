"""Lists of trials as others write them: our CSV, VoxCeleb's and RiemannSD-Net's, Kaldi's, STOPA's; which one is seen from the content.

| recognised by | a row | models of several utterances |
|---|---|---|
| a heading with enrol and test | `enrol,test[,label][,condition]` | `a+b+c`, or a name of the file of models (CSV `enrol,utt_id`) |
| three words, the first 0 or 1 | `1 a b` (VoxCeleb; the four lists of RiemannSD-Net, arXiv:2603.21875) | none |
| three words, the last target or nontarget | `a b target` (Kaldi, WeSpeaker) | none |
| a heading with AbstractModel | `AbstractModel FileName … IsTargetATK` (STOPA, arXiv:2505.19644) | fingerprint lists, called after models |

Headings and their rows are divided by commas, semicolons or tabs. Files may be named with folders and suffixes, or without. A
trial of an unknown file is an error: left out, it would change the figures.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.audio.formats import AUDIO_SUFFIXES
from sourcetracing.errors import UserError
from sourcetracing.runtime.lists import read_list
from sourcetracing.verification.trials import COLUMNS, NOT_KNOWN, OTHER, SAME, TrialList

LABELS = {"1": SAME, "0": OTHER, "": NOT_KNOWN, "target": SAME, "nontarget": OTHER, "True": SAME, "False": OTHER}
LIST_SUFFIXES = (".csv", ".tsv", ".txt")
Models = Mapping[str, tuple[str, ...]]


class UtteranceNames:
    """Finds the utterance that a list means by a path, a file name or a stem. known: the utt_ids there are."""

    def __init__(self, known: Collection[str]):
        self.known = set(known)
        self.by_tail: dict[str, set[str]] = defaultdict(set)
        for utt_id in known:
            parts = _bare(utt_id).split("/")
            for start in range(len(parts)):
                self.by_tail["/".join(parts[start:])].add(utt_id)

    def find(self, name: str, folder: str = "") -> str:
        """The utt_id; of several in different folders the one in `folder`. Raises `UserError` where none or several are meant."""
        if name in self.known:
            return name
        parts = _bare(name).split("/")
        hits = self.by_tail.get("/".join(parts), set())
        for start in range(1, len(parts)):  # the list has more folders than we: the utt_id has to be all of the rest
            tail = "/".join(parts[start:])
            hits = hits or {utt_id for utt_id in self.by_tail.get(tail, ()) if _bare(utt_id) == tail}
        if folder and len(hits) > 1:
            hits = hits & self.by_tail.get(f"{folder}/{'/'.join(parts)}", set()) or hits
        if len(hits) != 1:
            what = f"could be {' or '.join(sorted(hits)[:2])}" if hits else "is no utterance that is known here"
            raise UserError(f"{name!r} {what}")
        return next(iter(hits))


def read_trial_list(path: Path, known: Collection[str], models: Path | None = None) -> TrialList:
    """A list of any of the formats above, over the utterances `known`.

    models: the file of models of a CSV (without it <list>_models.csv beside it, where there is one), or STOPA's fingerprint list, or the
    folder of them (without it the list's own). Raises `UserError`, in one line, for a missing file, another encoding than UTF-8, an
    unknown format, a row that is cut, an unknown utterance, another label than 0 and 1, a trial that stands twice, a test utterance of
    its own model, no trials, and labels of one kind only.
    """
    path = Path(path)
    lines = _lines(path)
    rows, kind = _rows(lines, path)
    names = UtteranceNames(known)
    given = _given_models(path, kind, models, names)
    found: dict[str, tuple[str, ...]] = {}
    enrol, test = [], []
    for number, row in zip(rows.index, rows.itertuples(index=False), strict=True):
        try:
            name, members = _model(row.enrol, given, names, kind)
            test.append(names.find(row.test, row.folder))
        except UserError as error:
            raise UserError(f"{path}, row {number}: {error}") from None
        found[name] = members
        enrol.append(name)
    table = pd.DataFrame({"enrol": enrol, "test": test, "label": _labels(rows, path), "condition": rows["condition"].tolist()})
    trials = TrialList(found, table[list(COLUMNS)])
    _check(trials, rows.index, path)
    return trials


def read_trial_lists(path: Path, known: Collection[str]) -> TrialList:
    """`read_trial_list` of a file; of a folder all its lists in one, each a condition that is called after it.

    Where some are called <...>_trials, as STOPA's, only these are lists; <...>_models.csv belong to others. Raises `UserError`, too, for a
    folder without lists, a trial that stands in two of them, and two models of one name.
    """
    if not Path(path).is_dir():
        return read_trial_list(path, known)
    files = sorted(file for file in Path(path).iterdir() if file.is_file() and file.suffix in LIST_SUFFIXES and file.name[0] != ".")
    files = [file for file in files if not file.stem.endswith("_models")]
    files = [file for file in files if file.stem.endswith("_trials")] or files
    if not files:
        raise UserError(f"{path}: there is no list of trials in this folder; their names end in {', '.join(LIST_SUFFIXES)}")
    models: dict[str, tuple[str, ...]] = {}
    tables, place_of = [], {}
    for file in files:
        found = read_trial_list(file, known)
        if mixed := [name for name, members in found.models.items() if models.get(name, members) != members]:
            raise UserError(f"{file}: its model {mixed[0]} has other utterances than the one of that name in another list of {path}")
        for pair in zip(found.table["enrol"], found.table["test"], strict=True):
            if (other := place_of.setdefault(pair, file)) != file:
                raise UserError(f"{file}: the trial {', '.join(pair)} stands in {other.name}, too")
        models |= found.models
        named = [f"{file.stem}: {own}" if own else file.stem for own in found.table["condition"]]
        tables.append(found.table.assign(condition=named))
    return TrialList(models, pd.concat(tables, ignore_index=True))


def _bare(name: str) -> str:
    """Without ./ before it and an audio suffix behind it, folders divided by /."""
    name = name.strip().replace("\\", "/").removeprefix("./")
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in AUDIO_SUFFIXES else name


def _lines(path: Path) -> list[str]:
    try:
        lines = read_list(path).lines
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Name a list of trials") from None
    if not any(line.strip() for line in lines):
        raise UserError(f"{path} is empty. Name a list of trials")
    return lines


def _rows(lines: list[str], path: Path) -> tuple[pd.DataFrame, str]:
    """(enrol, test, label, condition, folder of test as text, indexed by line number; the format: csv, words or stopa)."""
    first = next(line for line in lines if line.strip())
    words = _words(first)
    headings = {cell.strip().strip('"') for cell in first.split(_divider(first))}
    if {"enrol", "test"} <= headings:
        return _csv_rows(lines, path), "csv"
    if "AbstractModel" in words:
        return _stopa_rows(lines, path), "stopa"
    if len(words) == 3 and words[0] in ("0", "1"):
        return _word_rows(lines, path, ("label", "enrol", "test")), "words"
    if len(words) == 3 and words[2] in ("target", "nontarget"):
        return _word_rows(lines, path, ("enrol", "test", "label")), "words"
    raise UserError(
        f"{path}: no list of trials; known are CSV with enrol,test[,label][,condition], rows such as `1 a.wav b.wav` or "
        "`a.wav b.wav target`, and STOPA's with AbstractModel"
    )


def _words(line: str) -> list[str]:
    """Divided by tabs where there are any, else by blanks."""
    return [word.strip() for word in line.split("\t")] if "\t" in line else line.split()


def _divider(heading: str) -> str:
    return next((sign for sign in ",;\t" if sign in heading), ",")


def _csv_rows(lines: list[str], path: Path) -> pd.DataFrame:
    table = _cells(lines, path)
    table = table[[column for column in COLUMNS if column in table]]
    return table.assign(**{column: "" for column in ("label", "condition", "folder") if column not in table})


def _cells(lines: list[str], path: Path) -> pd.DataFrame:
    """The cells of a CSV as text, indexed by line number."""
    divider = _divider(next(line for line in lines if line.strip()))
    rows = {
        number: [cell.strip() for cell in next(csv.reader([line], delimiter=divider))]
        for number, line in enumerate(lines, 1)
        if line.strip()
    }
    (first, heading), *body = rows.items()
    if twice := [cell for cell in heading if heading.count(cell) > 1]:
        raise UserError(f"{path}: the heading has {twice[0]!r} twice")
    for number, row in body:
        if len(row) != len(heading):
            hint = "Is the file complete? Names with commas stand in quotes"
            raise UserError(f"{path}, row {number}: {len(row)} cells, but the heading in row {first} has {len(heading)}. {hint}")
    return pd.DataFrame([row for _, row in body], index=[number for number, _ in body], columns=heading, dtype="str")


def _word_rows(lines: list[str], path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    rows = {number: _words(line) for number, line in enumerate(lines, 1) if line.strip()}
    for number, row in rows.items():
        if len(row) != len(columns):
            hint = "Is the file complete? Names with blanks need tabs, or the CSV form"
            raise UserError(f"{path}, row {number}: {len(row)} words, but row {next(iter(rows))} has {len(columns)}. {hint}")
    return pd.DataFrame(rows.values(), index=list(rows), columns=list(columns), dtype="str").assign(condition="", folder="")


def _stopa_rows(lines: list[str], path: Path) -> pd.DataFrame:
    first = next(number for number, line in enumerate(lines) if line.strip())
    columns = tuple(lines[first].split())
    if lacking := [column for column in ("FileName", "IsTargetATK") if column not in columns]:
        raise UserError(f"{path}: a list of STOPA without a column {lacking[0]}; it has: {', '.join(columns)}")
    body = _word_rows(["" if number == first else line for number, line in enumerate(lines)], path, columns)
    body["folder"] = body["ATK"] + "/eval" if "ATK" in body else ""  # attacks say the same sentences: their files may be called alike
    return body.rename(columns={"AbstractModel": "enrol", "FileName": "test", "IsTargetATK": "label"})[[*COLUMNS, "folder"]]


def _given_models(path: Path, kind: str, models: Path | None, names: UtteranceNames) -> Models:
    if kind == "words":
        return {}
    if kind == "csv":
        beside = Path(models) if models else path.with_name(f"{path.stem}_models.csv")
        return _csv_models(beside, names) if models or beside.is_file() else {}
    place = Path(models) if models else path.parent
    if not place.is_dir():
        return {place.stem: _fingerprint(place, names)}
    wanted = sorted({line.split()[0] for line in _lines(path)[1:] if line.strip()})
    beside = {name: place / f"{name}.txt" if (place / f"{name}.txt").is_file() else place / name for name in wanted}
    return {name: _fingerprint(file, names) for name, file in beside.items() if file.is_file()}


def _csv_models(path: Path, names: UtteranceNames) -> Models:
    table = _cells(_lines(path), path)
    if not {"enrol", "utt_id"} <= set(table.columns):
        raise UserError(f"{path}: no list of models; it needs the columns enrol,utt_id")
    return {str(name): _members(part.tolist(), names, path) for name, part in table.groupby("enrol", sort=False)["utt_id"]}


def _fingerprint(path: Path, names: UtteranceNames) -> tuple[str, ...]:
    """The files of a fingerprint list: blanks, a heading, the file name under FileName or in the second column."""
    rows = [line.split() for line in _lines(path) if line.strip()]
    column = rows[0].index("FileName") if "FileName" in rows[0] else 1
    if any(len(row) <= column for row in rows) or len(rows) < 2:
        raise UserError(f"{path}: no fingerprint list of STOPA, or one that is cut: each row needs {column + 1} words below a heading")
    attack = rows[0].index("ATK") if "ATK" in rows[0] else 3
    return _members([row[column] for row in rows[1:]], names, path, [f"{row[attack]}/dev" if len(row) > attack else "" for row in rows[1:]])


def _members(listed: list[str], names: UtteranceNames, where: object, folders: Sequence[str] = ()) -> tuple[str, ...]:
    try:
        members = tuple(names.find(*named) for named in zip_longest(listed, folders, fillvalue=""))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if len(set(members)) < len(members):
        twice = next(member for member in members if members.count(member) > 1)
        raise UserError(f"{where}: {twice} stands twice in one model")
    return members


def _model(text: str, given: Models, names: UtteranceNames, kind: str) -> tuple[str, tuple[str, ...]]:
    """(name, members): a model that is given, else an utterance, else utterances joined by +."""
    if text in given:
        return text, given[text]
    if kind == "stopa":
        raise UserError(f"there is no fingerprint list {text}; there are {', '.join(sorted(given)[:5]) or 'none'}")
    try:
        utt_id = names.find(text)
    except UserError:
        if kind != "csv" or "+" not in text:
            raise
        return text, _members(re.split(r"\s*\+\s*", text), names, f"enrol {text!r}")
    return utt_id, (utt_id,)


def _labels(rows: pd.DataFrame, path: Path) -> np.ndarray:
    if (wrong := ~rows["label"].isin(list(LABELS))).any():
        raise UserError(f"{path}, row {wrong.idxmax()}: label {rows['label'][wrong.idxmax()]!r} is neither 1 (one source) nor 0 (two)")
    return rows["label"].map(LABELS).to_numpy(dtype=np.int64)


def _check(trials: TrialList, numbers: pd.Index, path: Path) -> None:
    table = trials.table
    if table.empty:
        raise UserError(f"{path} has no trials")
    members = {name: tuple(sorted(members)) for name, members in trials.models.items()}  # one model, whatever its name
    if (twice := table.assign(enrol=table["enrol"].map(members)).duplicated(["enrol", "test"]).to_numpy()).any():
        row = int(twice.argmax())
        raise UserError(f"{path}, row {numbers[row]}: the trial {table['enrol'][row]}, {table['test'][row]} stands twice")
    for number, enrol, test in zip(numbers, table["enrol"], table["test"], strict=True):
        if test in trials.models[enrol]:
            whom = "itself" if trials.models[enrol] == (test,) else f"{enrol}, which it is part of"
            raise UserError(f"{path}, row {number}: {test} is compared with {whom}")
    known = set(trials.labels.tolist()) - {NOT_KNOWN}
    if len(known) == 1:
        raise UserError(f"{path}: all labels are {known.pop()}; figures need trials of one source (1) and of two (0)")
