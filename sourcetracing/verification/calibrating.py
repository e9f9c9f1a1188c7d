"""From scores to log-likelihood ratios, natural logarithms: a line fitted on dev trials, kept within what these can support."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from sourcetracing.errors import UserError
from sourcetracing.metrics.empirical_bounds import empirical_bounds
from sourcetracing.verification.trials import OTHER, SAME

MAX_ITERATIONS, TOLERANCE = 1000, 1e-10


@dataclass(frozen=True)
class LlrLine:
    """LLR = slope * score + offset, cut at low and high. slope is never negative: 0 where higher scores do not mean one source.

    targets, nontargets: how many dev trials of each kind are behind it.
    """

    slope: float
    offset: float
    low: float
    high: float
    targets: int
    nontargets: int

    def llrs(self, scores: np.ndarray) -> np.ndarray:
        """(T,) of scores (T,)."""
        return np.clip(self.slope * scores + self.offset, self.low, self.high)

    @property
    def says_something(self) -> bool:
        """Whether it is more than "no support for either"."""
        return self.slope > 0


def fit_llrs(scores: np.ndarray, labels: np.ndarray) -> LlrLine:
    """Logistic regression with even priors on scores (T,) and labels (T,) of dev, NOT_KNOWN ones left out. Raises `UserError`.

    Each label is taken to be right with (N + 1) / (N + 2) only, N trials of the rarer kind (Platt 1999): without that, scores that separate
    the kinds end in an infinite slope.
    """
    is_target, is_other = labels == SAME, labels == OTHER
    targets, others = int(is_target.sum()), int(is_other.sum())
    if not targets or not others:
        raise UserError(f"dev has {targets} trials of one source and {others} of two: both kinds are needed to calibrate on")
    kept = is_target | is_other
    slope, offset = _line(scores[kept], is_target[kept])
    low, high = empirical_bounds(slope * scores[kept] + offset, is_target[kept])
    return LlrLine(slope, offset, low, high, targets, others)


def _line(scores: np.ndarray, is_target: np.ndarray) -> tuple[float, float]:
    """Slope and offset; 0, 0 where the likeliest line falls."""
    from sklearn.exceptions import ConvergenceWarning  # a second to import
    from sklearn.linear_model import LogisticRegression

    centre, spread = scores.mean(), scores.std()
    if spread <= 1e-9 * max(1.0, abs(centre)):  # nothing but rounding
        return 0.0, 0.0
    counts = np.where(is_target, is_target.sum(), (~is_target).sum())
    weight_of_kind, doubt = 1 / counts, 1 / (counts.min() + 2)
    standardised = np.tile((scores - centre) / spread, 2)[:, None]
    labels = np.concatenate([is_target, ~is_target])
    weights = np.concatenate([weight_of_kind * (1 - doubt), weight_of_kind * doubt])
    # Weights with mean 1: the solver's tolerance is on the sum of losses. C infinite: no penalty, which would draw the slope to 0.
    fitted = LogisticRegression(C=np.inf, max_iter=MAX_ITERATIONS, tol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # that two steps differ by rounding alone
        fitted.fit(standardised, labels, sample_weight=weights / weights.mean())
    slope = float(fitted.coef_[0, 0]) / spread
    if slope <= 0:
        return 0.0, 0.0
    return slope, float(fitted.intercept_[0]) - slope * centre
