"""Known or unknown source: a detector of `sourcetracing.openset`, fitted on the run's training rows, with a threshold from its dev rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.metrics.ranking import Ranking, threshold_at_eer
from sourcetracing.openset.detectors import Detector, make_detectors
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.settings.openset import BEST_ON_DEV
from sourcetracing.tracing.calibration import logits_of, train_languages
from sourcetracing.tracing.system import score_splits
from sourcetracing.training.runs import TrainingRun

WITHOUT_COMPARISON = "max_softmax"  # where dev has no unknown rows: no training rows to lie close to, no scale of the logits to trust


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
    """A score above `threshold` means an unknown source (`is_above`). `eer` is dev's, if known.

    `origin` says in words how the threshold was found and, where it was, how the detector was chosen.
    """

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
    name, how = _chosen(run, train, dev) if name == BEST_ON_DEV else (name, "")
    detector = _fitted(run, [name], train)[name]
    threshold, origin, eer = _threshold(run, detector, dev)
    return UnknownRule(name, detector, threshold, origin + how, eer)


def _fitted(run: TrainingRun, names: list[str], train: Rows) -> dict[str, Detector]:
    detectors = make_detectors(replace(run.settings.openset, detectors=names))
    return {name: detector.fit(train.embeddings, train.logits, train.labels) for name, detector in detectors.items()}


def _chosen(run: TrainingRun, train: Rows, dev: Rows) -> tuple[str, str]:
    """(the detector with the highest AUROC on dev, of equals the first of openset.detectors; how it was chosen, in words)."""
    is_unknown, names = dev.labels == UNKNOWN_LABEL, run.settings.openset.detectors
    if not is_unknown.any() or is_unknown.all():
        return WITHOUT_COMPARISON, f"; {WITHOUT_COMPARISON} since dev has no unknown sources to choose a detector by"
    rankings = {
        name: Ranking(np.asarray(detector.score(dev.embeddings, dev.logits), np.float64), is_unknown, ~is_unknown)
        for name, detector in _fitted(run, names, train).items()
    }
    areas = {name: float(ranking.curve(np.ones(len(is_unknown))).auroc) for name, ranking in rankings.items()}
    best = max(areas, key=lambda name: areas[name])
    return best, f"; of {len(names)} detectors the best on dev (AUROC {areas[best]:.1%}, {min(areas.values()):.1%} the least)"


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
