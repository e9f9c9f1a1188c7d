"""Figures of known-or-unknown decisions by hand and by scikit-learn; thresholds where rows share a score."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_curve

from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.metrics.classification import equal_error_rate, without_infinities
from sourcetracing.metrics.ranking import Ranking, is_above, threshold_at_eer
from sourcetracing.openset.evaluation import evaluate


def curve_of(known: list[float], unknown: list[float], is_right: list[bool] | None = None):
    """The curve of known rows, right or not, and unknown rows."""
    right = [*(is_right or [True] * len(known)), *[False] * len(unknown)]
    is_unknown = np.repeat([False, True], [len(known), len(unknown)])
    return Ranking(np.array([*known, *unknown]), is_unknown, np.array(right)).curve(np.ones(len(is_unknown)))


def test_fpr95_is_read_where_19_of_20_unknown_rows_are_found():
    # Unknown rows at 1 ... 20: 19 of them lie at 2 or above, 18 at 3 or above, all at 1 or above.
    unknown = list(range(1, 21))
    known = [0.0] * 5 + [1.5] * 2 + [2.5] * 2 + [30.0]  # at 2 or above: 2 + 1 of 10; at 3 or above: 1; at 1 or above: 5
    assert curve_of(known, unknown).fpr_at_95_tpr == pytest.approx(3 / 10)


def test_unknown_accepted_is_read_where_19_of_20_known_rows_are_accepted():
    known = list(range(1, 21))  # 1 of 20 lies above 19, 2 above 18, none above 20
    unknown = [5.0] * 3 + [18.5] * 2 + [19.5] * 4 + [25.0]
    # The lowest threshold with no more than 1 of 20 known rows above it is 19: unknown rows up to there are 3 + 2 of 10.
    assert curve_of(known, unknown).unknown_accepted_at_95 == pytest.approx(5 / 10)
    false_alarms, found, _ = roc_curve(np.repeat([0, 1], [20, 10]), [*known, *unknown], drop_intermediate=False)
    assert curve_of(known, unknown).unknown_accepted_at_95 == pytest.approx(1 - found[false_alarms <= 0.05].max())


def test_auroc_is_the_share_of_pairs_in_order_with_ties_half():
    # 3 > 2, 3 > 0, 1 > 0 but 1 < 2; then a tie.
    assert curve_of([2, 0], [3, 1]).auroc == pytest.approx(3 / 4)
    assert curve_of([2, 0], [3, 2]).auroc == pytest.approx(3.5 / 4)


def test_eer_is_where_both_errors_meet():
    # Called unknown from 3 on: 1 of 4 known rows, all but 1 of 4 unknown rows.
    assert curve_of([0, 1, 2, 3.5], [2.5, 3, 4, 5]).eer == pytest.approx(1 / 4)
    # One step of all rows: half way.
    assert curve_of([1, 1], [1, 1, 1]).eer == pytest.approx(1 / 2)


def test_oscr_by_hand():
    # Thresholds from the top: unknown 3 | known right 2 | unknown 1.5 | known wrong 1 | known right 0. Right and accepted:
    # 2/3 while the first half of the unknown rows is found, 1/3 during the second.
    assert curve_of([0, 1, 2], [1.5, 3], [True, False, True]).oscr_area == pytest.approx(2 / 3 * 1 / 2 + 1 / 3 * 1 / 2)


def test_figures_at_the_threshold_by_hand():
    """Class 0, class 1, then the unknown ones; a score that equals the threshold is called known."""
    label = np.array([0, 0, 0, 1, 1, UNKNOWN_LABEL, UNKNOWN_LABEL, UNKNOWN_LABEL])
    prediction = np.array([0, 0, 1, 1, 1, 0, 1, 1])
    score = np.array([0.0, 0.5, 0.2, 0.9, 0.1, 0.5, 0.8, 0.9])
    table = pd.DataFrame({"unit": range(8), "variant": "original", "language": "en", "label": label, "prediction": prediction})
    found = evaluate(table, {"x": score}, {"x": 0.5}, num_classes=3, num_samples=5, seed=1)
    row = found[(found["language"] == "all") & (found["variant"] == "pooled")].iloc[0]
    # Decisions: 0 0 1 | unknown 1 | 0 unknown unknown.
    assert row["unknown_found"] == pytest.approx(2 / 3)
    assert row["known_rejected"] == pytest.approx(1 / 5)
    assert row["detection_f1"] == pytest.approx(2 * 2 / (3 + 3))
    by_class = [2 * 2 / (3 + 3), 2 * 1 / (2 + 2), 2 * 2 / (3 + 3)]
    assert row["open_macro_f1_present"] == pytest.approx(sum(by_class) / 3)
    assert row["open_macro_f1"] == pytest.approx(sum(by_class) / 4)  # a class is declared that has no rows
    decided = np.where(score > 0.5, 3, prediction)
    expected = f1_score(np.where(label < 0, 3, label), decided, labels=[0, 1, 3], average="macro")
    assert row["open_macro_f1_present"] == pytest.approx(expected)


# ---- the threshold


def shares(known: list[float], unknown: list[float]) -> tuple[float, float, float]:
    """EER; known and unknown rows called unknown at its threshold."""
    is_unknown, scores = np.repeat([0, 1], [len(known), len(unknown)]), np.array([*known, *unknown], float)
    eer, threshold = threshold_at_eer(is_unknown, scores, "crossing")
    called = is_above(scores, threshold)
    return eer, called[is_unknown == 0].mean(), called[is_unknown == 1].mean()


@pytest.mark.parametrize(
    ("known", "unknown", "expected"),
    [
        ([0] * 6, [1] * 4, (0.0, 0.0, 1.0)),  # two values, perfect
        ([0], [1], (0.0, 0.0, 1.0)),
        ([0.1, 0.2, 0.3], [0.7, 0.8, 0.9], (0.0, 0.0, 1.0)),  # perfect without ties
        ([1] * 4, [0] * 6, (1.0, 1.0, 0.0)),  # all the wrong way round
        ([0] * 9 + [1], [1] * 19 + [0], (None, 0.1, 0.95)),  # two values, nearly perfect: the upper one is called unknown
        ([0, 1, 1, 2], [1, 1, 2, 2], (None, 0.25, 0.5)),  # the middle tie stays known: errors 1/4 and 1/2 against 3/4 and 0
        ([2, 2], [2, 2, 2], (0.5, 0.0, 0.0)),  # all the same: nothing can be told
    ],
)
def test_rows_that_share_a_score_fall_on_the_better_side(known, unknown, expected):
    eer, rejected, found = shares(known, unknown)
    assert (rejected, found) == pytest.approx(expected[1:])
    if expected[0] is not None:
        assert eer == pytest.approx(expected[0])


def test_without_ties_the_threshold_is_that_of_the_interpolated_crossing():
    generator = np.random.default_rng(3)
    is_unknown = np.arange(101) < 40
    scores = generator.normal(size=101) + is_unknown
    assert threshold_at_eer(is_unknown, scores, "crossing") == equal_error_rate(is_unknown.astype(int), scores)


def test_what_equals_the_threshold_is_known():
    assert is_above(np.array([0.5, np.nextafter(0.5, 1), 0.4]), 0.5).tolist() == [False, True, False]


def test_a_threshold_between_two_rows_stays_where_the_curve_crosses():
    # Known 0, 0, 2, unknown 1: the crossing lies between the single rows 1 and 2, a third of the way, and is not moved.
    is_unknown, scores = np.array([0, 0, 1, 0]), np.array([0.0, 0.0, 1.0, 2.0])
    eer, threshold = threshold_at_eer(is_unknown, scores, "crossing")
    assert (eer, threshold) == (pytest.approx(1 / 3), pytest.approx(4 / 3))


def test_infinite_scores_keep_their_order_and_become_numbers():
    scores = np.array([0.5, -np.inf, np.inf, -3.0, 1e9, -1e9])
    finite = without_infinities(scores)
    assert np.isfinite(finite).all()
    assert (np.argsort(finite) == np.argsort(scores)).all()
    assert without_infinities(np.array([np.inf, -np.inf])).tolist() == [2.0, -2.0]  # nothing finite to go by
