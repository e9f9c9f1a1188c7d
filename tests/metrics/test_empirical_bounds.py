"""Empirical bounds of log-likelihood ratios: by hand, and against the cost computed threshold by threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sourcetracing.errors import UserError
from sourcetracing.metrics.empirical_bounds import empirical_bounds


def test_perfect_llrs_are_bounded_by_how_many_trials_there_are():
    llrs, is_target = np.repeat([50.0, -50.0], [9, 99]), np.repeat([True, False], [9, 99])
    # Up to a threshold of 50: 9 of 10 found, 1 of 100 false alarms (the added one); the other way 99 of 100 and 1 of 10.
    lower, upper = empirical_bounds(llrs, is_target)
    assert upper == pytest.approx(math.log((9 / 10) / (1 / 100)), abs=1e-12)
    assert lower == pytest.approx(-math.log((99 / 100) / (1 / 10)), abs=1e-12)
    assert empirical_bounds(np.repeat([np.inf, -np.inf], [9, 99]), is_target) == pytest.approx((lower, upper), abs=1e-12)


def test_no_bound_lies_beyond_the_most_extreme_llr():
    lower, upper = empirical_bounds(np.repeat([0.5, -0.25], 1000), np.repeat([True, False], 1000))
    assert (lower, upper) == (-0.25, 0.5)


def test_misleading_llrs_support_nothing():
    assert empirical_bounds(np.repeat([-2.0, 2.0], 20), np.repeat([True, False], 20)) == (0.0, 0.0)
    assert empirical_bounds(np.zeros(40), np.repeat([True, False], 20)) == (0.0, 0.0)


def cost(threshold: float, llrs: list[float], is_target: list[bool]) -> float:
    """Of deciding at a threshold, relative to the better constant answer; with one misleading trial more on each side."""
    missed = 1 + sum(target and llr < threshold for llr, target in zip(llrs, is_target, strict=True))
    accepted = 1 + sum(not target and llr >= threshold for llr, target in zip(llrs, is_target, strict=True))
    ratio, targets = math.exp(threshold), sum(is_target)
    return (missed / (targets + 1) + ratio * accepted / (len(llrs) - targets + 1)) / min(1.0, ratio)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_where_the_cost_first_exceeds_that_of_a_constant_answer(seed):
    generator = np.random.default_rng(seed)
    is_target = np.repeat([True, False], [40, 160])
    llrs = generator.normal(np.where(is_target, 2.0, -2.0), 2.0)
    lower, upper = empirical_bounds(llrs, is_target)
    step = 1e-3
    grids = [np.arange(step / 2, 12, step), -np.arange(step / 2, 12, step)]
    first = [next(t for t in grid if cost(t, llrs.tolist(), is_target.tolist()) > 1) for grid in grids]
    assert upper == pytest.approx(first[0], abs=step)
    assert lower == pytest.approx(first[1], abs=step)


def test_what_is_refused():
    with pytest.raises(UserError, match="1 of 2 are NaN"):
        empirical_bounds(np.array([np.nan, 1.0]), np.array([True, False]))
    with pytest.raises(UserError, match="all 2 are of one kind"):
        empirical_bounds(np.array([0.0, 1.0]), np.array([True, True]))
    with pytest.raises(UserError, match="as many labels"):
        empirical_bounds(np.array([0.0, 1.0]), np.array([True]))
