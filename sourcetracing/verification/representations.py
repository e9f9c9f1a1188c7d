"""What an utterance looks like to a system: its stored embedding, as it is clean. The floor's embeddings are its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol, select
from sourcetracing.runtime.locks import held
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS
from sourcetracing.speakers.embedders import embedder_key
from sourcetracing.speakers.embeddings import embed_utterances
from sourcetracing.training.runs import TrainingRun

CLEAN = "original"  # the variant that is compared
OF_SPEAKERS = "speakers"  # the name of the baseline that knows voices alone


@dataclass(frozen=True)
class Embedded:
    """Utterances of a split, each once: utt_ids (N,), sources (N,), embeddings (N, E) float32; languages (N,), None where nobody asks."""

    utt_ids: np.ndarray
    sources: np.ndarray
    embeddings: np.ndarray
    languages: np.ndarray | None = None

    def rows_of(self, utt_ids: Sequence[str]) -> np.ndarray:
        """Where utterances stand. Raises `UserError` for the first that is not among them."""
        rows = pd.Index(self.utt_ids).get_indexer(list(utt_ids))
        if (missing := rows < 0).any():
            raise UserError(f"a trial names {utt_ids[int(missing.argmax())]}, which has no embedding: it is none of these utterances")
        return rows


def on_all_splits(run: TrainingRun) -> TrainingRun:
    """The same run, to be scored with embeddings on train, dev and eval."""
    return replace(run, settings=replace(run.settings, evaluation=replace(run.settings.evaluation, splits=list(SPLITS), embeddings=True)))


def embedded_by(run: TrainingRun, split: str) -> Embedded:
    """The clean utterances of a split as a run has embedded them. Raises `UserError` where they were not scored.

    train: known sources in the run's training languages; dev and eval: all languages and sources.
    """
    table, embeddings = read_scores(run, split, unknown=True), read_embeddings(run, split)
    kept = table["variant"] == CLEAN
    if not kept.any():
        group = "train" if split == "train" else "evaluation"
        scored = ", ".join(dict.fromkeys(table["variant"])) or "nothing"
        raise UserError(f"script 10 compares clean utterances, but {split} was scored on {scored}: put {CLEAN} into {group}.variants")
    if split == "train":
        kept &= select(table, languages=run.train_set.split("+")) & (table["label"] != UNKNOWN_LABEL)
    if not kept.any():
        raise UserError(f"train of {run.folder} has no clean utterance of a known source in {run.train_set}")
    return _checked(table[kept], embeddings[kept.to_numpy()], f"{split} of {run.folder}")


def _checked(table: pd.DataFrame, embeddings: np.ndarray, where: str) -> Embedded:
    if not (finite := np.isfinite(embeddings).all(axis=1)).all():
        raise UserError(f"{where}: the embedding of {table['utt_id'].iloc[int((~finite).argmax())]} has NaN or infinite numbers")
    return Embedded(*(table[name].to_numpy() for name in ("utt_id", "source")), embeddings, table["language"].to_numpy())


def why_no_speakers(settings: Settings) -> str:
    """Why there is no baseline of speakers; "" where there is one."""
    made = Layout.of(settings).speaker_embeddings(settings.speakers.embedder)
    if not made.is_file() or not made.with_suffix(".csv").is_file():
        return f"{made} is missing: python scripts/03_label_speakers.py CONFIG.yaml makes it"
    try:
        embedder_key(settings)
    except UserError as error:  # the embedder is not installed here
        return str(error)
    return ""


def speaker_baseline(settings: Settings) -> dict[str, Embedded]:
    """By split, the speakers' embeddings of every utterance. Those that script 03 has no use for, of unknown sources, are made.

    Raises `UserError`, `BadAudio` among them.
    """
    layout = Layout.of(settings)
    utterances, protocol = load_protocol(settings, unknown=True)
    utterances = utterances.drop(columns="split", errors="ignore").merge(protocol, on="utt_id", how="left")
    known = utterances["source"].isin(settings.corpus.sources).to_numpy()
    places = {True: layout.speaker_embeddings(settings.speakers.embedder), False: layout.unknown_speaker_embeddings}
    parts = []
    with held(layout.speakers_lock, f"another process is writing {layout.speakers}", wait=True):
        for is_known, path in places.items():
            chosen = utterances[known == is_known]
            if len(chosen):
                parts.append((chosen, embed_utterances(settings, chosen, path)))
    table = pd.concat([part for part, _ in parts], ignore_index=True)
    embeddings = np.concatenate([rows for _, rows in parts]).astype(np.float32)
    masks = {split: (table["split"] == split).to_numpy() for split in SPLITS}
    return {split: _checked(table[own], embeddings[own], f"speakers' embeddings of {split}") for split, own in masks.items()}
