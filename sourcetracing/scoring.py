"""Scores of a trained cell: one row per evaluated feature row, from which every table is computed without the network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from sourcetracing.checkpoints import load_checkpoint, load_weights
from sourcetracing.compute import autocast
from sourcetracing.config import Settings
from sourcetracing.errors import UserError
from sourcetracing.experiments import Cell
from sourcetracing.feature_data import UNKNOWN_LABEL, FeatureRows, label_ids
from sourcetracing.files import atomic_path, digest_of_file
from sourcetracing.networks import build_model
from sourcetracing.protocols import select
from sourcetracing.run_folder import RunFolder
from sourcetracing.store import FeatureStore


def scores_path(cell: Cell, split: str) -> Path:
    """Where the scores of a cell on a split lie."""
    return RunFolder(cell.folder).scores / f"{split}.parquet"


def is_scored(cell: Cell, split: str) -> bool:
    """Whether the scores on disk belong to the weights on disk and hold the wanted variants."""
    path, weights = scores_path(cell, split), RunFolder(cell.folder).weights
    if not path.is_file() or not weights.is_file():
        return False
    story, wanted = _story_of(path), variants_of(cell.settings, split)
    there = story.get("variants", [])  # empty = all
    return story.get("weights") == digest_of_file(weights) and (not there or (bool(wanted) and set(wanted) <= set(there)))


def variants_of(settings: Settings, split: str) -> list[str]:
    """The acoustic variants that a split is scored on; empty = all stored: `train.variants`, for dev and eval `evaluation.variants`."""
    return settings.train.variants if split == "train" else settings.evaluation.variants


def score_cell(cell: Cell, store: FeatureStore, device: torch.device) -> None:
    """Scores all languages and sources (unknown ones too, as UNKNOWN_LABEL) of `evaluation.splits` on the variants of `variants_of`.

    Stores logits and embeddings.
    """
    folder, settings = RunFolder(cell.folder), cell.settings
    model = load_model(cell, store).to(device)
    for split in settings.evaluation.splits:
        if is_scored(cell, split):
            continue
        variants = variants_of(settings, split)
        index = store.index[select(store.index, languages=settings.corpus.languages, splits=[split], variants=variants)]
        if index.empty:
            kind = f"{split} rows of the variants {', '.join(variants)}" if variants else f"{split} rows"
            raise UserError(f"evaluation.splits: there are no {kind} in {store.folder}")
        rows = FeatureRows(store, index["row"].to_numpy(), label_ids(index["source"], settings.corpus.sources), device)
        embeddings, logits = forward(model, rows, settings)
        _write(cell, split, index, rows, embeddings, logits, digest_of_file(folder.weights))


def load_model(cell: Cell, store: FeatureStore) -> torch.nn.Module:
    """The trained network of a cell, in evaluation mode. Raises `UserError` when it is missing, damaged or of another shape."""
    folder = RunFolder(cell.folder)
    tensors, _ = load_checkpoint(folder.weights)
    model = build_model(cell.settings, store.shape[1:])
    load_weights(model, tensors, str(folder.weights))
    return model.eval()


@torch.inference_mode()
def forward(model: torch.nn.Module, rows: FeatureRows, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, E) and logits (N, C), float32, of all rows in order."""
    outputs = []
    size = settings.evaluation.batch_size
    for start in range(0, len(rows), size):
        features, _ = rows.batch(np.arange(start, min(start + size, len(rows))))
        with autocast(features.device, settings.compute.precision):
            embedding, logits = model(features)
        outputs.append((embedding.float().cpu(), logits.float().cpu()))
    embeddings, logits = (torch.cat(parts).numpy() for parts in zip(*outputs, strict=True))
    return embeddings, logits


def _write(
    cell: Cell, split: str, index: pd.DataFrame, rows: FeatureRows, embeddings: np.ndarray, logits: np.ndarray, weights: str
) -> None:
    table = index[["utt_id", "variant", "split", "language", "source"]].reset_index(drop=True)
    table["label"], table["prediction"] = rows.labels.cpu().numpy(), logits.argmax(axis=1)
    for number in range(logits.shape[1]):
        table[f"logit_{number}"] = logits[:, number]
    path = scores_path(cell, split)
    if cell.settings.evaluation.embeddings:
        with atomic_path(path.with_suffix(".embeddings.npy")) as partial:
            np.save(partial, embeddings.astype(np.float16))
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    story = {"weights": weights, "system": cell.system, "train_set": cell.train_set, "seed": cell.seed}
    story["variants"] = variants_of(cell.settings, split)
    with atomic_path(path) as partial:
        pq.write_table(arrow.replace_schema_metadata({**arrow.schema.metadata, b"story": json.dumps(story).encode()}), partial)


def _story_of(path: Path) -> dict:
    try:
        return json.loads((pq.read_schema(path).metadata or {}).get(b"story", b"{}"))
    except (pa.ArrowInvalid, OSError, json.JSONDecodeError):
        return {}


def read_scores(cell: Cell, split: str, *, unknown: bool = False) -> pd.DataFrame:
    """The score table of a cell: the rows of known sources, with `unknown` all rows, which are also those of its embeddings.

    Raises `UserError` when it is missing, damaged or older than the weights.
    """
    if not is_scored(cell, split):
        path = scores_path(cell, split)
        raise UserError(f"{path} is missing or older than its weights. Run: python scripts/06_get_classification_metrics.py CONFIG.yaml")
    scores = pd.read_parquet(scores_path(cell, split))
    kept = _wanted(scores, cell, split) & (unknown | (scores["label"] != UNKNOWN_LABEL))
    return scores[kept].reset_index(drop=True)


def _wanted(scores: pd.DataFrame, cell: Cell, split: str) -> pd.Series:
    """Which rows are of the wanted variants: more may have been scored under other settings."""
    return select(scores, variants=variants_of(cell.settings, split))


def read_embeddings(cell: Cell, split: str) -> np.ndarray:
    """Embeddings (N, E) float32, one for each row of `read_scores(..., unknown=True)`. Raises `UserError` when they were not stored."""
    path = scores_path(cell, split).with_suffix(".embeddings.npy")
    if not path.is_file():
        raise UserError(f"{path} is missing. Delete {scores_path(cell, split)} and run script 06 with evaluation.embeddings=true")
    scores = pd.read_parquet(scores_path(cell, split), columns=["variant"])
    return np.load(path)[_wanted(scores, cell, split).to_numpy()].astype(np.float32)
