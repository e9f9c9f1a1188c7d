"""Between which log-likelihood ratios a set of trials supports what a system says: empirical lower and upper bounds (ELUB).

Vergeer, van Es, de Jongh, Alberink and Stoel 2016, Science & Justice 56, 482-491: a ratio is supported where deciding by it costs no more
than deciding without the system, were there one misleading trial more on each side. With n trials of a kind the bound can never exceed
n + 1, so no set of N trials supports more than about log10(N).
"""

from __future__ import annotations

import numpy as np

from sourcetracing.errors import UserError


def empirical_bounds(llrs: np.ndarray, is_target: np.ndarray) -> tuple[float, float]:
    """(lower, upper) bound of natural-log LLRs, lower <= 0 <= upper, from llrs (N,) and is_target (N,) bool; divide by ln 10 for log10.

    At the threshold t (a ratio) the cost is (P_miss + t P_fa) / min(1, t), P_miss = (missed targets + 1) / (targets + 1), P_fa =
    (accepted others + 1) / (others + 1): one target of -inf and one other of +inf are added. The bounds enclose the thresholds around 1
    up to which it stays at or below 1; both are 0 where even the threshold 1 costs more. Infinite LLRs count on their side of every
    threshold. Raises `UserError` for NaN and for trials of one kind only.
    """
    llrs, is_target = np.asarray(llrs, dtype=np.float64), np.asarray(is_target, dtype=bool)
    if llrs.shape != is_target.shape or llrs.ndim != 1:
        raise UserError(f"bounds of LLRs want as many labels as LLRs, got shapes {is_target.shape} and {llrs.shape}")
    if np.isnan(llrs).any():
        raise UserError(f"bounds of LLRs: {int(np.isnan(llrs).sum())} of {len(llrs)} are NaN")
    if is_target.all() or not is_target.any():
        raise UserError(f"bounds of LLRs need trials of one source and of two; all {len(llrs)} are of one kind")
    upper = _reach(llrs[is_target], llrs[~is_target])
    lower = _reach(-llrs[~is_target], -llrs[is_target])  # the same question with sides exchanged; at the scores themselves by limits
    return (-lower, upper) if upper > 0 and lower > 0 else (0.0, 0.0)


def _reach(right: np.ndarray, wrong: np.ndarray) -> float:
    """How far above 0 a threshold may rise while its cost stays at or below that of always saying no.

    right, wrong: scores of trials that should and should not lie above it. Rates change at scores only; between two of them the cost
    1 - found + t P_fa <= 1 holds up to t = found / P_fa.
    """
    ends = np.unique(np.concatenate([right, wrong])[np.concatenate([right, wrong]) > 0])  # rates hold for thresholds up to each of these
    starts = np.concatenate([[0.0], ends])
    # A threshold just above `start` and up to the next end accepts what lies above `start`.
    found = (len(right) - np.searchsorted(np.sort(right), starts, side="right")) / (len(right) + 1)
    false_alarms = (len(wrong) - np.searchsorted(np.sort(wrong), starts, side="right") + 1) / (len(wrong) + 1)
    with np.errstate(divide="ignore"):
        limits = np.log(found / false_alarms)
    ends = np.append(ends, np.inf)
    broken = int(np.argmax(limits < ends))  # the last one is broken: nothing is found above the highest score
    return float(max(starts[broken], min(limits[broken], ends[broken]), 0.0))
