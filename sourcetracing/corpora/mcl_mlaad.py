"""MCL-MLAAD, the corpus of the multilingual source-tracing benchmark (its section 2.1): six languages, four sources, 11,700 utterances.

Rebuilt: the union of MLAAD's three source-tracing lists, restricted to those languages and sources, gives every count of the paper's
Table 1; our seeded splitter splits it. Imported (mcl_mlaad.lists): the authors' own lists, with their splits.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from pathlib import Path

import pandas as pd

from sourcetracing.corpora.corpus import DOWNLOAD_COMMAND, UTTERANCE_COLUMNS, Resource, asking_for
from sourcetracing.corpora.mlaad import utterance_id
from sourcetracing.corpora.mlaad_source_tracing import MlaadSourceTracing
from sourcetracing.corpora.published_lists import ImportedLists, describe, read_lists
from sourcetracing.downloads.hub import fetch_hub, list_hub
from sourcetracing.downloads.records import mark_complete, only_run, read_complete
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Corpus as CorpusSettings

_BARK, _XTTS_1, _XTTS_2 = (f"tts_models/multilingual/multi-dataset/{name}" for name in ("bark", "xtts_v1.1", "xtts_v2"))
LIST_SUFFIXES = (".csv", ".tsv", ".txt")
SOURCES = ("griffin_lim", _BARK, _XTTS_1, _XTTS_2)
_WEST = {"griffin_lim": 600, _BARK: 300, _XTTS_1: 600, _XTTS_2: 600}
PUBLISHED_COUNTS = {**dict.fromkeys(("en", "de", "fr", "it", "pl"), _WEST), "ru": dict.fromkeys(SOURCES, 300)}


class MclMlaad(MlaadSourceTracing):
    """Its utterances come with `split` only where the authors' lists give one."""

    @cached_property
    def needed(self) -> pd.DataFrame:
        if self.settings.mcl_mlaad.lists:
            return _utterances_of(self._imported)
        if self.settings.split.assignment == "published":
            raise UserError(
                "split.assignment=published: a rebuilt MCL-MLAAD has no published splits; give the authors' lists as mcl_mlaad.lists"
            )
        utterances = self.listed().drop(columns="split")
        if self.settings.mcl_mlaad.published_counts:
            _check_counts(utterances, self.settings.corpus)
        return utterances

    def of_every_source(self) -> pd.DataFrame:
        """Of the paper's four: imported lists are read by their names."""
        return MclMlaad(asking_for(self.settings, list(SOURCES), [])).prepare()

    @cached_property
    def _imported(self) -> ImportedLists:
        folder, corpus = Path(self.settings.mcl_mlaad.lists), self.settings.corpus
        if not folder.is_dir():
            raise UserError(f"mcl_mlaad.lists={folder} is no folder. Run: {DOWNLOAD_COMMAND}")
        imported = read_lists(folder, tuple(corpus.sources), tuple(corpus.languages))
        print("\n".join(describe(imported)))
        return imported

    def speaker_groups(self) -> pd.DataFrame | None:
        groups = self._imported.speaker_groups if self.settings.mcl_mlaad.lists else None
        return None if groups is None or groups.empty else groups

    @property
    def num_published(self) -> int:
        corpus = self.settings.corpus
        return sum(PUBLISHED_COUNTS.get(language, {}).get(source, 0) for language in corpus.languages for source in corpus.sources)

    def list_resources(self) -> list[Resource]:
        mcl, folder = self.settings.mcl_mlaad, Path(self.settings.mcl_mlaad.lists)
        if not mcl.lists:
            return super().list_resources()
        where = f"https://huggingface.co/datasets/{mcl.lists_hub_id}"
        return [] if folder.is_dir() else [Resource("MCL-MLAAD lists", where, None, "not stated", str(folder))]

    def download_lists(self) -> None:
        """An absent or half-fetched folder of the authors' lists is filled from the Hub; one of the user's own is used as it is."""
        mcl, folder = self.settings.mcl_mlaad, Path(self.settings.mcl_mlaad.lists)
        if not mcl.lists:
            super().download_lists()
            return
        is_own = any(path.suffix.lower() in LIST_SUFFIXES for path in folder.rglob("*")) and not (folder / ".cache").exists()
        if is_own or read_complete(folder, "lists") is not None:
            return
        with only_run(folder):
            listing = list_hub(mcl.lists_hub_id, mcl.lists_hub_revision, setting_name="mcl_mlaad.lists_hub_revision")
            texts = {path: size for path, size in listing.files.items() if path.lower().endswith(LIST_SUFFIXES)}
            if not texts:
                raise UserError(f"{mcl.lists_hub_id} holds no CSV or TXT lists. See mcl_mlaad.lists_hub_id")
            fetch_hub(mcl.lists_hub_id, listing.commit, texts, folder, sha256=listing.sha256)
            mark_complete(folder, "lists", {"hub_id": mcl.lists_hub_id, "commit": listing.commit, "files": len(texts)})


def _check_counts(utterances: pd.DataFrame, corpus: CorpusSettings) -> None:
    """Refuses counts per language and source other than the paper's (Table 1); pairs that the paper does not have are not looked at."""
    found = utterances.groupby(["language", "source"]).size()
    for language, source in product(corpus.languages, corpus.sources):
        expected, count = PUBLISHED_COUNTS.get(language, {}).get(source), int(found.get((language, source), 0))
        if expected is not None and count != expected:
            raise UserError(
                f"MCL-MLAAD has {expected} utterances of {source} in {language}, this protocol has {count}. "
                "For a protocol that is meant to differ set mcl_mlaad.published_counts=false"
            )


def _utterances_of(imported: ImportedLists) -> pd.DataFrame:
    table = imported.utterances
    filled = {"utt_id": table["path"].map(utterance_id), "recording": table["path"].str.extract(r"([^/]+)\.[^./]+$")[0]}
    blank = {column: "" for column in UTTERANCE_COLUMNS if column not in table and column not in filled}
    return table.assign(**filled, **blank)[[*UTTERANCE_COLUMNS, "split"]].sort_values("utt_id", ignore_index=True)
