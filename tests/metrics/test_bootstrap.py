"""The bootstrap against its definition, against theory, and its behaviour with grouped variants."""

import numpy as np
import pytest
import scipy.stats

from benchmarks import bootstrap_coverage as coverage
from sourcetracing.metrics import bootstrap
from sourcetracing.metrics import classification as metrics
from sourcetracing.metrics.bootstrap import Draws, Resampler


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
    samples = metrics.accuracy(resampler.confusions(utterances, np.zeros_like(utterances), predictions))
    return bootstrap.percentile_interval(samples, np.mean(correct_of_utterance))


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
    assert np.isnan(bootstrap.percentile_interval(samples, 1.0)).all()


def test_two_test_sets_that_share_utterances_share_their_weights():
    """All right on the first half, all wrong on the second: what a test set of both has, and one of a part, go together as they must."""
    strata = np.repeat([0, 1, 2, 3], 10)  # language x class: two of each
    draws = Draws(strata, 300, lambda stratum: np.random.default_rng([9, stratum]))
    label = np.tile(np.repeat([0, 1], 10), 2)
    predictions = np.where(np.arange(40) % 10 < 6, label, 1 - label)
    whole, first, second = (np.arange(40), np.arange(20), np.arange(20, 40))
    rows = {
        name: draws.confusions(units, label[units], predictions[units], 2) for name, units in (("w", whole), ("a", first), ("b", second))
    }
    np.testing.assert_allclose(rows["w"], rows["a"] + rows["b"], rtol=1e-12)
    right = np.stack(
        [np.array([[draws.counts[s, u] * draws.scale[u] * (predictions[u] == label[u])] for u in first]).sum() for s in range(300)]
    )
    np.testing.assert_allclose(np.trace(rows["a"], axis1=1, axis2=2), right, rtol=1e-12)


def test_a_stratum_is_drawn_the_same_whatever_others_there_are():
    def generator_of(stratum):
        return np.random.default_rng([9, stratum])

    alone, among = Draws(np.array([5, 5, 5]), 20, generator_of), Draws(np.array([2, 5, 5, 2, 5, 7]), 20, generator_of)
    np.testing.assert_array_equal(alone.counts, among.counts[:, [1, 2, 4]])
    assert alone.scale.tolist() == [1.5] * 3 and among.scale[[0, 3, 5]].tolist() == [2, 2, 1]


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.2 times 4, 3, 2, 1, never below the one before."""
    assert bootstrap.holm([0.03, 0.01, float("nan"), 0.2, 0.02]).tolist() == pytest.approx(
        [0.06, 0.04, float("nan"), 0.2, 0.06], nan_ok=True
    )
    assert bootstrap.holm([0.7, 0.6]).tolist() == [1.0, 1.0]


def test_p_is_that_of_a_paired_test():
    """Two networks, one of 400 utterances each: McNemar's z of 30 against 12 disagreements."""
    first, second = np.ones(400, dtype=int), np.ones(400, dtype=int)
    first[:12], second[12:42] = 0, 0
    draws = Draws(np.zeros(400, dtype=int), 4000, lambda stratum: np.random.default_rng(3))
    samples = [metrics.accuracy(draws.confusions(np.arange(400), np.ones(400, dtype=int), right, 2)) for right in (first, second)]
    difference, variance = 18 / 400, (42 / 400 - (18 / 400) ** 2) / 399
    expected = 2 * scipy.stats.norm.sf(difference / np.sqrt(variance))
    assert bootstrap.two_sided_p(difference, samples[0] - samples[1]) == pytest.approx(expected, rel=0.25)
    assert bootstrap.two_sided_p(0.0, np.zeros(9)) == 1 and bootstrap.two_sided_p(0.5, np.full(9, 0.5)) == 0


def test_seeds_enter_from_three_on():
    """Where no utterance matters, only seeds differ: the interval is that of the mean of three numbers by Student's t."""
    values = {seed: np.full(4000, value) for seed, value in ((1, 0.5), (2, 0.6), (3, 0.7))}

    def generator_of(seeds):
        return np.random.default_rng(seeds)

    assert set(bootstrap.over_seeds({seed: values[seed] for seed in (1, 3)}, generator_of)) == {0.6}
    samples = bootstrap.over_seeds(values, generator_of)
    student = scipy.stats.t.ppf(0.975, 2)
    assert samples.mean() == pytest.approx(0.6, abs=0.01)
    assert samples.std() == pytest.approx(0.1 / np.sqrt(3) * student / 1.96, rel=0.05)  # t times the standard error of the mean


@pytest.mark.parametrize("bias", [-0.3, -0.1, 0.0, 0.2])
def test_an_interval_moves_by_twice_the_bias_of_its_resamples(bias):
    """Resamples that lie `bias` off the figure, which itself lies as far off the truth: of normal ones the interval is around the truth."""
    samples = scipy.stats.norm.ppf((np.arange(40_000) + 0.5) / 40_000)
    value = -bias
    expected = 2 * value + scipy.stats.norm.ppf([0.025, 0.975])
    assert bootstrap.percentile_interval(samples, value) == pytest.approx(expected, abs=1e-3)


def test_ties_and_single_values_are_no_bias():
    assert bootstrap.percentile_interval(np.ones(50), 1.0) == (1, 1)
    samples = np.repeat([0.2, 0.4, 0.6], [100, 800, 100])
    assert bootstrap.percentile_interval(samples, 0.4) == (0.2, 0.6)
    low, high = bootstrap.percentile_interval(np.arange(1001.0), 2000.0)  # all below: no mere bias, so it is not followed all the way
    share = scipy.stats.norm.cdf(2 * scipy.stats.norm.ppf(0.75) + np.array([-1, 1]) * scipy.stats.norm.ppf(0.975))
    assert (low, high) == pytest.approx(tuple(1000 * share))


@pytest.mark.parametrize("make", ["overlapping", "grouped"])
def test_intervals_hold_the_truth_where_test_sets_share_utterances(make):
    """The fast version of benchmarks/bootstrap_coverage.py, whose table is in docs/tables.md."""
    found = coverage.held(getattr(coverage, make), repeats=30, utterances=40, seed=5)
    shared = [value for (_, method), value in found.items() if method == "shared"]
    assert min(shared) >= 0.8 and np.mean(shared) >= 0.88


def test_draws_of_their_own_make_overlapping_sets_too_sure():
    """What the tables did: their mean varies less than it does in truth, by about the factor that shared utterances make."""
    world = coverage.World(np.random.default_rng(3), 80)
    widths = {}
    for method in (coverage.Shared, coverage.Apart):
        samples = coverage.overlapping(world, method(world.sample, np.random.default_rng(4)))["mean of the seen"][2]
        widths[method] = samples.std()
    assert widths[coverage.Apart] < 0.8 * widths[coverage.Shared]


def test_with_few_seeds_a_table_of_comparisons_has_a_false_verdict_as_rarely_as_holm_promises():
    """Three seeds a side, no effect, twenty comparisons: with a normal tail two tables in five would hold a false one."""
    generator, false_tables = np.random.default_rng(5), 0
    for table in range(200):
        p_values = []
        for comparison in range(20):
            sides = []
            for _ in range(2):
                values = {seed: np.full(200, value) for seed, value in enumerate(generator.normal(0.7, 0.05, 3))}
                drawn = np.random.default_rng([table, comparison])  # both sides have the same seeds, so these are drawn alike
                sides.append((np.mean([value[0] for value in values.values()]), bootstrap.over_seeds(values, lambda _, own=drawn: own)))
            (first, first_samples), (second, second_samples) = sides
            p_values.append(bootstrap.two_sided_p(first - second, first_samples - second_samples, num_seeds=3))
        false_tables += bool((bootstrap.holm(p_values) < 0.05).any())
    assert false_tables <= 20  # 5 % of 200, and three standard deviations


def test_p_of_seeds_is_students():
    samples = scipy.stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    sd, stretch = samples.std(ddof=1), scipy.stats.t.ppf(0.975, 2) / scipy.stats.norm.ppf(0.975)
    assert bootstrap.two_sided_p(3.0, samples, num_seeds=3) == pytest.approx(2 * scipy.stats.t.sf(3.0 / sd * stretch, 2))
    assert bootstrap.two_sided_p(scipy.stats.norm.ppf(0.975) * sd, samples, num_seeds=5) == pytest.approx(0.05)


def test_two_resamples_have_a_spread_and_one_has_none():
    assert bootstrap.two_sided_p(1.0, np.array([0.0, 1.0])) == pytest.approx(2 * scipy.stats.norm.sf(2**0.5))
    assert np.isnan(bootstrap.two_sided_p(1.0, np.array([0.3])))


@pytest.mark.parametrize("digit", [-1, 0, 1])
def test_what_is_equal_but_for_the_last_digit_is_a_tie(digit):
    """The correction for bias once hung on how a sum had been rounded: 0.5, 0.667 or 1.0 for one end of an interval."""
    samples = np.repeat([0.5, 2 / 3, 1.0], [30, 40, 30])
    value = np.nextafter(2 / 3, 2 / 3 + digit)
    assert bootstrap.percentile_interval(samples, value) == (0.5, 1.0)


def test_intervals_of_a_handful_of_utterances_are_not_shifted():
    """6 of 8 right gave 73 to 100 %, though a quarter of the resamples were 50 %."""
    samples = np.repeat([0.5, 0.733, 1.0], [250, 500, 250])
    assert bootstrap.percentile_interval(samples, 0.75) == (0.5, 1.0)
    fine = np.linspace(0, 1, 1000)
    assert bootstrap.percentile_interval(fine, 0.6)[0] > 0.05  # many values: corrected as ever
