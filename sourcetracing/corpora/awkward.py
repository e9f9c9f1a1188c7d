"""The awkward corpus (configs/awkward.yaml): files and a table with splits that the project makes itself, read as a corpus of your own.

It holds what real corpora hold and the demo does not, in seconds: `sourcetracing.synthesis.awkward` says what.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from sourcetracing.corpora.corpus import Resource
from sourcetracing.corpora.folder import FolderCorpus
from sourcetracing.corpora.made_folders import MadeFolder, made_resources, make_folders, noise_folders, recipe_of, seed_of_audio
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_text
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis.awkward import TABLE_COLUMNS, AwkwardFile, make_file, plan_files
from sourcetracing.synthesis.tiny_encoder import FOLDER_NAME, is_complete, write_tiny_encoder


class AwkwardCorpus(FolderCorpus):
    """folder.table is written by `download`; everything else reads it as it would a user's own."""

    advice = "Run: python scripts/01_download_resources.py CONFIG.yaml"

    def download(self) -> None:
        """Makes what is missing; existing files are kept. Raises UserError for a folder that was made otherwise."""
        if not self.settings.folder.table:
            raise UserError("folder.table is empty; the awkward corpus writes its table there: folder.table=PATHS.CORPUS/table.csv")
        folders = _folders(self.settings)
        make_folders(folders, self.settings)
        _write_table(folders[0].entries, Path(self.settings.folder.table))
        if not is_complete(encoder := self.root / FOLDER_NAME):
            write_tiny_encoder(encoder, seed_of_audio(self.settings))

    def resources(self) -> list[Resource]:
        """The three folders; nothing is fetched."""
        return made_resources("awkward", _folders(self.settings))


def _folders(settings: Settings) -> list[MadeFolder]:
    corpus = MadeFolder("corpus", Path(settings.paths.corpus), recipe_of(settings), plan_files(seed_of_audio(settings)), make_file)
    return [corpus, *noise_folders(settings)]


def _write_table(files: list[AwkwardFile], path: Path) -> None:
    """An unchanged table is not written again: the protocol's digest would not change, but its time would."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([TABLE_COLUMNS, *(file.row for file in files)])
    if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
        write_text(path, text.getvalue())
