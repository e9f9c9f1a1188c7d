"""The nearest model is the one that comparing with all of them finds, to the bit, whoever else is in the library."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sourcetracing.enrolment.search import CANDIDATES, SourceSearch, cosines


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def nearest(models: np.ndarray, direction: np.ndarray) -> tuple[int, float]:
    """One by one, in Python's floats."""
    best, most = -1, -np.inf
    for row, model in enumerate(models.astype(np.float64)):
        score = float(np.sum(model * direction.astype(np.float64)))
        if score > most:
            best, most = row, score
    return best, most


@settings(max_examples=40, deadline=None)
@given(
    num=st.integers(1, 400),
    width=st.sampled_from([2, 7, 16, 64, 192]),
    spread=st.sampled_from([0, 1e-7, 1e-4, 0.1, 3]),
    is_coded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_is_the_nearest_however_alike_they_are(num, width, spread, is_coded, seed):
    random = np.random.default_rng(seed)
    models = units(random.normal(size=(1, width)) + spread * random.normal(size=(num, width)))
    search = SourceSearch.of(models, least_coded=0 if is_coded else num + 1)
    for direction in (*units(random.normal(size=(3, width))), *models[:2]):
        assert search(direction) == nearest(models, direction)


@pytest.mark.parametrize("is_coded", [False, True])
def test_among_more_twins_than_candidates_the_first_is_named(is_coded):
    random = np.random.default_rng(0)
    models = units(random.normal(size=(3 * CANDIDATES[1], 8)))
    models[100:] = models[100]
    search = SourceSearch.of(models, least_coded=0 if is_coded else len(models) + 1)
    assert search(models[100]) == nearest(models, models[100])
    assert search(models[100])[0] == 100


def test_codes_on_disk_give_the_same_answers(tmp_path):
    random = np.random.default_rng(1)
    models, directions = units(random.normal(size=(3000, 48))), units(random.normal(size=(50, 48)))
    np.save(tmp_path / "models.npy", models)
    made = SourceSearch.of(models, least_coded=0)
    code = made.save(tmp_path / "codes.faiss")
    loaded = SourceSearch.load(np.load(tmp_path / "models.npy", mmap_mode="r"), tmp_path / "codes.faiss", code)
    expected = (directions.astype(np.float64) @ models.astype(np.float64).T).argmax(axis=1)
    assert [loaded(direction)[0] for direction in directions] == expected.tolist()
    assert [made(direction) for direction in directions] == [loaded(direction) for direction in directions]
    assert (tmp_path / "codes.faiss").stat().st_size < models.nbytes / 3


def test_the_error_of_codes_is_not_understated():
    random = np.random.default_rng(2)
    models = units(random.normal(size=(500, 32)) * np.linspace(0.01, 3, 32))
    models[:, 5] = 0.25  # a coordinate that never moves
    search = SourceSearch.of(models, least_coded=0)
    told = np.array(search.code.low) + np.array(search.code.span) * search.index.reconstruct_n(0, 500)
    assert np.linalg.norm(told - models, axis=1).max() <= search.code.error
    assert search.code.error < 0.02


def test_a_score_does_not_hang_on_the_others():
    random = np.random.default_rng(3)
    models, direction = units(random.normal(size=(1000, 192))), units(random.normal(size=(1, 192)))[0]
    alone = [cosines(models[row : row + 1], direction)[0] for row in range(1000)]
    assert cosines(models, direction).tolist() == alone
    assert cosines(models[::-3], direction).tolist() == alone[::-3]


def test_threads_of_faiss_stay_as_they_were():
    before = faiss.omp_get_max_threads()
    SourceSearch.of(np.eye(4, dtype=np.float32))(np.ones(4, np.float32))
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize("num", [3, 300])
def test_a_model_with_nan_never_answers(num):
    random = np.random.default_rng(4)
    models = units(random.normal(size=(num, 8)))
    direction = models[1].copy()
    models[[1, num - 1]] = np.nan
    search = SourceSearch.of(models)
    right = [row for row in range(num) if row not in (1, num - 1)]
    best, score = nearest(models[right], direction)
    assert search(direction) == (right[best], score)
    assert search._among_all(direction) == (right[best], score)


def test_a_model_that_was_nan_after_its_code_was_made_never_answers():
    models = units(np.random.default_rng(4).normal(size=(300, 8)))
    search = SourceSearch.of(models.copy(), least_coded=0)
    spoilt = models.copy()
    spoilt[1] = np.nan
    search.models = spoilt
    right = [0, *range(2, 300)]
    best, score = nearest(models[right], models[1])
    assert search(models[1]) == (right[best], score)
