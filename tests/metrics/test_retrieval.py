"""Figures of pairs and rankings against loops over pairs, scikit-learn, and cases small enough for a pencil."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from sourcetracing.metrics import retrieval
from sourcetracing.metrics.retrieval import nearest_neighbour_classes


@pytest.fixture(params=[3, 256], ids=["many blocks", "one block"])
def block(request, monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK_ROWS", request.param)


@pytest.fixture
def rows():
    """Embeddings (40, 5) of length 1, labels, utterances of two rows each."""
    generator = np.random.default_rng(7)
    labels = np.repeat(generator.integers(0, 3, 20), 2)
    embeddings = retrieval.unit_rows(generator.normal(size=(40, 5)) + 1.2 * np.eye(5)[labels])
    return embeddings, labels, np.repeat(np.arange(20), 2)


def trials(embeddings, labels, utterances) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(one, other) for one, other in combinations(range(len(labels)), 2) if utterances[one] != utterances[other]]
    cosines = np.array([embeddings[one].astype(float) @ embeddings[other] for one, other in pairs])
    return np.array([labels[one] == labels[other] for one, other in pairs]), cosines


def test_rows_get_length_one_and_zeros_stay():
    found = retrieval.unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6)
    assert found.dtype == np.float32


def test_every_pair_of_different_utterances_counts_once(rows, block):
    is_same, cosines = trials(*rows)
    same_class, two_classes = retrieval.pair_counts(*rows)
    assert (same_class.sum(), two_classes.sum()) == (is_same.sum(), (~is_same).sum())
    places = np.linspace(-1, 1, retrieval.NUM_BINS)
    for counts, own in ((same_class, cosines[is_same]), (two_classes, cosines[~is_same])):
        np.testing.assert_allclose(np.sort(np.repeat(places, counts)), np.sort(own), atol=1.1e-5)


def test_verification_eer_is_where_scikit_learns_roc_has_equal_errors(rows, block):
    is_same, cosines = trials(*rows)
    false_alarms, found, _ = roc_curve(is_same, cosines)
    grid = np.linspace(0, 1, 200_001)
    misses = 1 - np.interp(grid, false_alarms, found)
    assert retrieval.verification_eer(*rows) == pytest.approx(grid[np.argmin(np.abs(misses - grid))], abs=2e-3)


def test_verification_needs_pairs_of_both_kinds(rows):
    embeddings, labels, utterances = rows
    assert np.isnan(retrieval.verification_eer(embeddings, np.zeros_like(labels), utterances))
    assert np.isnan(retrieval.verification_eer(embeddings, utterances, utterances))  # nobody has another utterance


def test_verification_of_classes_far_apart_makes_no_error_and_turned_round_only_errors():
    embeddings = retrieval.unit_rows(np.array([[1, 0.1], [1, 0.0], [0.1, 1], [0.0, 1]]))
    assert retrieval.verification_eer(embeddings, np.array([0, 0, 1, 1]), np.arange(4)) == pytest.approx(0, abs=1e-9)
    assert retrieval.verification_eer(embeddings, np.array([0, 1, 0, 1]), np.arange(4)) > 0.4


def test_mean_average_precision_is_the_mean_of_scikit_learns(rows, block):
    embeddings, labels, utterances = rows
    figures = []
    for row in range(len(labels)):
        others = utterances != utterances[row]
        hits = labels[others] == labels[row]
        if hits.any():
            figures.append(average_precision_score(hits, (embeddings @ embeddings[row])[others]))
    assert retrieval.mean_average_precision(*rows) == pytest.approx(np.mean(figures), abs=1e-6)


def test_mean_average_precision_by_hand_with_a_tie():
    # From row 0: cosine 1 (a stranger) and 1 (a friend) tie, then 0 (a friend): precision 1/2 at two rows, 2/3 at three.
    embeddings = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
    labels = np.array([0, 1, 0, 0])
    # Row 2 sees the same. Row 3 has cosine 0 to all three: two friends of three. Row 1 has no friend and is left out.
    by_hand = np.mean([(1 / 2 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2, 2 / 3])
    assert retrieval.mean_average_precision(embeddings, labels, np.arange(4)) == pytest.approx(by_hand)
    assert np.isnan(retrieval.mean_average_precision(embeddings, np.arange(4), np.arange(4)))


def test_nearest_neighbours_vote_and_the_nearer_ones_break_a_tie():
    gallery = retrieval.unit_rows(np.array([[1, 0], [0.98, 0.2], [0, 1], [0.1, 1], [-1, 0]]))
    labels = np.array([2, 1, 0, 0, 2])
    queries = retrieval.unit_rows(np.array([[1, 0.0], [0.95, 0.2], [0.2, 1]]))
    assert retrieval.nearest_neighbour_classes(gallery, labels, queries, 1, 3).tolist() == [2, 1, 0]
    assert retrieval.nearest_neighbour_classes(gallery, labels, queries, 2, 3).tolist() == [2, 1, 0]
    # Of all five the classes 0 and 2 have two votes each; the one with the higher cosines wins.
    assert retrieval.nearest_neighbour_classes(gallery, labels, queries, 99, 3).tolist()[2] == 0


def test_two_far_neighbours_outvote_a_near_one():
    gallery = np.array([[1, 0], [-0.6, 0.8], [-0.6, -0.8]], np.float32)
    query = np.array([[1, 0]], np.float32)
    assert nearest_neighbour_classes(gallery, np.array([1, 0, 0]), query, 3, 2).tolist() == [0]
    assert nearest_neighbour_classes(gallery, np.array([1, 0, 0]), query, 2, 2).tolist() == [1]  # one vote each: the nearer one
