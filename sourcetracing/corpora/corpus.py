"""What every corpus can do, and the one that the settings choose.

A further corpus is a file with one class, named by an entry of `settings.corpora.READERS`. It may stand outside this project
(`settings.parts`). Only `download` and `prepare` have to be written.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from sourcetracing.downloads.http import RemoteFile
from sourcetracing.errors import UserError
from sourcetracing.runtime.lists import lookalike
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.corpora import READERS
from sourcetracing.settings.names import same_but_for_form, why_different
from sourcetracing.settings.schema import Settings

UTTERANCE_COLUMNS = ("utt_id", "path", "language", "source", "speaker", "transcript", "recording")
DOWNLOAD_COMMAND = "python scripts/01_download_resources.py CONFIG.yaml"


@dataclass(frozen=True)
class Resource:
    """One thing to be fetched or made, for script 01 --dry-run.

    origin: its address. size_bytes: None where nobody knows before asking the server. target: the folder it goes to.
    remote: the file whose size the server can be asked for. is_here: nothing is to be done.
    """

    name: str
    origin: str
    size_bytes: int | None
    licence: str
    target: str
    is_here: bool = False
    is_estimate: bool = False
    remote: RemoteFile | None = None


class Corpus(ABC):
    """The utterances of an experiment, below paths.corpus."""

    advice = f"Run: {DOWNLOAD_COMMAND}"  # where files are missing
    num_named = 1  # missing files that the one-line message names
    counts_models = False  # script 02 writes utterances by language and model as a table of its own

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.root = Path(settings.paths.corpus)

    @abstractmethod
    def download(self) -> None:
        """Fetches or makes what is missing; what is there stays. Raises `UserError`."""

    @abstractmethod
    def prepare(self) -> pd.DataFrame:
        """One row per utterance of the settings' languages and sources: `UTTERANCE_COLUMNS`, and split where the corpus has splits.

        Paths are relative to paths.corpus, or absolute. Needs no audio. Raises `UserError`.
        """

    def of_every_source(self) -> pd.DataFrame:
        """As `prepare`, of every source that there is: what corpus.label chooses from. Needs no audio where `prepare` needs none."""
        return type(self)(asking_for(self.settings, [], ["all"])).prepare()

    def download_lists(self) -> None:  # noqa: B027 - most corpora have none
        """Fetches what says which utterances there are, where that is not here; nothing elsewhere."""

    def files(self) -> pd.DataFrame:
        """One row per file that is needed: path, language, source, present (bool)."""
        utterances = self.prepare()
        return utterances.assign(present=is_present(utterances["path"], self.root))

    def inventory(self) -> pd.DataFrame:
        """language, source, needed, present (numbers of files), in the order of the settings; other sources last."""
        counts = self.files().groupby(["language", "source"], sort=False)["present"].agg(["size", "sum"])
        counts = counts.set_axis(["needed", "present"], axis=1).astype(int).reset_index()
        corpus = self.settings.corpus
        turn = {name: number for number, name in enumerate([*corpus.languages, *corpus.sources])}
        keys = {"key": lambda names: names.map(turn).fillna(len(turn)), "kind": "stable"}
        return counts.sort_values(["language", "source"], **keys, ignore_index=True)

    def missing_files(self) -> list[str]:
        """Paths that are needed and not there."""
        files = self.files()
        return files["path"][~files["present"]].drop_duplicates().tolist()

    def check(self) -> dict[str, int]:
        """The number of utterances, all of which are there. Raises `UserError` with the next command otherwise."""
        files = self.files()
        missing = files["path"][~files["present"]].drop_duplicates().tolist()
        if missing:
            named = ", ".join(missing[: self.num_named])
            total = files["path"].nunique()
            advice = lookalike(self.root / missing[0]) or self.advice
            raise UserError(f"{self.root}: {len(missing)} of {total} files are missing, such as: {named}. {advice}")
        return {"utterances": len(files)}

    def resources(self) -> list[Resource]:
        """What `download` would fetch: from where, how large, under which licence."""
        return []

    def speaker_groups(self) -> pd.DataFrame | None:
        """path, language, source, heldout, group (seen or unseen speaker) where the corpus's authors say so; None elsewhere."""
        return None


def asking_for(settings: Settings, sources: list[str], unknown_sources: list[str]) -> Settings:
    """The same settings with other sources."""
    return replace(settings, corpus=replace(settings.corpus, sources=sources, unknown_sources=unknown_sources))


def corpus_of(settings: Settings) -> Corpus:
    """The corpus that corpus.reader names."""
    return READERS[settings.corpus.reader].load()(settings)


def utterances_of_settings(table: pd.DataFrame, settings: Settings, where: str) -> pd.DataFrame:
    """The rows of the settings' languages, sources and unknown sources. Raises `UserError` for a name that the table lacks."""
    corpus = settings.corpus
    unknown = [name for name in corpus.unknown_sources if name != "all"]
    for setting, wanted, column in (
        ("corpus.languages", corpus.languages, "language"),
        ("corpus.sources", [*corpus.sources, *unknown], "source"),
    ):
        _refuse_lookalikes(setting, wanted, table[column].unique(), where)
    require_names("corpus.languages", corpus.languages, table["language"].unique(), where)
    require_names("corpus.sources", corpus.sources, table["source"].unique(), where)
    require_names("corpus.unknown_sources", unknown, table["source"].unique(), where)
    is_wanted = table["language"].isin(corpus.languages)
    if "all" not in corpus.unknown_sources:
        is_wanted &= table["source"].isin([*corpus.sources, *unknown])
    return table[is_wanted].reset_index(drop=True)


def _refuse_lookalikes(setting: str, wanted: list[str], there: Iterable[str], where: str) -> None:
    """A name that only looks like one of the settings would be left out as another one."""
    for name in sorted(set(there) - set(wanted)):
        if meant := same_but_for_form(name, wanted):
            raise UserError(f"{setting}: {meant!r} looks as in {where}, but there it {why_different(name, meant)}. Make the two the same")


def require_names(setting: str, names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raises `UserError` for the first of `names` that is not known."""
    known = set(known)
    for name in names:
        if name not in known:
            raise UserError(f"{setting}: {where} has no {name!r}{did_you_mean(name, known)}")


def is_present(paths: pd.Series, root: Path) -> pd.Series:
    """Whether each file exists (bool, same index). Folders are listed once: a question per file takes minutes on a network disk."""
    listings = {folder: _file_names(root / folder) for folder in set(paths.map(os.path.dirname))}

    def is_there(path: str) -> bool:
        folder, name = os.path.split(path)
        # Asked again, because some file systems open a name in other letters than they list it in.
        return name in listings[folder] or bool(listings[folder]) and (root / path).is_file()

    return paths.map(is_there).astype(bool)


def _file_names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return set()
