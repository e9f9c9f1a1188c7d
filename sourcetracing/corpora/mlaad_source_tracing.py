"""The corpus of the Interspeech 2025 special session: MLAAD v5 with its official source-tracing splits (spec 1.1, 1.2, 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pandas as pd

from sourcetracing.corpora import mlaad_audio
from sourcetracing.corpora.mlaad_protocols import download_protocols, protocol_file, read_protocols
from sourcetracing.corpora.resources import Resource
from sourcetracing.errors import UserError
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.schema import Settings

NUM_UTTERANCES = 56_891  # 57,000 rows, 109 of them twice


def needed(settings: Settings) -> pd.DataFrame:
    """The utterances of the settings' languages and sources, in the protocol's order, with `split`; needs no audio."""
    path = Path(settings.paths.protocols)
    changed_ns = path.stat().st_mtime_ns if path.exists() else 0
    return choose(_read_protocols_once(path, settings.mlaad.keep_duplicates, changed_ns), settings)


@lru_cache(maxsize=1)
def _read_protocols_once(path: Path, keep_duplicates: bool, changed_ns: int) -> pd.DataFrame:
    """The verbs of one script ask several times; the notice about duplicates shall appear once."""
    return read_protocols(path, keep_duplicates=keep_duplicates)


def choose(protocols: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Rows of the settings' languages, sources and unknown sources. Raises `UserError` for a name that is nowhere in the protocols."""
    corpus = settings.corpus
    every_other = corpus.unknown_sources == ["all"]
    unknown = [] if every_other else corpus.unknown_sources
    for setting, names, column in [
        ("corpus.languages", corpus.languages, "language"),
        ("corpus.sources", corpus.sources, "source"),
        ("corpus.unknown_sources", unknown, "source"),
    ]:
        there = set(protocols[column])
        if absent := [name for name in names if name not in there]:
            raise UserError(f"{setting}: the protocols have no {column} {absent[0]!r}{did_you_mean(absent[0], there)}")
    in_languages = protocols["language"].isin(corpus.languages)
    kept = in_languages & (every_other | protocols["source"].isin([*corpus.sources, *unknown]))
    return protocols[kept].reset_index(drop=True)


def download(settings: Settings) -> None:
    """The protocols, then the audio they need."""
    download_protocols(settings)
    mlaad_audio.download(settings, needed(settings))


prepare, check, inventory, missing_files = mlaad_audio.verbs(needed)


def resources(settings: Settings) -> list[Resource]:
    """The protocols and the audio they need (all of it while the protocols are not here to say)."""
    return [protocol_resource(settings), *audio_resources(settings, needed, NUM_UTTERANCES)]


def protocol_resource(settings: Settings) -> Resource:
    """The protocols' zip."""
    path, remote = Path(settings.paths.protocols), protocol_file(settings)
    is_here = path.exists()
    return Resource("source-tracing protocols", remote.urls[0], remote.size_bytes, "not stated", str(path.parent), is_here, remote=remote)


def audio_resources(settings: Settings, needed: Callable[[Settings], pd.DataFrame], num_published: int) -> list[Resource]:
    """The audio, counted where the protocols are here, else taken to be as much as is published."""
    if Path(settings.paths.protocols).exists():
        return mlaad_audio.resources(settings, needed(settings))
    return mlaad_audio.plan(settings, num_published)
