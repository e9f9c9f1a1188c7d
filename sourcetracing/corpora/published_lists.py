"""Reads split lists of unknown make, such as those the authors of MCL-MLAAD publish, says what it recognised, refuses what is ambiguous.

Folders "Languages Protocol", "Seen & Unseen Speakers Eval Protocol" and "Languages+Speakers Protocol" hold CSV or TXT lists of paths.
Language, source, split and speaker of a row are said by its path, by a column, by a folder or by the name of the file. All that say
something have to agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from sourcetracing.corpora.list_columns import SPEAKER_WORDS, SPLIT_WORDS, Vocabulary
from sourcetracing.corpora.list_files import ListFile, group_of, parse_paths, read_list_file
from sourcetracing.corpora.mlaad import model_dir_of
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import require_inside
from sourcetracing.settings.training import SPLITS

LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".lst")
LANGUAGES, SPEAKERS, SEEN_UNSEEN = "languages", "languages+speakers", "seen-unseen speakers"
_NO_LIST = re.compile(r"(?:readme|licen[cs]e|citation|changelog|requirements)\b", re.IGNORECASE)
_SAID = {
    "language": "language",
    "source": "source",
    "split": "split",
    "speaker": "speaker",
    "group": "group",
    "heldout": "held-out language",
}


@dataclass(frozen=True)
class ImportedLists:
    """What the lists hold.

    utterances: path (fake/<language>/<model folder>/<stem>.wav), language, source, split, speaker ("" unknown) and group: the held-out
    languages of leave-one-out lists with this row, as "heldout-en;heldout-ru". Sorted by path, each once.
    speaker_groups: path, language, source, heldout, group (seen or unseen). recognised: a row per file: file, rows, utterances,
    variants (acoustic variants per utterance), kind, and where each fact came from. notes: lines about what was skipped or left out.
    """

    utterances: pd.DataFrame
    speaker_groups: pd.DataFrame
    recognised: pd.DataFrame
    notes: list[str]


def read_lists(folder: Path, sources: Sequence[str], languages: Sequence[str]) -> ImportedLists:
    """All lists below a folder. sources: model names in the order of the class ids; rows of other languages than these are left out.

    Raises `UserError` naming file, row and both readings where two places disagree about a row or two rows about an utterance; and for a
    row of which nothing says the language, source or split, an unknown source, and a folder without lists.
    """
    folder = Path(folder)
    vocabulary = Vocabulary(tuple(sources), tuple(languages))
    files, notes = _find_lists(folder, vocabulary)
    if not files:
        raise UserError(f"{folder} holds no lists of audio paths (CSV, TSV or TXT). See mcl_mlaad.lists")
    kinds = [_kind(file, folder.name) for file in files]
    read = [_read_file(file, kind, vocabulary) for file, kind in zip(files, kinds, strict=True)]
    rows = pd.concat([table for table, _ in read], ignore_index=True)
    rows, known = _complete(rows)
    recognised = pd.DataFrame([_facts(*each) for each in zip(files, kinds, read, strict=True)])
    recognised["utterances"] = recognised["file"].map(rows.groupby("file")["path"].nunique())
    if known.empty:
        raise UserError(f"{folder}: its lists say nothing about train, dev and eval. See mcl_mlaad.lists")
    recognised["variants"] = recognised["file"].map(_variants_per_utterance(rows)).fillna(1).astype(int)
    notes += _class_id_notes(recognised, sources) + _foreign_notes(rows, languages)
    rows, known = rows[rows["language"].isin(languages)], known[known["language"].isin(languages)]
    groups = _speaker_groups(rows[rows["kind"] == SEEN_UNSEEN])
    return ImportedLists(known.drop(columns="stem").reset_index(drop=True), groups, recognised, notes + _group_notes(groups, known))


def _find_lists(folder: Path, vocabulary: Vocabulary) -> tuple[list[ListFile], list[str]]:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder. See mcl_mlaad.lists")
    files, notes, num_hidden = [], [], 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in PurePosixPath(name).parts):
            num_hidden += 1
        elif path.suffix.lower() not in LIST_SUFFIXES or _NO_LIST.match(path.name):
            notes.append(f"skipped {name}: no CSV, TSV or TXT list")
        elif file := read_list_file(path, name, vocabulary):
            files.append(file)
        else:
            notes.append(f"skipped {name}: nothing in it looks like a list of audio files")
    return files, notes + ([f"skipped {num_hidden} hidden files"] if num_hidden else [])


def _kind(file: ListFile, folder_name: str) -> str:
    # One of the published folders may be given alone; any other name up there is the user's own and says nothing.
    names = f"{folder_name}/{file.name}" if re.search(r"\bprotocol$", folder_name, re.IGNORECASE) else file.name
    words = set(re.findall(r"[a-z]+", names.lower()))
    if file.columns("group") or (words & SPEAKER_WORDS and words & {"seen", "unseen"}):
        return SEEN_UNSEEN
    return SPEAKERS if words & SPEAKER_WORDS or file.columns("speaker") else LANGUAGES


# --- one file


@dataclass(frozen=True)
class _Witness:
    """One place that says something. readings: for each row ("" = nothing), or for all rows the values it allows."""

    place: str
    readings: pd.Series | tuple[str, ...]


def _read_file(file: ListFile, kind: str, vocabulary: Vocabulary) -> tuple[pd.DataFrame, dict[str, str]]:
    """(rows with what is known about each, fact -> the places that say it)."""
    file = _settle_labels(file, kind, vocabulary)
    parsed = parse_paths(file.cells[file.columns("path")[0]], vocabulary)
    witnesses = _path_witnesses(file, parsed, vocabulary)
    for fact, found in _column_witnesses(file, vocabulary).items():
        witnesses[fact] += found
    for fact, found in _name_witnesses(file, kind, vocabulary).items():
        witnesses[fact] += found
    rows = parsed[["stem", "suffix", "variant"]].assign(file=file.name, row=file.cells.index, kind=kind)
    places = {}
    for fact, found in witnesses.items():
        rows[fact], places[fact] = _agree(fact, found, file)
    if kind == LANGUAGES:
        _require_all(rows, ("language", "source", "split"))
    if kind == SEEN_UNSEEN:
        _require_all(rows, ("group", "heldout"))
    return rows, places | {"ignored": ", ".join(_column_name(file, column) for column in file.columns(""))}


def _settle_labels(file: ListFile, kind: str, vocabulary: Vocabulary) -> ListFile:
    """A column headed `label`, or one of bare numbers, holds class ids or, in lists of speakers, may hold speakers."""
    roles = dict(file.roles)
    may_be_numbers = kind == SPEAKERS and "speaker" not in roles.values()
    for column in file.columns("label"):
        values = file.cells[column].unique()
        if all(vocabulary.source(value) for value in values):
            roles[column] = "source"
        elif all(vocabulary.speaker_language(value) or (may_be_numbers and value.isdigit()) for value in values):
            roles[column] = "speaker"
        else:
            roles[column] = "source" if file.has_header else ""
    both = [] if file.has_header else [column for column in file.columns("label") if roles[column] == "source"]
    if len(both) > 1:
        raise UserError(f"{file.name}: columns {both[0]} and {both[1]} could both be class ids. Give the file a header such as path,label")
    return ListFile(file.name, file.cells, roles, file.has_header)


def _path_witnesses(file: ListFile, parsed: pd.DataFrame, vocabulary: Vocabulary) -> dict[str, list[_Witness]]:
    known = {folder: vocabulary.source_words.get(folder.lower(), "") for folder in parsed["folder"].unique()}
    if strange := [folder for folder, source in known.items() if folder and not source]:
        row = (parsed["folder"] == strange[0]).idxmax()
        raise UserError(f"{file.name}, row {row}: source {strange[0]!r} is none of corpus.sources ({', '.join(vocabulary.sources)})")
    labels = parsed["label"].map(lambda label: label and vocabulary.source(label))
    _refuse_unread(labels, parsed["label"], "the class id in the path", "source", file, vocabulary)
    witnesses = {fact: [_Witness("path", parsed[fact])] for fact in ("language", "split", "group", "heldout")}
    witnesses["source"] = [
        _Witness("path", parsed["source"].where(parsed["folder"] == "", parsed["folder"].map(known))),
        _Witness("class id in the path", labels.astype("str")),
    ]
    return witnesses | {"speaker": []}


def _column_witnesses(file: ListFile, vocabulary: Vocabulary) -> dict[str, list[_Witness]]:
    readers = {
        "language": lambda word: vocabulary.language(word) or (word if re.fullmatch(r"[a-z]{2}", word) else ""),
        "source": vocabulary.source,
        "split": lambda word: SPLIT_WORDS.get(word.lower(), ""),
        "speaker": str,
        "group": group_of,
        "heldout": vocabulary.language,
    }
    witnesses = {fact: [] for fact in readers}
    for fact, reader in readers.items():
        for column in file.columns(fact):
            place, words = _column_name(file, column), file.cells[column]
            if fact == "source" and words.str.isdigit().all():
                place = f"class id in {place}"
            readings = words.map({word: reader(word) for word in words.unique()}).astype("str")
            _refuse_unread(readings, words, place, fact, file, vocabulary)
            witnesses[fact].append(_Witness(place, readings))
            if fact == "speaker":
                spoken = words.map({word: vocabulary.speaker_language(word) for word in words.unique()})
                witnesses["language"].append(_Witness(place, spoken.astype("str")))
    return witnesses


def _column_name(file: ListFile, column: str) -> str:
    return f"column {column!r}" if file.has_header else f"column {column}"


def _refuse_unread(readings: pd.Series, words: pd.Series, place: str, fact: str, file: ListFile, vocabulary: Vocabulary) -> None:
    unread = (readings == "") & (words != "")
    if unread.any():
        row = unread.idxmax()
        known = f"none of corpus.sources ({', '.join(vocabulary.sources)})" if fact == "source" else f"no {_SAID[fact]} that is known here"
        raise UserError(f"{file.name}, row {row}: {place} is {words[row]!r}, {known}")


def _name_witnesses(file: ListFile, kind: str, vocabulary: Vocabulary) -> dict[str, list[_Witness]]:
    """What folders and file name say. In lists of seen and unseen speakers a language there is the held-out one, and `eval` no split."""
    path = PurePosixPath(file.name)
    places = [(f"folder {part!r}", part) for part in path.parts[:-1]] + [(f"file name {path.name!r}", path.stem)]
    witnesses = {fact: [] for fact in _SAID}
    for place, name in places:
        said = vocabulary.read_name(name)
        facts = {"source": said.sources, "heldout": said.heldout}
        if kind == SEEN_UNSEEN:
            facts |= {"group": said.groups, "heldout": said.heldout or said.languages}
        else:
            facts |= {"language": said.languages, "split": said.splits}
        if kind == SPEAKERS:
            facts["speaker"] = said.speakers
        for fact, values in facts.items():
            witnesses[fact] += [_Witness(place, values)] if values else []
    return witnesses


def _agree(fact: str, witnesses: list[_Witness], file: ListFile) -> tuple[pd.Series, str]:
    """(the fact for each row, the places that say it). Raises `UserError` at the first row that two places read differently."""
    result = pd.Series("", index=file.cells.index, dtype="str")
    said_by = result.copy()
    places = []
    for witness in sorted(witnesses, key=lambda witness: isinstance(witness.readings, tuple) and len(witness.readings) > 1):
        readings = witness.readings
        if isinstance(readings, tuple):
            wrong = (result != "") & ~result.isin(readings)
            readings = pd.Series(readings[0] if len(readings) == 1 else "", index=result.index, dtype="str")
        else:
            wrong = (result != "") & (readings != "") & (result != readings)
        if wrong.any():
            row = wrong.idxmax()
            other = " or ".join(witness.readings) if isinstance(witness.readings, tuple) else readings[row]
            where = f"{file.name}, row {row} ({file.cells.loc[row, file.columns('path')[0]]})"
            raise UserError(f"{where}: {said_by[row]} says {_SAID[fact]} {result[row]}, {witness.place} says {other}")
        if (readings != "").any():
            places.append(witness.place)
        said_by = said_by.where((result != "") | (readings == ""), witness.place)
        result = result.where(result != "", readings)
    return result, ", ".join(places)


def _require_all(rows: pd.DataFrame, facts: Sequence[str]) -> None:
    for fact in facts:
        if (silent := rows[fact] == "").any():
            first = rows[silent].iloc[0]
            places = "its path, a column, a folder or the file name"
            raise UserError(f"{first['file']}, row {first['row']} ({first['stem']}): nothing says the {_SAID[fact]}; {places} has to")


# --- all files


def _complete(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows with path, the table of utterances). What lists of speakers leave open is taken from the utterance of that name."""
    languages = _with_paths(rows[rows["kind"] == LANGUAGES])
    speakers = rows[rows["kind"] == SPEAKERS]
    is_full = (speakers[["language", "source", "split"]] != "").all(axis=1)
    known = _merge(pd.concat([languages, _with_paths(speakers[is_full])]))
    filled = _with_paths(_fill(speakers[~is_full], known, ("language", "source", "split")))
    rest = _with_paths(_fill(rows[rows["kind"] == SEEN_UNSEEN], known, ("language", "source")))
    full = pd.concat([languages, _with_paths(speakers[is_full]), filled])
    return pd.concat([full, rest]).sort_index(), _merge(full)


def _with_paths(rows: pd.DataFrame) -> pd.DataFrame:
    folders = rows["source"].map({source: model_dir_of(source) for source in rows["source"].unique()}).astype("str")
    paths = "fake/" + rows["language"] + "/" + folders + "/" + rows["stem"] + rows["suffix"]
    require_inside(paths, "mcl_mlaad.lists")
    return rows.assign(path=paths)


def _fill(rows: pd.DataFrame, known: pd.DataFrame, facts: Sequence[str]) -> pd.DataFrame:
    """Takes open facts from the one known utterance with that stem which agrees with what the row says. Raises `UserError` otherwise."""
    lacking = rows[(rows[list(facts)] == "").any(axis=1)]
    if lacking.empty:
        return rows
    pairs = lacking.reset_index(names="place").merge(known, on="stem", suffixes=("", "_known"))
    for fact in facts:
        pairs = pairs[(pairs[fact] == "") | (pairs[fact] == pairs[f"{fact}_known"])]
    counts = pairs.groupby("place").size().reindex(lacking.index, fill_value=0)
    if (counts != 1).any():
        place = (counts != 1).idxmax()
        raise UserError(_unclear(lacking.loc[place], pairs[pairs["place"] == place]["path"].tolist(), facts))
    found = pairs.set_index("place")
    return rows.assign(**{fact: rows[fact].where(rows[fact] != "", found[f"{fact}_known"].reindex(rows.index)) for fact in facts})


def _unclear(row: pd.Series, paths: list[str], facts: Sequence[str]) -> str:
    silent = " and ".join(_SAID[fact] for fact in facts if not row[fact])
    meant = f"it could be {paths[0]} or {paths[1]}" if paths else "no other list has an utterance of that name which agrees with it"
    return f"{row['file']}, row {row['row']} ({row['stem']}): nothing says its {silent}, and {meant}"


def _merge(rows: pd.DataFrame) -> pd.DataFrame:
    """Each utterance once: path, language, source, split, speaker, group, stem. Raises `UserError` where two rows disagree."""
    _refuse_differing(rows, "split", ["path"])
    _refuse_differing(rows[rows["speaker"] != ""], "speaker", ["path"])
    first = rows.sort_values("speaker", ascending=False, kind="stable").drop_duplicates("path").sort_values("path", ignore_index=True)
    held_out = rows[rows["heldout"] != ""].drop_duplicates(["path", "heldout"]).sort_values(["path", "heldout"])
    groups = ("heldout-" + held_out["heldout"]).groupby(held_out["path"]).agg(";".join)
    first["group"] = groups.reindex(first["path"], fill_value="").astype("str").to_numpy()
    return first[["path", "language", "source", "split", "speaker", "group", "stem"]]


def _refuse_differing(rows: pd.DataFrame, fact: str, keys: list[str]) -> None:
    differs = rows[fact] != rows.groupby(keys)[fact].transform("first")
    if differs.any():
        second = rows[differs].iloc[0]
        first = rows[(rows[keys] == second[keys]).all(axis=1)].iloc[0]
        said = [f"{row['file']}, row {row['row']}, says {_SAID[fact]} {row[fact]}" for row in (first, second)]
        raise UserError(f"{second['path']}: {said[0]}, but {said[1]}")


def _speaker_groups(rows: pd.DataFrame) -> pd.DataFrame:
    _refuse_differing(rows, "group", ["path", "heldout"])
    columns = ["path", "language", "source", "heldout", "group"]
    return rows.drop_duplicates(["path", "heldout"]).sort_values(["heldout", "group", "path"], ignore_index=True)[columns]


# --- what the user reads


def _facts(file: ListFile, kind: str, read: tuple[pd.DataFrame, dict[str, str]]) -> dict:
    rows, places = read
    path = _column_name(file, file.columns("path")[0])
    return {"file": file.name, "rows": len(rows), "kind": kind, "path": path, **{fact: places[fact] for fact in (*_SAID, "ignored")}}


def _variants_per_utterance(rows: pd.DataFrame) -> pd.Series:
    return rows[rows["variant"] != ""].groupby("file")["variant"].nunique()


def _class_id_notes(recognised: pd.DataFrame, sources: Sequence[str]) -> list[str]:
    """The order of the classes is a convention that nothing in a list of class ids alone can confirm."""
    alone = recognised["source"].map(lambda places: bool(places) and all(place.startswith("class id") for place in places.split(", ")))
    order = ", ".join(f"{number} {source}" for number, source in enumerate(sources))
    return [f"class ids of {alone.sum()} files were read in the order of corpus.sources: {order}"] if alone.any() else []


def _foreign_notes(rows: pd.DataFrame, languages: Sequence[str]) -> list[str]:
    foreign = rows[~rows["language"].isin(languages)]
    names = ", ".join(sorted(foreign["language"].unique()))
    return [f"left out {foreign['path'].nunique()} utterances in {names}, not in corpus.languages"] if len(foreign) else []


def _group_notes(groups: pd.DataFrame, known: pd.DataFrame) -> list[str]:
    if groups.empty or known.empty:
        return []
    num_outside = (~groups["path"].isin(known["path"][known["split"] == "eval"])).sum()
    return (
        [f"{num_outside} of {len(groups)} rows about seen and unseen speakers are no eval utterances of the other lists"]
        if num_outside
        else []
    )


def describe(imported: ImportedLists) -> list[str]:
    """What was recognised: a line per file, then counts per language and split and per held-out language, then the notes."""
    lines = []
    for file in imported.recognised.to_dict("records"):
        facts = [f"{_SAID[fact]} from {file[fact]}" for fact in _SAID if file[fact]] + (
            [f"ignored: {file['ignored']}"] if file["ignored"] else []
        )
        lines.append(f"{file['file']}: {_count_text(file)} ({file['kind']}); path in {file['path']}; {'; '.join(facts)}")
    for language, part in imported.utterances.groupby("language"):
        counts = ", ".join(f"{(part['split'] == split).sum()} {split}" for split in SPLITS)
        lines.append(f"{language}: {len(part)} utterances: {counts}")
    for heldout, part in imported.speaker_groups.groupby("heldout"):
        lines.append(
            f"held-out {heldout}: {(part['group'] == 'seen').sum()} seen, {(part['group'] == 'unseen').sum()} unseen speakers' utterances"
        )
    return lines + imported.notes


def _count_text(file: dict) -> str:
    if file["rows"] == file["utterances"]:
        return f"{file['rows']} rows"
    why = f"{file['variants']} acoustic variants" if file["variants"] > 1 else "some listed more than once"
    return f"{file['rows']} rows, {file['utterances']} utterances, {why}"
