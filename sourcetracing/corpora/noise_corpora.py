"""MUSAN and RIRS_NOISES (openslr 17 and 28): fetched, unpacked, counted per category.

MUSAN: a music, speech, and noise corpus, D. Snyder, G. Chen, D. Povey 2015, arXiv:1510.08484. CC BY 4.0.
RIRS_NOISES: a study on data augmentation of reverberant speech, T. Ko et al., ICASSP 2017. Apache 2.0.

A folder that somebody else filled (no completion record) is used as it is and never written to.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sourcetracing.corpora.corpus import DOWNLOAD_COMMAND, Resource
from sourcetracing.downloads.archives import unpack
from sourcetracing.downloads.http import RemoteFile, fetch
from sourcetracing.downloads.records import discard, mark_complete, only_run, read_complete, require_free_space
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Download
from sourcetracing.settings.paths import Paths
from sourcetracing.settings.schema import Settings

RECORD = "unpacked"


@dataclass(frozen=True)
class NoiseCorpus:
    """One archive of noises.

    key: the word in its settings paths.<key>, download.<key>_urls, download.<key>_checksum. counts: folder below the root -> number of
    .wav files in the published archive.
    """

    name: str
    key: str
    archive_name: str
    size_bytes: int
    unpacked_bytes: int
    licence: str
    top_folder: str
    counts: dict[str, int]

    def root(self, settings: Settings) -> Path:
        return Path(getattr(settings.paths, self.key))

    def remote(self, download: Download) -> RemoteFile:
        """The archive to fetch; the published size belongs to the published checksum."""
        urls, checksum = (getattr(download, f"{self.key}_{part}") for part in ("urls", "checksum"))
        is_published = checksum == getattr(Download(), f"{self.key}_checksum")
        return RemoteFile(self.archive_name, tuple(urls), self.size_bytes if is_published else None, checksum)


MUSAN = NoiseCorpus(
    name="MUSAN",
    key="musan",
    archive_name="musan.tar.gz",
    size_bytes=11_086_114_085,
    unpacked_bytes=12_500_000_000,
    licence="CC BY 4.0",
    top_folder="musan",
    counts={"music": 660, "noise": 930, "speech": 426},
)
RIRS_NOISES = NoiseCorpus(
    name="RIRS_NOISES",
    key="rirs",
    archive_name="rirs_noises.zip",
    size_bytes=1_311_166_223,
    unpacked_bytes=5_000_000_000,
    licence="Apache 2.0",
    top_folder="RIRS_NOISES",
    counts={"simulated_rirs": 60_000, "real_rirs_isotropic_noises": 417, "pointsource_noises": 843},
)


def needed_corpora(settings: Settings) -> list[NoiseCorpus]:
    """Those that augment.variants draw from."""
    variants = set(settings.augment.variants)
    return [MUSAN] * bool(variants & {"speech", "music", "noise"}) + [RIRS_NOISES] * ("reverb" in variants)


def count_files(corpus: NoiseCorpus, settings: Settings) -> dict[str, int]:
    """Number of .wav files in each category."""
    root = corpus.root(settings)
    return {folder: sum(1 for _ in (root / folder).rglob("*.wav")) for folder in corpus.counts}


def download(corpus: NoiseCorpus, settings: Settings) -> None:
    """Fetches and unpacks the archive unless the folder is filled. Raises `UserError`."""
    root = corpus.root(settings)
    if _is_filled(corpus, settings):
        return
    _refuse_the_demos_folder(corpus, settings)
    with only_run(root.parent):
        [archive] = fetch([corpus.remote(settings.download)], root.parent, settings.download)
        _unpack_beside(corpus, archive, root)
        mark_complete(root, RECORD, {"archive": corpus.archive_name, "files": count_files(corpus, settings)})
        if not settings.download.keep_archives:
            discard(archive)


def _refuse_the_demos_folder(corpus: NoiseCorpus, settings: Settings) -> None:
    """A settings file that says nothing of noises means the demo's, which are made with the demo: no place for gigabytes of others."""
    if getattr(settings.paths, corpus.key) == getattr(Paths(), corpus.key):
        raise UserError(
            f"paths.{corpus.key} is not given, and {corpus.root(settings)} is the demo's. Say where {corpus.name} is or shall be unpacked, "
            f"such as paths.{corpus.key}=data/{corpus.top_folder}; or go without: augment.variants=[original]"
        )


def _unpack_beside(corpus: NoiseCorpus, archive: Path, root: Path) -> None:
    """Unpacks into a folder next to the target and renames it at the end: the target is complete or absent."""
    staging = root.parent / f".{root.name}-unpacking"
    staging.mkdir(parents=True, exist_ok=True)
    require_free_space(root.parent, corpus.unpacked_bytes, f"unpacking {corpus.name}")
    unpack(archive, staging)
    if not (staging / corpus.top_folder).is_dir():
        raise UserError(f"{archive} holds no folder {corpus.top_folder}. Delete it and run: {DOWNLOAD_COMMAND}")
    if root.exists():
        root.rmdir()  # empty, or else _is_filled
    (staging / corpus.top_folder).rename(root)
    shutil.rmtree(staging)


def _is_filled(corpus: NoiseCorpus, settings: Settings) -> bool:
    root = corpus.root(settings)
    return root.is_dir() and any(root.iterdir())


def inventory(corpus: NoiseCorpus, settings: Settings) -> pd.DataFrame:
    """Columns language ("-"), source (category), needed, present. A folder of the user's own needs one file in each category it is for."""
    root = corpus.root(settings)
    is_ours = not _is_filled(corpus, settings) or read_complete(root, RECORD) is not None
    categories = corpus.counts if is_ours else _needed_categories(corpus, settings.augment.variants)
    present = count_files(corpus, settings)
    rows = [
        {
            "language": "-",
            "source": f"{corpus.name}/{folder}",
            "needed": corpus.counts[folder] if is_ours else 1,
            "present": present[folder],
        }
        for folder in categories
    ]
    return pd.DataFrame(rows)


def check(corpus: NoiseCorpus, settings: Settings) -> int:
    """The number of files there. Raises `UserError` if a category has fewer than it needs."""
    table = inventory(corpus, settings)
    lacking = table[table["present"] < table["needed"]]
    if len(lacking):
        row = lacking.iloc[0]
        raise UserError(
            f"{corpus.root(settings)}: {row['source']} has {row['present']} of {row['needed']} files. "
            f"Delete that folder and run: {DOWNLOAD_COMMAND} (or give another paths.{corpus.key})"
        )
    return int(table["present"].sum())


def _needed_categories(corpus: NoiseCorpus, variants: Sequence[str]) -> list[str]:
    return [folder for folder in corpus.counts if folder in variants] if corpus is MUSAN else ["simulated_rirs"]


def resource(corpus: NoiseCorpus, settings: Settings) -> Resource:
    """What `download` would fetch."""
    remote = corpus.remote(settings.download)
    filled = _is_filled(corpus, settings)
    return Resource(corpus.name, remote.urls[0], remote.size_bytes, corpus.licence, str(corpus.root(settings)), filled, remote=remote)
