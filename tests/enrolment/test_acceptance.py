"""The threshold of the best of M enrolled sources: exact where it counts, safe where it reckons; false alarms of simulated libraries."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, norm

from benchmarks import enrolment_growth as growth
from sourcetracing.enrolment.acceptance import MAXIMA, NONE, TAIL, TRIALS, acceptance_threshold, dev_scores
from sourcetracing.verification.verifier import Verifier


def independent(files: int, models: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(files, models))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_counted_is_the_average_over_all_choices_of_models(size):
    scores, level = independent(60, 6), 0.1
    scores[np.arange(60), np.arange(60) % 6] = np.nan  # a file's own source
    found = acceptance_threshold(scores, size, level)
    assert (found.regime, found.files, found.sources, found.scores) == (MAXIMA, 60, 6, 300)

    def counted(threshold):
        """False alarms and the one more, by trying every choice."""
        shares = [np.mean([max(choice) > threshold for choice in combinations(row[~np.isnan(row)], size)]) for row in scores]
        return (sum(shares) + 1) / 61

    assert counted(found.threshold) <= level + 1e-9
    lower = scores[scores < found.threshold].max()
    assert counted(lower) > level


def test_without_enough_models_the_level_of_single_trials_counts():
    scores = independent(5000, 1)[:, 0]
    found = acceptance_threshold(scores, 10, 0.05)
    assert found.regime == TRIALS and not found.is_of_few_sources
    level = 1 - 0.95 ** (1 / 10)
    assert np.mean(scores > found.threshold) == pytest.approx(level, abs=2 / 5000)
    assert found.threshold == pytest.approx(norm.isf(level), abs=0.15)


def test_beyond_all_scores_it_lies_above_a_normal_tail_and_within_reason():
    scores = independent(1000, 1)[:, 0]
    found = acceptance_threshold(scores, 1000, 0.01)
    assert found.regime == TAIL
    assert max(scores.max(), norm.isf(1e-5)) < found.threshold < 8  # an exponential's tail is longer than a normal one


def test_a_heavy_tail_is_met():
    scores = np.random.default_rng(2).standard_t(3, 2000)
    level = 1 - 0.99 ** (1 / 200)
    from scipy.stats import t

    assert acceptance_threshold(scores, 200, 0.01).threshold > 0.6 * t.isf(level, 3)


@pytest.mark.parametrize("files", [15, 50, 150])
def test_it_never_falls_as_sources_are_enrolled(files):
    for seed in range(5):
        thresholds = [acceptance_threshold(independent(files, 8, seed), size, 0.05).threshold for size in (1, 2, 7, 8, 9, 20, 100, 1000)]
        assert (np.diff(thresholds) >= 0).all()


def test_nothing_enrolled_and_nothing_known_accept_nothing():
    none = acceptance_threshold(independent(100, 5), 0, 0.01)
    assert none.regime == NONE and not none.accepts(np.array([9.0])).any() and none.sentence == "nothing is enrolled"
    few = acceptance_threshold(np.arange(39.0), 3, 0.01)
    assert few.threshold == np.inf and "no source is ever given" in few.sentence
    assert np.isfinite(acceptance_threshold(np.arange(40.0), 3, 0.01).threshold)


def test_equal_scores_are_not_accepted():
    found = acceptance_threshold(np.full((200, 4), 0.5), 3, 0.01)
    assert found.threshold == 0.5 and not found.accepts(0.5)
    assert acceptance_threshold(np.full(50, 0.5), 30, 0.01).threshold == 0.5


def test_few_sources_of_dev_are_told():
    few, many = (acceptance_threshold(independent(200, models), 3, 0.05) for models in (6, 30))
    assert "dev has 6 sources only" in few.sentence and "sources only" not in many.sentence
    assert "3 enrolled sources: counted" in many.sentence


def test_dev_scores_are_cosines_of_means_of_others_files():
    random = np.random.default_rng(4)
    train, dev = growth.files_of(random, "t", 4, 6), growth.files_of(random, "d", 5, 6)
    verifier = Verifier.fitted(train, dev, sorted(set(train.sources)), compare_by="cosine", num_trials=40, seed=1)
    assert dev_scores(verifier, 1).shape == (10, 30, 5)
    scores = dev_scores(verifier, 1)[3]
    names = np.unique(dev.sources)
    assert (np.isnan(scores) == (dev.sources[:, None] == names)).all()
    units = dev.embeddings / np.linalg.norm(dev.embeddings, axis=1, keepdims=True)
    cosines = units @ units.T
    for file in range(30):
        for column, name in enumerate(names):
            if name != dev.sources[file]:
                assert np.abs(cosines[file, dev.sources == name] - scores[file, column]).min() < 1e-6
    of_all = dev_scores(verifier, 6)[0]  # at most 5: one file has to be left for a test
    means = {name: units[dev.sources == name].sum(axis=0) for name in names}
    leave_one_out = [units[0] @ (means["d1"] - units[row]) / np.linalg.norm(means["d1"] - units[row]) for row in range(6, 12)]
    assert min(abs(of_all[0, 1] - value) for value in leave_one_out) < 1e-6
    assert np.array_equal(dev_scores(verifier, 3), dev_scores(verifier, 3), equal_nan=True)
    assert len({row.tobytes() for row in dev_scores(verifier, 3)}) == 10


def test_repeats_of_files_are_worth_no_more_than_the_files():
    scores = independent(70, 6)
    for size in (1, 3, 9, 60):
        once, thrice = (acceptance_threshold(some, size, 0.03) for some in (scores, np.stack([scores] * 3)))
        assert (thrice.regime, thrice.files, thrice.sources, thrice.scores) == (once.regime, once.files, once.sources, once.scores)
        assert thrice.threshold == pytest.approx(once.threshold, rel=0.03 if once.regime == TAIL else 1e-12)
    assert acceptance_threshold(np.stack([scores[:30]] * 10), 1, 0.03).regime != MAXIMA  # 300 rows, 30 files


@pytest.fixture(scope="module")
def worlds():
    """Dev has 40 sources, 6 worlds of 1,000 files of 50 sources that nobody enrolled."""
    return [growth.world(seed, 40, 3, sizes=(0, 1, 5, 30, 100)) for seed in range(6)]


def shares(worlds, size: int, name: str) -> np.ndarray:
    return np.array([getattr(one[size], name) for one in worlds])


def test_false_alarms_stay_at_the_level_as_a_library_grows(worlds):
    """Within the binomial error of 300 sources: files of one source are alike, and count as one."""
    high = binom.ppf(0.99, 6 * growth.STRANGERS, growth.LEVEL) / (6 * growth.STRANGERS)
    for size in (1, 5, 30, 100):
        assert shares(worlds, size, "rising").mean() <= high
    assert shares(worlds, 30, "rising").mean() >= growth.LEVEL / 3  # nor by giving nobody anything
    assert not shares(worlds, 0, "rising").any()
    assert {one[30].regime for one in worlds} == {MAXIMA} and {one[100].regime for one in worlds} <= {TRIALS, TAIL}


def test_with_the_threshold_of_one_source_they_do_not(worlds):
    fixed = [shares(worlds, size, "fixed").mean() for size in (1, 5, 30, 100)]
    assert fixed[0] < 0.1 and fixed[2] > 0.5 and fixed[3] > 0.85
    assert (np.diff(fixed) > 0).all()
