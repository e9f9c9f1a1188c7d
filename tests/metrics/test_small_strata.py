"""The bootstrap where a class has one, two or three utterances: what is drawn is counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sourcetracing.metrics.bootstrap import Resampler

SAMPLES = 3000


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_class_of_a_few_utterances_keeps_its_size_and_has_the_spread_of_theory(size):
    """size - 1 of them are drawn, each counting size / (size - 1): recalls are multiples of 1 / (size - 1), of variance s^2 / size."""
    classes = np.repeat([0, 1], [size, 5])
    predictions = np.where(np.arange(len(classes)) == 0, 1, classes)  # the first utterance of the small class is wrong
    resampler = Resampler(classes, 2, SAMPLES, np.random.default_rng(4))
    confusions = resampler.confusions(np.arange(len(classes)), classes, predictions)
    np.testing.assert_allclose(confusions.sum(axis=2), [[size, 5]] * SAMPLES, rtol=1e-12)
    recalls = confusions[:, 0, 0] / size
    possible = [0.0] if size == 1 else np.arange(size) / (size - 1)
    np.testing.assert_allclose(sorted(set(np.round(recalls, 9))), possible, atol=1e-9)
    if size > 1:
        right = np.r_[0, np.ones(size - 1)]
        assert recalls.var() == pytest.approx(right.var(ddof=1) / size, rel=0.1)
        assert recalls.mean() == pytest.approx(right.mean(), abs=0.03)
