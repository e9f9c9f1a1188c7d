"""Metrics against the published result files and scikit-learn (golden/metrics.json), EER against golden/eer.json."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sourcetracing.errors import UserError
from sourcetracing.metrics import classification as metrics
from tests.support.places import GOLDEN

METRICS = json.loads((GOLDEN / "metrics.json").read_text())
EER = {s["name"]: s for s in json.loads((GOLDEN / "eer.json").read_text())["sets"]}
ONE_CLASS = ("only_positives", "only_negatives")
PUBLISHED_ZERO_DIVISION = 1.0


def printed(values):
    return [f"{value:.6f}" for value in np.ravel(values)]


@pytest.mark.parametrize(
    "block", METRICS["published"], ids=lambda b: f"{b['file'].split('/')[2]}-{b['file'].split('/')[3]}-{b['test_family']}"
)
def test_published_result_files_are_reproduced_to_the_digit(block):
    confusion = np.array(block["one_consistent_confusion"])
    figures = metrics.class_figures(confusion, PUBLISHED_ZERO_DIVISION)
    rows = np.stack([figures.precision, figures.recall, figures.f1], axis=1)
    expected = block["printed"]
    assert [printed(row) for row in rows] == expected["per_class"]
    assert figures.support.tolist() == block["support"]
    assert confusion.sum(axis=0).tolist() == block["predicted"]
    assert printed(rows.mean(axis=0)) == expected["macro"]
    assert printed(np.average(rows, axis=0, weights=figures.support)) == expected["weighted"]
    assert printed(metrics.accuracy(confusion)) == [expected["accuracy"]]
    for macro_f1 in (metrics.macro_f1(confusion), metrics.macro_f1_declared(confusion, PUBLISHED_ZERO_DIVISION)):  # no class is absent
        assert printed(macro_f1) == [expected["macro_f1"]]
        assert macro_f1 == pytest.approx(block["macro_f1_sklearn"], abs=1e-12)
    assert metrics.macro_f1_harmonic(confusion, PUBLISHED_ZERO_DIVISION) == pytest.approx(block["macro_f1_harmonic_of_means"], abs=1e-12)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(block["balanced_accuracy"], abs=1e-12)
    text = metrics.report_text(confusion, [str(i) for i in range(4)], PUBLISHED_ZERO_DIVISION)
    numbers = [number for line in text.splitlines() for number in line.split() if number.count(".") == 1]
    macro, weighted = expected["macro"], expected["weighted"]
    assert numbers == [n for row in expected["per_class"] for n in row] + [expected["accuracy"]] + macro + weighted


@pytest.mark.parametrize("vector", METRICS["vectors"], ids=lambda v: v["name"])
def test_vectors_agree_with_scikit_learn(vector):
    outside = bool(set(vector["y_pred"]) - set(vector["labels"]))
    confusion = metrics.confusion_matrix(vector["y_true"], vector["y_pred"], vector["labels"], outside=outside)
    figures = metrics.class_figures(confusion, PUBLISHED_ZERO_DIVISION)
    ours = {
        "precision": figures.precision,
        "recall": figures.recall,
        "f1": figures.f1,
        "support": figures.support,
        "macro_precision": figures.precision.mean(),
        "macro_recall": figures.recall.mean(),
        "macro_f1_sklearn": metrics.macro_f1_declared(confusion, PUBLISHED_ZERO_DIVISION),
        "macro_f1_harmonic_of_means": metrics.macro_f1_harmonic(confusion, PUBLISHED_ZERO_DIVISION, declared=True),
        "accuracy": metrics.accuracy(confusion),
        "balanced_accuracy": metrics.balanced_accuracy(confusion),
    }
    for name, value in ours.items():
        np.testing.assert_allclose(value, vector[name], rtol=0, atol=1e-12, err_msg=name)
    names = [str(i) for i in vector["labels"]]
    assert metrics.report_text(confusion, names, PUBLISHED_ZERO_DIVISION) == vector["report_text"]


def test_never_predicted_class_has_precision_zero_by_default():
    confusion = np.array([[5, 0], [3, 0]])
    assert metrics.class_figures(confusion).precision.tolist() == [5 / 8, 0.0]
    assert metrics.class_figures(confusion, 1.0).precision.tolist() == [5 / 8, 1.0]
    assert metrics.macro_f1(confusion) == pytest.approx(10 / 13 / 2)  # F1 = 2 * 5 / (8 + 5) and 0
    assert metrics.macro_f1_declared(confusion) == metrics.macro_f1_declared(confusion, 1.0) == metrics.macro_f1(confusion)
    assert metrics.macro_f1_harmonic(confusion) < metrics.macro_f1_harmonic(confusion, 1.0)


def test_declared_class_without_items_counts_in_the_second_figure_only():
    confusion = np.diag([4, 4, 0])
    assert metrics.macro_f1(confusion) == metrics.macro_f1_harmonic(confusion) == metrics.balanced_accuracy(confusion) == 1.0
    assert metrics.num_present(confusion) == 2
    assert metrics.macro_f1_declared(confusion) == pytest.approx(2 / 3)
    assert metrics.macro_f1_declared(confusion, 1.0) == 1.0


def test_predictions_of_an_absent_class_are_errors():
    """By hand: two of four items of class 0 are taken for class 2, which has none: F1 of class 0 is 2 * 2 / (4 + 2) = 2 / 3."""
    confusion = np.array([[2, 0, 2], [0, 4, 0], [0, 0, 0]])
    assert metrics.f1_of_present(confusion)[:2].tolist() == pytest.approx([2 / 3, 1.0])
    assert np.isnan(metrics.f1_of_present(confusion)[2])
    assert metrics.macro_f1(confusion) == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.macro_f1_declared(confusion) == pytest.approx((2 / 3 + 1) / 3)
    labels, predictions = [0] * 4 + [1] * 4, [0, 0, 2, 2] + [1] * 4
    assert metrics.macro_f1(confusion) == pytest.approx(f1_score(labels, predictions, labels=[0, 1], average="macro"))


def test_a_constant_answer_earns_nothing_from_absent_classes():
    """4 of 24 classes have items, as across languages in the special session. With zero_division=1 the declared figure was 79 % or more."""
    confusion = np.zeros((24, 24), dtype=int)
    confusion[[3, 5, 7, 9], 11] = 10  # always an absent class
    assert metrics.macro_f1(confusion) == 0.0
    assert metrics.macro_f1_declared(confusion, 1.0) == pytest.approx(19 / 24)
    confusion = np.zeros((24, 24), dtype=int)
    confusion[[3, 5, 7, 9], 3] = 10  # always one of the four: F1 = 2 * 10 / (40 + 10)
    assert metrics.macro_f1(confusion) == pytest.approx(0.4 / 4)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(1 / 4)


def test_without_items_there_is_no_figure():
    assert np.isnan(metrics.macro_f1(np.zeros((3, 3), dtype=int)))


def test_leading_axes_are_computed_at_once():
    stack = np.random.default_rng(0).integers(0, 9, (5, 3, 4, 4))
    for figure in (metrics.macro_f1, metrics.macro_f1_harmonic, metrics.accuracy, metrics.balanced_accuracy):
        expected = [[figure(matrix) for matrix in row] for row in stack]
        np.testing.assert_allclose(figure(stack), expected, rtol=0, atol=1e-15)


def test_pooled_matrix_is_the_sum_of_its_parts():
    generator = np.random.default_rng(1)
    labels, predictions, part = generator.integers(0, 4, (3, 200))
    parts = [metrics.confusion_matrix(labels[part == p], predictions[part == p], range(4)) for p in range(4)]
    np.testing.assert_array_equal(sum(parts), metrics.confusion_matrix(labels, predictions, range(4)))


def test_undeclared_classes_are_refused():
    with pytest.raises(UserError, match="labels contain 7"):
        metrics.confusion_matrix([0, 7], [0, 1], [0, 1])
    with pytest.raises(UserError, match="predictions contain -1"):
        metrics.confusion_matrix([0, 1], [0, -1], [0, 1])


@pytest.mark.parametrize("name", [name for name in EER if name not in ONE_CLASS])
def test_eer_is_the_interpolated_one(name):
    """AI4T's definition; its root is found to 1e-12 in x, hence 2e-12 here."""
    eer, threshold = metrics.equal_error_rate(np.array(EER[name]["labels"]), np.array(EER[name]["scores"]))
    assert eer == pytest.approx(EER[name]["ai4t_brentq"]["eer"], abs=2e-12)
    assert np.isfinite(threshold)


@pytest.mark.parametrize("name", ["overlapping", "ties_one_decimal", "imbalanced_few_levels", "perfectly_reversed"])
def test_eer_threshold_is_interpolated_too(name):
    """Sets whose crossing lies on no vertical stretch of the ROC: there the reference's interpolation names one end of it."""
    _, threshold = metrics.equal_error_rate(np.array(EER[name]["labels"]), np.array(EER[name]["scores"]))
    assert threshold == pytest.approx(EER[name]["ai4t_brentq"]["threshold"], abs=1e-6)


def test_eer_threshold_balances_the_errors():
    generator = np.random.default_rng(2)
    labels = np.repeat([0, 1], 1000)
    scores = generator.normal(labels * 1.5, 1.0)
    eer, threshold = metrics.equal_error_rate(labels, scores)
    assert (scores[labels == 0] >= threshold).mean() == pytest.approx(eer, abs=1.1e-3)
    assert (scores[labels == 1] < threshold).mean() == pytest.approx(eer, abs=1.1e-3)


def test_eer_constant_scores_and_order_of_ties():
    labels = np.array([0, 1, 1, 0, 0, 1, 0])
    assert metrics.equal_error_rate(labels, np.zeros(7))[0] == 0.5
    scores = np.array([0.1, 0.5, 0.5, 0.5, 0.5, 0.9, 0.2])
    order = np.argsort(labels)
    assert metrics.equal_error_rate(labels, scores) == metrics.equal_error_rate(labels[order], scores[order])


@pytest.mark.parametrize("name", ONE_CLASS)
def test_eer_refuses_a_single_class(name):
    with pytest.raises(UserError, match="both classes"):
        metrics.equal_error_rate(np.array(EER[name]["labels"]), np.array(EER[name]["scores"]))


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 1], [0.1, float("nan"), 0.3], "1 of 3 scores are NaN"),
        ([0, 2], [0.1, 0.2], "labels 0"),
        ([0], [0.1, 0.2], "as many"),
        ([], [], "empty"),
    ],
)
def test_eer_refuses_what_it_cannot_measure(labels, scores, message):
    with pytest.raises(UserError, match=message):
        metrics.equal_error_rate(np.array(labels), np.array(scores))
