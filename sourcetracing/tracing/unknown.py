"""Known or unknown source: a detector of `sourcetracing.openset`, fitted on the run's training rows, with a threshold from its dev rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.metrics.ranking import threshold_at_eer
from sourcetracing.openset.detectors import Detector, make_detectors
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.tracing.calibration import logits_of, train_languages
from sourcetracing.tracing.system import score_splits
from sourcetracing.training.runs import TrainingRun


@dataclass(frozen=True)
class Rows:
    """Embeddings (N, E), logits (N, C) and labels (N,) of scored rows."""

    embeddings: np.ndarray
    logits: np.ndarray
    labels: np.ndarray

    def where(self, chosen: np.ndarray) -> Rows:
        return Rows(self.embeddings[chosen], self.logits[chosen], self.labels[chosen])


@dataclass(frozen=True)
class UnknownRule:
    """A score above `threshold` means an unknown source. `origin` says in words how the threshold was found, `eer` is dev's, if known."""

    name: str
    detector: Detector
    threshold: float
    origin: str
    eer: float | None

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """(N,) scores, higher = more likely unknown."""
        return np.asarray(self.detector.score(embeddings, logits), dtype=np.float64)


def fit_rule(run: TrainingRun, device: torch.device) -> UnknownRule | None:
    """The rule of a run by `trace.detector`, None for none. Scores train and dev where that is missing. Raises `UserError`.

    Only rows in the languages of training count: the rule is about sources, and another language must not pass for one.
    """
    name = run.settings.trace.detector
    if name == "none":
        return None
    score_splits(run, ["train", "dev"], device)
    train, dev = (_read(run, split) for split in ("train", "dev"))
    train = train.where(train.labels != UNKNOWN_LABEL)
    for split, rows in (("train", train), ("dev", dev)):
        if not len(rows.labels):
            raise UserError(f"{run.folder}: there are no {split} scores in {', '.join(train_languages(run))}. Use trace.detector=none")
    detector = make_detectors(replace(run.settings.openset, detectors=[name]))[name].fit(train.embeddings, train.logits, train.labels)
    return UnknownRule(name, detector, *_threshold(run, detector, dev))


def _read(run: TrainingRun, split: str) -> Rows:
    scores = read_scores(run, split, unknown=True)
    rows = Rows(read_embeddings(run, split), logits_of(scores), scores["label"].to_numpy())
    return rows.where(scores["language"].isin(train_languages(run)).to_numpy())


def _threshold(run: TrainingRun, detector: Detector, dev: Rows) -> tuple[float, str, float | None]:
    """(threshold, where it comes from, EER on dev or None)."""
    scores, is_unknown = detector.score(dev.embeddings, dev.logits), dev.labels == UNKNOWN_LABEL
    if is_unknown.all():
        raise UserError(f"{run.folder}: dev has no known sources in {', '.join(train_languages(run))}. Use trace.detector=none")
    if is_unknown.any():
        eer, threshold = threshold_at_eer(is_unknown, scores, run.settings.openset.eer_point)
        origin = f"equal error on dev ({is_unknown.sum()} rows of unknown sources, {(~is_unknown).sum()} of known ones)"
        return float(threshold), origin, float(eer)
    share = run.settings.trace.false_alarms
    origin = f"dev has no unknown sources, so {share:.0%} of its {len(scores)} known rows are called unknown (trace.false_alarms)"
    return float(np.quantile(scores, 1 - share)), origin, None
