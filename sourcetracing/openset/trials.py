"""What a detector is fitted on and judged on: the stored rows of a trained run, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.protocols.table import load_protocol, select
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import TrainingRun


@dataclass(frozen=True)
class Trials:
    """Rows of one split. table: columns utt_id, variant, split, language, source, label, prediction; label UNKNOWN_LABEL = no class.

    embeddings (N, D) float32, logits (N, C) float32.
    """

    table: pd.DataFrame
    embeddings: np.ndarray
    logits: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Class ids (N,)."""
        return self.table["label"].to_numpy()

    @property
    def is_unknown(self) -> np.ndarray:
        """Whether a row's source is no class (N,) bool: the positive class."""
        return self.labels == UNKNOWN_LABEL


def load_trials(run: TrainingRun, split: str) -> Trials:
    """The scored rows of a split. Raises `UserError` where they are missing, or dev or eval lacks known or unknown rows.

    train: known sources of the run's training languages; dev and eval: all that was scored.
    """
    table, embeddings = read_scores(run, split, unknown=True), read_embeddings(run, split)
    kept = pd.Series(True, index=table.index)
    if split == "train":
        kept = select(table, languages=run.train_set.split("+")) & (table["label"] != UNKNOWN_LABEL)
    names = [f"logit_{number}" for number in range(len(run.settings.corpus.sources))]
    rows = table[kept].reset_index(drop=True)
    trials = Trials(rows.drop(columns=names), embeddings[kept.to_numpy()], rows[names].to_numpy(np.float32))
    if split != "train":
        _refuse_one_sided(trials.is_unknown, split, run.settings, f"; scores from before are in {run.files.all_scores}: delete that folder")
    return trials


def require_both_kinds(settings: Settings, splits: Sequence[str]) -> None:
    """Raises `UserError` where a split of the protocol lacks known or unknown sources: before anything is scored for it."""
    utterances, protocol = load_protocol(settings, unknown=True)
    placed = utterances.drop(columns="split", errors="ignore").merge(protocol, on="utt_id")
    for split in splits:
        sources = placed.loc[placed["split"] == split, "source"]
        _refuse_one_sided(~sources.isin(settings.corpus.sources).to_numpy(), split, settings)


def _refuse_one_sided(is_unknown: np.ndarray, split: str, settings: Settings, more: str = "") -> None:
    if not is_unknown.any():
        raise UserError(
            f"{split} of {settings.name} has no row of an unknown source (corpus.unknown_sources="
            f"[{','.join(settings.corpus.unknown_sources)}]). Set it, for example to [all], then run scripts 01, 02, 04, 05 and 07 "
            f"again{more}"
        )
    if is_unknown.all():
        raise UserError(f"{split} of {settings.name} has no row of a known source: nothing to tell unknown sources from")


def padded(trials: Trials, batch: int) -> Trials:
    """With rows of zeros behind, taken for the first class, to whole batches, as the published matrices have them (D34). batch 0 = none."""
    missing = -len(trials.table) % batch if batch else 0
    if not missing:
        return trials
    texts = dict.fromkeys(("utt_id", "variant", "language", "source"), "")
    rows = pd.DataFrame({**texts, "split": trials.table["split"].iloc[0], "label": 0, "prediction": 0}, index=range(missing))
    rows["utt_id"] = [f"padding {number}" for number in range(missing)]
    zeros = [np.zeros((missing, array.shape[1]), array.dtype) for array in (trials.embeddings, trials.logits)]
    table = pd.concat([trials.table, rows[trials.table.columns]], ignore_index=True)
    return Trials(table, np.concatenate([trials.embeddings, zeros[0]]), np.concatenate([trials.logits, zeros[1]]))
