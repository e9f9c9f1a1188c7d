"""The bar for enrolled sources: what it lets through is counted by simulation and by hand, and too few scores are said to be too few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from sourcetracing.enrolment.decision import acceptance_threshold, decide, nontarget_scores
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.verifier import Verifier


def test_the_bar_by_hand():
    scores = np.arange(999) / 999  # one in a thousand more
    for sources, asked, place in ((1, 0.01, 10), (10, 0.01, 1), (1, 0.0255, 25), (5, 0.1, 20)):
        bar = acceptance_threshold(scores, sources, asked)
        assert bar.threshold == np.sort(scores)[-place]
        assert bar.false_alarms == pytest.approx(place * sources / 1000)
        assert bar.is_as_asked and "too few" not in str(bar)


def test_what_dev_cannot_support_is_said():
    scores = np.arange(999) / 999
    bar = acceptance_threshold(scores, 20, 0.01)
    assert (bar.threshold, bar.false_alarms) == (scores[-1], pytest.approx(0.02))
    assert not bar.is_as_asked
    assert "at most 0.02 of files of none of 20 enrolled sources" in str(bar) and "too few for the 0.01" in str(bar)
    for few, sources in ((scores, 600), (scores[:1], 1), (scores[:0], 1)):
        bar = acceptance_threshold(few, sources, 0.01)
        assert bar.threshold == np.inf or bar.false_alarms == 0.5
    assert "no enrolled source is named: 999 dev scores" in str(acceptance_threshold(scores, 600, 0.01))


@given(st.lists(st.floats(-1, 1), min_size=0, max_size=60), st.integers(1, 50), st.floats(0.001, 0.5))
def test_more_sources_and_fewer_false_alarms_never_lower_the_bar(scores, sources, asked):
    bar = acceptance_threshold(np.array(scores), sources, asked)
    assert acceptance_threshold(np.array(scores), sources + 1, asked).threshold >= bar.threshold
    assert acceptance_threshold(np.array(scores), sources, asked / 2).threshold >= bar.threshold


@pytest.mark.parametrize("sources", [1, 5, 40])
@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_false_alarms_over_a_whole_library(sources, shared):
    """Scores of a file with several sources hang together (shared: a part that is the file's own)."""
    random, asked, alarms = np.random.default_rng(sources), 0.05, []
    for _ in range(300):
        dev = np.sqrt(1 - shared) * random.normal(size=2000) + np.sqrt(shared) * random.normal(size=2000)
        bar = acceptance_threshold(dev, sources, asked)
        files = np.sqrt(1 - shared) * random.normal(size=(100, sources)) + np.sqrt(shared) * random.normal(size=(100, 1))
        alarms.append((files.max(axis=1) > bar.threshold).mean())
    rate, error = np.mean(alarms), np.std(alarms) / np.sqrt(len(alarms))
    assert rate <= asked + 3 * error
    if not shared:
        assert rate >= 1 - (1 - bar.false_alarms / sources) ** sources - 0.002 - 3 * error  # and what independent sources make of it


def dev_of(counts: dict[str, int], width: int = 6) -> Embedded:
    random, sources = np.random.default_rng(1), np.repeat(list(counts), list(counts.values()))
    rows = np.stack([np.random.default_rng(ord(name)).normal(size=width) for name in sources]) + 0.5 * random.normal(
        size=(len(sources), width)
    )
    return Embedded(np.array([f"{name}/{row}" for row, name in enumerate(sources)]), sources, rows.astype(np.float32))


def test_nontarget_scores_are_those_of_all_pairs_of_two_sources():
    dev = dev_of({"d": 9, "e": 7, "f": 5})
    verifier = Verifier.fitted(dev_of({"a": 9, "b": 9, "c": 9}), dev, list("abc"), compare_by="cosine", num_trials=50, seed=0)
    pairs = cosine_similarity(dev.embeddings.astype(np.float64))[dev.sources[:, None] != dev.sources]
    np.testing.assert_allclose(np.sort(nontarget_scores(verifier, 1)), np.sort(pairs), atol=1e-6)
    of_three = nontarget_scores(verifier, 3)
    assert len(of_three) == 3 * 12 + 2 * 14 + 1 * 16  # sets of three that a source has, times files of the others
    assert of_three.tolist() == nontarget_scores(verifier, 3).tolist()
    assert len(nontarget_scores(verifier, 50)) == 1 * 12 + 1 * 14  # dev has sets of six at most, with a file left to compare with


def test_who_wins():
    assert [decide(says, False) for says in (True, False, None)] == ["unknown", "known", "not decided"]
    assert {decide(says, True) for says in (True, False, None)} == {"enrolled"}
