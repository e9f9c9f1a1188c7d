"""Lists of trials as files: our CSV, which is written, and those of VoxCeleb (RiemannSD-Net's, too), Kaldi and STOPA, which are read.

Ours: columns enrol, test, perhaps label (1 one source, 0 two, empty not known) and condition. enrol is an utterance, several joined by +,
or a model whose utterances stand in <name>_models.csv beside it (enrol, utt_id). Others, a line each, cells apart by spaces or tabs:
VoxCeleb `1 a b`; Kaldi `a b target`; STOPA a header with AbstractModel, FileName, ATK and IsTargetATK, and beside the list another one of
each model's utterances, of its name. Which form it is, its first line says. A folder is all its lists, each a condition of its name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from io import StringIO
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import AUDIO_SUFFIXES
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv, write_csv
from sourcetracing.runtime.lists import read_list
from sourcetracing.verification.trials import COLUMNS, NOT_KNOWN, OTHER, SAME, TrialList

LABELS = {"1": SAME, "0": OTHER, "": NOT_KNOWN}
KALDI = {"target": "1", "nontarget": "0"}
STOPA = {"True": "1", "False": "0"}
STOPA_NEEDS = ("AbstractModel", "FileName", "ATK", "IsTargetATK")
LIST_SUFFIXES = (".csv", ".txt", ".tsv", ".lst", "")
TOGETHER = "+"  # joins the utterances of a model
_SUFFIX = re.compile(rf"({'|'.join(map(re.escape, AUDIO_SUFFIXES))})$", re.IGNORECASE)


# --- written


def write_trials(trials: TrialList, path: Path) -> None:
    """The list, and its models beside it where one has several utterances."""
    _write_where_new(trials.table[list(COLUMNS)], path)
    several = [(name, utt_id) for name, members in trials.models.items() if members != (name,) for utt_id in members]
    if several:
        _write_where_new(pd.DataFrame(several, columns=["enrol", "utt_id"]), models_path(path))
    else:
        models_path(path).unlink(missing_ok=True)


def _write_where_new(table: pd.DataFrame, path: Path) -> None:
    if not path.is_file() or path.read_bytes() != table.to_csv(index=False, lineterminator="\n").encode():
        write_csv(table, path, lineterminator="\n")


def models_path(path: Path) -> Path:
    """Where the models of a list stand."""
    return path.with_name(f"{path.stem}_models.csv")


# --- read


class _Names:
    """Finds utterances by what lists call them: their utt_id, or a path that ends like it or like which it ends, with a suffix or not."""

    def __init__(self, known: Collection[str]):
        self.known = frozenset(known)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for utt_id in sorted(self.known):
            self.by_stem[utt_id.rpartition("/")[2]].append(utt_id)

    def find(self, name: str, where: Path) -> str:
        """Raises `UserError` where there is none, or more than one."""
        if name in self.known:
            return name
        bare = _SUFFIX.sub("", name.replace("\\", "/").removeprefix("./").strip("/"))
        if bare in self.known:
            return bare
        alike = [
            utt_id for utt_id in self.by_stem[bare.rpartition("/")[2]] if f"/{utt_id}".endswith(f"/{bare}") or bare.endswith(f"/{utt_id}")
        ]
        if len(alike) > 1:
            raise UserError(f"{where}: {name} may be {alike[0]} or {alike[1]}; write more of its path")
        if not alike:
            raise UserError(f"{where}: {name} is no utterance of eval; in a list of ours {models_path(where).name} names those of models")
        return alike[0]


def read_trials(path: Path, known: Collection[str]) -> TrialList:
    """A list of one's own, or a folder of such. known: the utterances there are.

    Raises `UserError` for what is no such list or is cut off, a trial that stands twice, an utterance that is not known, stands in a model
    twice or is compared with itself, and labels of one kind only.
    """
    names, models, rows = _Names(known), {}, []
    for file in _files_of(path):
        table, named = _read_list_of_trials(file)
        if path.is_dir():
            table["condition"] = table["condition"].where(table["condition"] != "", file.stem)
        if (wrong := ~table["label"].isin(LABELS)).any():
            raise UserError(f"{file}: label {table['label'][wrong].iloc[0]!r} is neither 1 (one source), 0 (two) nor empty")
        if (empty := (table["enrol"] == "") | (table["test"] == "")).any():
            raise UserError(f"{file}: trial {empty.to_numpy().argmax() + 1} has no enrol or no test. Is the file cut off?")
        found = {name: _members(name, named, names, file) for name in table["enrol"].unique()}
        own = {name: members[0] if name not in named and len(members) == 1 else name for name, members in found.items()}
        for name, members in found.items():
            if models.setdefault(own[name], members) != members:
                raise UserError(f"{file}: the model {name} is another one in another list of {path}")
        tests = {name: names.find(name, file) for name in table["test"].unique()}
        rows.append(table.assign(enrol=table["enrol"].map(own), test=table["test"].map(tests), label=table["label"].map(LABELS)))
    trials = TrialList(models, pd.concat(rows, ignore_index=True))
    _check(trials, path)
    return trials


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.iterdir()) if file.is_file() and file.suffix.lower() in LIST_SUFFIXES and file.name[0] != "."]
    files = [file for file in files if not file.name.endswith("_models.csv")]
    files = [file for file in files if file.stem.endswith("_trials")] or files  # STOPA's lists of utterances stand among those of trials
    if not files:
        raise UserError(f"verification.trials={path} is a folder without lists of trials")
    return files


def _read_list_of_trials(path: Path) -> tuple[pd.DataFrame, Mapping[str, Sequence[str]]]:
    """Columns of COLUMNS as text; names of utterances of the models that the list names by more than themselves."""
    try:
        text = read_list(path)
    except FileNotFoundError:
        raise UserError(f"verification.trials={path} is missing") from None
    except OSError as error:
        raise UserError(f"verification.trials={path} cannot be read ({error.strerror})") from None
    cells = next((line.split() for line in text.lines if line.strip()), [])
    if "AbstractModel" in cells:
        return _of_stopa(path, _apart(path, text.lines))
    if len(cells) == 3 and cells[0] in ("0", "1"):
        lines = pd.DataFrame(_apart(path, text.lines), columns=["label", "enrol", "test"], dtype=str)
        return _whole(lines), {}
    if len(cells) == 3 and cells[2] in KALDI:
        lines = pd.DataFrame(_apart(path, text.lines), columns=["enrol", "test", "label"], dtype=str)
        return _whole(lines.assign(label=lines["label"].replace(KALDI))), {}
    return _whole(_of_csv(path, text.lines, text.separator, ("enrol", "test"))), _models_beside(path)


def _apart(path: Path, lines: Sequence[str]) -> list[list[str]]:
    """The cells of the lines that are not empty, as many in each as in the first."""
    rows = [(number, line.split("\t") if "\t" in line else line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    for number, cells in rows:
        if len(cells) != len(rows[0][1]):
            raise UserError(f"{path}: line {number} has {len(cells)} cells, the first one {len(rows[0][1])}. Is the file cut off?")
    return [cells for _, cells in rows]


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{column: "" for column in ("label", "condition") if column not in table})[list(COLUMNS)]


def _of_stopa(path: Path, rows: list[list[str]]) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Audio of trials lies in <attack>/eval, that of models in <attack>/dev."""
    table = pd.DataFrame(rows[1:], columns=rows[0], dtype=str)
    if lacking := [column for column in STOPA_NEEDS if column not in table]:
        raise UserError(f"{path} has no column {lacking[0]}; it has: {', '.join(table.columns)}")
    if table.empty:
        raise UserError(f"{path} has no trials")
    models = {}
    for name in table["AbstractModel"].unique():
        beside = next((file for suffix in ("", ".txt") if (file := path.with_name(name + suffix)).is_file()), None)
        if beside is None:
            raise UserError(f"{path}: the list of utterances of {name} is missing beside it ({name} or {name}.txt)")
        members = _apart(beside, read_list(beside).lines)[1:]  # below a header; cells 1 and 3 are file and attack
        if not members or len(members[0]) < 4:
            raise UserError(f"{beside} names no utterances: it needs a header, then lines with the file in cell 2 and its attack in cell 4")
        models[name] = [f"{cells[3]}/dev/{cells[1]}" for cells in members]
    label = table["IsTargetATK"].replace(STOPA)
    size = table["AbstractModel"].str.partition("-")[2]  # AA01-co-100: co-100
    test = table["ATK"] + "/eval/" + table["FileName"]
    return pd.DataFrame({"enrol": table["AbstractModel"], "test": test, "label": label, "condition": size}), models


def _of_csv(path: Path, lines: Sequence[str], separator: str, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = read_csv(StringIO("\n".join(lines)), sep=separator or ",")
    except ValueError as error:
        raise UserError(f"{path} is no table ({str(error).splitlines()[0]})") from None
    if lacking := [column for column in columns if column not in table]:
        raise UserError(f"{path} has no column {lacking[0]}; it has: {', '.join(map(str, table.columns))}")
    if table.empty:
        raise UserError(f"{path} has no trials")
    return table


def _models_beside(path: Path) -> dict[str, list[str]]:
    beside = models_path(path)
    if not beside.is_file():
        return {}
    text = read_list(beside)
    table = _of_csv(beside, text.lines, text.separator, ("enrol", "utt_id"))
    return {str(name): list(part) for name, part in table.groupby("enrol", sort=False)["utt_id"]}


def _members(name: str, named: Mapping[str, Sequence[str]], names: _Names, path: Path) -> tuple[str, ...]:
    """The utterances of what a trial enrols; one whose own name has a + is itself."""
    if name in named:
        parts = named[name]
    elif TOGETHER in name and name not in names.known:
        parts = name.split(TOGETHER)
    else:
        parts = [name]
    members = tuple(names.find(part, path) for part in parts)
    if len(set(members)) < len(members):
        raise UserError(f"{path}: an utterance stands twice in the model {name}")
    return members


def _check(trials: TrialList, path: Path) -> None:
    table, models = trials.table, trials.models
    same_set = {name: tuple(sorted(members)) for name, members in models.items()}
    if (twice := table.assign(enrol=table["enrol"].map(same_set)).duplicated(["enrol", "test"])).any():
        raise UserError(f"{path}: the trial {table['enrol'][twice].iloc[0]}, {table['test'][twice].iloc[0]} stands twice")
    if not {SAME, OTHER} <= set(table["label"]):
        raise UserError(f"{path} needs trials of one source (label 1) and of two (0) for figures")
    for enrol, test in zip(table["enrol"], table["test"], strict=True):
        if test in models[enrol]:
            raise UserError(f"{path}: {test} is compared with {'itself' if test == enrol else f'{enrol}, which it is part of'}")
