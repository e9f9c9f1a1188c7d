"""Scores that tell all unknown rows from all known ones, but have two values only, found none of them: the threshold lay at the higher
value and the decision above it. Infinite scores gave a threshold that was not a number. Detection decided by another rule than tracing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from sourcetracing.detection.classifier.logistic import eer_of_scores, is_bonafide
from sourcetracing.metrics.classification import equal_error_rate
from sourcetracing.metrics.ranking import Ranking, is_above, threshold_at_eer

INF = np.inf
PERFECT = [
    ([0.0, 0.0, 0.0], [1.0, 1.0]),
    ([-INF, -INF], [INF, INF]),
    ([-INF, 0.0], [1.0, INF]),
    ([0.0, 1.0], [INF]),
    ([-INF], [-1e300]),
    ([-1.0, -1.0, -1.0], [INF, INF]),
]


@pytest.mark.parametrize("eer_point", ["crossing", "nearest"])
@pytest.mark.parametrize(("negative", "positive"), PERFECT)
def test_perfect_scores_decide_perfectly(negative, positive, eer_point):
    labels = np.repeat([0, 1], [len(negative), len(positive)])
    scores = np.array([*negative, *positive])
    eer, threshold = threshold_at_eer(labels, scores, eer_point)
    assert eer == 0 and np.isfinite(threshold)
    if eer_point == "crossing":  # the published way calls rows at its threshold known
        assert is_above(scores, threshold).tolist() == (labels == 1).tolist()


@pytest.mark.parametrize("eer_from", ["decision", "probability"])
def test_detection_decides_by_the_same_rule(eer_from):
    settings = SimpleNamespace(eer_from=eer_from)
    labels, scores = np.array([0, 0, 0, 1, 1]), np.array([-2.0, -2.0, -2.0, 3.0, 3.0])
    eer, threshold = eer_of_scores(labels, scores, settings)
    assert eer == 0 and is_bonafide(scores, threshold, settings).tolist() == [False, False, False, True, True]


def test_infinite_scores_tie_with_each_other():
    generator = np.random.default_rng(0)
    scores = generator.choice([-INF, -1.0, 0.0, INF], 60)
    is_unknown = generator.random(60) < 0.5
    unknown, known = scores[is_unknown][:, None], scores[~is_unknown][None]
    expected = ((unknown > known) + 0.5 * (unknown == known)).mean()
    assert Ranking(scores, is_unknown, ~is_unknown).curve(np.ones(60)).auroc == pytest.approx(expected)
    finite = np.nan_to_num(scores, posinf=7.0, neginf=-7.0)
    assert equal_error_rate(is_unknown.astype(int), scores)[0] == pytest.approx(equal_error_rate(is_unknown.astype(int), finite)[0])
