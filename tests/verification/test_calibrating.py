"""Log-likelihood ratios from scores: the line against another optimizer, and what it does with scores that are of no use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import expit

from sourcetracing.errors import UserError
from sourcetracing.verification.calibrating import fit_llrs


def normal_scores(targets: int, others: int, distance: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.normal(distance / 2, 1, targets), generator.normal(-distance / 2, 1, others)])
    return scores, np.repeat([1, 0], [targets, others])


def test_the_line_is_the_one_that_another_optimizer_finds():
    scores, labels = normal_scores(300, 90)
    doubt = 1 / 92

    def loss(line):
        p = expit(line[0] * scores + line[1])
        right, wrong = np.where(labels, np.log(p), np.log1p(-p)), np.where(labels, np.log1p(-p), np.log(p))
        of_trial = (1 - doubt) * right + doubt * wrong
        return -(of_trial[labels == 1].mean() + of_trial[labels == 0].mean())

    best = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 5000}).x
    line = fit_llrs(scores, labels)
    assert [line.slope, line.offset] == pytest.approx(best, abs=1e-4)
    assert (line.targets, line.nontargets) == (300, 90)


@pytest.mark.parametrize("others", [20_000, 1_000])
def test_it_is_the_likelihood_ratio_whatever_the_share_of_targets(others):
    """Of two normal densities of deviation 1 that lie 2 apart it is 2 * score."""
    line = fit_llrs(*normal_scores(20_000, others))
    assert line.slope == pytest.approx(2, rel=0.1)
    assert line.offset == pytest.approx(0, abs=0.15)


def test_trials_that_nobody_labelled_are_left_out():
    scores, labels = normal_scores(200, 200)
    more = np.concatenate([scores, np.full(100, 50.0)]), np.concatenate([labels, np.full(100, -1)])
    assert fit_llrs(*more) == fit_llrs(scores, labels)


@pytest.mark.parametrize("scores", [np.arange(20.0), np.zeros(20)])
def test_scores_that_fall_with_one_source_or_never_move_say_nothing(scores):
    line = fit_llrs(scores, np.repeat([1, 0], 10))
    assert not line.says_something
    assert (line.llrs(np.array([-1e9, 0, 1e9])) == 0).all()


def test_scores_that_separate_the_kinds_end_in_no_infinite_slope():
    line = fit_llrs(np.concatenate([np.ones(50), np.zeros(50)]) + 1e-3 * np.arange(100), np.repeat([1, 0], 50))
    assert np.isfinite([line.slope, line.offset]).all()
    assert line.slope > 0
    assert abs(line.llrs(np.array([-1e6, 1e6]))).max() <= np.log(51)


@given(arrays(np.float64, 30, elements=st.floats(-1, 1)), arrays(np.float64, 40, elements=st.floats(-5, 5)))
def test_it_never_falls_and_stays_within_what_dev_supports(dev, scores):
    line = fit_llrs(dev, np.tile([1, 0], 15))
    llrs = line.llrs(np.sort(scores))
    assert (np.diff(llrs) >= 0).all()
    assert line.low <= 0 <= line.high
    assert ((llrs >= line.low) & (llrs <= line.high)).all()


def test_dev_with_one_kind_of_trials_is_refused():
    with pytest.raises(UserError, match="dev has 3 trials of one source and 0 of two"):
        fit_llrs(np.zeros(3), np.ones(3))
