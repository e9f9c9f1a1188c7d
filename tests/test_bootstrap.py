"""The bootstrap against its definition, against theory, and its behaviour with grouped variants."""

import numpy as np
import pytest

from sourcetracing import bootstrap, metrics


def test_resampled_confusions_are_those_of_the_repeated_rows():
    generator = np.random.default_rng(0)
    utterances = np.repeat(np.arange(30), 5)
    labels, predictions = generator.integers(0, 4, (2, 150))
    confusions = bootstrap.utterance_confusions(utterances, labels, predictions, 30, 4)
    weights = bootstrap.utterance_weights(30, 7, np.random.default_rng(1))
    for weight, resampled in zip(weights, bootstrap.resampled_confusions(weights, confusions), strict=True):
        rows = np.repeat(np.arange(150), weight[utterances])
        np.testing.assert_array_equal(resampled, metrics.confusion_matrix(labels[rows], predictions[rows], range(4)))


def test_weights_are_seeded_and_the_block_size_changes_nothing(monkeypatch):
    weights = bootstrap.utterance_weights(11, 50, np.random.default_rng(3))
    assert (weights.sum(axis=1) == 11).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.5)
    monkeypatch.setattr(bootstrap, "BLOCK_ELEMENTS", 40)
    np.testing.assert_array_equal(weights, bootstrap.utterance_weights(11, 50, np.random.default_rng(3)))
    confusions = np.random.default_rng(4).integers(0, 5, (11, 3, 3)).astype(np.float32)
    blocked = bootstrap.resampled_confusions(weights, confusions)
    monkeypatch.undo()
    np.testing.assert_array_equal(blocked, bootstrap.resampled_confusions(weights, confusions))


def interval_of_accuracy(correct_of_utterance, num_variants):
    """95 % interval of accuracy for utterances whose variants are all right or all wrong."""
    num_utterances = len(correct_of_utterance)
    utterances = np.repeat(np.arange(num_utterances), num_variants)
    labels = np.zeros(len(utterances), dtype=int)
    predictions = 1 - np.repeat(correct_of_utterance, num_variants)
    confusions = bootstrap.utterance_confusions(utterances, labels, predictions, num_utterances, 2)
    weights = bootstrap.utterance_weights(num_utterances, 4000, np.random.default_rng(5))
    return bootstrap.percentile_interval(metrics.accuracy(bootstrap.resampled_confusions(weights, confusions)))


def test_interval_of_a_proportion_is_the_binomial_one():
    correct = np.arange(400) < 320
    low, high = interval_of_accuracy(correct, 1)
    half_width = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert (low, high) == pytest.approx((0.8 - half_width, 0.8 + half_width), abs=0.005)


def test_more_variants_of_the_same_utterances_do_not_narrow_the_interval():
    correct = np.arange(100) < 70
    assert interval_of_accuracy(correct, 5) == interval_of_accuracy(correct, 1)


def test_no_samples_give_no_interval():
    assert np.isnan(bootstrap.percentile_interval(np.zeros(0))).all()
