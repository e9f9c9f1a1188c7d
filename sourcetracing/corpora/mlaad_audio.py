"""MLAAD's audio: fetched from the Hub or from the parts of the v5 archive, compared with the utterances that a protocol needs.

MLAAD: the multi-language audio anti-spoofing dataset, N. M. Mueller et al. 2024, arXiv:2401.09512. Licence CC BY-NC 4.0.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pandas as pd

from sourcetracing.corpora.mlaad import read_meta
from sourcetracing.corpora.resources import Resource
from sourcetracing.downloads.http import RemoteFile, fetch
from sourcetracing.downloads.hub import fetch_hub, list_hub
from sourcetracing.downloads.records import discard, mark_complete, only_run
from sourcetracing.downloads.split_zip import unpack_split_zip
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings

LICENCE = "CC BY-NC 4.0"
BYTES_PER_UTTERANCE = 320_000  # its English part has 143,000 files in 45.5 GB: for the plan, before a server was asked


def folders_of(utterances: pd.DataFrame) -> list[str]:
    """The model directories that hold some utterances, such as fake/en/griffin_lim."""
    return sorted(utterances["path"].str.rpartition("/")[0].unique())


def is_present(utterances: pd.DataFrame, root: Path) -> pd.Series:
    """Whether each utterance's file exists (bool, index of `utterances`); one directory listing per model directory."""
    folder, name = (utterances["path"].str.rpartition("/")[part] for part in (0, 2))
    present = pd.Series(False, index=utterances.index)
    for one, names in name.groupby(folder):
        present[names.index] = names.isin(_file_names(root / one))
    return present


def _file_names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def add_meta(utterances: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Fills in transcript and recording from the meta.csv files, where they are.

    A recording is the file of M-AILABS whose text was spoken (`original_file`). It replaces the stem only if it is known for every
    utterance: half of one spelling and half of the other would hide what is shared.
    """
    tables = [read_meta(root / folder / "meta.csv") for folder in folders_of(utterances) if (root / folder / "meta.csv").is_file()]
    if not tables:
        return utterances
    meta = pd.concat(tables, ignore_index=True)
    meta = meta.set_index(meta["path"].str.removeprefix("./"))
    meta = meta[~meta.index.duplicated()]
    added = utterances.assign(transcript=utterances["path"].map(meta["transcript"]).fillna(""))
    recording = utterances["path"].map(meta["original_file"])
    return added if recording.isna().any() else added.assign(recording=recording)


def download(settings: Settings, utterances: pd.DataFrame) -> None:
    """Fetches what is missing below paths.corpus. Raises `UserError` (network, terms not accepted, full disk, broken archive ...)."""
    root = Path(settings.paths.corpus)
    missing = utterances[~is_present(utterances, root)]
    if missing.empty:
        return
    with only_run(root):
        if settings.mlaad.origin == "archive":
            _download_archive(settings, folders_of(missing))
        else:
            _download_from_hub(settings, root, missing)


def _download_from_hub(settings: Settings, root: Path, missing: pd.DataFrame) -> None:
    mlaad = settings.mlaad
    listing = list_hub(mlaad.hub_id, mlaad.hub_revision, folders_of(missing), setting_name="mlaad.hub_revision")
    absent = missing[~missing["path"].isin(listing.files)]
    if len(absent):
        raise UserError(
            f"{mlaad.hub_id} at {listing.commit[:12]} lacks {len(absent)} of the files needed, the first is {absent['path'].iloc[0]}. "
            "Try another mlaad.hub_revision, or mlaad.origin=archive"
        )
    meta = [path for path in (f"{folder}/meta.csv" for folder in folders_of(missing)) if path in listing.files]
    wanted = {path: listing.files[path] for path in [*meta, *missing["path"].drop_duplicates()]}
    fetch_hub(mlaad.hub_id, listing.commit, wanted, root, sha256=listing.sha256)
    mark_complete(root, "mlaad", {"hub_id": mlaad.hub_id, "revision": mlaad.hub_revision, "commit": listing.commit, "files": len(wanted)})


def archive_parts(settings: Settings) -> list[RemoteFile]:
    """The parts of the archive, .zip last, as they are named there (spec 1.1)."""
    mlaad = settings.mlaad
    names = [f"{mlaad.archive_name}.z{number:02d}" for number in range(1, mlaad.archive_parts + 1)] + [f"{mlaad.archive_name}.zip"]
    return [RemoteFile(name, (mlaad.archive_url + name,)) for name in names]


def _download_archive(settings: Settings, folders: list[str]) -> None:
    root = Path(settings.paths.corpus)
    store = root / "archive"
    parts = archive_parts(settings)
    checksums = _published_checksums(settings, store)
    files = [RemoteFile(part.name, part.urls, checksum=checksums[part.name]) for part in parts]
    paths = fetch(files, store, settings.download)
    wanted = tuple(f"{folder}/" for folder in folders)
    unpack_split_zip(paths, root, wanted=lambda name: _below_fake(name).startswith(wanted))
    _lift(root)
    mark_complete(root, "mlaad", {"archive": settings.mlaad.archive_url + settings.mlaad.archive_name, "folders": folders})
    if not settings.download.keep_archives:
        for path in paths:
            discard(path)


def _published_checksums(settings: Settings, store: Path) -> dict[str, str]:
    """The md5 sums in the list that is published beside the parts: `<md5>  <file name>`, whatever folder the names carry."""
    name = f"{settings.mlaad.archive_name}.zip.md5"
    [path] = fetch([RemoteFile(name, (settings.mlaad.archive_url + name,))], store, settings.download)
    words = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    found = {PurePosixPath(pair[1].lstrip("*")).name: f"md5:{pair[0].lower()}" for pair in words if len(pair) == 2 and len(pair[0]) == 32}
    if lacking := [part.name for part in archive_parts(settings) if part.name not in found]:
        raise UserError(f"{path} has no checksum for {lacking[0]}; it names {', '.join(found) or 'nothing'}. See mlaad.archive_name")
    return found


def _below_fake(name: str) -> str:
    """A member's name from its folder fake on: the archive may have a folder above."""
    before, fake, after = f"/{name}".partition("/fake/")
    return f"fake/{after}" if fake else name


def _lift(root: Path) -> None:
    """Moves <folder>/fake up to fake where the archive had a folder above."""
    inner = [path for path in root.glob("*/fake") if path.is_dir()]
    if not (root / "fake").exists() and len(inner) == 1:
        inner[0].rename(root / "fake")


def verbs(needed: Callable[[Settings], pd.DataFrame]) -> tuple[Callable, ...]:
    """prepare, check, inventory and missing_files of a corpus of MLAAD files, each a function of the settings (see `corpora`).

    needed: the corpus's utterance table, made without audio.
    """
    return (
        lambda settings: add_meta(needed(settings), Path(settings.paths.corpus)),
        lambda settings: check(settings, needed(settings)),
        lambda settings: inventory(settings, needed(settings)),
        lambda settings: missing_files(settings, needed(settings)),
    )


def inventory(settings: Settings, utterances: pd.DataFrame) -> pd.DataFrame:
    """What is needed and what is there: columns language, source, needed, present; in the settings' order, unknown sources last."""
    table = utterances.assign(present=is_present(utterances, Path(settings.paths.corpus)))
    counts = table.groupby(["language", "source"], sort=False)["present"].agg(["size", "sum"])
    counts = counts.set_axis(["needed", "present"], axis=1).astype(int).reset_index()
    turn = {name: number for number, name in enumerate([*settings.corpus.languages, *settings.corpus.sources])}
    return counts.sort_values(["language", "source"], key=lambda names: names.map(turn).fillna(len(turn)), kind="stable", ignore_index=True)


def missing_files(settings: Settings, utterances: pd.DataFrame) -> list[str]:
    """Paths (relative to paths.corpus) that are needed and not there."""
    return utterances["path"][~is_present(utterances, Path(settings.paths.corpus))].drop_duplicates().tolist()


def check(settings: Settings, utterances: pd.DataFrame) -> dict[str, int]:
    """The number of utterances, all of which are there. Raises `UserError` naming the first that is not."""
    missing = missing_files(settings, utterances)
    if missing:
        raise UserError(
            f"{settings.paths.corpus}: {len(missing)} of {utterances['path'].nunique()} files are missing, the first is {missing[0]}. "
            "Run: python scripts/01_download_resources.py CONFIG.yaml"
        )
    return {"utterances": len(utterances)}


def resources(settings: Settings, utterances: pd.DataFrame) -> list[Resource]:
    """What `download` would fetch for these utterances."""
    root = Path(settings.paths.corpus)
    num_missing = int((~is_present(utterances, root)).sum())
    if not num_missing:
        return [Resource("MLAAD v5", "", 0, LICENCE, str(root), is_here=True)]
    return plan(settings, num_missing)


def plan(settings: Settings, num_files: int) -> list[Resource]:
    """What fetching some files takes; for the archive always all of its parts."""
    mlaad, root = settings.mlaad, settings.paths.corpus
    if mlaad.origin == "archive":
        return [Resource(f"MLAAD v5 ({part.name})", part.urls[0], None, LICENCE, root, remote=part) for part in archive_parts(settings)]
    where = f"https://huggingface.co/datasets/{mlaad.hub_id}/tree/{mlaad.hub_revision}"
    name = f"MLAAD v5 ({num_files:,} files)"
    return [Resource(name, where, num_files * BYTES_PER_UTTERANCE, LICENCE, root, is_estimate=True)]
