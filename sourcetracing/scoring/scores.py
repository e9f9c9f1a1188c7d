"""Scores of a trained run: one row per evaluated feature row, from which every table is computed without the network."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from sourcetracing.runtime.locks import held
from sourcetracing.settings.schema import Settings
from sourcetracing.training.checkpoints import load_trained
from sourcetracing.training.networks import build_model, forward
from sourcetracing.training.runs import TrainingRun

_KEY = b"story"  # of the metadata in the file; another name would make all scores of before look out of date
_PARTNER = "embeddings"  # in it: the digest of the embeddings that were stored with these scores, "" for none


def is_scored(run: TrainingRun, split: str) -> bool:
    """Whether the scores on disk belong to the weights and to the embeddings on disk, and hold the wanted variants.

    Embeddings that lie beside them must be those of the same rows; there need not be any.
    """
    path, weights = run.files.scores(split), run.files.weights
    if not path.is_file() or not weights.is_file():
        return False
    metadata, wanted = _metadata_of(path), variants_of(run.settings, split)
    there = metadata.get("variants", [])  # empty = all
    is_current = metadata.get("weights") == digest_of_file(weights) and (not there or (bool(wanted) and set(wanted) <= set(there)))
    return is_current and (not run.files.scored_embeddings(split).is_file() or _own_embeddings(run, split) is not False)


def is_made(run: TrainingRun, split: str) -> bool:
    """Whether nothing is left to be scored: `is_scored`, with embeddings where `evaluation.embeddings` wants them."""
    return is_scored(run, split) and (not run.settings.evaluation.embeddings or _own_embeddings(run, split) is True)


def _own_embeddings(run: TrainingRun, split: str) -> bool | None:
    """Whether the embeddings on disk are those of the scores on disk; None where the scores were stored without, or there are none.

    Scores of before 2026-11-27 do not tell their digest: then the numbers of rows have to agree.
    """
    path, digest = run.files.scored_embeddings(split), _metadata_of(run.files.scores(split)).get(_PARTNER)
    if digest == "" or not path.is_file():
        return None
    if digest is None:
        return _num_rows(path) == pq.read_metadata(run.files.scores(split)).num_rows
    return digest == digest_of_file(path)


def _num_rows(path: Path) -> int:
    try:
        return len(np.load(path, mmap_mode="r"))
    except (ValueError, EOFError):
        return -1


def variants_of(settings: Settings, split: str) -> list[str]:
    """The acoustic variants that a split is scored on; empty = all stored: `train.variants`, for dev and eval `evaluation.variants`."""
    return settings.train.variants if split == "train" else settings.evaluation.variants


def score_run(run: TrainingRun, store: FeatureStore, device: torch.device) -> None:
    """Scores all languages and sources (unknown ones too, as UNKNOWN_LABEL) of `evaluation.splits` on the variants of `variants_of`.

    Stores logits and embeddings. A second process waits for the first one, and finds its scores.
    """
    settings = run.settings
    with held(run.files.scores_lock, f"another process is scoring {run.folder}", wait=True):
        missing = [split for split in settings.evaluation.splits if not is_made(run, split)]
        if missing:
            _score(run, missing, store, device)


def _score(run: TrainingRun, splits: Sequence[str], store: FeatureStore, device: torch.device) -> None:
    settings, model = run.settings, load_model(run, store).to(device)
    for split in splits:
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
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {"weights": weights, "system": run.system, "train_set": run.train_set, "seed": run.seed}
    metadata |= {"variants": variants_of(run.settings, split), _PARTNER: _write_embeddings(run, split, embeddings)}
    with atomic_path(run.files.scores(split)) as partial:
        pq.write_table(arrow.replace_schema_metadata({**arrow.schema.metadata, _KEY: json.dumps(metadata).encode()}), partial)


def _write_embeddings(run: TrainingRun, split: str, embeddings: np.ndarray) -> str:
    """Before the scores, which hold their digest: until those are there too, the old ones have lost their partner. Returns the digest."""
    path = run.files.scored_embeddings(split)
    if not run.settings.evaluation.embeddings:
        return ""
    with atomic_path(path) as partial:
        np.save(partial, embeddings.astype(np.float16))
    return digest_of_file(path)


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
    if not _own_embeddings(run, split):
        what = "is missing" if not path.is_file() else f"is not of {run.files.scores(split).name} beside it"
        raise UserError(f"{path} {what}. Run script 06 with evaluation.embeddings=true")
    scores = pd.read_parquet(run.files.scores(split), columns=["variant"])
    return np.load(path)[_wanted(scores, run, split).to_numpy()].astype(np.float32)


def with_transcripts_as_units(scores: pd.DataFrame, utterances: pd.DataFrame) -> pd.DataFrame:
    """Scores with a column `unit`: source and transcript, or the utterance itself where its transcript is not known."""
    transcript = scores["utt_id"].map(utterances.set_index("utt_id")["transcript"]).fillna("")
    return scores.assign(unit=(scores["source"] + "\n" + transcript).where(transcript != "", scores["utt_id"]))
