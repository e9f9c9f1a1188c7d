"""Detectors of unknown sources: parity with the published NSD, polarity, and what each does on made-up known and unknown rows."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

from sourcetracing.metrics.bootstrap import Resampler
from sourcetracing.metrics.classification import equal_error_rate
from sourcetracing.metrics.ranking import Ranking, threshold_at_eer
from sourcetracing.openset.detectors import Nsd, Vim, make_detectors, origin_of_logits
from sourcetracing.openset.evaluation import Part
from sourcetracing.settings.openset import DETECTORS, Openset
from sourcetracing.settings.reading import load_settings
from tests.support.places import GOLDEN

CLASSES, WIDTH = 3, 12


@pytest.fixture(params=[0, 1])
def golden(request) -> dict:
    """One published case: arrays by name, and its facts."""
    with np.load(GOLDEN / "nsd.npz") as arrays:
        case = {name.split("/")[1]: arrays[name] for name in arrays.files if name.startswith(f"case{request.param}/")}
    return case | json.loads((GOLDEN / "nsd.json").read_text())["cases"][request.param]


def with_zero_rows(rows: np.ndarray, batch: int) -> np.ndarray:
    return np.concatenate([rows, np.zeros((-len(rows) % batch, rows.shape[1]), rows.dtype)])


def test_nsd_is_minus_the_published_score(golden):
    detector = Nsd().fit(golden["train_feats"], golden["train_logits"], golden["train_labels"])
    found = detector.score(golden["test_feats"], golden["test_logits"])
    np.testing.assert_allclose(found, -golden["scores_piotrkawa"], rtol=1e-5)
    assert equal_error_rate(golden["ood_label"], found)[0] == pytest.approx(golden["peer_eer_on_negated_score"]["eer"], abs=1e-9)


def test_the_overlay_reproduces_the_published_score_eer_and_decisions(golden):
    openset = load_settings(["configs/as_published/published_ood.yaml"]).openset
    detector = make_detectors(openset)["nsd"].fit(golden["train_feats"], golden["train_logits"], golden["train_labels"])
    found = detector.score(golden["test_feats"], golden["test_logits"])
    eer, threshold = threshold_at_eer(golden["ood_label"], found, openset.eer_point)
    assert eer == pytest.approx(golden["peer_eer_as_written"]["eer"], abs=1e-12)
    assert threshold == pytest.approx(golden["peer_eer_as_written"]["threshold"], rel=1e-6)
    np.testing.assert_array_equal(found > threshold, golden["peer_predict_ood_as_written"])


def test_zero_rows_give_the_published_padded_scores(golden):
    openset = load_settings(["configs/as_published/published_ood.yaml"]).openset
    arrays = {name: with_zero_rows(golden[name], 32) for name in ("train_feats", "train_logits", "test_feats", "test_logits")}
    detector = make_detectors(openset)["nsd"].fit(arrays["train_feats"], arrays["train_logits"], np.zeros(len(arrays["train_feats"])))
    found = detector.score(arrays["test_feats"], arrays["test_logits"])
    np.testing.assert_allclose(found, golden["scores_zero_padded_batch32"], rtol=1e-5, atol=1e-6)
    labels = np.pad(golden["ood_label"], (0, len(found) - len(golden["ood_label"])))
    eer, threshold = threshold_at_eer(labels, found, "nearest")
    assert eer == pytest.approx(golden["peer_eer_zero_padded"]["eer"], abs=1e-12)
    assert threshold == pytest.approx(golden["peer_eer_zero_padded"]["threshold"], rel=1e-5, abs=1e-6)


def blobs(generator: np.random.Generator, num_rows: int, unknown: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, logits and labels: known rows lie around their class's axis, unknown ones around an axis of no class; logits affine."""
    axes = np.eye(WIDTH)
    labels = generator.integers(0, CLASSES, num_rows)
    centres = 6 * axes[CLASSES + labels] if unknown else 6 * axes[labels]
    embeddings = (centres + 1 + generator.normal(0, 0.5, (num_rows, WIDTH))).astype(np.float32)
    logits = embeddings @ (2 * axes[:, :CLASSES]).astype(np.float32) - 2
    return embeddings, logits.astype(np.float32), labels


@pytest.mark.parametrize("name", DETECTORS)
def test_unknown_rows_score_higher(name):
    generator = np.random.default_rng(0)
    train, known, unknown = (blobs(generator, count, kind) for count, kind in ((300, False), (200, False), (200, True)))
    detector = make_detectors(Openset(detectors=[name]))[name].fit(*train)
    low, high = detector.score(*known[:2]), detector.score(*unknown[:2])
    assert low.shape == high.shape == (200,)
    labels, scores = np.repeat([0, 1], 200), np.concatenate([low, high])
    ranks = rankdata(scores)
    auroc = (ranks[labels == 1].sum() - 200 * 201 / 2) / 200**2
    assert auroc > 0.97


def test_max_softmax_tells_apart_what_rounds_to_one():
    detector = make_detectors(Openset())["max_softmax"]
    scores = detector.score(np.zeros((2, 1)), np.array([[60.0, 0, 0], [80.0, 0, 0]], np.float32))
    assert scores[0] > scores[1] > 0 or scores[0] == pytest.approx(2 * np.exp(-60), rel=1)
    probable = detector.score(np.zeros((1, 1)), np.log(np.array([[0.7, 0.2, 0.1]])))
    assert probable[0] == pytest.approx(-np.log(0.7))


MARGINS = np.arange(40.0, 701.0, 20.0)


@pytest.mark.parametrize(("name", "slope"), [("max_softmax", 1.0), ("softmax_energy", (np.e - 1) / (2 + np.e))])
def test_rows_that_are_sure_keep_apart(name, slope):
    """Margins from 40 to 700 over two other classes: the probability of those is 2 exp(-margin), the score its multiple."""
    logits = np.stack([MARGINS, np.zeros_like(MARGINS), np.zeros_like(MARGINS)], axis=1)
    scores = make_detectors(Openset())[name].score(logits, logits)
    assert (np.diff(scores) < 0).all()
    np.testing.assert_allclose(scores, slope * 2 * np.exp(-MARGINS), rtol=1e-12)
    np.testing.assert_array_equal(make_detectors(Openset())[name].score(logits, logits[:, ::-1]), scores)


def test_softmax_energy_is_its_formula_above_its_least_value():
    logits = 3 * np.random.default_rng(1).normal(size=(50, 24))
    found = make_detectors(Openset())["softmax_energy"].score(logits, logits)
    np.testing.assert_allclose(found, -logsumexp(softmax(logits, axis=1), axis=1) + np.log(23 + np.e), rtol=1e-9, atol=1e-14)
    even = make_detectors(Openset())["softmax_energy"].score(logits, np.zeros((1, 24)))
    assert even[0] == pytest.approx(-(np.log(24) + 1 / 24) + np.log(23 + np.e))
    assert even[0] > found.max()
    two_winners = make_detectors(Openset())["softmax_energy"].score(logits, np.array([[800.0, 800.0, 0.0]]))
    assert two_winners[0] == pytest.approx(-np.log(2 * np.exp(0.5) + 1) + np.log(2 + np.e))


def test_energy_and_margin_are_their_formulas():
    logits = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    found = make_detectors(Openset())
    np.testing.assert_allclose(found["energy"].score(logits, logits), -logsumexp(logits, axis=1), rtol=1e-6)
    ordered = np.sort(logits, axis=1)
    np.testing.assert_allclose(found["logit_margin"].score(logits, logits), ordered[:, -2] - ordered[:, -1], rtol=1e-6)


def test_mahalanobis_is_the_distance_under_the_shared_covariance():
    generator = np.random.default_rng(2)
    mixing = generator.normal(size=(4, 4))
    labels = np.repeat([0, 2], 4000)  # a class without rows is no obstacle
    rows = generator.normal(size=(8000, 4)) @ mixing + 5.0 * labels[:, None]
    detector = make_detectors(Openset())["mahalanobis"].fit(rows.astype(np.float32), rows, labels)
    probe = generator.normal(size=(50, 4)) * 3
    inverse = np.linalg.inv(mixing.T @ mixing)
    expected = np.min([np.einsum("nd,de,ne->n", probe - centre, inverse, probe - centre) for centre in (0.0, 10.0)], axis=0)
    np.testing.assert_allclose(detector.score(probe.astype(np.float32), probe), expected, rtol=0.15)


def test_nearest_neighbours_ignores_length_and_counts_neighbours():
    rows = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    detector = make_detectors(Openset(neighbours=2))["nearest_neighbours"].fit(rows, rows, np.zeros(3))
    angle_to_second = np.linalg.norm(np.array([1, 0]) - np.array([1, 1]) / np.sqrt(2))
    np.testing.assert_allclose(detector.score(np.array([[7, 0]], np.float32), rows), [angle_to_second], rtol=1e-6)
    few = make_detectors(Openset(neighbours=99))["nearest_neighbours"].fit(rows, rows, np.zeros(3))
    np.testing.assert_allclose(few.score(np.array([[7, 0]], np.float32), rows), [np.sqrt(2)], rtol=1e-6)


@pytest.mark.parametrize("k", [1, 4, 999])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_plain_neighbours_are_the_mean_of_scikit_learn_s_distances(k, offset):
    generator = np.random.default_rng(11)
    train, test = ((offset + generator.normal(size=(rows, 6))).astype(np.float32) for rows in (200, 40))
    detector = make_detectors(Openset(plain_neighbours=k))["plain_neighbours"].fit(train, train, np.zeros(200))
    distances, _ = NearestNeighbors(n_neighbors=min(k, 200), algorithm="brute").fit(train.astype(np.float64)).kneighbors(test)
    np.testing.assert_allclose(detector.score(test, test), distances.mean(axis=1), rtol=1e-4)


def test_plain_neighbours_hear_length():
    rows = np.array([[1, 0], [0, 1]], np.float32)
    detector = make_detectors(Openset())["plain_neighbours"].fit(rows, rows, np.zeros(2))
    np.testing.assert_allclose(detector.score(np.array([[7, 0]], np.float32), rows), [6.0], rtol=1e-6)


def test_vim_finds_the_point_where_logits_vanish_and_falls_back_on_the_mean():
    generator = np.random.default_rng(3)
    rows, weights, bias = generator.normal(2, 1, (400, 8)), generator.normal(size=(8, 3)), np.array([1.0, -2.0, 0.5])
    origin = origin_of_logits(rows, rows @ weights + bias)
    np.testing.assert_allclose(origin, -np.linalg.pinv(weights.T) @ bias, atol=1e-4)
    cosines = np.abs(rows @ weights) ** 3 % 1
    np.testing.assert_allclose(origin_of_logits(rows, cosines), rows.mean(axis=0))


def test_vim_sees_what_leaves_the_subspace_although_the_logits_are_the_same():
    embeddings, logits, labels = blobs(np.random.default_rng(4), 300, unknown=False)
    moved = embeddings.copy()
    moved[:, -1] += 8.0
    vim = Vim(dimensions=4).fit(embeddings, logits, labels)
    assert vim.score(moved, logits).min() > vim.score(embeddings, logits).max()


def test_vim_is_its_formula():
    """Residual outside the principal subspace, scaled to the training rows' mean highest logit (Wang et al. 2022, Eqs. 1 to 5)."""
    generator = np.random.default_rng(8)
    train, test = (generator.normal(size=(count, 6)) * [5, 4, 3, 1, 0.7, 0.3] for count in (300, 40))
    weights, bias = generator.normal(size=(6, 3)), np.array([3.0, 2.0, 4.0])
    origin = -np.linalg.pinv(weights.T) @ bias
    _, _, directions = np.linalg.svd(train - origin, full_matrices=False)
    residual = [np.linalg.norm((rows - origin) @ directions[2:].T, axis=1) for rows in (train, test)]
    scale = (train @ weights + bias).max(axis=1).mean() / residual[0].mean()
    logits = test @ weights + bias
    expected = scale * residual[1] - np.log(np.exp(logits).sum(axis=1))
    vim = Vim(dimensions=2).fit(train, train @ weights + bias, np.zeros(300))
    np.testing.assert_allclose(vim.score(test, logits), expected, rtol=1e-4)
    assert not 0.8 < scale < 1.25


@pytest.mark.parametrize("name", DETECTORS)
def test_training_rows_that_are_all_the_same_are_no_obstacle(name):
    rows, logits = np.ones((6, 3), np.float32), np.tile([2.0, 1.0], (6, 1)).astype(np.float32)
    detector = make_detectors(Openset(detectors=[name]))[name].fit(rows, logits, np.zeros(6, np.int64))
    assert np.isfinite(detector.score(np.array([[1, 1, 1], [0, 0, 0], [3, -1, 2]], np.float32), logits[:3])).all()


def test_curve_figures_agree_with_scikit_learn_and_do_not_depend_on_the_order_of_ties():
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(5)
    scores, is_unknown = generator.integers(0, 9, 500).astype(float), generator.random(500) < 0.3
    scores += is_unknown
    right = generator.random(500) < 0.8
    ones = np.ones(500)
    curve = Ranking(scores, is_unknown, right).curve(ones)
    assert curve.auroc == pytest.approx(roc_auc_score(is_unknown, scores))
    assert curve.eer == pytest.approx(equal_error_rate(is_unknown.astype(int), scores)[0])
    order = generator.permutation(500)
    other = Ranking(scores[order], is_unknown[order], right[order]).curve(ones)
    for figure in ("auroc", "eer", "fpr_at_95_tpr", "oscr_area"):
        assert getattr(curve, figure) == pytest.approx(getattr(other, figure))
    loss = np.mean([np.mean(scores[~is_unknown] >= t) for t in [np.sort(scores[is_unknown])[int(0.05 * is_unknown.sum())]]])
    assert curve.fpr_at_95_tpr == pytest.approx(loss)


def test_weights_are_repetitions_of_rows():
    generator = np.random.default_rng(6)
    scores, is_unknown, right = generator.integers(0, 12, 80).astype(float), generator.random(80) < 0.4, generator.random(80) < 0.7
    weights = generator.integers(0, 4, (3, 80)).astype(float)
    many = Ranking(scores, is_unknown, right).curve(weights)
    for number, counts in enumerate(weights.astype(int)):
        one = Ranking(*(np.repeat(array, counts) for array in (scores, is_unknown, right))).curve(np.ones(counts.sum()))
        for figure in ("auroc", "eer", "fpr_at_95_tpr", "oscr_area"):
            assert getattr(many, figure)[number] == pytest.approx(getattr(one, figure))


def test_oscr_counts_known_rows_that_are_accepted_and_right():
    scores, is_unknown = np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True])
    assert Ranking(scores, is_unknown, np.array([True, True, False, False])).curve(np.ones(4)).oscr_area == pytest.approx(1.0)
    assert Ranking(scores, is_unknown, np.array([True, False, False, False])).curve(np.ones(4)).oscr_area == pytest.approx(0.5)
    assert Ranking(-scores, is_unknown, np.array([True, True, False, False])).curve(np.ones(4)).oscr_area == pytest.approx(0.0)


def test_resampled_confusions_are_those_of_the_resampler():
    generator = np.random.default_rng(7)
    units, classes = np.repeat(np.arange(30), 2), np.repeat(generator.integers(0, 4, 30), 2)
    resampler = Resampler(classes[::2], 4, 25, generator)
    table = pd.DataFrame({"label": np.where(classes == 3, -1, classes), "prediction": generator.integers(0, 3, 60)})
    decisions = generator.integers(0, 4, 60)
    found = Part(table, units, resampler, 3)._resampled_confusions(decisions)
    np.testing.assert_allclose(found, resampler.confusions(units, classes, decisions))


def test_the_margin_of_a_single_class_is_zero():
    logits = np.array([[3.0], [-2.0]], np.float32)
    np.testing.assert_array_equal(make_detectors(Openset())["logit_margin"].score(logits, logits), [0.0, 0.0])
