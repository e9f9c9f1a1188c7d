"""From LLRs to groups: planted clusters, cuts by hand, stability by counting, and what a draw of dev changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from sourcetracing.casework.grouping import (
    NO_GROUP,
    NOT_DRAWN,
    Draws,
    draw_again,
    each_alone,
    group_files,
    members_of,
    near_copies,
    neighbours_of,
    num_groups,
    pair_llrs,
    require_decisive,
    stability_of,
    threshold_of,
)
from sourcetracing.errors import UserError
from sourcetracing.settings.grouping import METHODS, Grouping
from sourcetracing.verification.calibrating import LlrLine

LINE = LlrLine(8.0, -4.0, -5.0, 5.0, 100, 100)
AVERAGE, DENSITY = Grouping(), Grouping(method="hdbscan")


def planted(num_sources: int, num_files: int, *, spread: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Directions of files around orthogonal centres, and their sources."""
    random = np.random.default_rng(seed)
    sources = np.repeat(np.arange(num_sources), num_files)
    rows = 4 * np.eye(max(num_sources, 24))[sources] + spread * random.normal(size=(len(sources), max(num_sources, 24)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), sources


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_sources", [1, 2, 6])
def test_planted_groups_are_found(method, num_sources):
    directions, sources = planted(num_sources, 15)
    labels = group_files(pair_llrs(directions, LINE), Grouping(method=method))
    assert num_groups(labels) == num_sources
    if method == "agglomerative":
        assert adjusted_rand_score(sources, labels) == 1
    else:
        grouped = labels != NO_GROUP
        assert grouped.mean() > 0.8
        assert adjusted_rand_score(sources[grouped], labels[grouped]) == 1


@pytest.mark.parametrize("method", METHODS)
def test_files_of_as_many_sources_stay_alone(method):
    directions, _ = planted(20, 1)
    labels = group_files(pair_llrs(directions, LINE), Grouping(method=method))
    assert num_groups(labels) == (20 if method == "agglomerative" else 0)
    assert num_groups(each_alone(labels)) == 20


def test_the_cut_is_that_of_scikit_learn():
    directions, _ = planted(5, 12, spread=1.6)
    llrs = pair_llrs(directions, LINE)
    for prior in (0.2, 0.5, 0.8):
        distances = (5 - llrs).astype(np.float64)
        np.fill_diagonal(distances, 0)
        cut = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=5 - threshold_of(prior) + 1e-9)
        assert adjusted_rand_score(cut.fit_predict(distances), group_files(llrs, Grouping(prior=prior))) == 1


def test_a_group_is_joined_by_the_mean_of_its_pairs():
    llrs = np.array([[5, 3, -1, -4], [3, 5, 2, -4], [-1, 2, 5, -4], [-4, -4, -4, 5]], dtype=np.float32)
    assert group_files(llrs, AVERAGE).tolist() == [0, 0, 0, 1]  # 0 and 1 first; then (-1 + 2) / 2 = 0.5 with 2
    assert group_files(llrs, Grouping(prior=1 / (1 + np.exp(0.6)))).tolist() == [0, 0, 1, 2]
    assert group_files(llrs, Grouping(prior=1 / (1 + np.exp(-4.1)))).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("block", [2, 512])
def test_near_copies_are_joined_by_cosine_in_every_space(monkeypatch, block):
    monkeypatch.setattr("sourcetracing.casework.grouping.BLOCK_ROWS", block)
    degrees = np.radians([0, 90, 0.7, 180, 1.4, 90.9, 180.1])  # cos 0.7 degrees: 0.99993; cos 0.9 degrees: 0.99988
    circle = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
    assert [rows.tolist() for rows in near_copies(circle)] == [[0, 2, 4], [3, 6]]
    other = np.eye(7, dtype=np.float32)
    assert near_copies(circle, other) == []
    other[6] = other[3]
    assert [rows.tolist() for rows in near_copies(circle, other)] == [[3, 6]]


def test_a_chain_is_one_group_of_hdbscan_and_not_of_average_linkage():
    """Each file is near its next three alone."""
    steps = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    llrs = np.where(steps <= 3, 1, -5).astype(np.float32)
    assert group_files(llrs, DENSITY).tolist() == [0] * 12
    assert num_groups(group_files(llrs, AVERAGE)) > 1


def test_fewer_files_than_a_group_has_are_none_of_hdbscan():
    assert group_files(np.full((2, 2), 5, dtype=np.float32), DENSITY).tolist() == [NO_GROUP, NO_GROUP]


def test_llrs_are_those_of_the_line():
    directions, _ = planted(3, 300)
    llrs = pair_llrs(directions, LINE)
    expected = np.clip(8 * directions.astype(float) @ directions.T.astype(float) - 4, -5, 5)
    np.testing.assert_allclose(llrs, expected, atol=1e-5)


def test_groups_are_numbered_by_size_and_then_by_their_first_file():
    llrs = np.full((6, 6), -5, dtype=np.float32)
    for one, other in ((1, 4), (1, 5), (4, 5), (0, 3)):
        llrs[one, other] = llrs[other, one] = 4
    assert group_files(llrs, AVERAGE).tolist() == [1, 0, 2, 1, 0, 0]


def test_thresholds_are_logits():
    assert [threshold_of(prior) for prior in (0.5, 0.1, 0.9)] == pytest.approx([0, np.log(9), -np.log(9)])


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=12))
def test_members_are_those_with_the_label(numbers):
    kept = sorted({number for number in numbers if number >= 0})
    labels = np.array([kept.index(number) if number >= 0 else NO_GROUP for number in numbers])
    members = members_of(labels)
    assert [rows.tolist() for rows in members] == [np.flatnonzero(labels == number).tolist() for number in range(len(kept))]
    alone = each_alone(labels)
    assert len(set(alone.tolist())) == len(kept) + int((labels < 0).sum())
    assert (alone[labels >= 0] == labels[labels >= 0]).all()


# --- how stable


def by_hand(labels_DN: np.ndarray, one: int, other: int) -> float:
    both = [row for row in labels_DN if row[one] != NOT_DRAWN and row[other] != NOT_DRAWN]
    return sum(row[one] == row[other] for row in both) / len(both)


def test_stability_is_the_share_of_draws_with_the_others_of_a_group():
    drawn = np.array([[0, 0, 1, 2], [0, 0, 0, 1], [0, 1, NOT_DRAWN, 2], [NOT_DRAWN, 0, 0, 1], [0, 0, 1, 1]], dtype=np.int32)
    draws, labels = Draws(np.array([3, 2, 3, 2, 2]), drawn, 0), np.array([0, 0, 0, 1])
    shares = {pair: by_hand(drawn, *pair) for pair in combinations(range(3), 2)}
    expected = [np.mean([share for pair, share in shares.items() if file in pair]) for file in range(3)]
    assert stability_of(draws, labels)[:3].tolist() == pytest.approx(expected)
    assert stability_of(draws, labels)[3] == pytest.approx(4 / 5)  # alone but for the last draw
    np.testing.assert_allclose(draws.together(np.array([0, 1]))[0, 1], by_hand(drawn, 0, 1))


def test_the_range_holds_95_percent_of_the_draws():
    numbers = np.array([1] + [4] * 97 + [9] * 2)
    assert Draws(numbers, np.zeros((100, 2), np.int32), 0).range == (4, 4)
    assert Draws(np.array([3, 3, 4, 8]), np.zeros((4, 2), np.int32), 0).range == (3, 8)
    assert Draws(np.array([], int), np.zeros((0, 2), np.int32), 7).range is None


def test_clear_groups_are_sure_and_draws_that_say_nothing_are_left_out():
    directions, _ = planted(3, 10)
    labels = group_files(pair_llrs(directions, LINE), AVERAGE)
    silent = [replace(LINE, slope=0.0, offset=0.0), replace(LINE, low=0.0, high=0.0)]
    draws = draw_again(directions, [*[LINE] * 6, *silent], Grouping(draws=20), seed=1)
    assert (draws.num_silent, draws.range) == (2, (3, 3))
    assert ((draws.labels != NOT_DRAWN).sum(axis=1) == 24).all()
    assert (stability_of(draws, labels) == 1).all()
    nothing = draw_again(directions, silent, Grouping(draws=20), seed=1)
    assert nothing.range is None
    assert np.isnan(stability_of(nothing, labels)).all()


def test_a_line_that_asks_for_more_finds_more_groups():
    directions, _ = planted(3, 10, spread=1.2)
    draws = draw_again(directions, [LINE, replace(LINE, offset=-7.5)], Grouping(draws=20), seed=1)
    assert draws.numbers[0] < draws.numbers[1]


@pytest.mark.parametrize("method", METHODS)
def test_two_files_can_be_drawn_and_grouped(method):
    directions, _ = planted(2, 1)
    draws = draw_again(directions, [LINE], Grouping(method=method, share=0.5), seed=1)
    assert draws.numbers.tolist() == [2 if method == "agglomerative" else 0]
    assert draws.labels.tolist() == [[0, 1]]


# --- neighbours


def test_neighbours_are_means_over_pairs():
    random = np.random.default_rng(3)
    llrs = random.normal(size=(7, 7)).astype(np.float32)
    llrs += llrs.T
    labels = np.array([0, 1, 0, NO_GROUP, 1, 0, 2])
    found = neighbours_of(llrs, labels)
    for file in range(7):
        means = {g: np.mean([llrs[file, other] for other in range(7) if labels[other] == g]) for g in range(3) if g != labels[file]}
        best = max(means, key=means.get)
        assert (found.nearest[file], found.to_nearest[file]) == (best, pytest.approx(means[best], abs=1e-5))
        own = [llrs[file, other] for other in range(7) if other != file and labels[other] == labels[file] != NO_GROUP]
        assert found.within[file] == pytest.approx(np.mean(own) if own else np.nan, abs=1e-5, nan_ok=True)


def test_one_group_and_none_have_no_other():
    llrs = np.ones((3, 3), dtype=np.float32)
    for labels in (np.zeros(3, int), np.full(3, NO_GROUP)):
        found = neighbours_of(llrs, labels)
        assert (found.nearest == -1).all()
        assert np.isnan(found.to_nearest).all()


# --- what cannot decide


@pytest.mark.parametrize(
    ("line", "prior", "message"),
    [
        (replace(LINE, slope=0.0, offset=0.0), 0.5, "say nothing"),
        (replace(LINE, low=0.0, high=0.0), 0.5, "say nothing"),
        (LINE, 0.001, "log10 LR of 3.00 on, above .* each would be alone. Take a prior between 0.00669 and 0.993"),
        (LINE, 0.999, "all would be one group"),
    ],
)
def test_llrs_that_cannot_decide_are_refused(line, prior, message):
    with pytest.raises(UserError, match=message):
        require_decisive(line, Grouping(prior=prior), "exp/run")


def test_llrs_that_can_decide_are_taken():
    require_decisive(LINE, AVERAGE, "exp/run")
    require_decisive(LINE, Grouping(prior=0.0068), "exp/run")
