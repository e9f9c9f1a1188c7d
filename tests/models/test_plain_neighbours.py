"""Plain nearest neighbours against scikit-learn's: the same votes, the same answer; ties by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from sourcetracing.models.backends.neighbours import SMOOTHING
from sourcetracing.models.backends.plain_neighbours import WINNERS_PART, PlainNeighboursBackEnd
from tests.models.test_fitted_backends import features_of, fitted

CLASSES = 4


def votes_of(logits: torch.Tensor, k: int) -> np.ndarray:
    """(B, C) whole votes, and the winner's part taken off."""
    shares = logits.double().softmax(dim=1).numpy() * (k + SMOOTHING * logits.shape[1] + WINNERS_PART) - SMOOTHING
    np.testing.assert_allclose(shares.sum(axis=1), k + WINNERS_PART, rtol=1e-6)
    shares[np.arange(len(shares)), logits.argmax(dim=1).numpy()] -= WINNERS_PART
    return shares


@pytest.mark.parametrize("offset", [0.0, 100.0])  # far from zero squares are large, and distances are not
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 5, 21, 1000])
def test_votes_and_answers_are_those_of_scikit_learn(k, metric, offset):
    (features, labels), (others, _) = (features_of(CLASSES, seed) for seed in (1, 2))
    features, others = features + offset, others + offset
    model = fitted(PlainNeighboursBackEnd(6, CLASSES, statistics=["mean", "std"], k=k, metric=metric), features, labels)
    train, test = (model.statistics(x).numpy().astype(np.float64) for x in (features, others))
    k = min(k, len(labels))
    reference = KNeighborsClassifier(n_neighbors=k, metric=metric, algorithm="brute").fit(train, labels)
    embedding, logits = model(others)
    np.testing.assert_array_equal(embedding, test.astype(np.float32))  # as they are
    expected = reference.predict_proba(test) * k
    if metric == "cosine" and offset:  # all rows point the same way: only what float32 keeps apart can be asked for
        assert (np.abs(votes_of(logits, k) - expected).max(axis=1) < 0.01).mean() > 0.8
        return
    np.testing.assert_allclose(votes_of(logits, k), expected, atol=0.01 if k < 100 else 0.05)
    is_tie = (expected == expected.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert k == len(labels) or (~is_tie).sum() > 40
    np.testing.assert_array_equal(logits.argmax(dim=1).numpy()[~is_tie], reference.predict(test)[~is_tie])


def on_a_line(k: int, places: list[float], labels: list[int], **options) -> PlainNeighboursBackEnd:
    model = PlainNeighboursBackEnd(1, 3, k=k, **options)
    model.fit(np.array(places, np.float32)[:, None], np.array(labels))
    return model


@pytest.mark.parametrize(
    ("labels", "winner"),
    [
        ([2, 1, 1, 2, 0], 2),  # two votes each: the nearest of all is of class 2
        ([1, 2, 2, 1, 0], 1),
        ([0, 2, 1, 1, 2], 2),  # of classes 1 and 2, which have two votes, the nearest is of class 2; class 0, nearer, has one
        ([2, 1, 1, 1, 2], 1),  # no tie
    ],
)
def test_ties_go_to_the_class_of_the_nearest_neighbour(labels, winner):
    model = on_a_line(5, [1, 2, 3, 4, 5, 90, 91], [*labels, 0, 0])
    _, logits = model(torch.zeros(1, 1, 7))
    assert logits.argmax() == winner
    votes = np.bincount(labels, minlength=3)
    np.testing.assert_allclose(votes_of(logits, 5)[0], votes, atol=1e-4)


def test_a_tie_of_a_thousand_votes_has_one_winner():
    labels = np.arange(1000) % 2 * 2
    model = on_a_line(1000, list(range(1, 1001)), list(labels))
    _, logits = model(torch.zeros(1, 1, 7))
    assert logits.argmax() == 0 and logits[0, 0] > logits[0, 2]
    other = on_a_line(1000, list(range(1, 1001)), list(2 - labels))
    assert other(torch.zeros(1, 1, 7))[1].argmax() == 2


def test_a_class_without_training_rows_never_wins():
    features, labels = features_of(2, 1)
    model = fitted(PlainNeighboursBackEnd(6, 3, k=7), features, labels * 2)
    _, logits = model(1e3 * torch.randn(50, 6, 50, generator=torch.Generator().manual_seed(1)))
    assert logits.isfinite().all() and (logits.argmax(dim=1) != 1).all()
    assert (logits[:, 1] <= logits[:, [0, 2]].amin(dim=1)).all()


def test_under_autocast_logits_are_the_same():
    features, labels = features_of(3, 1)
    model = fitted(PlainNeighboursBackEnd(6, 3), features, labels)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(features)
    assert all(torch.equal(one, other) for one, other in zip(found, model(features), strict=True))


def test_another_metric_is_refused():
    with pytest.raises(ValueError, match="'manhattan' is neither euclidean nor cosine"):
        PlainNeighboursBackEnd(6, 3, metric="manhattan")
