"""Likelihood ratios of an answer among known sources, and their bounds, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from sourcetracing.casework.closed_set import ClosedSet
from sourcetracing.errors import UserError
from sourcetracing.metrics.calibration import class_llrs


def world(rows_per_class: int, spread: float = 1.0, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated log-probabilities: those of scikit-learn on the rows that it was fitted on."""
    random = np.random.default_rng(seed)
    labels = np.arange(classes * rows_per_class) % classes
    rows = np.eye(classes)[labels] + spread * random.normal(size=(len(labels), classes))
    return LogisticRegression().fit(rows, labels).predict_log_proba(rows), labels


def test_odds_after_over_odds_before_by_hand():
    p = np.array([0.7, 0.2, 0.1])
    expected = [np.log(0.7 / 0.3 * 2), np.log(0.2 / 0.8 * 2), np.log(0.1 / 0.9 * 2)]
    np.testing.assert_allclose(class_llrs(np.log(p)[None])[0], expected)
    np.testing.assert_allclose(class_llrs(np.log(np.full((1, 5), 0.2)))[0], np.zeros(5), atol=1e-12)


def test_two_classes_have_opposite_llrs_and_certainty_is_infinite():
    log_p = log_softmax(np.array([[3.0, -1.0]]), axis=1)
    np.testing.assert_allclose(class_llrs(log_p), [[4.0, -4.0]])
    with np.errstate(divide="ignore"):
        assert class_llrs(np.log([[1.0, 0.0, 0.0]]))[0].tolist() == [np.inf, -np.inf, -np.inf]


def test_tiny_probabilities_of_the_others_are_not_lost_in_rounding():
    log_p = log_softmax(np.array([[100.0, 0.0, 0.0]]), axis=1)
    assert class_llrs(log_p)[0, 0] == pytest.approx(100.0)


def test_cllr_is_that_of_its_formula_and_bounds_hold():
    log_p, labels = world(60)
    closed = ClosedSet.fitted(log_p, labels, 60)
    p = np.exp(log_p)
    llrs = np.clip(np.log(p / (1 - p) * 3), closed.low, closed.high)
    right = llrs[np.arange(len(labels)), labels]
    wrong = llrs[np.arange(4)[None] != labels[:, None]]
    assert closed.cllr == pytest.approx((np.log2(1 + np.exp(-right)).mean() + np.log2(1 + np.exp(wrong)).mean()) / 2)
    assert 0 < closed.high <= np.log(60) and -np.log(60) <= closed.low < 0


def test_an_answer_is_cut_at_the_logarithm_of_the_utterances():
    log_p = log_softmax(20.0 * np.eye(3)[np.arange(90) % 3], axis=1)
    closed = ClosedSet.fitted(log_p, np.arange(90) % 3, 30)  # perfect, of 30 utterances in three variants each
    evidence = closed.evidence(np.array([1.0, 0.0, 0.0]))
    assert [one.is_cut for one in evidence] == [True, True, True]
    assert evidence[0].llr == pytest.approx(np.log(30))
    assert evidence[1].llr == pytest.approx(-np.log(30))


def test_probabilities_that_say_nothing_on_dev_support_nothing():
    random = np.random.default_rng(1)
    log_p = log_softmax(4 * random.normal(size=(200, 4)), axis=1)
    closed = ClosedSet.fitted(log_p, np.arange(200) % 4, 200)
    assert closed.evidence(np.array([0.97, 0.01, 0.01, 0.01]))[0].llr < np.log(3)


def test_one_class_has_no_alternative():
    with pytest.raises(UserError, match="no alternative"):
        ClosedSet.fitted(np.zeros((5, 1)), np.zeros(5, int), 5)
