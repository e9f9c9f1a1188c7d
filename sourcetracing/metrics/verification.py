"""Figures of verification: detection cost and the cost of log-likelihood ratios, for many weightings of the trials at once.

A trial is a target (one source) or not; higher score = more likely a target. Shapes: T trials, S weightings; a figure is (S,) for weights
(S, T). EER and the curve are those of `sourcetracing.metrics.ranking`, with targets as the positive class. A weighting that leaves one kind
only gives nan.
Sources: Bruemmer and du Preez 2006 (Cllr), NIST SRE plans (detection cost).
"""

from __future__ import annotations

import numpy as np

from sourcetracing.metrics.ranking import Curve, Ranking


def curve_of(scores: np.ndarray, is_target: np.ndarray, weights: np.ndarray) -> Curve:
    """Found targets and false alarms at all thresholds."""
    return Ranking(scores, is_target, np.ones(len(scores), bool)).curve(weights)


def min_dcf(curve: Curve, prior: float) -> np.ndarray:
    """The least detection cost of any threshold, (S,): at most 1.

    Misses and false alarms cost 1, the share of targets is `prior`; divided by the cost of the better constant answer.
    """
    return _dcf(1 - curve.found, curve.false_alarms, prior).min(axis=-1)


def actual_dcf(llrs: np.ndarray, is_target: np.ndarray, prior: float, weights: np.ndarray) -> np.ndarray:
    """The same cost where LLRs (T,) decide by themselves: a target from -logit(prior) on. (S,)"""
    accepted = llrs >= np.log1p(-prior) - np.log(prior)
    return _dcf(_mean(~accepted, is_target, weights), _mean(accepted, ~is_target, weights), prior)


def cllr(llrs: np.ndarray, is_target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cost of LLRs (T,), natural logarithms, in bits (S,): 0 = perfect, 1 = as good as LLRs of 0, above = misleading."""
    loss = np.logaddexp(0, np.where(is_target, -llrs, llrs)) / np.log(2)
    return (_mean(loss, is_target, weights) + _mean(loss, ~is_target, weights)) / 2


def min_cllr(scores: np.ndarray, is_target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cllr after the best map of the scores (T,) that never falls (pool adjacent violators; equal scores are one), in bits (S,)."""
    from scipy.optimize import isotonic_regression

    _, group = np.unique(scores, return_inverse=True)
    found = np.full(len(weights), np.nan)
    for number, own in enumerate(weights.astype(np.float64)):
        targets, others = (np.bincount(group[kind], own[kind], minlength=group.max() + 1) for kind in (is_target, ~is_target))
        if not targets.any() or not others.any():
            continue
        targets, others = targets / targets.sum(), others / others.sum()
        both = targets + others
        there = both > 0
        share = isotonic_regression(targets[there] / both[there], weights=both[there]).x.clip(0, 1)  # rounding may leave 0 to 1
        found[number] = -(_times_log2(targets[there], share) + _times_log2(others[there], 1 - share)) / 2
    return found


def _dcf(misses: np.ndarray, false_alarms: np.ndarray, prior: float) -> np.ndarray:
    return (prior * misses + (1 - prior) * false_alarms) / min(prior, 1 - prior)


def _mean(values: np.ndarray, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    own, values = weights[..., chosen], values[chosen].astype(np.float64)
    is_endless = values == np.inf  # of an LLR that is infinite and wrong: all, or nothing where its weight is 0, which 0 * inf is not
    endless = np.where(own @ is_endless > 0, np.inf, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (own @ np.where(is_endless, 0.0, values) + endless) / own.sum(axis=-1)


def _times_log2(shares: np.ndarray, p: np.ndarray) -> float:
    """Sum of shares * log2(p); 0 * log(0) = 0."""
    kept = shares > 0
    return float(shares[kept] @ np.log2(p[kept]))
