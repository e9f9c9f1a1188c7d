"""MCL-MLAAD, the corpus of the multilingual source-tracing benchmark: six languages, four sources, 11,700 utterances (spec 1.3).

Rebuilt: the union of MLAAD's three source-tracing lists, restricted to those languages and sources, gives every count of the paper's
Table 1; our seeded splitter splits it. Imported (mcl_mlaad.lists): the authors' own lists, with their splits.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd

from sourcetracing.corpora import mlaad_audio, mlaad_source_tracing
from sourcetracing.corpora.mlaad import UTTERANCE_COLUMNS, utterance_id
from sourcetracing.corpora.mlaad_protocols import download_protocols
from sourcetracing.corpora.published_lists import ImportedLists, describe, read_lists
from sourcetracing.corpora.resources import Resource
from sourcetracing.downloads.hub import fetch_hub, list_hub
from sourcetracing.downloads.records import mark_complete, only_run, read_complete
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings

_BARK, _XTTS_1, _XTTS_2 = (f"tts_models/multilingual/multi-dataset/{name}" for name in ("bark", "xtts_v1.1", "xtts_v2"))
LIST_SUFFIXES = (".csv", ".tsv", ".txt")
SOURCES = ("griffin_lim", _BARK, _XTTS_1, _XTTS_2)
_WEST = {"griffin_lim": 600, _BARK: 300, _XTTS_1: 600, _XTTS_2: 600}
PUBLISHED_COUNTS = {**dict.fromkeys(("en", "de", "fr", "it", "pl"), _WEST), "ru": dict.fromkeys(SOURCES, 300)}


def needed(settings: Settings) -> pd.DataFrame:
    """The utterances, needing no audio; with `split` only where the authors' lists give one. Raises `UserError` (see `check_counts`)."""
    if settings.mcl_mlaad.lists:
        return _imported(settings)
    if settings.split.assignment == "published":
        raise UserError(
            "split.assignment=published: a rebuilt MCL-MLAAD has no published splits; give the authors' lists as mcl_mlaad.lists"
        )
    utterances = mlaad_source_tracing.needed(settings).drop(columns="split")
    if settings.mcl_mlaad.published_counts:
        check_counts(utterances)
    return utterances


def check_counts(utterances: pd.DataFrame) -> None:
    """Refuses counts per language and source other than the paper's (Table 1); cells that the paper does not have are not looked at."""
    found = utterances.groupby(["language", "source"]).size()
    for (language, source), count in found.items():
        expected = PUBLISHED_COUNTS.get(language, {}).get(source)
        if expected is not None and count != expected:
            raise UserError(
                f"MCL-MLAAD has {expected} utterances of {source} in {language}, this protocol has {count}. "
                "For a protocol that is meant to differ set mcl_mlaad.published_counts=false"
            )


def _imported(settings: Settings) -> pd.DataFrame:
    table = _read_lists_once(settings).utterances
    filled = {"utt_id": table["path"].map(utterance_id), "recording": table["path"].str.extract(r"([^/]+)\.[^./]+$")[0]}
    blank = {column: "" for column in UTTERANCE_COLUMNS if column not in table and column not in filled}
    return table.assign(**filled, **blank)[[*UTTERANCE_COLUMNS, "split"]].sort_values("utt_id", ignore_index=True)


def _read_lists_once(settings: Settings) -> ImportedLists:
    folder = Path(settings.mcl_mlaad.lists)
    if not folder.is_dir():
        raise UserError(f"mcl_mlaad.lists={folder} is no folder. Run: python scripts/01_download_resources.py CONFIG.yaml")
    return _read_lists(folder, tuple(settings.corpus.sources), tuple(settings.corpus.languages))


@lru_cache(maxsize=1)
def _read_lists(folder: Path, sources: tuple[str, ...], languages: tuple[str, ...]) -> ImportedLists:
    """Reads and describes them once in a process; the verbs ask several times."""
    imported = read_lists(folder, sources, languages)
    print("\n".join(describe(imported)))
    return imported


def speaker_groups(settings: Settings) -> pd.DataFrame | None:
    """The authors' seen and unseen speakers per held-out language (path, language, source, heldout, group), where lists give them."""
    groups = _read_lists_once(settings).speaker_groups if settings.mcl_mlaad.lists else None
    return None if groups is None or groups.empty else groups


def download(settings: Settings) -> None:
    """The authors' lists or MLAAD's protocols, then the audio they need."""
    if settings.mcl_mlaad.lists:
        _download_lists(settings)
    else:
        download_protocols(settings)
    mlaad_audio.download(settings, needed(settings))


def _download_lists(settings: Settings) -> None:
    """Fills an absent or half-fetched folder from the Hub; a folder of the user's own is used as it is."""
    mcl, folder = settings.mcl_mlaad, Path(settings.mcl_mlaad.lists)
    record = read_complete(folder, "lists")
    is_own = any(path.suffix.lower() in LIST_SUFFIXES for path in folder.rglob("*")) and not (folder / ".cache").exists()
    if record is not None or is_own:
        return
    with only_run(folder):
        listing = list_hub(mcl.lists_hub_id, mcl.lists_hub_revision, None, setting_name="mcl_mlaad.lists_hub_revision")
        texts = {path: size for path, size in listing.files.items() if path.lower().endswith(LIST_SUFFIXES)}
        if not texts:
            raise UserError(f"{mcl.lists_hub_id} holds no CSV or TXT lists. See mcl_mlaad.lists_hub_id")
        fetch_hub(mcl.lists_hub_id, listing.commit, texts, folder, sha256=listing.sha256)
        mark_complete(folder, "lists", {"hub_id": mcl.lists_hub_id, "commit": listing.commit, "files": len(texts)})


prepare, check, inventory, missing_files = mlaad_audio.verbs(needed)


def resources(settings: Settings) -> list[Resource]:
    """The protocols or lists and, once they are here, the audio."""
    folder = Path(settings.mcl_mlaad.lists)
    if not settings.mcl_mlaad.lists:
        audio = mlaad_source_tracing.audio_resources(settings, needed, _num_published(settings))
        return [mlaad_source_tracing.protocol_resource(settings), *audio]
    if folder.is_dir():
        return mlaad_audio.resources(settings, needed(settings))
    where = f"https://huggingface.co/datasets/{settings.mcl_mlaad.lists_hub_id}"
    return [Resource("MCL-MLAAD lists", where, None, "not stated", str(folder)), *mlaad_audio.plan(settings, _num_published(settings))]


def _num_published(settings: Settings) -> int:
    corpus = settings.corpus
    return sum(PUBLISHED_COUNTS.get(language, {}).get(source, 0) for language in corpus.languages for source in corpus.sources)
