"""Coefficients that were no optimum: with a constant feature of 1e4 and more, with features far from zero, in mixtures with standardize.

Seen: a feature that is 1e4 everywhere got the weight 47 and moved all scores by up to 4.4; with logreg.standardize=true the classifier of a
mixture depended on corpora outside of it. Checked against scikit-learn's newton-cholesky in float64 at tol 1e-10.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sourcetracing.detection.classifier import newton
from sourcetracing.detection.classifier.logistic import fit
from sourcetracing.detection.classifier.mixing_solver import Corpus, MixingSolver
from sourcetracing.errors import UserError
from sourcetracing.settings.detection import Logreg


def clouds(seed: int, num_rows: int = 400, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that overlap: (rows, width) float32, labels."""
    generator, labels = np.random.default_rng(seed), np.arange(num_rows) % 2
    return (generator.normal(size=(num_rows, width)) + 0.4 * labels[:, None]).astype(np.float32), labels.astype(np.int8)


def exactly(features: np.ndarray, labels: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    """scikit-learn's optimum in float64."""
    fitted = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(features.astype(np.float64), labels)
    return fitted.coef_[0], float(fitted.intercept_[0])


@pytest.mark.parametrize("value", [0, 7, 1e2, 1e4, 1e6, 1e8, -1e5])
def test_a_constant_feature_gets_no_weight_and_moves_no_other(value):
    features, labels = clouds(0)
    constant = np.full(len(features), value, np.float32)
    model, (coef, intercept) = fit(np.column_stack([features, constant]), labels, Logreg()), exactly(features, labels, 1e6)
    assert model.coef[-1] == 0
    assert model.coef[:-1] == pytest.approx(coef, rel=1e-7)
    assert model.intercept == pytest.approx(intercept, rel=1e-7)


@pytest.mark.parametrize("place, spread", [(1e4, 1e-2), (1e6, 1.0), (1e3, 1e-3)])
def test_a_feature_far_from_zero_has_the_weight_of_one_at_zero(place, spread):
    features, labels = clouds(1)
    far = (place + spread * np.random.default_rng(2).normal(size=len(labels))).astype(np.float32)
    model = fit(np.column_stack([features, far]), labels, Logreg())
    unit = far.astype(np.float64) - far.astype(np.float64).mean()  # a shift changes the intercept alone
    coef, _ = exactly(np.column_stack([features, unit]), labels, 1e6)
    assert model.coef == pytest.approx(coef, rel=5e-5)


def test_a_stop_with_a_large_gradient_is_an_error(monkeypatch):
    features, labels = clouds(3)
    monkeypatch.setattr(newton, "_GOOD_GRADIENT", 0.0)
    monkeypatch.setattr(newton, "_MOST_GRADIENT", 0.0)
    with pytest.raises(UserError, match="its gradient is still .* a row"):
        fit(features, labels, Logreg())


@pytest.mark.parametrize("standardize", [True, False])
def test_a_mixture_does_not_depend_on_corpora_outside_of_it(tmp_path, standardize):
    near, far = clouds(4, 300), clouds(5, 200)
    corpora = {"a": near, "b": (0.1 * clouds(6, 300)[0] + 3, near[1]), "c": (50 * far[0], far[1])}
    settings = Logreg(c=1e-2, standardize=standardize)
    for others in (("a", "b"), ("a", "b", "c")):
        solver = MixingSolver(
            {name: Corpus([corpora[name][0]], [corpora[name][1]]) for name in others}, settings, Path(tmp_path / "".join(others))
        )
        whole = solver.fit(others)
        solver.share(whole)
        model = solver.fit(["a"], whole)
        features, labels = corpora["a"][0].astype(np.float64), corpora["a"][1]
        scale = features.std(axis=0) if standardize else 1.0
        coef, _ = exactly(features / scale, labels, 1e-2)
        assert model.coef == pytest.approx(coef / scale, rel=1e-6)


def test_a_feature_that_is_constant_within_a_mixture_alone_gets_no_weight(tmp_path):
    first, second = clouds(7, 300), clouds(8, 300)
    corpora = {
        name: Corpus([np.column_stack([features, np.full(300, value, np.float32)])], [labels])
        for name, (features, labels), value in (("a", first, 3e4), ("b", second, -1e4))
    }
    solver = MixingSolver(corpora, Logreg(), tmp_path)
    whole = solver.fit(["a", "b"])
    assert whole.coef[-1] != 0
    solver.share(whole)
    assert solver.fit(["a"], whole).coef == pytest.approx([*exactly(*first, 1e6)[0], 0.0], rel=1e-6)
