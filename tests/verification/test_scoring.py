"""Scores of trials against plain loops over their definitions, and what the spaces learnt on train do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cosine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sourcetracing.errors import UserError
from sourcetracing.verification import scoring
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.scoring import SPACES, Sides, Space, cohort_of, scored
from sourcetracing.verification.trials import TrialList

PLAIN = {"score_norm": "none", "cohort_size": 10, "seed": 1}


def made_up(prefix: str, per_source: int, sources: str = "abc", width: int = 6, seed: int = 0) -> Embedded:
    generator = np.random.default_rng(seed)
    names = np.repeat(list(sources), per_source)
    centres = generator.normal(size=(len(sources), width))
    embeddings = np.repeat(centres, per_source, axis=0) + 0.7 * generator.normal(size=(len(names), width))
    return Embedded(np.array([f"{prefix}{number}" for number in range(len(names))]), names, embeddings.astype(np.float32) + 3)


@pytest.fixture
def train() -> Embedded:
    return made_up("t", 20)


@pytest.fixture
def judged() -> Embedded:
    return made_up("e", 5, seed=1)


@pytest.fixture
def trials() -> TrialList:
    models = {"one": ("e0",), "three": ("e1", "e2", "e3"), "e14": ("e14",)}
    rows = [("one", "e1", 1, ""), ("one", "e7", 0, ""), ("three", "e4", 1, ""), ("three", "e12", 0, ""), ("e14", "e13", 1, "")]
    return TrialList(models, pd.DataFrame(rows, columns=["enrol", "test", "label", "condition"]))


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def by_hand(trials: TrialList, vectors: dict[str, np.ndarray]) -> list[float]:
    models = {name: np.mean([unit(vectors[member]) for member in members], axis=0) for name, members in trials.models.items()}
    return [1 - cosine(models[row.enrol], vectors[row.test]) for row in trials.table.itertuples()]


def test_cosine_to_the_mean_of_directions(train, judged, trials):
    vectors = dict(zip(judged.utt_ids, judged.embeddings.astype(np.float64), strict=True))
    assert scored(trials, judged, train, Space(), **PLAIN) == pytest.approx(by_hand(trials, vectors), abs=1e-6)


def test_the_length_of_an_embedding_does_not_count(train, judged, trials):
    longer = Embedded(judged.utt_ids, judged.sources, judged.embeddings * np.arange(1, 16, dtype=np.float32)[:, None])
    before, after = (scored(trials, part, train, Space(), **PLAIN) for part in (judged, longer))
    assert after == pytest.approx(before, abs=1e-6)


def test_whitened_train_has_mean_0_and_the_same_variance_everywhere():
    train = made_up("t", 20_000, width=4)
    space = SPACES["whitened_cosine"](train)
    mapped = (train.embeddings - space.mean) @ space.matrix
    assert mapped.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-4)
    assert np.cov(mapped.T) == pytest.approx(np.eye(4), abs=0.01)


def test_whitened_cosine_is_mahalanobis_inner_product(train, judged, trials):
    from sklearn.covariance import ledoit_wolf

    covariance = ledoit_wolf(train.embeddings.astype(np.float64))[0]
    root = np.linalg.cholesky(np.linalg.inv(covariance))  # another square root: it turns all vectors, which no cosine sees
    vectors = dict(zip(judged.utt_ids, (judged.embeddings - train.embeddings.mean(axis=0)) @ root, strict=True))
    found = scored(trials, judged, train, SPACES["whitened_cosine"](train), **PLAIN)
    assert found == pytest.approx(by_hand(trials, vectors), abs=1e-5)


def test_lda_cosine_is_that_of_scikit_learns_discriminants(train, judged, trials):
    fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(train.embeddings.astype(np.float64), train.sources)
    mapped = fitted.transform(judged.embeddings) - fitted.transform(train.embeddings).mean(axis=0)
    assert mapped.shape[1] == 2
    found = scored(trials, judged, train, SPACES["lda_cosine"](train), **PLAIN)
    assert found == pytest.approx(by_hand(trials, dict(zip(judged.utt_ids, mapped, strict=True))), abs=1e-4)


def test_lda_needs_three_sources_and_bears_units_that_never_move(train):
    assert SPACES["lda_cosine"](made_up("t", 20, sources="ab")) is None
    dead = Embedded(train.utt_ids, train.sources, np.concatenate([train.embeddings, np.zeros((60, 2), np.float32)], axis=1))
    space = SPACES["lda_cosine"](dead)
    assert space.matrix.shape == (8, 2)
    assert (space.matrix[6:] == 0).all() and np.isfinite(space.matrix).all()


@pytest.mark.parametrize("name", ["cosine", "whitened_cosine"])
def test_embeddings_that_are_all_the_same_give_finite_scores(name, trials, judged):
    same = Embedded(judged.utt_ids, judged.sources, np.ones_like(judged.embeddings))
    train = Embedded(np.array(["t0", "t1"]), np.array(["a", "b"]), np.ones((2, 6), np.float32))
    for norm in ("none", "s_norm", "as_norm"):
        found = scored(trials, same, train, SPACES[name](train), score_norm=norm, cohort_size=2, seed=1)
        assert np.isfinite(found).all()


def normalised_by_hand(trials, judged, cohort, nearest) -> list[float]:
    vectors = dict(zip(judged.utt_ids, judged.embeddings.astype(np.float64), strict=True))
    found = []
    for row in trials.table.itertuples():
        model = np.mean([unit(vectors[member]) for member in trials.models[row.enrol]], axis=0)
        parts = []
        for side in (model, vectors[row.test]):
            against = sorted((1 - cosine(side, other) for other in cohort), reverse=True)[:nearest]
            parts.append((1 - cosine(model, vectors[row.test]) - np.mean(against)) / np.std(against))
        found.append(sum(parts) / 2)
    return found


def test_s_norm_is_over_a_cohort_drawn_evenly_from_the_sources_of_train(train, judged, trials):
    cohort = cohort_of(train, Space(), "s_norm", 12, 5)
    units = train.embeddings / np.linalg.norm(train.embeddings, axis=1, keepdims=True)
    rows = [int(np.abs(units - vector).sum(axis=1).argmin()) for vector in cohort]
    assert sorted(train.sources[rows]) == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert len(set(rows)) == 12
    found = scored(trials, judged, train, Space(), score_norm="s_norm", cohort_size=12, seed=5)
    assert found == pytest.approx(normalised_by_hand(trials, judged, train.embeddings[rows].astype(np.float64), 12), abs=1e-4)
    assert not np.array_equal(found, scored(trials, judged, train, Space(), score_norm="s_norm", cohort_size=12, seed=6))


def test_as_norm_is_over_the_nearest_of_all_of_train(train, judged, trials):
    found = scored(trials, judged, train, Space(), score_norm="as_norm", cohort_size=7, seed=5)
    assert found == pytest.approx(normalised_by_hand(trials, judged, train.embeddings.astype(np.float64), 7), abs=1e-4)


def test_a_cohort_larger_than_train_is_train(train, judged, trials):
    sizes = (scored(trials, judged, train, Space(), score_norm="s_norm", cohort_size=size, seed=5) for size in (60, 1000))
    assert next(sizes) == pytest.approx(next(sizes))


def test_blocks_change_nothing(train, judged, trials, monkeypatch):
    norms = ("none", "s_norm", "as_norm")
    before = [scored(trials, judged, train, Space(), score_norm=norm, cohort_size=7, seed=5) for norm in norms]
    monkeypatch.setattr(scoring, "BLOCK_ELEMENTS", 1)
    after = [scored(trials, judged, train, Space(), score_norm=norm, cohort_size=7, seed=5) for norm in norms]
    assert np.array(after) == pytest.approx(np.array(before), abs=1e-9)


def test_a_trial_of_an_utterance_without_embedding_is_refused(judged):
    table = pd.DataFrame([("e0", "somebody", 1, "")], columns=["enrol", "test", "label", "condition"])
    with pytest.raises(UserError, match="somebody"):
        Sides.of(TrialList({"e0": ("e0",)}, table), judged, Space())
