"""Draws of enrolled and tested files, and what a draw's scores say, on corpora of awkward shapes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sourcetracing.enrolment.protocol import Draw, Outcome, Pool, draw_files, judged, those_with
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.verifier import Verifier


def files(sizes: dict[str, int], width: int = 6, seed: int = 0) -> Embedded:
    """Files around one direction for each source."""
    random = np.random.default_rng(seed)
    centres = {name: np.random.default_rng(ord(name[0])).normal(size=width) for name in sizes}
    sources = np.repeat(list(sizes), list(sizes.values()))
    rows = np.stack([centres[name] for name in sources]) + 0.7 * random.normal(size=(len(sources), width))
    ids = np.array([f"{name}/{number:03d}" for number, name in enumerate(sources)])
    return Embedded(ids, sources, rows.astype(np.float32))


def pool_of(sizes: dict[str, int], seen: str = "ab", texts: list[str] | None = None) -> Pool:
    embedded = files(sizes)
    return Pool.of(embedded, texts or [""] * len(embedded.utt_ids), tuple(seen))


HOW = {"tests_per_source": 100, "seed": 5}


def table_of(pool: Pool) -> pd.DataFrame:
    return pd.DataFrame({"source": pool.files.sources, "text": pool.texts})


def test_files_are_enrolled_or_tested_and_strangers_are_of_training():
    pool = pool_of({"a": 4, "b": 3, "c": 9, "d": 6, "e": 1})
    draw, table = draw_files(pool, 3, 0, **HOW), table_of(pool)
    assert draw.names.tolist() == ["c", "d"] == those_with(pool, 3)
    assert draw.enrolled.shape == (2, 3)
    assert [set(table["source"][rows]) for rows in draw.enrolled] == [{"c"}, {"d"}]
    assert table["source"][draw.tests].value_counts().to_dict() == {"c": 6, "d": 3}
    assert (draw.names[draw.owners] == table["source"][draw.tests]).all()
    assert not set(draw.enrolled.ravel()) & set(draw.tests)
    assert table["source"][draw.strangers].value_counts().to_dict() == {"a": 4, "b": 3}
    assert (np.array(["a", "b"])[draw.strangers_of] == table["source"][draw.strangers]).all()


def test_sources_of_too_few_files_are_left_out():
    pool = pool_of({"a": 4, "c": 1, "d": 2, "e": 3})
    assert [those_with(pool, count) for count in (1, 2, 3)] == [["d", "e"], ["e"], []]
    none = draw_files(pool, 3, 0, **HOW)
    assert not len(none.names) and not len(none.tests) and len(none.strangers) == 4


def test_no_test_says_what_an_enrolled_file_says():
    texts = [f"sentence {number % 7}" for number in range(30)]
    texts[3] = texts[17] = ""  # not known: not the same
    pool = pool_of({"a": 8, "c": 8, "d": 7, "e": 7}, seen="a", texts=texts)
    for number in range(20):
        draw, table = draw_files(pool, 2, number, **HOW), table_of(pool)
        said = set(table["text"][draw.enrolled.ravel()]) - {""}
        assert not said & set(table["text"][np.append(draw.tests, draw.strangers)])
        left = table[~table["text"].isin(said) & (table["source"] != "a")].index.difference(draw.enrolled.ravel())
        assert sorted(draw.tests) == left.tolist()


def test_where_sources_say_the_same_they_are_enrolled_from_the_same():
    texts = [f"sentence {number}" for _ in range(3) for number in range(10)]
    pool = pool_of({"a": 10, "c": 10, "d": 10}, seen="a", texts=texts)
    draw = draw_files(pool, 4, 1, **HOW)
    assert len(set(pool.texts[draw.enrolled.ravel()])) == 4
    assert len(draw.tests) == 12 and len(draw.strangers) == 6


def test_all_the_same_text_leaves_nothing_to_test():
    pool = pool_of({"a": 3, "c": 5, "d": 5}, seen="a", texts=["one"] * 13)
    assert not len(draw_files(pool, 1, 0, **HOW).tests)


def test_more_files_are_the_same_ones_and_others_and_draws_differ():
    pool = pool_of({"a": 4, "c": 12, "d": 12})
    few, many = (draw_files(pool, count, 7, **HOW) for count in (2, 5))
    assert (many.enrolled[:, :2] == few.enrolled).all()
    assert len({draw_files(pool, 2, number, **HOW).enrolled.tobytes() for number in range(10)}) > 5


def test_tests_of_a_source_are_at_most_so_many():
    draw = draw_files(pool_of({"a": 9, "c": 12, "d": 5}), 2, 0, tests_per_source=4, seed=5)
    assert np.bincount(draw.owners).tolist() == [4, 3] and len(draw.strangers) == 4


def test_the_order_of_rows_does_not_matter():
    embedded, texts = files({"a": 5, "c": 8, "d": 8}), np.array([f"text {number}" for number in range(21)])
    turned = Embedded(*(values[::-1] for values in (embedded.utt_ids, embedded.sources, embedded.embeddings)))
    pools = [Pool.of(embedded, texts, "a"), Pool.of(turned, texts[::-1], "a")]
    one, other = (draw_files(pool, 2, 3, **HOW) for pool in pools)
    assert (pools[0].files.utt_ids[one.tests] == pools[1].files.utt_ids[other.tests]).all()
    assert (pools[0].texts == pools[1].texts).all() and (pools[0].files.embeddings == pools[1].files.embeddings).all()


def test_scores_are_cosines_of_mean_directions():
    pool = pool_of({"a": 4, "c": 9, "d": 6})
    train, dev = files({"a": 8, "b": 8, "f": 8}, seed=1), files({"x": 8, "y": 8, "z": 8}, seed=2)
    verifier = Verifier.fitted(train, dev, ["a", "b"], compare_by="cosine", num_trials=50, seed=1)
    draw = draw_files(pool, 3, 0, **HOW)
    outcome = judged(draw, pool, verifier)
    units = pool.files.embeddings / np.linalg.norm(pool.files.embeddings, axis=1, keepdims=True)
    model = units[draw.enrolled[1]].mean(axis=0)
    assert outcome.scores[1] == pytest.approx(units[draw.tests] @ model / np.linalg.norm(model), abs=1e-5)
    assert outcome.of_strangers.shape == (2, len(draw.strangers))


def outcome_of(scores: list[list[float]], owners: list[int]) -> Outcome:
    scores = np.array(scores, dtype=float)
    none = np.empty(0, int)
    draw = Draw(
        np.array(list("cdef")[: len(scores)]), np.empty((len(scores), 0), int), np.arange(len(owners)), np.array(owners), none, none
    )
    return Outcome(draw, scores, np.empty((len(scores), 0)))


def test_right_others_and_ties_by_hand():
    outcome = outcome_of([[0.9, 0.2, 0.5, 0.3], [0.1, 0.4, 0.5, 0.3], [0.0, 0.8, 0.1, 0.3]], [0, 1, 1, 2])
    assert outcome.own.tolist() == [0.9, 0.4, 0.5, 0.3]
    assert outcome.right.tolist() == pytest.approx([1, 0, 1 / 2, 1 / 3])
    assert outcome.best_without_own.tolist() == [0.1, 0.8, 0.5, 0.3]


def test_of_one_source_there_are_no_others():
    outcome = outcome_of([[0.5, -0.2]], [0, 0])
    assert outcome.right.tolist() == [1, 1] and (outcome.best_without_own == -np.inf).all()
