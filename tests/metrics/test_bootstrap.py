"""The bootstrap against its definition, against theory, and its behaviour with grouped variants."""

import numpy as np
import pytest

from sourcetracing.metrics import bootstrap
from sourcetracing.metrics import classification as metrics
from sourcetracing.metrics.bootstrap import Resampler


def make_rows(num_utterances, num_variants, num_classes, seed=0):
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, num_classes, num_utterances)
    utterances = np.repeat(np.arange(num_utterances), num_variants)
    predictions = np.where(
        generator.random(len(utterances)) < 0.7, classes[utterances], generator.integers(0, num_classes, len(utterances))
    )
    return classes, utterances, predictions


def test_resampled_confusions_are_those_of_the_repeated_rows():
    classes, utterances, predictions = make_rows(30, 5, 4)
    resampler = Resampler(classes, 4, 7, np.random.default_rng(1))
    resampled = resampler.confusions(utterances, classes[utterances], predictions)
    for weight, confusion in zip(resampler.weights, resampled, strict=True):
        rows = np.repeat(np.arange(150), weight[utterances])
        repeated = metrics.confusion_matrix(classes[utterances][rows], predictions[rows], range(4))
        np.testing.assert_allclose(confusion, repeated * resampler.row_scale, rtol=1e-12)


def test_every_resample_keeps_the_class_sizes():
    classes, utterances, predictions = make_rows(40, 3, 4)
    resampled = Resampler(classes, 4, 50, np.random.default_rng(1)).confusions(utterances, classes[utterances], predictions)
    np.testing.assert_allclose(resampled.sum(axis=2), np.broadcast_to(3 * np.bincount(classes), (50, 4)), rtol=1e-12)


def test_same_generator_same_resamples_whatever_the_block_size(monkeypatch):
    classes, utterances, predictions = make_rows(23, 2, 3)
    whole = Resampler(classes, 3, 50, np.random.default_rng(3)).confusions(utterances, classes[utterances], predictions)
    monkeypatch.setattr(bootstrap, "BLOCK_ELEMENTS", 40)
    blocked = Resampler(classes, 3, 50, np.random.default_rng(3)).confusions(utterances, classes[utterances], predictions)
    np.testing.assert_array_equal(whole, blocked)
    other = Resampler(classes, 3, 50, np.random.default_rng(4)).confusions(utterances, classes[utterances], predictions)
    assert (whole != other).any()


def interval_of_recall(correct_of_utterance, num_variants):
    """95 % interval of recall for utterances of one class whose variants are all right or all wrong."""
    num_utterances = len(correct_of_utterance)
    utterances = np.repeat(np.arange(num_utterances), num_variants)
    predictions = 1 - np.repeat(correct_of_utterance, num_variants)
    resampler = Resampler(np.zeros(num_utterances, dtype=int), 2, 4000, np.random.default_rng(5))
    return bootstrap.percentile_interval(metrics.accuracy(resampler.confusions(utterances, np.zeros_like(utterances), predictions)))


def test_interval_of_a_proportion_is_the_binomial_one():
    half_width = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert interval_of_recall(np.arange(400) < 320, 1) == pytest.approx((0.8 - half_width, 0.8 + half_width), abs=0.005)


def test_more_variants_of_the_same_utterances_do_not_narrow_the_interval():
    correct = np.arange(100) < 70
    assert interval_of_recall(correct, 5) == interval_of_recall(correct, 1)


def test_spread_is_unbiased_with_few_utterances():
    """The variance of the resampled mean is s^2 / n with the n - 1 in s^2; drawing n of n would give 3/4 of it here."""
    correct = np.array([1, 1, 0, 1])
    resampler = Resampler(np.zeros(4, dtype=int), 2, 20_000, np.random.default_rng(6))
    recalls = metrics.accuracy(resampler.confusions(np.arange(4), np.zeros(4, dtype=int), 1 - correct))
    assert recalls.var() == pytest.approx(correct.var(ddof=1) / 4, rel=0.03)


def test_lone_utterance_and_absent_class():
    resampler = Resampler(np.array([0, 2, 2]), 4, 10, np.random.default_rng(7))
    resampled = resampler.confusions(np.arange(3), np.array([0, 2, 2]), np.array([0, 2, 1]))
    assert (resampled[:, 0, 0] == 1).all()
    assert (resampled[:, [1, 3]] == 0).all()
    assert np.isfinite(metrics.macro_f1(resampled)).all()


def test_no_samples_give_no_interval():
    resampler = Resampler(np.array([0, 1]), 2, 0, np.random.default_rng(8))
    samples = metrics.macro_f1(resampler.confusions(np.arange(2), np.arange(2), np.arange(2)))
    assert np.isnan(bootstrap.percentile_interval(samples)).all()
