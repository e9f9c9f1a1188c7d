"""MLAAD's audio: fetched from the Hub or from the parts of an archive, compared with the utterances that a protocol needs.

MLAAD: the multi-language audio anti-spoofing dataset, N. M. Mueller et al. 2024, arXiv:2401.09512. Licence CC BY-NC 4.0.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path, PurePosixPath

import pandas as pd

from sourcetracing.corpora.corpus import Corpus, Resource, is_present
from sourcetracing.corpora.mlaad import read_meta
from sourcetracing.corpora.mlaad_release import release_of
from sourcetracing.downloads.http import RemoteFile, fetch
from sourcetracing.downloads.hub import fetch_hub, list_hub
from sourcetracing.downloads.records import discard, mark_complete, only_run
from sourcetracing.downloads.split_zip import unpack_split_zip
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Mlaad

LICENCE = "CC BY-NC 4.0"
BYTES_PER_UTTERANCE = 320_000  # its English part has 143,000 files in 45.5 GB: for the plan, before a server was asked


class MlaadCorpus(Corpus):
    """Some of MLAAD's files, chosen by lists."""

    @cached_property
    @abstractmethod
    def needed(self) -> pd.DataFrame:
        """The utterance table as far as lists give it. Read once, for reading prints notices."""

    @property
    @abstractmethod
    def num_published(self) -> int:
        """Utterances there are when all lists are as published: for the plan while they are not here."""

    @abstractmethod
    def list_resources(self) -> list[Resource]:
        """The lists that `needed` is read from."""

    @abstractmethod
    def download_lists(self) -> None:
        """Fetches them unless they are here."""

    def wanted(self) -> pd.DataFrame:
        """The utterances whose files are fetched."""
        return self.needed

    def download(self) -> None:
        self.download_lists()
        wanted = self.wanted()
        missing = wanted[~is_present(wanted["path"], self.root)]
        if missing.empty:
            return
        with only_run(self.root):
            if self.settings.mlaad.origin == "archive":
                self._download_archive(_folders_of(missing))
            else:
                self._download_from_hub(missing)

    def prepare(self) -> pd.DataFrame:
        return _add_meta(self.needed, self.root)

    def files(self) -> pd.DataFrame:
        return self.needed.assign(present=is_present(self.needed["path"], self.root))

    def resources(self) -> list[Resource]:
        lists = self.list_resources()
        if not all(resource.is_here for resource in lists):
            return [*lists, *self.audio_resources(self.num_published)]
        num_missing = int((~self.files()["present"]).sum())
        here = Resource(f"MLAAD {self.settings.mlaad.version}", "", 0, LICENCE, str(self.root), is_here=True)
        return [*lists, *(self.audio_resources(num_missing) if num_missing else [here])]

    def audio_resources(self, num_files: int) -> list[Resource]:
        """What fetching some files takes; for the archive always all of its parts."""
        mlaad, root = self.settings.mlaad, str(self.root)
        if mlaad.origin == "archive":
            name = f"MLAAD {mlaad.version}"
            return [Resource(f"{name} ({part.name})", part.urls[0], None, LICENCE, root, remote=part) for part in _archive_parts(mlaad)]
        where = f"https://huggingface.co/datasets/{mlaad.hub_id}/tree/{release_of(mlaad).revision}"
        name = f"MLAAD {mlaad.version} ({num_files:,} files)"
        return [Resource(name, where, num_files * BYTES_PER_UTTERANCE, LICENCE, root, is_estimate=True)]

    def _download_from_hub(self, missing: pd.DataFrame) -> None:
        hub_id, revision = self.settings.mlaad.hub_id, release_of(self.settings.mlaad).revision
        listing = list_hub(hub_id, revision, _folders_of(missing), setting_name="mlaad.hub_revision")
        absent = missing[~missing["path"].isin(listing.files)]
        if len(absent):
            lacks = f"{hub_id} at {listing.commit[:12]} lacks {len(absent)} of the files needed, the first is {absent['path'].iloc[0]}"
            if self.settings.mlaad.on_missing == "fail":
                raise UserError(f"{lacks}. Try another mlaad.hub_revision, or mlaad.origin=archive")
            print(lacks)
            missing = missing.drop(absent.index)
        meta = [path for path in (f"{folder}/meta.csv" for folder in _folders_of(missing)) if path in listing.files]
        wanted = {path: listing.files[path] for path in [*meta, *missing["path"].drop_duplicates()]}
        fetch_hub(hub_id, listing.commit, wanted, self.root, sha256=listing.sha256)
        mark_complete(self.root, "mlaad", {"hub_id": hub_id, "revision": revision, "commit": listing.commit, "files": len(wanted)})

    def _download_archive(self, folders: list[str]) -> None:
        mlaad, store = self.settings.mlaad, self.root / "archive"
        release_of(mlaad)  # refuses what is not known
        checksums = self._published_checksums(store)
        files = [RemoteFile(part.name, part.urls, checksum=checksums[part.name]) for part in _archive_parts(mlaad)]
        paths = fetch(files, store, self.settings.download)
        wanted = tuple(f"{folder}/" for folder in folders)
        unpack_split_zip(paths, self.root, wanted=lambda name: _below_fake(name).startswith(wanted))
        _lift(self.root)
        mark_complete(self.root, "mlaad", {"archive": mlaad.archive_url + mlaad.archive_name, "folders": folders})
        if not self.settings.download.keep_archives:
            for path in paths:
                discard(path)

    def _published_checksums(self, store: Path) -> dict[str, str]:
        """The md5 sums in the list that is published beside the parts: `<md5>  <file name>`, whatever folder the names carry."""
        mlaad = self.settings.mlaad
        name = f"{mlaad.archive_name}.zip.md5"
        [path] = fetch([RemoteFile(name, (mlaad.archive_url + name,))], store, self.settings.download)
        pairs = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
        sums = [pair for pair in pairs if len(pair) == 2 and len(pair[0]) == 32]
        found = {PurePosixPath(spelled.lstrip("*")).name: f"md5:{digits.lower()}" for digits, spelled in sums}
        if lacking := [part.name for part in _archive_parts(mlaad) if part.name not in found]:
            raise UserError(f"{path} has no checksum for {lacking[0]}; it names {', '.join(found) or 'nothing'}. See mlaad.archive_name")
        return found


def _archive_parts(mlaad: Mlaad) -> list[RemoteFile]:
    """The parts of the archive, .zip last, as they are named there."""
    names = [f"{mlaad.archive_name}.z{number:02d}" for number in range(1, mlaad.archive_parts + 1)] + [f"{mlaad.archive_name}.zip"]
    return [RemoteFile(name, (mlaad.archive_url + name,)) for name in names]


def _below_fake(name: str) -> str:
    """A member's name from its folder fake on: the archive may have a folder above."""
    before, fake, after = f"/{name}".partition("/fake/")
    return f"fake/{after}" if fake else name


def _lift(root: Path) -> None:
    """Moves <folder>/fake up to fake where the archive had a folder above."""
    inner = [path for path in root.glob("*/fake") if path.is_dir()]
    if not (root / "fake").exists() and len(inner) == 1:
        inner[0].rename(root / "fake")


def _folders_of(utterances: pd.DataFrame) -> list[str]:
    """The model directories that hold some utterances, such as fake/en/griffin_lim."""
    return sorted(utterances["path"].str.rpartition("/")[0].unique())


def _add_meta(utterances: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Fills in transcript, training data and recording from the meta.csv files, where they are.

    A recording is the file of M-AILABS whose text was spoken (`original_file`). It replaces the stem only if it is known for every
    utterance: half of one spelling and half of the other would hide what is shared.
    """
    tables = [read_meta(root / folder / "meta.csv") for folder in _folders_of(utterances) if (root / folder / "meta.csv").is_file()]
    if not tables:
        return utterances
    meta = pd.concat(tables, ignore_index=True)
    meta = meta.set_index(meta["path"].str.removeprefix("./"))
    meta = meta[~meta.index.duplicated()]
    found = {name: utterances["path"].map(meta[name]).fillna("") for name in ("transcript", "training_data")}
    added = utterances.assign(**found)
    recording = utterances["path"].map(meta["original_file"])
    return added if recording.isna().any() else added.assign(recording=recording)
