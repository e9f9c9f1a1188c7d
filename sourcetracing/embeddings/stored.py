"""The embeddings of a run on disk: one array, a table of its rows, a record that is written last.

runs/<system>/<run>/embeddings/
embeddings.npy   (N, E) float16, as the scores hold them
index.parquet    one line for each row: row, utt_id, split, variant, language, source, speaker, pseudo_speaker ("" where not known), known
embeddings.json  last: the digest of the weights and of the tables that the rows were described from
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import EmbeddingLayout, RunLayout
from sourcetracing.runtime.files import digest_of_file, is_whole
from sourcetracing.runtime.locks import held
from sourcetracing.training.runs import TrainingRun

MAKE_COMMAND = "python scripts/08_generate_embeddings.py CONFIG.yaml"


def read_record(files: EmbeddingLayout) -> dict:
    """embeddings.json; empty while the embeddings are not complete."""
    return _read(files.record) if files.array.is_file() and files.index.is_file() else {}


def read_pictures_record(files: EmbeddingLayout) -> dict:
    """pictures.json; empty while the pictures are not complete."""
    record = _read(files.pictures_record)
    return record if all((files.root / name).is_file() for name in record.get("files", [])) else {}


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if is_whole(path) else {}
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def only_writer(run: TrainingRun) -> AbstractContextManager[None]:
    """Holds the lock of a run's embeddings and their pictures; waits while another process has it."""
    files = run.files.embeddings
    return held(files.lock, f"another process is writing {files.root}", wait=True)


@dataclass(frozen=True)
class Embeddings:
    """array: (N, E) float16, memory-mapped; index: N rows (see above); record: embeddings.json."""

    array: np.ndarray
    index: pd.DataFrame
    record: dict


def load_embeddings(run: RunLayout) -> Embeddings:
    """The embeddings of a run. Raises `UserError` when they are missing, incomplete, or not those of the weights on disk."""
    files = run.embeddings
    record = read_record(files)
    if not record:
        raise UserError(f"{files.root} holds no embeddings. Run: {MAKE_COMMAND}")
    if record["weights"] != digest_of_file(run.weights):
        raise UserError(f"{files.root} is older than the weights of its run. Run: {MAKE_COMMAND}")
    array, index = np.load(files.array, mmap_mode="r"), pd.read_parquet(files.index)
    if len(array) != len(index) or len(index) != record["rows"]:
        raise UserError(f"{files.root} is damaged: {len(array)} embeddings, {len(index)} rows. Delete it and run: {MAKE_COMMAND}")
    return Embeddings(array, index, record)
