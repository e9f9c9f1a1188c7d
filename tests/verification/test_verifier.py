"""Single cases: spaces and log-likelihood ratios for sets of files of any sizes, from dev."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from sourcetracing.errors import UserError
from sourcetracing.settings.verification import SCORINGS
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.trials import OTHER, SAME
from sourcetracing.verification.verifier import Verifier
from tests.support.verified_run import verified_run

HOW = {"compare_by": "cosine", "num_trials": 300, "seed": 3}


def world(names: str, per_source: int, *, spread: float = 0.6, seed: int = 0, width: int = 8) -> Embedded:
    """Utterances around one direction for each source, in the languages en and de."""
    random = np.random.default_rng(seed)
    centres = {name: np.random.default_rng(ord(name)).normal(size=width) for name in "abcdefghijk"}
    sources = np.repeat(list(names), per_source)
    rows = np.stack([centres[name] for name in sources]) + spread * random.normal(size=(len(sources), width))
    ids = np.array([f"{name}/{number}" for number, name in enumerate(sources)])
    return Embedded(ids, sources, rows.astype(np.float32), np.tile(["en", "de"], len(sources))[: len(sources)])


def test_llrs_are_those_of_a_line_fitted_by_hand():
    verifier = Verifier.fitted(world("abc", 12), world("defg", 12, seed=1), list("abc"), **HOW)
    trials, line = verifier.dev_trials(1, 1), verifier.line(1, 1)
    same = trials.labels == SAME
    doubt = 1 / (min(same.sum(), (~same).sum()) + 2)

    def loss(parameters):
        llrs = parameters[0] * trials.scores + parameters[1]
        hit, wrong = np.logaddexp(0, -llrs), np.logaddexp(0, llrs)
        of_one, of_two = (1 - doubt) * hit + doubt * wrong, (1 - doubt) * wrong + doubt * hit
        return of_one[same].mean() + of_two[~same].mean()

    slope, offset = minimize(loss, [1.0, 0.0], tol=1e-12).x
    assert (line.slope, line.offset) == pytest.approx((slope, offset), rel=1e-3)
    assert max(-line.low, line.high) <= np.log(48)  # utterances behind the trials, not trials


def test_scores_are_cosines_of_mean_directions():
    dev = world("defg", 12, seed=1)
    verifier = Verifier.fitted(world("abc", 12), dev, list("abc"), **HOW)
    one, other = dev.embeddings[:3], dev.embeddings[20:25] * 7
    means = [np.mean([row / np.linalg.norm(row) for row in rows], axis=0) for rows in (one, other)]
    expected = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    models = verifier.models([one, other])
    assert verifier.scores(models[:1], models[1:])[0, 0] == pytest.approx(expected, abs=1e-6)


def test_sources_that_training_never_saw_calibrate_alone_where_there_are_three():
    train, dev = world("abc", 12), world("abcdef", 10, seed=1)
    assert set(Verifier.fitted(train, dev, list("abc"), **HOW).dev.sources) == set("def")
    two = Verifier.fitted(train, world("abcde", 10, seed=1), list("abc"), **HOW)
    assert set(two.dev.sources) == set("abcde")
    assert not two.are_unseen


@pytest.mark.parametrize("sizes", [(1, 1), (3, 1), (1, 4), (4, 4)])
def test_trials_are_of_the_sizes_asked_for_and_larger_sets_say_more(sizes):
    verifier = Verifier.fitted(world("abc", 12), world("defg", 12, seed=1, spread=1.2), list("abc"), **HOW)
    trials = verifier.dev_trials(*sizes)
    assert trials.sizes == sizes
    assert {SAME, OTHER} == set(trials.labels)
    if sizes == (4, 4):
        assert verifier.cllr(4, 4) < verifier.cllr(1, 1)


def test_sets_larger_than_dev_has_are_judged_by_the_largest_that_it_has():
    verifier = Verifier.fitted(world("abc", 12), world("defg", 6, seed=1), list("abc"), **HOW)
    assert verifier.dev_trials(50, 50).sizes == (3, 3)
    assert verifier.dev_trials(50, 1).sizes == (5, 1)
    assert verifier.dev_trials(1, 50).sizes == (1, 5)
    assert verifier.line(50, 50) == verifier.line(3, 3)


def test_neither_side_is_the_first():
    """Five files against two are as two against five: the order on a command line decides nothing."""
    verifier = Verifier.fitted(world("abc", 12), world("defg", 12, seed=1, spread=1.2), list("abc"), **HOW)
    assert verifier.line(5, 2) == verifier.line(2, 5)
    assert verifier.cllr(5, 2) == verifier.cllr(2, 5)
    assert verifier.dev_trials(2, 5).sizes == (2, 5)


def test_a_set_never_meets_its_own_files_and_no_trial_counts_twice():
    dev = world("defg", 4, seed=1)
    verifier = Verifier.fitted(world("abc", 12), dev, list("abc"), **HOW)
    pairs = verifier._pairs(SAME, 1, 1)
    assert len(pairs) == 4 * 6  # all pairs of four files, each once
    assert all(not set(one) & set(other) for one, other in pairs)
    others = verifier._pairs(OTHER, 1, 1)
    assert len({tuple(sorted((int(one[0]), int(other[0])))) for one, other in others}) == len(others) == 6 * 16


def test_the_same_keys_give_the_same_line_and_order_does_not_matter():
    how = (world("abc", 12), world("defg", 12, seed=1), list("abc"))
    one, other = Verifier.fitted(*how, **HOW), Verifier.fitted(*how, **HOW)
    one.line(3, 3)
    assert one.line(2, 1) == other.line(2, 1)


def test_the_best_on_dev_is_the_scoring_with_the_least_cllr():
    train, dev = world("abcd", 30), world("efgh", 20, seed=1)
    for rows in (train, dev):
        # A direction that says nothing of sources, and that cosines of the embeddings as they are cannot see past.
        rows.embeddings[:, 0] += 10 * np.random.default_rng(len(rows.sources)).normal(size=len(rows.sources))
    best = Verifier.fitted(train, dev, list("abcd"), **{**HOW, "compare_by": "best_on_dev"})
    every = {name: Verifier.fitted(train, dev, list("abcd"), **{**HOW, "compare_by": name}).cllr(1, 1) for name in SCORINGS}
    assert best.scoring == min(every, key=every.get) != "cosine"


@pytest.mark.parametrize(
    ("dev", "message"),
    [(world("d", 9), "two sources"), (world("defg", 1), "two clean utterances")],
)
def test_a_dev_that_can_calibrate_nothing_is_refused(dev, message):
    with pytest.raises(UserError, match=message):
        Verifier.fitted(world("abc", 12), dev, list("abc"), **HOW).line(1, 1)


def test_an_empty_set_and_lda_of_two_sources_are_refused():
    with pytest.raises(UserError, match="empty set"):
        Verifier.fitted(world("abc", 12), world("defg", 6), list("abc"), **HOW).line(0, 1)
    with pytest.raises(UserError, match=r"trace\.compare_by=lda_cosine"):
        Verifier.fitted(world("ab", 12), world("defg", 6), list("ab"), **{**HOW, "compare_by": "lda_cosine"})


def test_a_trained_run_has_one(tmp_path):
    run, _ = verified_run(tmp_path)
    verifier = Verifier.of(run)
    assert verifier.line(1, 1).targets > 0
    assert len(verifier.dev.languages) == len(verifier.dev.sources)
