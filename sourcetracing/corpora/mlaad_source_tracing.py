"""MLAAD v5 with its official source-tracing splits, the corpus of the Interspeech 2025 special session.

Source tracing of audio deepfakes, N. M. Mueller 2024; https://deepfake-total.com: mlaad4sourcetracing.zip holds train.csv, dev.csv and
eval.csv with columns path, model_name. Paths are spelled ./fake/... or fake/...; language and model directory are parts of the path;
109 rows of eval are listed twice (D50).
"""

from __future__ import annotations

import io
import zipfile
from functools import cached_property
from pathlib import Path

import pandas as pd

from sourcetracing.corpora.corpus import DOWNLOAD_COMMAND, UTTERANCE_COLUMNS, Resource, utterances_of_settings
from sourcetracing.corpora.mlaad_audio import MlaadCorpus
from sourcetracing.corpora.mlaad_release import refuse_other_version
from sourcetracing.downloads.http import RemoteFile, fetch
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv
from sourcetracing.settings.corpora import Mlaad
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS

SIZE_BYTES = 689_783  # of the published zip
_NAME = r"(?!\.{1,2}/)[^/]+"
_PATH_PATTERN = rf"^(?:\./)?(?P<path>fake/(?P<language>{_NAME})/(?P<model_dir>{_NAME})/(?P<stem>[^/]+?))(?P<suffix>\.[A-Za-z0-9]+)$"


class MlaadSourceTracing(MlaadCorpus):
    """Its utterances come with `split`, in the order of the protocols."""

    num_published = 56_891  # 57,000 rows, 109 of them twice

    def __init__(self, settings: Settings) -> None:
        refuse_other_version(settings.mlaad, settings.corpus.reader)
        super().__init__(settings)

    @cached_property
    def needed(self) -> pd.DataFrame:
        return self.listed()

    def listed(self) -> pd.DataFrame:
        """The settings' part of the protocols."""
        path = Path(self.settings.paths.protocols)
        protocols = read_protocols(path, keep_duplicates=self.settings.mlaad.keep_duplicates)
        return utterances_of_settings(protocols, self.settings, str(path))

    def list_resources(self) -> list[Resource]:
        path, remote = Path(self.settings.paths.protocols), self._protocols()
        where = {"target": str(path.parent), "is_here": path.exists(), "remote": remote}
        return [Resource("source-tracing protocols", remote.urls[0], remote.size_bytes, "not stated", **where)]

    def download_lists(self) -> None:
        path = Path(self.settings.paths.protocols)
        if not path.exists():
            if path.suffix != ".zip":
                raise UserError(f"paths.protocols={path} does not exist; the download needs the name of a .zip there")
            fetch([self._protocols()], path.parent, self.settings.download)

    def _protocols(self) -> RemoteFile:
        """The zip as it is published; the pinned size belongs to the pinned checksum."""
        mlaad = self.settings.mlaad
        size_bytes = SIZE_BYTES if mlaad.protocols_checksum == Mlaad().protocols_checksum else None
        return RemoteFile(Path(self.settings.paths.protocols).name, (mlaad.protocols_url,), size_bytes, mlaad.protocols_checksum)


def read_protocols(path: Path, *, keep_duplicates: bool = False) -> pd.DataFrame:
    """Every row of the three lists, in their order: the columns of an utterance table and `split`.

    recording is the file's stem (MLAAD names a file after the recording whose text it speaks), speaker and transcript are "". A row
    listed twice is dropped with a notice; keep_duplicates keeps it with #2 after its utt_id. Raises `UserError` for a missing or broken
    file, a missing column, a path of another form, and a model name that is not that of its folder.
    """
    table = pd.concat([_read_split(path, split) for split in SPLITS], ignore_index=True)
    return _without_duplicates(table, keep_duplicates)


def _read_split(path: Path, split: str) -> pd.DataFrame:
    name = f"{split}.csv"
    where = f"{path}: {name}"
    try:
        rows = read_csv(io.BytesIO(_read_member(path, name)))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{where} is no CSV: {error}") from None
    for column in ("path", "model_name"):
        if column not in rows:
            raise UserError(f"{where} has no column {column!r}; it has: {', '.join(rows.columns)}")
    parts = rows["path"].str.extract(_PATH_PATTERN)
    if (strange := parts["path"].isna()).any():
        row = int(strange.idxmax())
        raise UserError(f"{where}, row {row + 2}: {rows['path'][row]!r} is not of the form fake/<language>/<model_dir>/<file>.wav")
    if (differing := rows["model_name"].str.replace("/", "_") != parts["model_dir"]).any():
        row = int(differing.idxmax())
        raise UserError(f"{where}, row {row + 2}: the model {rows['model_name'][row]!r} is not that of the folder in {rows['path'][row]!r}")
    table = {
        "utt_id": parts["path"].str.removeprefix("fake/"),
        "path": parts["path"] + parts["suffix"],
        "language": parts["language"],
        "source": rows["model_name"],
        "speaker": "",
        "transcript": "",
        "recording": parts["stem"],
        "split": split,
    }
    return pd.DataFrame(table)[[*UTTERANCE_COLUMNS, "split"]]


def _read_member(path: Path, name: str) -> bytes:
    if path.is_dir():
        if not (path / name).is_file():
            raise UserError(f"{path} holds no {name}. See paths.protocols")
        return (path / name).read_bytes()
    if not path.is_file():
        raise UserError(f"{path} is missing. Run: {DOWNLOAD_COMMAND}")
    try:
        with zipfile.ZipFile(path) as archive:
            found = [member for member in archive.namelist() if member == name or (member.endswith(f"/{name}") and member.count("/") == 1)]
            if len(found) != 1:
                raise UserError(f"{path} holds {len(found)} files {name}, one is expected")
            return archive.read(found[0])
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(
            f"{path} is no readable zip ({error}). Delete it and run: python scripts/01_download_resources.py CONFIG.yaml"
        ) from None


def _without_duplicates(table: pd.DataFrame, keep_duplicates: bool) -> pd.DataFrame:
    """Within a split only: a file in two splits is a fault that the leakage audit shall show."""
    again = table.groupby(["split", "utt_id"], sort=False).cumcount()
    if not again.any():
        return table
    if keep_duplicates:
        suffix = ("#" + (again + 1).astype(str)).where(again > 0, "")
        return table.assign(utt_id=table["utt_id"] + suffix)
    per_split = ", ".join(f"{count} in {split}" for split, count in table["split"][again > 0].value_counts().items())
    print(f"dropped {int((again > 0).sum())} rows that the protocol lists twice ({per_split}); mlaad.keep_duplicates=true keeps them")
    return table[again == 0].reset_index(drop=True)
