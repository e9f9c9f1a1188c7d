"""The linear classifier of the detection experiments: logistic regression on layer means (D62), labels 1 = bona fide, 0 = spoof.

model = fit([features_a, features_b], [labels_a, labels_b], settings.logreg)
eer, threshold = eer_of_scores(labels, model.scores(features), settings.logreg)
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sourcetracing.detection.classifier.newton import Problem, Scaling, minimize, row_blocks, sigmoid
from sourcetracing.errors import UserError
from sourcetracing.metrics.ranking import is_above, threshold_at_eer
from sourcetracing.runtime.files import atomic_path
from sourcetracing.settings.detection import Logreg

Arrays = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class LinearModel:
    """coef (D,) float64 and intercept; steps: of the solver."""

    coef: np.ndarray
    intercept: float
    steps: int = 0

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Decision values w.x + b (N,) float64 of features (N, D), read block by block; higher = bona fide."""
        values = np.empty(len(features))
        for rows in row_blocks(len(features)):
            values[rows] = np.asarray(features[rows], dtype=np.float64) @ self.coef + self.intercept
        return values


def fit(blocks: Arrays, labels: Arrays, settings: Logreg, start: LinearModel | None = None, weights: Arrays | None = None) -> LinearModel:
    """Logistic regression on one or several arrays (N_k, D) with labels (N_k,) in {0, 1}.

    The default solver reads the arrays (memory-mapped ones too, float32) block by block and never copies them. start: a model to begin
    at; saves time, the optimum is the same. weights: for each array (N_k,), how often a row counts; 0 leaves it out without a copy of
    the others. Raises `UserError` for one class only, infinite or NaN features, and when the solver does not get there.
    """
    arrays, truths = _as_list(blocks), [np.asarray(part) for part in _as_list(labels)]
    shares = [None] * len(arrays) if weights is None else [np.asarray(part, dtype=np.float64) for part in _as_list(weights)]
    check_rows(arrays, truths, shares)
    if settings.solver == "published":
        return _fit_published(arrays, truths, shares, settings)
    own = Scaling.of(arrays, shares)
    problem = problem_of(arrays, truths, shares, own, own, settings)
    if not np.isfinite(problem.scaling.mean).all():
        raise UserError("logistic regression: features hold NaN or infinite numbers")
    unknowns = starting_point(problem) if start is None else problem.from_feature_space(start.coef, start.intercept)
    solution = minimize(problem, unknowns, tolerance=settings.tolerance, max_steps=settings.max_iterations)
    return LinearModel(*problem.in_feature_space(solution.unknowns), solution.steps)


def fit_recipe(settings: Logreg) -> dict[str, object]:
    """The settings that a fitted classifier depends on."""
    recipe = {name: getattr(settings, name) for name in ("c", "solver", "tolerance", "max_iterations", "standardize")}
    return (
        {**recipe, "version": 2} if settings.standardize else recipe
    )  # before 2026-11-27 the scaling was of corpora outside the mixture too


def problem_of(arrays: list, labels: list, weights: list, own: Scaling, scaling: Scaling, settings: Logreg) -> Problem:
    """The loss of a training set. The penalty lies on the weights of features as they are, or of standardised ones (logreg.standardize).

    own: the scaling of these very rows, which says what is constant and what is standardised. scaling: of the coordinates to compute in.
    """
    penalty = np.full(len(scaling.scale), 1 / settings.c) / (scaling.scale / (own.scale if settings.standardize else 1)) ** 2
    signs = [np.where(part == 1, 1.0, -1.0) for part in labels]
    return Problem(arrays, signs, weights, replace(scaling, varies=own.varies), penalty)


def starting_point(problem: Problem) -> np.ndarray:
    """Weights 0 and the intercept that fits the shares of the classes (D + 1,)."""
    shares = [np.ones(len(sign)) if weight is None else weight for sign, weight in zip(problem.signs, problem.weights, strict=True)]
    positive = sum(float(share[sign > 0].sum()) for sign, share in zip(problem.signs, shares, strict=True))
    negative = sum(float(share.sum()) for share in shares) - positive
    return np.append(np.zeros(len(problem.penalty)), np.log(positive / negative))


def eer_of_scores(labels: np.ndarray, scores: np.ndarray, settings: Logreg) -> tuple[float, float]:
    """EER (fraction) and threshold of decision values (N,), or of their probabilities (logreg.eer_from, D62), for `is_bonafide`."""
    return threshold_at_eer(np.asarray(labels) == 1, _judged(scores, settings), "crossing")


def is_bonafide(scores: np.ndarray, threshold: float, settings: Logreg) -> np.ndarray:
    """What decision values (N,) are called at a threshold of `eer_of_scores`."""
    return is_above(_judged(scores, settings), threshold)


def _judged(scores: np.ndarray, settings: Logreg) -> np.ndarray:
    return sigmoid(scores) if settings.eer_from == "probability" else scores


def _fit_published(arrays: list, labels: list, weights: list, settings: Logreg) -> LinearModel:
    """scikit-learn's lbfgs with its default tolerance, on one copy of all features where they are several arrays."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if settings.standardize:
        raise UserError("logreg.standardize=true goes with logreg.solver=newton; the published solver takes features as they are")
    features = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    share = None
    if any(weight is not None for weight in weights):
        share = np.concatenate([np.ones(len(part)) if weight is None else weight for part, weight in zip(labels, weights, strict=True)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            fitted = LogisticRegression(C=settings.c, max_iter=settings.max_iterations, random_state=42)
            fitted.fit(features, np.concatenate(labels), sample_weight=share)
        except ConvergenceWarning:
            raise UserError(
                f"logistic regression: lbfgs did not converge in {settings.max_iterations} iterations on {len(features)} rows. "
                "Raise logreg.max_iterations or use logreg.solver=newton."
            ) from None
    return LinearModel(fitted.coef_[0].astype(np.float64), float(fitted.intercept_[0]), int(fitted.n_iter_[0]))


def save_model(path: str | Path, model: LinearModel, notes: Mapping[str, str]) -> None:
    """Writes safetensors with coef (D,) and intercept (), float64, and texts beside them; complete or not at all."""
    tensors = {"coef": model.coef, "intercept": np.array(model.intercept)}
    with atomic_path(path) as partial:  # one text: safetensors writes several in another order each time
        save_file(tensors, partial, metadata={"notes": json.dumps(dict(notes))})


def load_model(path: str | Path) -> LinearModel:
    """Reads a model. Raises `UserError` for a file that is no such model."""
    try:
        with safe_open(path, framework="numpy") as file:
            return LinearModel(file.get_tensor("coef"), float(file.get_tensor("intercept")))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no linear model: {error}") from None


def _as_list(arrays: Arrays) -> list:
    return [arrays] if isinstance(arrays, np.ndarray) else list(arrays)


def check_rows(arrays: Sequence, labels: Sequence, weights: Sequence, what: str = "logistic regression") -> None:
    """Raises `UserError`, its line starting with `what`, unless there are labels 0 and 1 and one for each row."""
    if not arrays or not sum(map(len, arrays)):
        raise UserError(f"{what}: no training rows")
    for array, truth, weight in zip(arrays, labels, weights, strict=True):
        if len(array) != len(truth) or (weight is not None and len(weight) != len(truth)):
            raise UserError(f"{what}: {len(array)} feature rows, but {len(truth)} labels or weights")
    used = [truth if weight is None else truth[weight > 0] for truth, weight in zip(labels, weights, strict=True)]
    classes = set(np.unique(np.concatenate(used)).tolist())
    if not classes <= {0, 1}:
        raise UserError(f"{what}: labels are 1 (bona fide) and 0 (spoof), found {sorted(classes)}")
    if len(classes) < 2:
        found = {0: "spoof", 1: "bona fide"}.get(next(iter(classes), None), "no")
        raise UserError(f"{what}: both classes are needed, but all {sum(map(len, used))} training rows are {found}. Add a corpus.")
