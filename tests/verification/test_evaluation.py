"""Resamples of trials against a loop that draws sources and utterances, and what intervals do."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from sourcetracing.metrics.verification import curve_of
from sourcetracing.verification import evaluation
from sourcetracing.verification.evaluation import TrialDraws, evaluate, figures_of
from sourcetracing.verification.trials import TrialList

PRIORS = [0.5, 0.01]


def made_up(num_sources: int = 6, per_source: int = 6, seed: int = 0, spread: float = 0.6):
    """All pairs; embeddings of one number, scores minus their distance."""
    generator = np.random.default_rng(seed)
    source_of = {f"{source}{number}": source for source in "abcdefghij"[:num_sources] for number in range(per_source)}
    centre = dict(zip("abcdefghij", generator.normal(size=10), strict=True))
    value = {utt_id: centre[source] + spread * generator.normal() for utt_id, source in source_of.items()}
    rows = [(a, b, int(source_of[a] == source_of[b]), "near" if a[1] == b[1] else "far") for a, b in combinations(source_of, 2)]
    table = pd.DataFrame(rows, columns=["enrol", "test", "label", "condition"])
    scores = np.array([-abs(value[a] - value[b]) for a, b in zip(table["enrol"], table["test"], strict=True)])
    return TrialList({a: (a,) for a in table["enrol"].unique()}, table), source_of, scores


def test_a_trial_weighs_what_its_sources_and_utterances_were_drawn():
    trials, source_of, _ = made_up(3, 3)
    draws = TrialDraws(trials, source_of, 5, 1)
    units, sources = sorted(source_of), sorted(set(source_of.values()))
    weights = np.concatenate([part for _, part in draws.weights(np.arange(len(trials)))])
    assert (draws.of_sources.sum(axis=1) == 3).all()
    for sample in range(5):
        of_source, of_unit = (
            dict(zip(names, counts[sample], strict=True)) for names, counts in ((sources, draws.of_sources), (units, draws.of_units))
        )
        for number, row in enumerate(trials.table.itertuples()):
            a, b = source_of[row.enrol], source_of[row.test]
            expected = of_unit[row.enrol] * of_unit[row.test] * (of_source[a] if a == b else of_source[a] * of_source[b])
            assert weights[sample, number] == expected
    per_source = {source: [draws.of_units[:, units.index(unit)] for unit in units if source_of[unit] == source] for source in sources}
    assert all((np.sum(parts, axis=0) == 3).all() for parts in per_source.values())


def test_weights_are_as_good_as_repeating_trials():
    trials, source_of, scores = made_up()
    is_target = trials.labels == 1
    weights = next(part for _, part in TrialDraws(trials, source_of, 4, 1).weights(np.arange(len(trials))))[:4]
    found = figures_of(scores, 3 * scores + 1, is_target, PRIORS, weights)
    for sample in range(4):
        repeated = np.repeat(np.arange(len(trials)), weights[sample].astype(int))
        once = figures_of(scores[repeated], 3 * scores[repeated] + 1, is_target[repeated], PRIORS, np.ones((1, len(repeated))))
        assert {name: values[sample] for name, values in found.items()} == pytest.approx({name: values[0] for name, values in once.items()})
        area = curve_of(scores, is_target, weights[sample]).auroc
        assert area == pytest.approx(roc_auc_score(is_target, scores, sample_weight=weights[sample]))


def test_blocks_change_nothing(monkeypatch):
    trials, source_of, scores = made_up()
    how = {"priors": PRIORS, "num_samples": 30, "seed": 1}
    first = evaluate(trials, source_of, {"cosine": scores}, {"cosine": scores}, **how)
    monkeypatch.setattr(evaluation, "BLOCK_ELEMENTS", 1)
    pd.testing.assert_frame_equal(first, evaluate(trials, source_of, {"cosine": scores}, {"cosine": scores}, **how))


def test_intervals_are_wider_than_those_over_trials_and_hold_their_figure():
    trials, source_of, scores = made_up()
    row = evaluate(trials, source_of, {"cosine": scores}, {"cosine": scores}, priors=PRIORS, num_samples=300, seed=1).iloc[0]
    generator, is_target = np.random.default_rng(0), trials.labels == 1
    drawn = generator.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), 300)
    eers = figures_of(scores, scores, is_target, PRIORS, drawn)["eer"]
    low, high = np.quantile(eers, [0.025, 0.975])
    assert row["eer_high"] - row["eer_low"] > 1.5 * (high - low)
    for figure in ("eer", "cllr", "min_cllr", "min_dcf_0.5", "act_dcf_0.01"):
        assert row[f"{figure}_low"] <= row[figure] <= row[f"{figure}_high"]


def test_conditions_unlabelled_trials_and_a_condition_of_one_kind():
    trials, source_of, scores = made_up(2, 3)
    table = trials.table.copy()
    table.loc[0, "label"] = -1
    found = evaluate(TrialList(trials.models, table), source_of, {"s": scores}, {"s": scores}, priors=[0.5], num_samples=0, seed=1)
    assert found["condition"].tolist() == ["all", "far", "near"]  # utterances of one number are of two sources
    labelled = table[table["label"] >= 0]
    assert found.loc[0, ["targets", "nontargets"]].tolist() == [(labelled["label"] == 1).sum(), (labelled["label"] == 0).sum()]
    assert np.isnan(found.loc[0, "eer_low"]) and not np.isnan(found.loc[0, "eer"])
    assert found.loc[2, ["eer", "cllr", "min_cllr", "min_dcf_0.5", "act_dcf_0.5"]].isna().all()


def test_a_list_without_any_label_has_no_figures():
    trials, source_of, scores = made_up(2, 3)
    table = trials.table.assign(label=-1)
    found = evaluate(TrialList(trials.models, table), source_of, {"s": scores}, {"s": scores}, priors=[0.5], num_samples=9, seed=1)
    assert found[["condition", "targets", "nontargets"]].to_numpy().tolist() == [["all", 0, 0]]
    assert found[["eer", "act_dcf_0.5", "cllr_high"]].isna().all(axis=None)


def test_useless_and_perfect_scores():
    is_target, ones = np.repeat([True, False], 50), np.ones((1, 100))
    useless = figures_of(np.zeros(100), np.zeros(100), is_target, PRIORS, ones)
    assert {name: float(value[0]) for name, value in useless.items()} == pytest.approx(
        {"eer": 0.5, "cllr": 1, "min_cllr": 1, "min_dcf_0.5": 1, "min_dcf_0.01": 1, "act_dcf_0.5": 1, "act_dcf_0.01": 1}
    )
    perfect = figures_of(is_target.astype(float), np.where(is_target, 1e4, -1e4), is_target, PRIORS, ones)
    assert all(float(value[0]) == pytest.approx(0, abs=1e-12) for value in perfect.values())
