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
from sourcetracing.settings.training import further_labels
from sourcetracing.training.checkpoints import load_trained
from sourcetracing.training.label_classes import head_sizes, label_texts, recorded_classes
from sourcetracing.training.networks import build_model, forward
from sourcetracing.training.runs import TrainingRun

_KEY = b"story"  # of the metadata in the file; another name would make all scores of before look out of date
_PARTNER = "embeddings"  # in it: the digest of the embeddings that were stored with these scores, "" for none
_HEADS = "label_scores"  # likewise of what further heads say; not there without any


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
    is_current &= _has_own_label_scores(run, split, metadata)
    return is_current and (not run.files.scored_embeddings(split).is_file() or _own_embeddings(run, split) is not False)


def _has_own_label_scores(run: TrainingRun, split: str, metadata: dict) -> bool:
    if not further_labels(run.settings):
        return True
    path = run.files.label_scores(split)
    return path.is_file() and metadata.get(_HEADS) == digest_of_file(path)


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
        num_classes = len(settings.corpus.sources)
        of_heads = _write_label_scores(run, split, index, logits[:, num_classes:])
        _write(run, split, index, rows, embeddings, logits[:, :num_classes], {"weights": digest_of_file(run.files.weights), **of_heads})


def load_model(run: TrainingRun, store: FeatureStore) -> torch.nn.Module:
    """The trained network of a run, in evaluation mode. Raises `UserError` when it is missing, damaged or of another shape."""
    model = build_model(run.settings, store.shape[1:], head_sizes(recorded_classes(run.files, run.settings)))
    load_trained(model, run.files.weights)
    return model.eval()


def _write(
    run: TrainingRun, split: str, index: pd.DataFrame, rows: FeatureRows, embeddings: np.ndarray, logits: np.ndarray, facts: dict
) -> None:
    table = index[["utt_id", "variant", "split", "language", "source"]].reset_index(drop=True)
    table["label"], table["prediction"] = rows.labels.cpu().numpy(), logits.argmax(axis=1)
    for number in range(logits.shape[1]):
        table[f"logit_{number}"] = logits[:, number]
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {**facts, "system": run.system, "train_set": run.train_set, "seed": run.seed}
    metadata |= {"variants": variants_of(run.settings, split), _PARTNER: _write_embeddings(run, split, embeddings)}
    with atomic_path(run.files.scores(split)) as partial:
        pq.write_table(arrow.replace_schema_metadata({**arrow.schema.metadata, _KEY: json.dumps(metadata).encode()}), partial)


def _write_label_scores(run: TrainingRun, split: str, index: pd.DataFrame, logits: np.ndarray) -> dict[str, str]:
    """Writes utt_id, variant and of each further label prediction_<label> (a name), logit_<label>_<k>, row by row as in the scores.

    Before those, as the embeddings are. logits: (N, all further classes). Returns what the scores say of it; {} without further heads.
    """
    if not (classes := recorded_classes(run.files, run.settings)):
        return {}
    columns: dict[str, np.ndarray] = {name: index[name].to_numpy() for name in ("utt_id", "variant")}
    ends = np.cumsum(head_sizes(classes))
    for (name, names), own in zip(classes.items(), np.split(logits, ends[:-1], axis=1), strict=True):
        columns[f"prediction_{name}"] = np.array(names, dtype=object)[own.argmax(axis=1)]
        columns |= {f"logit_{name}_{number}": own[:, number] for number in range(len(names))}
    path = run.files.label_scores(split)
    with atomic_path(path) as partial:
        pq.write_table(pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False), partial)
    return {_HEADS: digest_of_file(path)}


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


def read_label_scores(run: TrainingRun, split: str) -> pd.DataFrame:
    """What the further heads of a run say, a row for each of `read_scores(..., unknown=True)`, and what is so.

    utt_id, variant, then for each label label_<label> (as utterances.csv has it today, "" = not known), prediction_<label> (a name),
    logit_<label>_<k> in the order of `recorded_classes`. Raises `UserError`.
    """
    scores = read_scores(run, split, unknown=True)[["utt_id", "variant"]]
    found, texts = pd.read_parquet(run.files.label_scores(split)), label_texts(run.settings)
    table = scores.merge(found, on=["utt_id", "variant"], how="left", validate="one_to_one")
    for name in texts:
        table.insert(table.columns.get_loc(f"prediction_{name}"), f"label_{name}", table["utt_id"].map(texts[name]).fillna(""))
    return table


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
