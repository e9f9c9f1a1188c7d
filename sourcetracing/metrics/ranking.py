"""How well a score separates unknown from known sources: EER, AUROC, FPR at 95 % TPR, OSCR, for many weightings of the rows at once.

The positive class is the unknown source, and a higher score means unknown, in every figure here. Rows of equal score are one step of the
curve, with a straight line across it, so no figure depends on the order of ties.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sourcetracing.metrics.classification import equal_error_rate, without_infinities

RECALL = 0.95  # of the unknown rows, where FPR at 95 % TPR is read; of the known rows, where unknown_accepted_at_95 is


@dataclass(frozen=True)
class Curve:
    """Rates (..., K) at falling thresholds, from "nothing is called unknown" to "everything is".

    found: share of unknown rows called unknown (TPR). false_alarms: share of known rows called unknown (FPR). right: share of known rows
    that are not called unknown and get their own class (the correct classification rate of OSCR).
    """

    found: np.ndarray
    false_alarms: np.ndarray
    right: np.ndarray

    @property
    def auroc(self) -> np.ndarray:
        """Area under found over false alarms (...): the probability that an unknown row scores higher than a known one, ties half."""
        return np.trapezoid(self.found, self.false_alarms, axis=-1)

    @property
    def oscr_area(self) -> np.ndarray:
        """Area (...) under right over accepted unknown rows (open-set classification rate, Dhamija et al. 2018)."""
        return np.trapezoid(self.right, self.found, axis=-1)

    @property
    def eer(self) -> np.ndarray:
        """Where false alarms = misses on the line between neighbouring points (...); as `metrics.equal_error_rate`."""
        gap = self.false_alarms + self.found - 1.0
        after = np.argmax(gap >= 0, axis=-1)[..., None]  # the first point has gap -1 and the last 1
        low, high = (np.take_along_axis(gap, place, axis=-1)[..., 0] for place in (after - 1, after))
        start, end = (np.take_along_axis(self.false_alarms, place, axis=-1)[..., 0] for place in (after - 1, after))
        return start + low / (low - high) * (end - start)

    @property
    def fpr_at_95_tpr(self) -> np.ndarray:
        """Share of known rows lost (...) at the highest threshold that finds 95 % of the unknown rows."""
        place = np.argmax(self.found >= RECALL - 1e-12, axis=-1)[..., None]
        return np.take_along_axis(self.false_alarms, place, axis=-1)[..., 0]

    @property
    def unknown_accepted_at_95(self) -> np.ndarray:
        """Share of unknown rows missed (...) at the lowest threshold that accepts 95 % of the known rows: FPR95 with known as positive."""
        place = (self.false_alarms <= 1 - RECALL + 1e-12).sum(axis=-1)[..., None] - 1  # false alarms never fall
        missed = 1 - np.take_along_axis(self.found, place, axis=-1)[..., 0]
        return np.where(np.isnan(self.false_alarms).any(axis=-1), np.nan, missed)  # nan without known rows


class Ranking:
    """Rows in the order of their scores (N,). is_unknown (N,) bool; is_right (N,) bool: whether the predicted class is the true one."""

    def __init__(self, scores: np.ndarray, is_unknown: np.ndarray, is_right: np.ndarray):
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        ends = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(order) - 1)  # last row of each distinct score, infinite or not
        kinds = [kind[order] for kind in (is_unknown, ~is_unknown, ~is_unknown & is_right)]
        self.rows = [order[kind] for kind in kinds]
        self.counts = [np.append(0, kind.cumsum()[ends]) for kind in kinds]  # how many rows of a kind lie above each point

    def curve(self, weights: np.ndarray) -> Curve:
        """The curve for row weights (..., N) >= 0; nan where they leave no known or no unknown row."""
        unknown, known, right = (
            _sums_from_zero(weights[..., rows])[..., counts] for rows, counts in zip(self.rows, self.counts, strict=True)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            found, false_alarms = (part / part[..., -1:] for part in (unknown, known))
            accepted = (right[..., -1:] - right) / known[..., -1:]
        return Curve(found, false_alarms, accepted)


def _sums_from_zero(weights: np.ndarray) -> np.ndarray:
    """Running sums (..., N + 1) that begin at 0, in double precision."""
    sums = np.zeros((*weights.shape[:-1], weights.shape[-1] + 1))
    np.cumsum(weights, axis=-1, out=sums[..., 1:])
    return sums


def threshold_at_eer(is_unknown: np.ndarray, scores: np.ndarray, eer_point: str) -> tuple[float, float]:
    """(EER, threshold above which a row is called unknown) of labels (N,) 0 or 1 and scores (N,), 1 = unknown = high.

    crossing: tie-safe and interpolated; rows that share a score fall on the side that leaves the errors nearer to equal. nearest: the
    corner of the ROC where false alarms and misses differ least and its false-alarm rate, as the published evaluation has it (D34).
    `is_above` decides by it. Raises `UserError` for NaN or a set with one kind of row only.
    """
    scores = without_infinities(np.asarray(scores, dtype=np.float64))
    eer, threshold = equal_error_rate(is_unknown.astype(np.int64), scores)
    if eer_point == "crossing":
        return eer, _beside_ties(is_unknown.astype(bool), scores, threshold)
    from sklearn.metrics import roc_curve

    false_alarms, found, thresholds = roc_curve(is_unknown, scores)
    place = int(np.argmin(np.abs(false_alarms - (1 - found))))
    return float(false_alarms[place]), float(thresholds[place])


def is_above(scores: np.ndarray, threshold: float) -> np.ndarray:
    """The one rule of decision (...): the positive class (unknown; bona fide) is called above the threshold, not at it."""
    return np.asarray(scores) > threshold


def _beside_ties(is_unknown: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    """The threshold, moved below the score that it lies at or just above when that brings false alarms and misses nearer together.

    Scores at the crossing are called known otherwise, all of them: with two distinct scores, no unknown row would be found. It is moved
    only where the crossing lies at a score or several rows share it, half way to the next lower score.
    """
    step = scores[scores <= threshold].max()
    if step < threshold and np.count_nonzero(scores == step) == 1:
        return threshold
    lower = scores[scores < step]
    below = (step + lower.max()) / 2 if len(lower) else np.nextafter(step, -np.inf)
    gaps = [abs(called[~is_unknown].mean() - (~called[is_unknown]).mean()) for called in (scores > threshold, scores > below)]
    return float(below) if gaps[1] < gaps[0] else threshold
