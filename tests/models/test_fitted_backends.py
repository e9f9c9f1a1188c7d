"""Fitted back-ends against scikit-learn: logits of its pipelines, votes of its neighbours; classes without training rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from sourcetracing.models.backends.neighbours import SMOOTHING, NeighboursBackEnd
from sourcetracing.models.backends.statistics import TOLERANCE, StatisticsBackEnd

NAMES = ["mean", "log_std", "autocorrelation"]
HEADS = {
    "logistic": lambda c: LogisticRegression(C=c, max_iter=10_000, tol=TOLERANCE),
    "lda": lambda c: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
}


def features_of(num_classes: int, seed: int, rows_per_class: int = 20) -> tuple[torch.Tensor, np.ndarray]:
    """(N, 6, 50) noise whose level, loudness and colour depend a little on the class; labels (N,)."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), rows_per_class)
    noise = generator.normal(size=(len(labels), 6, 51))
    shape = np.random.default_rng(0).normal(size=(num_classes, 6, 1))[labels]
    x = (noise[..., 1:] + shape * noise[..., :-1]) * np.exp(0.2 * shape) + 0.1 * shape
    return torch.from_numpy(x.astype(np.float32)), labels


def fitted(model: torch.nn.Module, features: torch.Tensor, labels: np.ndarray) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(model.statistics(features).numpy(), labels)
    return model


@pytest.mark.parametrize("c", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("head", HEADS)
def test_logits_are_the_decision_function_of_scikit_learn(head, num_classes, c):
    (features, labels), (others, _) = (features_of(num_classes, seed) for seed in (1, 2))
    model = fitted(StatisticsBackEnd(6, num_classes, statistics=NAMES, head=head, c=c), features, labels)
    train, test = (model.statistics(x).numpy().astype(np.float64) for x in (features, others))
    pipeline = make_pipeline(StandardScaler(), HEADS[head](c)).fit(train, labels)
    embedding, logits = model(others)
    np.testing.assert_allclose(embedding, pipeline[0].transform(test), atol=1e-4)
    expected = pipeline.decision_function(test)
    found = logits.numpy() if num_classes > 2 else (logits[:, 1] - logits[:, 0]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(logits.argmax(dim=1), pipeline.predict(test))
    np.testing.assert_allclose(logits.softmax(dim=1), pipeline.predict_proba(test), atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_a_class_without_training_rows_never_wins(head):
    features, labels = features_of(3, 1)
    labels = np.array([0, 2, 3])[labels]
    model = fitted(StatisticsBackEnd(6, 5, statistics=NAMES, head=head), features, labels)
    for scale in (1, 1e3, 1e-3):
        _, logits = model(scale * torch.randn(50, 6, 50, generator=torch.Generator().manual_seed(1)))
        assert logits.isfinite().all()
        assert (logits[:, [1, 4]].amax(dim=1) < logits[:, [0, 2, 3]].amin(dim=1)).all()
    alone = fitted(StatisticsBackEnd(6, 3, statistics=NAMES, head=head), *features_of(3, 1))
    torch.testing.assert_close(model(features)[1][:, [0, 2, 3]], alone(features)[1])


def test_lda_bears_a_class_of_one_row():
    features, labels = features_of(3, 1)
    keep = np.flatnonzero((labels < 2) | (np.arange(len(labels)) == 40))
    model = fitted(StatisticsBackEnd(6, 3, statistics=NAMES, head="lda"), features[keep], labels[keep])
    assert model(features)[1].isfinite().all()


def test_a_fit_that_does_not_end_says_which_setting_to_change(monkeypatch):
    monkeypatch.setattr("sourcetracing.models.backends.statistics.MAX_ITERATIONS", 2)
    with pytest.raises(ValueError, match="take a smaller c"):
        fitted(StatisticsBackEnd(6, 3, statistics=NAMES), *features_of(3, 1))


def unit(model: NeighboursBackEnd, features: torch.Tensor, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return normalize((model.statistics(features).numpy().astype(np.float64) - mean) / deviation)


@pytest.mark.parametrize(("k", "expected_k"), [(1, 1), (5, 5), (21, 8)])  # 80 rows: no more than 8
def test_votes_are_those_of_scikit_learn_s_neighbours(k, expected_k):
    (features, labels), (others, _) = (features_of(4, seed) for seed in (1, 2))
    model = fitted(NeighboursBackEnd(6, 4, statistics=NAMES, k=k), features, labels)
    assert model.num_neighbours == expected_k
    statistics = model.statistics(features).numpy().astype(np.float64)
    scale = statistics.mean(axis=0), statistics.std(axis=0)

    def weights(distances: np.ndarray) -> np.ndarray:  # the last is the neighbour that has no vote any more
        return (distances[:, -1:] - distances) / (distances[:, -1:] - distances[:, :1])

    reference = KNeighborsClassifier(n_neighbors=expected_k + 1, metric="cosine", algorithm="brute", weights=weights)
    reference.fit(unit(model, features, *scale), labels)
    embedding, logits = model(others)
    np.testing.assert_allclose(embedding, unit(model, others, *scale), atol=1e-5)
    np.testing.assert_allclose(embedding.norm(dim=1), 1, atol=1e-5)
    shares = logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    smallest = SMOOTHING / (expected_k + 4 * SMOOTHING)
    assert (shares >= smallest - 1e-6).all()
    votes = shares / shares.min(axis=1, keepdims=True) * SMOOTHING - SMOOTHING  # exact where some class has none
    has_zero = (reference.predict_proba(others_unit := unit(model, others, *scale)) == 0).any(axis=1)
    assert has_zero.sum() > 20
    found = (votes / votes.sum(axis=1, keepdims=True))[has_zero]
    np.testing.assert_allclose(found, reference.predict_proba(others_unit)[has_zero], atol=1e-3)


def test_votes_do_not_jump_where_neighbours_change_places():
    features, labels = features_of(4, 1)
    model = fitted(NeighboursBackEnd(6, 4, statistics=NAMES, k=5), features, labels)
    one, other = features_of(4, 2)[0][[3, 50]]
    path = torch.stack([torch.lerp(one, other, share) for share in torch.linspace(0, 1, 2001)])
    _, logits = model(path)
    assert logits.argmax(dim=1).unique().numel() > 1  # it does change
    assert logits.diff(dim=0).abs().max() < 0.2  # a whole vote of 5 would be log(1.5 / 0.5) = 1.1


def test_rows_that_are_all_the_same_vote_alike():
    features = torch.ones(12, 6, 50)
    labels = np.arange(12) % 3
    model = fitted(NeighboursBackEnd(6, 4, statistics=NAMES), features, labels)
    _, logits = model(features[:2])
    assert logits.isfinite().all()
    assert (logits[:, 3] <= logits[:, :3].amin(dim=1)).all()


@pytest.mark.parametrize("kind", [StatisticsBackEnd, NeighboursBackEnd])
def test_under_autocast_logits_are_the_same(kind):
    features, labels = features_of(3, 1)
    model = fitted(kind(6, 3, statistics=NAMES), features, labels)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(features)
    assert all(torch.equal(one, other) for one, other in zip(found, model(features), strict=True))
