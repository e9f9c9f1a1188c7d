"""The whole of MLAAD, any version: every model of some languages, with whatever its meta.csv files say (corpus.reader=mlaad).

It has no official splits. `split.assignment=openset` draws some; script 02 --propose chooses which sources are known.
"""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from sourcetracing.corpora.corpus import Resource, require_names, utterances_of_settings
from sourcetracing.corpora.mlaad_audio import LICENCE, MlaadCorpus
from sourcetracing.corpora.mlaad_release import release_of
from sourcetracing.corpora.mlaad_tree import MlaadTree, languages_below, read_tree
from sourcetracing.downloads.hub import fetch_hub, list_hub
from sourcetracing.downloads.records import mark_complete, only_run
from sourcetracing.settings.corpora import Mlaad

FILES_PER_MODEL = 1000  # of a language, in every version: for the plan, before a server was asked


class AnyMlaad(MlaadCorpus):
    """Its needed files are what meta.csv lists; with mlaad.on_missing=skip only those of them that are there."""

    counts_models = True

    @cached_property
    def _tree(self) -> MlaadTree:
        languages = self.settings.corpus.languages
        require_names("corpus.languages", languages, languages_below(self.root), str(self.root / "fake"))
        return read_tree(self.root, languages)

    @cached_property
    def needed(self) -> pd.DataFrame:
        return utterances_of_settings(self._usable(self._tree), self.settings, str(self.root / "fake"))

    def wanted(self) -> pd.DataFrame:
        return utterances_of_settings(self._tree.rows, self.settings, str(self.root / "fake"))

    def download(self) -> None:
        super().download()
        for name in ("_tree", "needed"):  # there is more now than when they were read
            self.__dict__.pop(name, None)

    def _usable(self, tree: MlaadTree) -> pd.DataFrame:
        rows = tree.rows[tree.rows["present"]] if self.settings.mlaad.on_missing == "skip" else tree.rows
        return rows.drop(columns="present").reset_index(drop=True)

    def prepare(self) -> pd.DataFrame:
        for line in [*release_of(self.settings.mlaad).notes, *self._tree.lines()]:
            print(f"MLAAD {self.settings.mlaad.version}: {line}")
        return self.needed

    def of_every_source(self) -> pd.DataFrame:
        tree = read_tree(self.root, languages_below(self.root))
        for line in tree.lines():
            print(f"MLAAD {self.settings.mlaad.version}: {line}")
        return self._usable(tree)

    @property
    def num_published(self) -> int:
        corpus = self.settings.corpus
        return FILES_PER_MODEL * len(corpus.languages) * len([*corpus.sources, *corpus.unknown_sources])

    def list_resources(self) -> list[Resource]:
        mlaad = self.settings.mlaad
        where = f"https://huggingface.co/datasets/{mlaad.hub_id}/tree/{release_of(mlaad).revision}"
        return [Resource(f"MLAAD {mlaad.version} (meta.csv)", where, None, LICENCE, str(self.root), is_here=not self._absent())]

    def _absent(self) -> list[str]:
        """Languages without a model."""
        return [name for name in self.settings.corpus.languages if not any((self.root / "fake" / name).glob("*/"))]

    def download_lists(self) -> None:
        """meta.csv of every model of the languages that are not here yet; of a model without one its audio."""
        if not (absent := self._absent()):
            return
        folders = [f"fake/{name}" for name in absent]
        with only_run(self.root):
            if self.settings.mlaad.origin == "archive":
                self._download_archive(folders)
            else:
                self._download_meta(folders, self.settings.mlaad)

    def _download_meta(self, folders: list[str], mlaad: Mlaad) -> None:
        revision = release_of(mlaad).revision
        listing = list_hub(mlaad.hub_id, revision, folders, setting_name="mlaad.hub_revision")
        tables = {path: size for path, size in listing.files.items() if path.endswith("/meta.csv")}
        described = {path.rpartition("/")[0] for path in tables}
        others = {path: size for path, size in listing.files.items() if path.count("/") == 3 and path.rpartition("/")[0] not in described}
        fetch_hub(mlaad.hub_id, listing.commit, {**tables, **others}, self.root, sha256=listing.sha256)
        facts = {"hub_id": mlaad.hub_id, "revision": revision, "commit": listing.commit, "files": len(tables)}
        mark_complete(self.root, "mlaad_meta", facts)
