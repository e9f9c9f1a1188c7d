"""Looks at a folder of audio that nobody described: which of its folders are splits, languages and sources; noises that lie there.

Read without a table by the reader `folder`: <language>/<source>/**. Understood besides, with a table of ours: <source>/**,
<source>/<language>/**, either of them below train, dev and test, all of it below some folder more, and MLAAD's meta.csv.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.corpora.folder import files_below
from sourcetracing.corpora.found_files import (
    COLUMNS,
    UNKNOWN_LANGUAGE,
    FoundFiles,
    files_in_words,
    refuse_one_source,
    some_of,
    with_usable_names,
)
from sourcetracing.corpora.list_columns import SPLIT_WORDS, Vocabulary
from sourcetracing.corpora.mlaad import model_dir_of, read_meta
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import LANGUAGE_NAMES
from sourcetracing.settings.names import is_utf_8
from sourcetracing.settings.paths import Paths
from sourcetracing.synthesis.plan import speaker_of

_CODE = re.compile(r"[a-z]{2}([-_][a-zA-Z]{2,4})?")
_NOISE_KINDS = ("music", "noise", "speech")
_VOCABULARY = Vocabulary(sources=(), languages=tuple(LANGUAGE_NAMES))


def look_at_folder(place: Path) -> FoundFiles:
    """All audio below a folder but noises and results of ours. Raises `UserError` for no audio, or for one source only."""
    skipped = {os.path.abspath(path) for path in (*noise_folders_in(place), place / Paths().exp)}
    files = sorted(os.path.relpath(path, place).replace(os.sep, "/") for path in files_below(os.path.abspath(place), skipped))
    paths = [path for path in files if is_audio_name(path) and is_utf_8(path)]
    if not paths:
        there = Counter(os.path.splitext(path)[1].lower() or "without suffix" for path in files if is_utf_8(path))
        held = ", ".join(f"{count} {kind}" for kind, count in there.most_common(5)) or "nothing"
        raise UserError(f"{place} holds no audio file (wav, flac, mp3, m4a and so on); there is: {held}")
    above = _shared_folders(paths)
    found = _with_columns([path[len(above) :] for path in paths], place / above.rstrip("/") if above else place)
    if undecodable := [path for path in files if is_audio_name(path) and not is_utf_8(path)]:
        found.notes.append(f"left out {files_in_words(len(undecodable))}, because their names are not UTF-8: {some_of(undecodable)}")
        found.is_as_read = False
    _add_meta(found)
    with_usable_names(found)
    refuse_one_source(found, place)
    return found


def noise_folders_in(place: Path) -> list[Path]:
    """Folders right below one that hold noises or room responses instead of a corpus."""
    return [folder for folder in sorted(place.iterdir()) if folder.is_dir() and (is_musan(folder) or is_rirs(folder))]


def is_musan(folder: Path) -> bool:
    """Whether a folder has MUSAN's layout."""
    return all((folder / kind).is_dir() for kind in _NOISE_KINDS)


def is_rirs(folder: Path) -> bool:
    """Whether a folder has the layout of RIRS_NOISES."""
    return (folder / "simulated_rirs").is_dir()


def is_language(name: str) -> bool:
    """Whether a folder's name is that of a language: en, eng, English, en_US, or any two letters."""
    return bool(_VOCABULARY.language(name) or _CODE.fullmatch(name))


def _shared_folders(paths: Sequence[str]) -> str:
    """`fake/` where all files lie below that folder and it is no language; "" without such a folder."""
    above = ""
    while len(firsts := {path[len(above) :].partition("/")[0] for path in paths}) == 1:
        (first,) = firsts
        if is_language(first) or not all(path[len(above) :].count("/") >= 2 for path in paths):
            break
        above += f"{first}/"
    return above


def _with_columns(paths: list[str], root: Path) -> FoundFiles:
    """The files below `root` with the columns that their folders tell."""
    folders = [path.split("/")[:-1] for path in paths]
    rows = pd.DataFrame({"path": paths, **dict.fromkeys(COLUMNS[1:], "")}, dtype="str")
    depth, words = 0, {parts[0].lower() for parts in folders if parts}
    if len(words) > 1 and words <= SPLIT_WORDS.keys():
        depth = 1
        rows["split"] = [SPLIT_WORDS[parts[0].lower()] if parts else "" for parts in folders]
    levels = _levels([parts[depth:] for parts in folders])
    for column, level in levels.items():
        rows[column] = [parts[depth + level] if len(parts) > depth + level else "" for parts in folders]
    layout = "/".join([*(["<split>"] if depth else []), *(f"<{column}>" for column in sorted(levels, key=levels.__getitem__)), "*.wav"])
    found = FoundFiles(rows, root, layout, is_as_read=layout == "<language>/<source>/*.wav")
    found.drop(rows["source"] == "", f"which lie in no folder {layout.rpartition('/')[0]}", needs_table=False)
    if "language" not in levels:
        found.rows["language"] = UNKNOWN_LANGUAGE
        found.notes.append(
            f"no folder is called after a language: all files count as one language, {UNKNOWN_LANGUAGE!r}. If you know the languages, "
            "sort the files into <language>/<source>/, or give a table with a column language"
        )
    return found


def _levels(folders: Sequence[Sequence[str]]) -> dict[str, int]:
    """Which level of folders says what: {"language": 0, "source": 1}, {"source": 0, "language": 1} or {"source": 0}."""
    firsts = {parts[0] for parts in folders if parts}
    seconds = {parts[1] for parts in folders if len(parts) > 1}
    if _are_languages(firsts):
        return {"language": 0, "source": 1}
    return {"source": 0, "language": 1} if _are_languages(seconds) else {"source": 0}


def _are_languages(names: set[str]) -> bool:
    return bool(names) and 2 * sum(map(is_language, names)) > len(names)


def _add_meta(found: FoundFiles) -> None:
    """Transcript, recording and speaker out of MLAAD's meta.csv files, and the names of models in the place of their folders'."""
    for folder in sorted({path.rpartition("/")[0] for path in found.rows["path"]}):
        file = found.root / folder / "meta.csv"
        if not file.is_file():
            continue
        try:
            meta = read_meta(file)
        except UserError as error:
            found.notes.append(f"not used: {error}")
            continue
        meta = meta.assign(name=meta["path"].str.rpartition("/")[2]).drop_duplicates("name").set_index("name")
        own = found.rows["path"].str.rpartition("/")[0] == folder
        listed = meta.reindex(found.rows["path"][own].str.rpartition("/")[2]).fillna("")
        found.rows.loc[own, "transcript"] = listed["transcript"].to_numpy()
        found.rows.loc[own, "recording"] = listed["original_file"].to_numpy()
        found.rows.loc[own, "speaker"] = listed["original_file"].map(speaker_of).to_numpy()
        named = listed["model_name"].map(model_dir_of).to_numpy() == found.rows["source"][own].to_numpy()
        found.rows.loc[own, "source"] = listed["model_name"].where(named, found.rows["source"][own].to_numpy()).to_numpy()
        found.is_as_read = False
