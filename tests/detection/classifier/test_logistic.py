"""Logistic regression: the published solutions and the optimum, from blocks on disk, weighted, separable, refused."""

import json
import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sourcetracing.detection.classifier.logistic import LinearModel, eer_of_scores, fit
from sourcetracing.errors import UserError
from sourcetracing.settings.detection import Logreg
from sourcetracing.settings.reading import load_settings
from tests.support.detection import evaluate
from tests.support.places import GOLDEN, ROOT

CASES = json.loads((GOLDEN / "ai4t_pruning.json").read_text())["margin"]
PUBLISHED = Logreg(solver="published")


def golden_case(number):
    """Training blocks, labels, test sets."""
    arrays = np.load(GOLDEN / "ai4t_pruning.npz")
    blocks = [arrays[f"margin{number}/train{part}_x"] for part in (0, 1)]
    labels = [arrays[f"margin{number}/train{part}_y"] for part in (0, 1)]
    return blocks, labels, {name: (arrays[f"margin{number}/{name}_x"], arrays[f"margin{number}/{name}_y"]) for name in ("itw", "ai4trust")}


def clouds(num_rows, width, distance, seed=0, scales=3.0):
    """Two Gaussian clouds with features of very different scale and mean."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, num_rows)
    features = generator.normal(size=(num_rows, width)) @ (np.eye(width) + 0.3 * generator.normal(size=(width, width)) / np.sqrt(width))
    features[:, 0] += distance * (2 * labels - 1)
    return (features * np.exp(generator.normal(size=width) * scales / 3) + scales * generator.normal(size=width)).astype(np.float32), labels


def loss_of(model, features, labels, c=1e6):
    margins = np.where(labels == 1, 1, -1) * model.scores(features)
    return np.logaddexp(0, -margins).sum() + model.coef @ model.coef / (2 * c)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_default_solver_gives_the_exact_coefficients_of_the_fixture(number):
    blocks, labels, _ = golden_case(number)
    model = fit(blocks, labels, Logreg())
    assert model.coef == pytest.approx(CASES[number]["exact_coef"], abs=1e-6)
    assert model.intercept == pytest.approx(CASES[number]["exact_intercept"], abs=1e-6)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_published_solver_gives_the_published_coefficients_and_eers(number):
    blocks, labels, tests = golden_case(number)
    case, ours = CASES[number]["baseline_script_logreg"], fit(blocks, labels, Logreg())
    model = fit(blocks, labels, PUBLISHED)
    assert model.coef == pytest.approx(case["coef"], abs=8e-3) and ours.coef == pytest.approx(case["coef"], abs=8e-3)
    assert evaluate(model, *tests["itw"], PUBLISHED)[0] == pytest.approx(case["eer_itw"], abs=1e-9)
    for name, percent in CASES[number]["baseline_eer_percent"].items():
        for fitted in (model, ours):
            assert round(100 * evaluate(fitted, *tests[name], Logreg())[0], 2) == percent


def test_published_eers_come_from_probabilities_where_asked():
    blocks, labels, tests = golden_case(0)
    case, settings = CASES[0]["baseline_script_logreg"], Logreg(solver="published", eer_from="probability")
    eer, threshold = evaluate(fit(blocks, labels, settings), *tests["itw"], settings)
    assert eer == pytest.approx(case["eer_itw"], abs=1e-9) and 0.5 < threshold < 0.6  # theirs: 0.526, between other neighbours


def test_probabilities_that_saturate_tie_and_decision_values_do_not():
    labels, scores = np.array([0, 0, 1, 1]), np.array([700.0, 900.0, 800.0, 1000.0])
    assert eer_of_scores(labels, scores, Logreg(eer_from="probability"))[0] == 0.5
    assert eer_of_scores(labels, scores[[0, 2, 1, 3]], Logreg())[0] == 0.0


def test_badly_scaled_features_reach_the_optimum_that_scikit_learn_reaches_slowly():
    features, labels = clouds(400, 12, 0.4)
    slow = LogisticRegression(C=1e6, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(features.astype(np.float64), labels)
    model = fit(features, labels, Logreg())
    assert model.coef == pytest.approx(slow.coef_[0], rel=1e-5, abs=1e-7)
    assert model.intercept == pytest.approx(slow.intercept_[0], rel=1e-5)


def test_the_penalty_is_that_of_unscaled_features():
    features, labels = clouds(300, 5, 0.5)
    slow = LogisticRegression(C=1e-3, solver="newton-cholesky", tol=1e-12).fit(features.astype(np.float64), labels)
    assert fit(features, labels, Logreg(c=1e-3)).coef == pytest.approx(slow.coef_[0], rel=1e-6)


def test_standardized_penalty_does_not_depend_on_the_scale_of_features():
    features, labels = clouds(300, 5, 0.5, scales=0)
    settings, scale = Logreg(c=1e-2, standardize=True), np.array([1, 10, 100, 0.1, 1], dtype=np.float32)
    model, scaled = fit(features, labels, settings), fit(features * scale, labels, settings)
    assert scaled.scores(features * scale) == pytest.approx(model.scores(features), abs=1e-4)
    plain = fit(features * scale, labels, Logreg(c=1e-2))
    assert np.abs(plain.scores(features * scale) - model.scores(features)).max() > 1e-2


def test_blocks_strided_views_and_files_give_one_model(tmp_path):
    features, labels = clouds(700, 6, 0.5)
    whole = fit(features, labels, Logreg())
    np.save(tmp_path / "layers.npy", np.stack([np.zeros_like(features), features], axis=1))
    layer = np.load(tmp_path / "layers.npy", mmap_mode="r")[:, 1]
    parts = fit([layer[:100], layer[100:]], [labels[:100], labels[100:]], Logreg())
    assert parts.coef == pytest.approx(whole.coef, rel=1e-6) and parts.intercept == pytest.approx(whole.intercept, rel=1e-6)


@pytest.mark.parametrize("settings", [Logreg(), PUBLISHED], ids=["newton", "published"])
def test_weights_leave_rows_out_and_count_them_twice(settings):
    features, labels = clouds(300, 4, 0.5, scales=1)
    weights = np.random.default_rng(0).integers(0, 3, 300).astype(float)
    weighted = fit([features[:120], features[120:]], [labels[:120], labels[120:]], settings, weights=[weights[:120], weights[120:]])
    repeated = np.repeat(np.arange(300), weights.astype(int))
    assert weighted.coef == pytest.approx(
        fit(features[repeated], labels[repeated], settings).coef, rel=1e-2 if settings is PUBLISHED else 1e-6
    )


def test_separable_classes_end_at_the_bound_that_c_sets():
    features, labels = clouds(60, 100, 3.0, scales=1)
    model = fit(features, labels, Logreg())
    lbfgs = LogisticRegression(C=1e6, tol=1e-10, max_iter=100_000).fit(features.astype(np.float64), labels)
    assert loss_of(model, features, labels) <= loss_of(LinearModel(lbfgs.coef_[0], lbfgs.intercept_[0]), features, labels) * (1 + 1e-6)
    assert ((model.scores(features) > 0) == labels).all() and np.isfinite(model.coef).all()


def test_constant_and_repeated_features_do_no_harm():
    features, labels = clouds(300, 4, 0.5, scales=1)
    padded = np.column_stack([features, np.full(300, 7.0, np.float32), features[:, 0]])
    assert fit(padded, labels, Logreg()).scores(padded) == pytest.approx(fit(features, labels, Logreg()).scores(features), abs=1e-3)


def test_a_start_saves_steps_and_ends_at_the_same_place():
    features, labels = clouds(2000, 20, 0.5)
    fresh, near = fit(features, labels, Logreg()), fit(features[:1900], labels[:1900], Logreg())
    started = fit(features, labels, Logreg(), start=near)
    assert started.steps < fresh.steps and started.coef == pytest.approx(fresh.coef, rel=1e-6)
    assert fit(features, labels, Logreg(), start=fresh).steps <= 2


def test_features_are_not_copied(tmp_path):
    features, labels = clouds(20_000, 192, 0.1, scales=1)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    tracemalloc.start()
    fit([mapped[:5000], mapped[5000:]], [labels[:5000], labels[5000:]], Logreg())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.35 * features.nbytes  # vectors of one number per row, and a block of rows


def test_scores_are_decision_values_and_higher_means_bona_fide():
    features, labels = clouds(1000, 3, 2.0, scales=1)
    model = fit(features, labels, Logreg())
    assert model.scores(features) == pytest.approx(features.astype(float) @ model.coef + model.intercept)
    assert model.scores(features)[labels == 1].mean() > model.scores(features)[labels == 0].mean()


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (np.ones(8), "both classes are needed, but all 8 training rows are bona fide"),
        (np.zeros(8), "both classes are needed, but all 8 training rows are spoof"),
        (np.array([0, 1] * 3 + [2, 2]), r"labels are 1 \(bona fide\) and 0 \(spoof\), found \[0, 1, 2\]"),
        (np.array([0, 1] * 3), "8 feature rows, but 6 labels"),
        (np.zeros(0), "8 feature rows, but 0 labels"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused(labels, line):
    with pytest.raises(UserError, match=line):
        fit(np.random.default_rng(0).normal(size=(8, 2)), labels, Logreg())


def test_weights_that_leave_one_class_are_refused():
    with pytest.raises(UserError, match="all 4 training rows are spoof"):
        fit(np.random.default_rng(0).normal(size=(8, 2)), np.array([0, 1] * 4), Logreg(), weights=np.array([1.0, 0.0] * 4))


def test_not_a_number_is_refused():
    features, labels = clouds(50, 3, 0.5)
    features[7, 1] = np.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        fit(features, labels, Logreg())


@pytest.mark.parametrize("solver", ["newton", "published"])
def test_too_few_iterations_are_one_clear_line(solver):
    features, labels = clouds(200, 10, 0.3)
    with pytest.raises(UserError, match="logreg.max_iterations"):
        fit(features, labels, Logreg(solver=solver, max_iterations=1))


def test_published_solver_knows_no_standardized_penalty():
    features, labels = clouds(50, 3, 0.5)
    with pytest.raises(UserError, match="logreg.solver=newton"):
        fit(features, labels, Logreg(solver="published", standardize=True))


def test_the_overlay_switches_to_the_published_way():
    settings = load_settings([str(ROOT / "configs/as_published/published_logreg.yaml")])
    blocks, labels, tests = golden_case(0)
    case = CASES[0]["baseline_script_logreg"]
    model = fit(blocks, labels, settings.logreg)
    assert (
        model.coef == pytest.approx(fit(blocks, labels, PUBLISHED).coef)
        and np.abs(model.coef - fit(blocks, labels, Logreg()).coef).max() > 1e-7
    )
    eer, threshold = evaluate(model, *tests["itw"], settings.logreg)
    assert eer == pytest.approx(case["eer_itw"], abs=1e-9) and 0 < threshold < 1
