"""Which files the strategies keep: the same as published, and exact fractions by default."""

import json

import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.classifier.logistic import fit
from sourcetracing.detection.experiments.augment_pruned import published_parts, split_rows
from sourcetracing.detection.experiments.pruning_strategies import (
    BOTH,
    CLOSEST,
    FURTHEST,
    NOISY,
    find_clusters,
    margin_steps,
    published_steps,
    random_rows,
    refitted_steps,
)
from sourcetracing.errors import UserError
from sourcetracing.settings.detection import Logreg
from tests.support.detection import evaluate
from tests.support.places import GOLDEN

EXPECTED = json.loads((GOLDEN / "ai4t_pruning.json").read_text())
ARRAYS = np.load(GOLDEN / "ai4t_pruning.npz")
FRACTIONS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


@pytest.mark.parametrize("data", ["cluster0", "cluster1"])
def test_clusters_keep_the_published_rows(data):
    features, labels = ARRAYS[f"{data}/x"], ARRAYS[f"{data}/y"]
    clusters = find_clusters(lambda rows: features[rows], labels, np.zeros(len(labels)), [0])
    np.testing.assert_allclose([one.mean for one in clusters], ARRAYS[f"{data}/centroids"], atol=1e-6)
    for case in (case for case in EXPECTED["cluster"] if case["data"] == data):
        strategy = CLOSEST if case["order"] == "ascending" else FURTHEST
        assert [one.kept(case["fraction"], strategy).tolist() for one in clusters] == case["selected_per_class"]


def test_clusters_are_of_one_group_and_class_each():
    features = np.array([[0.0], [1.0], [10.0], [12.0], [17.0], [5.0]])
    labels, groups = np.array([0, 0, 0, 0, 0, 1]), np.array(["a", "a", "b", "b", "b", "b"])
    clusters = find_clusters(lambda rows: features[rows], labels, groups, ["b", "a"])
    assert [(one.label, one.order.tolist()) for one in clusters] == [(0, [3, 2, 4]), (1, [5]), (0, [0, 1])]


@pytest.mark.parametrize("number", range(3))
def test_published_margin_steps_and_eers(number):
    case, logreg = EXPECTED["margin"][number], Logreg()
    pick = {key.split("/")[1]: ARRAYS[key] for key in ARRAYS if key.startswith(f"margin{number}/")}
    features = np.concatenate([pick["train0_x"], pick["train1_x"]])
    labels = np.concatenate([pick["train0_y"], pick["train1_y"]])
    first = fit(features, labels, logreg)
    steps = published_steps(np.abs(first.scores(features)), f"margin-{case['strategy']}", case["margin_percentage"])
    assert len(steps) >= len(case["steps"])
    for step, expected in zip(steps, case["steps"], strict=False):
        assert (step.kept.tolist(), step.name) == (expected["selected"], str(expected["margin"]))
        model = fit(features[step.kept], labels[step.kept], logreg)
        eers = {name: evaluate(model, pick[f"{name}_x"], pick[f"{name}_y"], logreg)[0] for name in ("itw", "ai4trust")}
        assert round(100 * eers["itw"], 2) == expected["eer_itw"]
        assert round(100 * eers["ai4trust"], 2) == expected["eer_ai4t"]


@pytest.mark.parametrize("strategy", [NOISY, BOTH])
def test_published_schedule(strategy):
    table = pd.read_csv(GOLDEN / "tables" / "ai4t_margin_schedule.csv")
    own = table[table["strategy"] == strategy.removeprefix("margin-")]
    steps = published_steps(np.random.default_rng(0).random(200_000), strategy)
    assert [step.name for step in steps] == [str(total) for total in own["margin_total"]]
    np.testing.assert_allclose([len(step.kept) / 2000 for step in steps], own["pct_of_original_kept_approx"], atol=0.02)


@pytest.mark.parametrize("case", EXPECTED["random"], ids=lambda case: f"{case['seed']}-{case['fraction']}")
def test_random_rows_as_published(case):
    assert random_rows(case["n"], case["fraction"], case["seed"]).tolist() == case["indices"]


@pytest.mark.parametrize("strategy", [NOISY, BOTH])
def test_margin_steps_keep_exactly_the_fraction_and_the_right_end(strategy):
    margins = np.random.default_rng(1).random(230)
    steps = margin_steps(margins, strategy, FRACTIONS)
    assert [len(step.kept) for step in steps] == [207, 184, 161, 138, 115, 92, 69, 46, 23]
    for step in steps:
        dropped = np.setdiff1d(np.arange(230), step.kept)
        below = dropped[margins[dropped] < margins[step.kept].min()]
        above = dropped[margins[dropped] > margins[step.kept].max()]
        assert len(below) + len(above) == len(dropped)
        assert len(below) == (len(dropped) if strategy == NOISY else len(dropped) // 2)


@pytest.mark.parametrize("strategy", [NOISY, BOTH])
def test_refitted_steps_use_the_margins_of_what_is_left(strategy):
    first, asked = np.random.default_rng(2).random(100), []

    def margins_of(rows):
        asked.append(len(rows))
        return first[rows] if len(rows) == 100 else -first[rows]  # the second model sees it the other way round

    steps = list(refitted_steps(margins_of, 100, strategy, [0.9, 0.8]))
    assert (asked, [len(step.kept) for step in steps]) == ([100, 90], [90, 80])
    assert set(steps[1].kept) < set(steps[0].kept)
    same = {step.name: step.kept.tolist() for step in refitted_steps(lambda rows: first[rows], 100, strategy, FRACTIONS)}
    assert same == {step.name: step.kept.tolist() for step in margin_steps(first, strategy, FRACTIONS)}
    assert (same["kept80"] == steps[1].kept.tolist()) == (strategy == BOTH)  # which cuts both ends alike


def test_shares_split_every_file_once():
    parts = split_rows(700, [3, 2, 2], np.random.default_rng(0))
    assert {copy: len(rows) for copy, rows in parts.items()} == {"codec": 300, "rawboost": 200, "clean": 200}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(700))
    with pytest.raises(UserError, match="augment_shares"):
        split_rows(10, [1, 1], np.random.default_rng(0))


def test_published_parts_repeat_and_overlap():
    parts = published_parts(600, np.random.default_rng(0))
    assert {copy: len(rows) for copy, rows in parts.items()} == {"codec": 300, "rawboost": 200, "clean": 200}
    assert len(set(parts["codec"])) == pytest.approx(0.394 * 600, rel=0.08)  # 1 - exp(-1/2) of the list
    assert set(parts["rawboost"]) & set(parts["clean"])
    assert not set(parts["codec"]) & (set(parts["rawboost"]) | set(parts["clean"]))
