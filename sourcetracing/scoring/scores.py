"""Scores of a trained run: one row per evaluated feature row, from which every table is computed without the network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL, FeatureRows, label_ids
from sourcetracing.features.store import FeatureStore
from sourcetracing.protocols.table import select
from sourcetracing.runtime.files import atomic_path, digest_of_file
from sourcetracing.settings.schema import Settings
from sourcetracing.training.checkpoints import load_trained
from sourcetracing.training.networks import build_model, forward
from sourcetracing.training.runs import TrainingRun

_KEY = b"story"  # of the metadata in the file; another name would make all scores of before look out of date


def is_scored(run: TrainingRun, split: str) -> bool:
    """Whether the scores on disk belong to the weights on disk and hold the wanted variants."""
    path, weights = run.files.scores(split), run.files.weights
    if not path.is_file() or not weights.is_file():
        return False
    metadata, wanted = _metadata_of(path), variants_of(run.settings, split)
    there = metadata.get("variants", [])  # empty = all
    return metadata.get("weights") == digest_of_file(weights) and (not there or (bool(wanted) and set(wanted) <= set(there)))


def variants_of(settings: Settings, split: str) -> list[str]:
    """The acoustic variants that a split is scored on; empty = all stored: `train.variants`, for dev and eval `evaluation.variants`."""
    return settings.train.variants if split == "train" else settings.evaluation.variants


def score_run(run: TrainingRun, store: FeatureStore, device: torch.device) -> None:
    """Scores all languages and sources (unknown ones too, as UNKNOWN_LABEL) of `evaluation.splits` on the variants of `variants_of`.

    Stores logits and embeddings.
    """
    settings = run.settings
    model = load_model(run, store).to(device)
    for split in settings.evaluation.splits:
        if is_scored(run, split):
            continue
        variants = variants_of(settings, split)
        index = store.index[select(store.index, languages=settings.corpus.languages, splits=[split], variants=variants)]
        if index.empty:
            kind = f"{split} rows of the variants {', '.join(variants)}" if variants else f"{split} rows"
            raise UserError(f"evaluation.splits: there are no {kind} in {store.folder}")
        rows = FeatureRows(store, index["row"].to_numpy(), label_ids(index["source"], settings.corpus.sources), device)
        embeddings, logits = forward(model, rows, settings)
        _write(run, split, index, rows, embeddings, logits, digest_of_file(run.files.weights))


def load_model(run: TrainingRun, store: FeatureStore) -> torch.nn.Module:
    """The trained network of a run, in evaluation mode. Raises `UserError` when it is missing, damaged or of another shape."""
    model = build_model(run.settings, store.shape[1:])
    load_trained(model, run.files.weights)
    return model.eval()


def _write(
    run: TrainingRun, split: str, index: pd.DataFrame, rows: FeatureRows, embeddings: np.ndarray, logits: np.ndarray, weights: str
) -> None:
    table = index[["utt_id", "variant", "split", "language", "source"]].reset_index(drop=True)
    table["label"], table["prediction"] = rows.labels.cpu().numpy(), logits.argmax(axis=1)
    for number in range(logits.shape[1]):
        table[f"logit_{number}"] = logits[:, number]
    if run.settings.evaluation.embeddings:
        with atomic_path(run.files.scored_embeddings(split)) as partial:
            np.save(partial, embeddings.astype(np.float16))
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {"weights": weights, "system": run.system, "train_set": run.train_set, "seed": run.seed}
    metadata["variants"] = variants_of(run.settings, split)
    with atomic_path(run.files.scores(split)) as partial:
        pq.write_table(arrow.replace_schema_metadata({**arrow.schema.metadata, _KEY: json.dumps(metadata).encode()}), partial)


def _metadata_of(path: Path) -> dict:
    try:
        return json.loads((pq.read_schema(path).metadata or {}).get(_KEY, b"{}"))
    except (pa.ArrowInvalid, OSError, json.JSONDecodeError):
        return {}


def read_scores(run: TrainingRun, split: str, *, unknown: bool = False) -> pd.DataFrame:
    """The score table of a run: the rows of known sources, with `unknown` all rows, which are also those of its embeddings.

    Raises `UserError` when it is missing, damaged or older than the weights.
    """
    if not is_scored(run, split):
        path = run.files.scores(split)
        raise UserError(f"{path} is missing or older than its weights. Run: python scripts/06_get_classification_metrics.py CONFIG.yaml")
    scores = pd.read_parquet(run.files.scores(split))
    kept = _wanted(scores, run, split) & (unknown | (scores["label"] != UNKNOWN_LABEL))
    return scores[kept].reset_index(drop=True)


def _wanted(scores: pd.DataFrame, run: TrainingRun, split: str) -> pd.Series:
    """Which rows are of the wanted variants: more may have been scored under other settings."""
    return select(scores, variants=variants_of(run.settings, split))


def read_embeddings(run: TrainingRun, split: str) -> np.ndarray:
    """Embeddings (N, E) float32, one for each row of `read_scores(..., unknown=True)`. Raises `UserError` when they were not stored."""
    path = run.files.scored_embeddings(split)
    if not path.is_file():
        raise UserError(f"{path} is missing. Delete {run.files.scores(split)} and run script 06 with evaluation.embeddings=true")
    scores = pd.read_parquet(run.files.scores(split), columns=["variant"])
    return np.load(path)[_wanted(scores, run, split).to_numpy()].astype(np.float32)


def with_transcripts_as_units(scores: pd.DataFrame, utterances: pd.DataFrame) -> pd.DataFrame:
    """Scores with a column `unit`: source and transcript, or the utterance itself where its transcript is not known."""
    transcript = scores["utt_id"].map(utterances.set_index("utt_id")["transcript"]).fillna("")
    return scores.assign(unit=(scores["source"] + "\n" + transcript).where(transcript != "", scores["utt_id"]))
