"""Reads MLAAD's layout: fake/<language>/<model_dir>/<stem>.wav with one meta.csv per model_dir.

MLAAD: the multi-language audio anti-spoofing dataset, N. M. Mueller et al. 2024, arXiv:2401.09512.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from sourcetracing.corpora.corpus import DOWNLOAD_COMMAND, UTTERANCE_COLUMNS, require_names
from sourcetracing.corpora.mlaad_meta import META_COLUMNS, read_meta_table
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import require_inside


def model_dir_of(model_name: str) -> str:
    """The folder of a model: its name with every / replaced by _."""
    return model_name.replace("/", "_")


def utterance_id(path: str) -> str:
    """fake/en/griffin_lim/x.wav -> en/griffin_lim/x. Built from the whole path: stems repeat across languages (D45)."""
    parts = PurePosixPath(path.removeprefix("./")).with_suffix("").parts
    return "/".join(parts[1:] if parts[0] == "fake" else parts)


def reader_of(original_file: str) -> str:
    """The M-AILABS reader whose recording gave the text: <locale>/by_book/<female|male>/<reader>/... -> <locale>/<reader>.

    "" for books of several (by_book/mix), and for any other form.
    """
    parts = original_file.removeprefix("./").split("/")
    is_named = len(parts) >= 5 and parts[1] == "by_book" and parts[2] in ("female", "male")
    return f"{parts[0]}/{parts[3]}" if is_named else ""


def read_meta(path: Path) -> pd.DataFrame:
    """One meta.csv with all of v5's columns, and paths of its form. Raises `UserError` naming the file when it is anything else."""
    table = read_meta_table(path)
    if missing := [column for column in META_COLUMNS if column not in table]:
        raise UserError(f"{path} has no column {missing[0]!r}; it has: {', '.join(table.columns)}")
    require_inside(table["path"], str(path))
    if (strange := ~table["path"].str.fullmatch(r"(?:\./)?fake/[^/]+/[^/]+/[^/]+")).any():
        row = int(strange.idxmax())
        raise UserError(f"{path}, row {row + 2}: {table['path'][row]!r} is not of the form fake/<language>/<model_dir>/<file>.wav")
    return table


def read_utterances(
    root: Path, languages: Sequence[str], sources: Sequence[str], speaker_of: Callable[[str], str] = lambda original_file: ""
) -> pd.DataFrame:
    """All utterances of some languages and sources (model names), sorted by utt_id.

    speaker_of: reads a speaker out of `original_file` where the corpus encodes one there. A (language, source) without a folder is left
    out (MLAAD has gaps), but a language or a source that is nowhere is a `UserError` that names what there is.
    """
    there = sorted(path.name for path in (root / "fake").glob("*") if path.is_dir())
    if not there:
        raise UserError(f"{root / 'fake'} holds no languages. Run: {DOWNLOAD_COMMAND}")
    require_names("corpus.languages", languages, there, str(root / "fake"))
    folders = [root / "fake" / language / model_dir_of(source) for language in languages for source in sources]
    tables = [_utterances_of(read_meta(folder / "meta.csv"), speaker_of) for folder in folders if folder.is_dir()]
    utterances = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(UTTERANCE_COLUMNS))
    for source in sources:
        if source not in set(utterances["source"]):
            names = sorted({path.name for path in (root / "fake").glob("*/*") if path.is_dir()})
            raise UserError(f"unknown source {source!r}: {root / 'fake'} holds {', '.join(names[:20])}. See corpus.sources.")
    if (twice := utterances["utt_id"].duplicated()).any():
        raise UserError(f"{utterances['utt_id'][twice].iloc[0]} is listed twice in the meta.csv files below {root}")
    return utterances.sort_values("utt_id", ignore_index=True)


def _utterances_of(meta: pd.DataFrame, speaker_of: Callable[[str], str]) -> pd.DataFrame:
    path = meta["path"].str.removeprefix("./")
    columns = {
        "utt_id": path.map(utterance_id),
        "path": path,
        # The folder, not the column, decides: MLAAD's protocols are paths, and the two agree where both are given.
        "language": path.map(lambda text: PurePosixPath(text).parts[1]),
        "source": meta["model_name"],
        "speaker": meta["original_file"].map(speaker_of),
        "transcript": meta["transcript"],
        "recording": meta["original_file"],
        "training_data": meta["training_data"],
    }
    return pd.DataFrame(columns)
