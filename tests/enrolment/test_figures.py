"""Figures of enrolment against pandas, scikit-learn and sums by hand; their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from sourcetracing.enrolment.acceptance import TRIALS, Acceptance
from sourcetracing.enrolment.figures import FIGURES, Rule, drawn_weights, even_weights, figures_of, with_intervals
from sourcetracing.enrolment.protocol import Draw, Outcome
from sourcetracing.verification.calibrating import LlrLine

LINE = LlrLine(2.0, -0.5, -3.0, 3.0, 10, 10)


def outcome_of(sizes=(7, 3, 12), seen=(4, 6), seed: int = 0, lift: float = 1.2) -> Outcome:
    """Tests of sources of other sizes, whose own models score higher by `lift`."""
    random = np.random.default_rng(seed)
    owners, strangers = np.repeat(np.arange(len(sizes)), sizes), np.repeat(np.arange(len(seen)), seen)
    scores = random.normal(size=(len(sizes), len(owners))).round(1)
    scores[owners, np.arange(len(owners))] += lift
    names = np.array([f"s{number}" for number in range(len(sizes))])
    draw = Draw(names, np.empty((len(sizes), 0), int), np.arange(len(owners)), owners, np.arange(len(strangers)), strangers)
    return Outcome(draw, scores, random.normal(size=(len(sizes), len(strangers))).round(1))


def at(threshold: float, size: int) -> Acceptance:
    return Acceptance(threshold, TRIALS, size, 0.01, 100, 5, 500)


def rule_of(outcome: Outcome) -> Rule:
    size = len(outcome.draw.names)
    return Rule(LINE, at(0.9, size), at(0.7, size - 1))


def values_of(outcome: Outcome) -> dict[str, float]:
    return {name: float(value[0]) for name, value in figures_of(outcome, rule_of(outcome), even_weights(outcome.draw)).items()}


def test_shares_are_means_over_sources():
    outcome = outcome_of()
    table = pd.DataFrame(outcome.scores.T).assign(own=outcome.draw.owners)
    models = table.drop(columns="own")
    ties = models.eq(models.max(axis=1), axis=0)
    table["right"] = [ties.loc[row, own] / ties.loc[row].sum() for row, own in table["own"].items()]
    table["found"] = table["right"] * (models.max(axis=1) > 0.9)
    table["false"] = [models.loc[row].drop(own).max() > 0.7 for row, own in table["own"].items()]
    means = table.groupby("own")[["right", "found", "false"]].mean().mean()
    values = values_of(outcome)
    assert values["accuracy"] == pytest.approx(means["right"])
    assert values["found"] == pytest.approx(means["found"])
    assert values["false_alarms_unseen"] == pytest.approx(means["false"])
    strangers = pd.Series(outcome.of_strangers.max(axis=0) > 0.9).groupby(outcome.draw.strangers_of).mean().mean()
    assert values["false_alarms_seen"] == pytest.approx(strangers)


def test_auroc_is_that_of_scikit_learn():
    outcome, values = outcome_of(seed=3), values_of(outcome_of(seed=3))
    owners, strangers = outcome.draw.owners, outcome.draw.strangers_of
    of_tests, of_strangers = 1 / np.bincount(owners)[owners], 1 / np.bincount(strangers)[strangers]
    best = outcome.scores.max(axis=0)
    others = [np.delete(outcome.scores[:, test], own).max() for test, own in enumerate(owners)]
    labels = np.repeat([1, 0], len(owners))
    expected = roc_auc_score(labels, np.concatenate([best, others]), sample_weight=np.tile(of_tests, 2))
    assert values["auroc_unseen"] == pytest.approx(expected)
    labels = np.repeat([1, 0], [len(owners), len(strangers)])
    scores = np.concatenate([best, outcome.of_strangers.max(axis=0)])
    expected = roc_auc_score(labels, scores, sample_weight=np.concatenate([of_tests, of_strangers]))
    assert values["auroc_seen"] == pytest.approx(expected)


def test_cllr_by_hand():
    outcome = outcome_of()
    costs = {True: np.zeros(3), False: np.zeros(3)}
    for source in range(3):
        own = [test for test, owner in enumerate(outcome.draw.owners) if owner == source]
        for test in own:
            for model in range(3):
                llr = min(3.0, max(-3.0, 2 * outcome.scores[model, test] - 0.5))
                costs[model == source][source] += np.log2(1 + np.exp(-llr if model == source else llr)) / len(own)
    expected = (costs[True].mean() + costs[False].mean() / 2) / 2
    assert values_of(outcome)["cllr"] == pytest.approx(expected)
    assert values_of(outcome)["min_cllr"] <= expected


def test_perfect_and_constant_scores():
    perfect = values_of(outcome_of(lift=50))
    assert perfect["accuracy"] == perfect["found"] == perfect["auroc_unseen"] == 1 and perfect["min_cllr"] == pytest.approx(0, abs=1e-9)
    flat = outcome_of()
    flat = Outcome(flat.draw, np.zeros_like(flat.scores), np.zeros_like(flat.of_strangers))
    values = values_of(flat)
    assert values["accuracy"] == pytest.approx(1 / 3)
    assert values["auroc_unseen"] == values["auroc_seen"] == 0.5
    assert values["min_cllr"] == pytest.approx(1) and values["found"] == values["false_alarms_unseen"] == 0


def test_one_source_has_no_accuracy_and_no_sources_of_training_no_strangers():
    one = values_of(outcome_of(sizes=(9,)))
    assert np.isnan([one[name] for name in ("accuracy", "false_alarms_unseen", "auroc_unseen", "cllr", "min_cllr")]).all()
    assert not np.isnan([one[name] for name in ("found", "false_alarms_seen", "auroc_seen")]).any()
    alone = values_of(outcome_of(seen=()))
    assert np.isnan([alone["false_alarms_seen"], alone["auroc_seen"]]).all() and not np.isnan(alone["accuracy"])


def test_a_source_that_lost_its_tests_does_not_count():
    outcome = outcome_of(sizes=(7, 0, 12))
    assert values_of(outcome)["accuracy"] == pytest.approx(pd.Series(outcome.right).groupby(outcome.draw.owners).mean().mean())


def test_weights_give_each_source_what_it_was_drawn():
    outcome = outcome_of()
    weights = drawn_weights(outcome.draw, 200, 1, "a")
    sums = np.stack([weights.tests[:, outcome.draw.owners == source].sum(axis=1) for source in range(3)], axis=1)
    assert sums == pytest.approx(weights.sources)
    assert (weights.sources.sum(axis=1) == 2).all()  # n - 1 of n are drawn (`metrics.bootstrap`)
    assert weights.sources.mean(axis=0) == pytest.approx(np.full(3, 2 / 3), abs=0.15)
    assert (drawn_weights(outcome.draw, 200, 1, "a").tests == weights.tests).all()


def test_blocks_of_resamples_give_the_same(monkeypatch):
    outcome = outcome_of()
    weights = drawn_weights(outcome.draw, 25, 1, "a")
    whole = figures_of(outcome, rule_of(outcome), weights)
    monkeypatch.setattr("sourcetracing.enrolment.figures.BLOCK_ELEMENTS", 4 * outcome.scores.size)
    parts = figures_of(outcome, rule_of(outcome), weights)
    for name in FIGURES:
        assert parts[name] == pytest.approx(whole[name], nan_ok=True)


def test_figures_are_means_over_draws_within_their_intervals():
    outcomes = [outcome_of(seed=seed) for seed in range(6)]
    found = with_intervals(outcomes, rule_of(outcomes[0]), num_samples=100, seed=2)
    for name in FIGURES:
        assert found[name] == pytest.approx(np.mean([values_of(outcome)[name] for outcome in outcomes]))
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert found["accuracy_high"] - found["accuracy_low"] > 0.05
    again = with_intervals(outcomes, rule_of(outcomes[0]), num_samples=100, seed=2)
    assert again == found


def test_draws_that_differ_widen_the_interval():
    alike = [outcome_of(sizes=(40, 40, 40), seed=1)] * 6
    apart = [outcome_of(sizes=(40, 40, 40), seed=1, lift=lift) for lift in (0.1, 0.1, 0.1, 3, 3, 3)]
    widths = [
        found["accuracy_high"] - found["accuracy_low"]
        for found in (with_intervals(some, rule_of(some[0]), num_samples=300, seed=1) for some in (alike, apart))
    ]
    assert widths[1] > 1.5 * widths[0]


def test_without_resamples_there_is_no_interval():
    found = with_intervals([outcome_of()], rule_of(outcome_of()), num_samples=0, seed=2)
    assert np.isnan(found["accuracy_low"]) and not np.isnan(found["accuracy"])
