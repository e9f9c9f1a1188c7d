"""Everything below fake/<language>/<model_dir>/ of an MLAAD of any version: what meta.csv says where it is there, the files where not.

What a version lacks or does otherwise is counted over all models and said once, in a line for each kind.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.corpora.corpus import DOWNLOAD_COMMAND, UTTERANCE_COLUMNS
from sourcetracing.corpora.found_files import some_of
from sourcetracing.corpora.mlaad import model_dir_of, reader_of, utterance_id
from sourcetracing.corpora.mlaad_meta import read_meta_table
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import require_inside

NEEDED = ("original_file", "model_name", "architecture", "transcript")  # what is missed where a meta.csv lacks it
KEPT = ("architecture", "training_data")  # columns of utterances.csv under their own names; all others get `EXTRA` before them
EXTRA = "meta_"
_TAKEN = ("path", "original_file", "language", "model_name", "transcript", "speaker", *KEPT)  # language is the folder's


@dataclass
class MlaadTree:
    """rows: `UTTERANCE_COLUMNS`, architecture, training_data, meta_* and present (bool), sorted by utt_id. num_models: folders read.

    oddities: kind -> the models (language/folder) that have it. unlisted: model -> its audio files that no meta.csv names.
    """

    rows: pd.DataFrame
    num_models: int = 0
    oddities: dict[str, list[str]] = field(default_factory=dict)
    unlisted: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """A line for each oddity, and one each for files that are listed but not there, and the other way round."""
        found = [f"{len(models)} of {self.num_models} models: {kind} ({some_of(models)})" for kind, models in self.oddities.items()]
        folders = (
            self.rows["path"].str.split("/", expand=True, n=3)[[1, 2]].agg("/".join, axis=1) if len(self.rows) else pd.Series(dtype=str)
        )
        missing = Counter(folders[~self.rows["present"].astype(bool)])
        for what, counts in (("listed, but not there", missing), ("there, but not listed, and left out", self.unlisted)):
            if counts:
                named = some_of([f"{count} of {model}" for model, count in sorted(counts.items())])
                found.append(f"{sum(counts.values())} files of {len(counts)} models are {what}: {named}")
        return found


def languages_below(root: Path) -> list[str]:
    """Folders of fake. Raises `UserError` where there are none."""
    there = sorted(path.name for path in (root / "fake").glob("*") if path.is_dir())
    if not there:
        raise UserError(f"{root / 'fake'} holds no languages. Run: {DOWNLOAD_COMMAND}")
    return there


def read_tree(root: Path, languages: Sequence[str]) -> MlaadTree:
    """All models of some languages. Raises `UserError` for a table that cannot be read, and for paths that lead out of their folder."""
    folders = [folder for name in languages for folder in sorted((root / "fake" / name).glob("*")) if folder.is_dir()]
    if not folders:
        raise UserError(f"{root / 'fake'}: no model in {', '.join(languages)}. Run: {DOWNLOAD_COMMAND}")
    tree, tables = MlaadTree(pd.DataFrame(), len(folders)), []
    for folder in folders:
        model = f"{folder.parent.name}/{folder.name}"
        rows, kinds, num_unlisted = _read_model(folder)
        tables.append(rows)
        for kind in kinds:
            tree.oddities.setdefault(kind, []).append(model)
        if num_unlisted:
            tree.unlisted[model] = num_unlisted
    rows = pd.concat(tables, ignore_index=True)
    tree.rows = rows.fillna(dict.fromkeys(rows.columns.drop("present"), "")).astype({"present": bool})
    if (twice := tree.rows["utt_id"].duplicated()).any():
        utt_id = tree.rows["utt_id"][twice].iloc[0]
        first, second = tree.rows["path"][tree.rows["utt_id"] == utt_id].iloc[:2]
        raise UserError(f"{root}: {first} and {second} would both be utterance {utt_id}. Rename one of them")
    tree.rows = tree.rows.sort_values("utt_id", ignore_index=True)
    return tree


def _read_model(folder: Path) -> tuple[pd.DataFrame, list[str], int]:
    """(utterances, what is odd, audio files that are not listed) of one model."""
    language, model_dir, path = folder.parent.name, folder.name, folder / "meta.csv"
    files, prefix = _audio_below(folder), f"fake/{folder.parent.name}/{folder.name}/"
    if not path.is_file():
        table, kinds = pd.DataFrame({"path": files}, dtype="str"), ["no meta.csv; read from the names of the files"]
    else:
        table = read_meta_table(path)
        kinds = [f"meta.csv has no {name}" for name in NEEDED if name not in table]
        if "path" in table:
            table, found = _with_own_paths(table, folder)
            kinds += found
        else:
            table, found = _with_files(table, files)
            kinds.append(found)
    if "language" in table and (table["language"] != language).any():
        kinds.append("the column language says otherwise than the folder, which counts")
    names = table["model_name"] if "model_name" in table else pd.Series(model_dir, index=table.index)
    if (names.where(names != "", model_dir).map(model_dir_of) != model_dir).any():
        kinds.append("the folder is spelled otherwise than model_name, which counts")
    rows = _as_utterances(table, prefix, model_dir)
    return rows.assign(present=rows["path"].str.removeprefix(prefix).isin(set(files))), kinds, len(set(files) - set(table["path"]))


def _audio_below(folder: Path) -> list[str]:
    """Names of audio files, relative to the folder, sorted."""
    found = [os.path.relpath(os.path.join(place, name), folder) for place, _, names in os.walk(folder) for name in names]
    return sorted(name.replace(os.sep, "/") for name in found if is_audio_name(name))


def _with_own_paths(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """path relative to the model's folder, whatever it was relative to; each file once."""
    kinds, given = [], table["path"].str.replace("\\", "/", regex=False)
    require_inside(given, str(folder / "meta.csv"))
    own = f"{folder.parent.name}/{folder.name}/"
    before, _, after = (given.str.removeprefix("./").radd("/").str.partition(f"/{own}")[part] for part in range(3))
    elsewhere = after == ""
    if (elsewhere & given.str.contains("/", regex=False)).any():
        kinds.append("paths in meta.csv name another folder; taken for files of their own")
    elif elsewhere.any():
        kinds.append("paths in meta.csv are names of files alone")
    table = table.assign(path=after.where(~elsewhere, given.str.rpartition("/")[2]))
    if (twice := table["path"].duplicated()).any():
        kinds.append("meta.csv lists a file twice; the first row counts")
    return table[~twice].reset_index(drop=True), kinds


def _with_files(table: pd.DataFrame, files: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """A table without paths gets those of the files: by the stem of original_file, after which MLAAD names its files, or else by what all
    of its rows say alike."""
    by_stem = {_stem(name): name for name in files}
    stems = table["original_file"].map(_stem) if "original_file" in table else pd.Series("", index=table.index)
    if len(by_stem) == len(files) and not stems.duplicated().any() and stems.isin(by_stem.keys()).any():
        kept = stems.isin(by_stem.keys())
        return table[kept].assign(path=stems[kept].map(by_stem)).reset_index(drop=True), "meta.csv has no path; found by original_file"
    alike = {name: table[name].iloc[0] for name in table if table[name].nunique() == 1}
    return pd.DataFrame({"path": list(files)}, dtype="str").assign(**alike), "meta.csv has no path; read from the names of the files"


def _stem(name: str) -> str:
    return os.path.splitext(name.rpartition("/")[2])[0]


def _as_utterances(table: pd.DataFrame, prefix: str, model_dir: str) -> pd.DataFrame:
    def column(*names: str) -> pd.Series:
        return next((table[name] for name in names if name in table), pd.Series("", index=table.index, dtype="str"))

    paths, names, originals = prefix + table["path"], column("model_name"), column("original_file")
    speakers = column("speaker")
    columns = {
        "utt_id": paths.map(utterance_id),
        "path": paths,
        "language": prefix.split("/")[1],
        "source": names.where(names != "", model_dir),
        "speaker": speakers.where(speakers != "", originals.map(reader_of)),
        "transcript": column("transcript"),
        "recording": originals,
    }
    extra = {EXTRA + name: table[name] for name in table if name and name not in _TAKEN}
    return pd.DataFrame({**{name: columns[name] for name in UTTERANCE_COLUMNS}, **{name: column(name) for name in KEPT}, **extra})
