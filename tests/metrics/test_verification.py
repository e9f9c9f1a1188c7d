"""Figures of verification by hand, by brute force over thresholds, by math.log2 and by scikit-learn's ROC."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import det_curve

from sourcetracing.metrics.verification import actual_dcf, cllr, curve_of, min_cllr, min_dcf

IS_TARGET = np.arange(24) % 3 == 0
SCORES = arrays(np.float64, 24, elements=st.integers(-6, 6).map(float))  # few values: many ties
WEIGHTS = arrays(np.int64, 24, elements=st.integers(1, 3))
PRIORS = (0.5, 0.1, 0.01, 0.9)


def ones(count: int) -> np.ndarray:
    return np.ones((1, count))


def cost(misses: float, false_alarms: float, prior: float) -> float:
    return (prior * misses + (1 - prior) * false_alarms) / min(prior, 1 - prior)


def repeated(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A trial of weight w is the same as w equal trials."""
    return np.repeat(values, weights)


@given(SCORES, WEIGHTS)
def test_least_cost_by_all_thresholds(scores, weights):
    found = curve_of(scores, IS_TARGET, weights[None])
    many, kind = repeated(scores, weights), repeated(IS_TARGET, weights)
    for prior in PRIORS:
        costs = [cost(np.mean(many[kind] < t), np.mean(many[~kind] >= t), prior) for t in [*np.unique(many), np.inf]]
        assert min_dcf(found, prior)[0] == pytest.approx(min(costs), abs=1e-9)
        assert min_dcf(found, prior)[0] <= 1 + 1e-12


@given(SCORES)
def test_points_of_the_curve_are_those_of_scikit_learn(scores):
    found = curve_of(scores, IS_TARGET, ones(24))
    false_alarms, misses, _ = det_curve(IS_TARGET, scores)
    ours = {(round(x, 9), round(1 - y, 9)) for x, y in zip(found.false_alarms[0], found.found[0], strict=True)}
    assert {(round(x, 9), round(y, 9)) for x, y in zip(false_alarms, misses, strict=True)} <= ours


@given(arrays(np.float64, 24, elements=st.floats(-700, 700)), WEIGHTS)
def test_costs_of_llrs_by_hand(llrs, weights):
    def bits(x: float) -> float:  # log2(1 + e^x), which overflows above 709
        return math.log2(1 + math.exp(x))

    many, kind = repeated(llrs, weights), repeated(IS_TARGET, weights)
    expected = (np.mean([bits(-x) for x in many[kind]]) + np.mean([bits(x) for x in many[~kind]])) / 2
    assert cllr(llrs, IS_TARGET, weights[None])[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    for prior in PRIORS:
        threshold = math.log((1 - prior) / prior)
        expected = cost(np.mean(many[kind] < threshold), np.mean(many[~kind] >= threshold), prior)
        assert actual_dcf(llrs, IS_TARGET, prior, weights[None])[0] == pytest.approx(expected, abs=1e-9)


def pooled(scores: np.ndarray, is_target: np.ndarray) -> float:
    """minCllr: blocks of equal scores, neighbours joined while the share of targets falls; blocks of one kind cost nothing."""
    blocks = []
    for value in sorted(set(scores)):
        blocks.append([int(is_target[scores == value].sum()), int((~is_target[scores == value]).sum())])
        while len(blocks) > 1 and blocks[-2][0] * sum(blocks[-1]) >= blocks[-1][0] * sum(blocks[-2]):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    targets, others = int(is_target.sum()), int((~is_target).sum())
    total = 0.0
    for t, n in blocks:
        if t and n:
            ratio = (t / targets) / (n / others)
            total += t / targets * math.log2(1 + 1 / ratio) + n / others * math.log2(1 + ratio)
    return total / 2


@given(SCORES, WEIGHTS)
def test_least_cllr_by_a_plain_pooling_of_violators(scores, weights):
    expected = pooled(repeated(scores, weights), repeated(IS_TARGET, weights))
    assert min_cllr(scores, IS_TARGET, weights[None])[0] == pytest.approx(expected, abs=1e-9)
    assert min_cllr(np.exp(scores), IS_TARGET, weights[None])[0] == pytest.approx(expected, abs=1e-9)
    assert expected <= cllr(scores, IS_TARGET, weights[None])[0] + 1e-9


def test_what_is_known_without_counting():
    is_target, weights = np.array([True, True, False, False]), ones(4)
    zero = np.zeros(4)
    assert cllr(zero, is_target, weights)[0] == pytest.approx(1, abs=1e-12)
    assert min_cllr(zero, is_target, weights)[0] == pytest.approx(1, abs=1e-12)
    assert curve_of(zero, is_target, weights).eer[0] == pytest.approx(0.5, abs=1e-12)
    assert min_dcf(curve_of(zero, is_target, weights), 0.01)[0] == pytest.approx(1, abs=1e-12)
    perfect = np.array([2.0, 1.0, -1.0, -2.0])
    assert curve_of(perfect, is_target, weights).eer[0] == min_cllr(perfect, is_target, weights)[0] == 0
    # one target below one non-target: the middle two are pooled, half of each kind costs log2(2) = 1 bit
    crossed = np.array([2.0, -1.0, 1.0, -2.0])
    assert min_cllr(crossed, is_target, weights)[0] == pytest.approx(0.5, abs=1e-12)
    assert curve_of(crossed, is_target, weights).eer[0] == pytest.approx(0.5, abs=1e-12)


def test_infinite_llrs_cost_nothing_where_right_and_everything_where_wrong():
    is_target = np.array([True, True, False, False])
    right, wrong = np.array([np.inf, 1.0, -1.0, -np.inf]), np.array([-np.inf, 1.0, -1.0, -np.inf])
    assert cllr(right, is_target, ones(4))[0] == pytest.approx(math.log2(1 + math.exp(-1)) / 2, abs=1e-12)
    assert cllr(wrong, is_target, ones(4))[0] == np.inf
    drawn = np.array([[0, 1, 1, 1]])  # a resample that leaves the wrong one out
    assert cllr(wrong, is_target, drawn)[0] == pytest.approx(math.log2(1 + math.exp(-1)) * 0.75, abs=1e-12)
    assert actual_dcf(wrong, is_target, 0.5, ones(4))[0] == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_alone_has_no_figure(kind):
    is_target = np.full(3, kind)
    scores = np.array([0.1, 0.2, 0.3])
    assert np.isnan(min_cllr(scores, is_target, ones(3))).all()
    assert np.isnan(cllr(scores, is_target, ones(3))).all()
    assert np.isnan(actual_dcf(scores, is_target, 0.5, ones(3))).all()
