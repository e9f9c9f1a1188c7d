"""Classification figures from confusion matrices, and the equal error rate.

Every figure is a function of the confusion matrix alone, so pooled, per-variant and per-language figures come from sums of
matrices, and leading axes (resamples of the bootstrap, say) are computed at once. A matrix has one row for each true class of
the *declared* class list and one column for each predicted class, then optionally one for predictions outside the list.

A test set need not have items of every declared class. The headline is over those that it has (`macro_f1`), so that perfect predictions
are 100 % on any corpus; guessing evenly among K classes of equal size is 1 / K then, and a constant answer never more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sourcetracing.errors import UserError


@dataclass(frozen=True)
class ClassFigures:
    """Per-class figures, each (..., C): fractions, and `support` = items of the class."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[int], *, outside: bool = False) -> np.ndarray:
    """Counts (C, C), or (C, C + 1) with `outside`, of labels (N,) x predictions (N,) over the declared class ids.

    `outside` adds a column for predictions that are no declared class (the published evaluation maps them to -1); without it
    they are an error, as is a label that is not declared.
    """
    column_of = {int(class_id): position for position, class_id in enumerate(classes)}
    rows, columns = _positions(labels, column_of), _positions(predictions, column_of)
    if (rows < 0).any():
        raise UserError(f"labels contain {_strangers(labels, column_of)}, which the declared classes {list(column_of)} do not")
    if not outside and (columns < 0).any():
        raise UserError(f"predictions contain {_strangers(predictions, column_of)}, which the declared classes {list(column_of)} do not")
    num_rows, num_columns = len(column_of), len(column_of) + outside
    cells = rows * num_columns + np.where(columns < 0, len(column_of), columns)
    return np.bincount(cells, minlength=num_rows * num_columns).reshape(num_rows, num_columns)


def class_figures(confusion: np.ndarray, zero_division: float = 0.0) -> ClassFigures:
    """Precision, recall, F1 and support of each class of confusion matrices (..., C, K), K >= C.

    `zero_division` is the precision of a class never predicted, the recall of a class without items and the F1 of a class with
    neither, as in scikit-learn. The published evaluation used 1.0 (D49).
    """
    num_classes = confusion.shape[-2]
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support = confusion.sum(axis=-1)
    predicted = confusion.sum(axis=-2)[..., :num_classes]
    return ClassFigures(
        precision=_ratio(hits, predicted, zero_division),
        recall=_ratio(hits, support, zero_division),
        f1=_ratio(2 * hits, predicted + support, zero_division),
        support=support,
    )


def f1_of_present(confusion: np.ndarray) -> np.ndarray:
    """F1 (..., C) of each class of confusion matrices (..., C, K); nan for a class without items.

    Where items are there its denominator is never 0, so no `zero_division` enters. Predictions of an absent class are not lost: they are
    missing from the recall of the class whose items they were.
    """
    figures = class_figures(confusion)
    return np.where(figures.support > 0, figures.f1, np.nan)


def mean_over_present(figures: np.ndarray) -> np.ndarray:
    """Mean (...) of figures by class (..., C) over the classes that are not nan; nan where all are."""
    there = ~np.isnan(figures)
    return _ratio(np.where(there, figures, 0.0).sum(axis=-1), there.sum(axis=-1), np.nan)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Mean of F1 (...) over the classes *with test items*: the headline figure. nan without items.

    Perfect predictions give 1 whatever the test set lacks. Where no declared class is absent, this is what the published tables hold (D1).
    """
    return mean_over_present(f1_of_present(confusion))


def macro_f1_declared(confusion: np.ndarray, zero_division: float = 0.0) -> np.ndarray:
    """Mean of F1 (...) over all declared classes; one that is absent and never predicted counts as `zero_division`.

    Not a figure to compare by: it caps perfect predictions at the share of classes present, or with the published 1.0 (D49) pays for what
    was not tested. It stands in a second column because scikit-learn's report over a declared list has it.
    """
    return class_figures(confusion, zero_division).f1.mean(axis=-1)


def macro_f1_harmonic(confusion: np.ndarray, zero_division: float = 0.0, *, declared: bool = False) -> np.ndarray:
    """Harmonic mean (...) of mean precision and mean recall: the formula the paper prints (section 3.2.3, D1).

    Means over the classes with items, with `declared` over all. zero_division: the precision of a class never predicted.
    """
    figures = class_figures(confusion, zero_division)
    counted = (figures.support > 0) | declared
    means = (mean_over_present(np.where(counted, values, np.nan)) for values in (figures.precision, figures.recall))
    precision, recall = means
    return _ratio(2 * precision * recall, precision + recall, 0.0)


def num_present(confusion: np.ndarray) -> np.ndarray:
    """How many classes (...) of confusion matrices (..., C, K) have items."""
    return (confusion.sum(axis=-1) > 0).sum(axis=-1)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Fraction (...) of items whose class is predicted; nan without items."""
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1), confusion.sum(axis=(-2, -1)), np.nan)


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall (...) over the classes that have items; nan without items."""
    figures = class_figures(confusion, 0.0)
    return _ratio(figures.recall.sum(axis=-1), (figures.support > 0).sum(axis=-1), np.nan)


def report_text(confusion: np.ndarray, names: Sequence[str], zero_division: float = 0.0, digits: int = 6) -> str:
    """scikit-learn's classification report of one confusion matrix (C, K), in the layout of the published result files."""
    from sklearn.metrics import classification_report  # a second to import, which training workers need not spend

    num_classes = len(names)
    rows, columns = np.indices(confusion.shape)
    counts = confusion.ravel()
    true = np.repeat(rows.ravel(), counts)
    predicted = np.repeat(np.where(columns < num_classes, columns, -1).ravel(), counts)
    return classification_report(
        true, predicted, labels=list(range(num_classes)), target_names=list(names), digits=digits, zero_division=zero_division
    )


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Each row of counts (C, C) as fractions of its sum; nan for a class without items."""
    support = confusion.sum(axis=1, keepdims=True)
    return np.where(support == 0, np.nan, confusion / np.maximum(support, 1))


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """EER (fraction) and its threshold, of labels (N,) in {0, 1} and scores (N,) where higher means class 1.

    The ROC has one point for each distinct score (ties are one step) and straight lines in between; the EER is where it crosses
    false acceptance = false rejection. Constant scores therefore give 0.5. A reversed score gives more than 0.5: it is not
    flipped. Refuses NaN and a set with one class only.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    _check_scores(labels, scores)
    scores = without_infinities(scores)
    thresholds, inverse = np.unique(-scores, return_inverse=True)
    positives = np.bincount(inverse, weights=labels == 1)
    negatives = np.bincount(inverse, weights=labels == 0)
    return eer_of_counts(positives, negatives, -thresholds)


def without_infinities(scores: np.ndarray) -> np.ndarray:
    """Scores (N,) in the same order, infinite ones beyond the finite ones, so that thresholds between them are numbers."""
    if not np.isinf(scores).any():
        return scores
    largest = np.abs(scores[np.isfinite(scores)]).max(initial=1.0)
    return np.nan_to_num(scores, nan=np.nan, posinf=2 * largest, neginf=-2 * largest)


def eer_of_counts(positives: np.ndarray, negatives: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The same from how many items of class 1 and of class 0 have each score (K,), the highest score first."""
    false_acceptance = np.concatenate([[0.0], negatives.cumsum() / negatives.sum()])
    false_rejection = np.concatenate([[1.0], 1.0 - positives.cumsum() / positives.sum()])
    gap = false_acceptance - false_rejection
    after = int(np.argmax(gap >= 0))  # the last point has gap 1 and the first -1, so `after` is at least 1
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    eer = false_acceptance[after - 1] + share * (false_acceptance[after] - false_acceptance[after - 1])
    # Nothing is accepted at the first point; any threshold above the highest score says so, and the highest score is the nearest one.
    below, above = scores[after - 1], scores[max(after - 2, 0)]
    return float(eer), float(above + share * (below - above))


def _check_scores(labels: np.ndarray, scores: np.ndarray) -> None:
    if labels.shape != scores.shape or labels.ndim != 1:
        raise UserError(f"EER wants as many labels as scores, got shapes {labels.shape} and {scores.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise UserError("EER wants labels 0 (negative) and 1 (positive) only")
    if np.isnan(scores).any():
        raise UserError(f"EER: {int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
    if len(set(labels.tolist())) < 2:
        raise UserError(f"EER needs both classes, all {len(labels)} labels are the same" if len(labels) else "EER of an empty set")


def _ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float) -> np.ndarray:
    empty = denominator == 0
    return np.where(empty, otherwise, numerator / np.where(empty, 1, denominator))


def _positions(values: np.ndarray, position_of: dict[int, int]) -> np.ndarray:
    ids, inverse = np.unique(np.asarray(values), return_inverse=True)
    return np.array([position_of.get(int(i), -1) for i in ids], dtype=np.int64)[inverse] if len(ids) else np.zeros(0, np.int64)


def _strangers(values: np.ndarray, position_of: dict[int, int]) -> str:
    return ", ".join(str(i) for i in np.unique(values) if int(i) not in position_of)


def is_more(figure: float, other: float) -> bool:
    """Whether a figure exceeds another by more than what summing in another order changes; False for nan."""
    return figure - other > 1e-9
