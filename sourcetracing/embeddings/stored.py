"""The embeddings of a run on disk: one array, a table of its rows, a record that is written last.

runs/<system>/<run>/embeddings/
embeddings.npy   (N, E) float16, as the scores hold them
index.parquet    one line for each row: row, utt_id, split, variant, language, source, speaker, pseudo_speaker ("" where not known), known
embeddings.json  last: the digest of the weights and of the tables that the rows were described from
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.training.run_folder import RunFolder

MAKE_COMMAND = "python scripts/08_generate_embeddings.py CONFIG.yaml"


class EmbeddingFolder:
    """The files of a run's embeddings and of their pictures."""

    def __init__(self, run_folder: Path):
        self.path = Path(run_folder) / "embeddings"
        self.array = self.path / "embeddings.npy"
        self.index = self.path / "index.parquet"
        self.record = self.path / "embeddings.json"
        self.points = self.path / "points.parquet"
        self.numbers = self.path / "numbers.csv"
        self.page = self.path / "explore.html"
        self.pictures_record = self.path / "pictures.json"

    def picture(self, label: str) -> Path:
        """The picture that is coloured by a label."""
        return self.path / f"by_{label}.png"

    def read_record(self) -> dict:
        """embeddings.json; empty while the embeddings are not complete."""
        return _read(self.record) if self.array.is_file() and self.index.is_file() else {}

    def read_pictures_record(self) -> dict:
        """pictures.json; empty while the pictures are not complete."""
        record = _read(self.pictures_record)
        return record if all((self.path / name).is_file() for name in record.get("files", [])) else {}


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


@dataclass(frozen=True)
class Embeddings:
    """array: (N, E) float16, memory-mapped; index: N rows (see above); record: embeddings.json."""

    array: np.ndarray
    index: pd.DataFrame
    record: dict


def load_embeddings(run_folder: Path) -> Embeddings:
    """The embeddings of a run. Raises `UserError` when they are missing, incomplete, or not those of the weights on disk."""
    folder = EmbeddingFolder(run_folder)
    record = folder.read_record()
    if not record:
        raise UserError(f"{folder.path} holds no embeddings. Run: {MAKE_COMMAND}")
    if record["weights"] != digest_of_file(RunFolder(run_folder).weights):
        raise UserError(f"{folder.path} is older than the weights of its run. Run: {MAKE_COMMAND}")
    array, index = np.load(folder.array, mmap_mode="r"), pd.read_parquet(folder.index)
    if len(array) != len(index) or len(index) != record["rows"]:
        raise UserError(f"{folder.path} is damaged: {len(array)} embeddings, {len(index)} rows. Delete it and run: {MAKE_COMMAND}")
    return Embeddings(array, index, record)
