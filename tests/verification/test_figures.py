"""Figures of a small made-up run's trials, computed again from its stored scores by pandas, scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import logit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_curve

from sourcetracing.verification import experiment
from sourcetracing.verification.experiment import verify_runs
from tests.support.verified_run import verified_run
from tests.verification.test_experiment import files_of, table_of

PRIORS = (0.5, 0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = ("verification.trials_per_condition=80", "verification.same_transcript=any", "verification.enrol_utterances=2")
    run = verified_run(tmp_path_factory.mktemp("verified"), *words)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "score_runs", lambda runs: None)
        verify_runs([run])
    return run


def eer(labels: np.ndarray, scores: np.ndarray) -> float:
    false_alarms, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    return brentq(lambda x: 1 - x - np.interp(x, false_alarms, found), 0, 1)


def dcf(labels: np.ndarray, accepted: np.ndarray, prior: float) -> float:
    miss, false_alarm = np.mean(~accepted[labels == 1]), np.mean(accepted[labels == 0])
    return (prior * miss + (1 - prior) * false_alarm) / min(prior, 1 - prior)


def min_dcf(labels: np.ndarray, scores: np.ndarray, prior: float) -> float:
    return min(dcf(labels, scores >= threshold, prior) for threshold in [*np.unique(scores), np.inf])


def cllr(labels: np.ndarray, llrs: np.ndarray) -> float:
    """Log loss with even weights of both kinds, in bits."""
    weights = np.where(labels == 1, 0.5 / (labels == 1).sum(), 0.5 / (labels == 0).sum())
    return log_loss(labels, 1 / (1 + np.exp(-llrs)), sample_weight=weights) / np.log(2)


def min_cllr(labels: np.ndarray, scores: np.ndarray) -> float:
    p = IsotonicRegression().fit_transform(scores, labels)
    with np.errstate(divide="ignore"):
        llrs = logit(p) - logit(labels.mean())
    loss = np.where(labels == 1, np.log2(1 + np.exp(-llrs)), np.log2(1 + np.exp(llrs)))
    return (loss[labels == 1].mean() + loss[labels == 0].mean()) / 2


def parts_of(scores: pd.DataFrame):
    yield "all", scores
    yield from ((name, part) for name, part in scores.groupby("condition") if part["label"].nunique() == 2)


@pytest.mark.parametrize("split", ["dev", "eval"])
def test_every_figure_again(run, split):
    table = table_of(run).query("split == @split").set_index(["scoring", "condition"])
    checked = 0
    for condition, part in parts_of(pd.read_parquet(files_of(run).scores(split))):
        for scoring in ("cosine", "whitened_cosine"):
            row, labels = table.loc[(scoring, condition)], part["label"].to_numpy()
            scores, llrs = part[scoring].to_numpy(), part[f"{scoring}_llr"].to_numpy()
            assert [row["targets"], row["nontargets"]] == [(labels == 1).sum(), (labels == 0).sum()]
            expected = {"eer": eer(labels, scores), "cllr": cllr(labels, llrs), "min_cllr": min_cllr(labels, scores)}
            for prior in PRIORS:
                expected[f"min_dcf_{prior:g}"] = min_dcf(labels, scores, prior)
                expected[f"act_dcf_{prior:g}"] = dcf(labels, llrs >= -logit(prior), prior)
            found = row[list(expected)].astype(float).to_dict()
            assert found == pytest.approx(expected, abs=1e-6), (scoring, condition)  # a CSV of ours has six digits
            checked += 1
    assert checked >= 4


def test_intervals_hold_their_figures_and_are_not_points(run):
    rows = table_of(run).query("condition == 'all' and split == 'eval'")
    for figure in ("eer", "cllr", "min_cllr", "min_dcf_0.5", "act_dcf_0.5"):
        assert (rows[f"{figure}_low"] <= rows[figure] + 1e-6).all() and (rows[figure] <= rows[f"{figure}_high"] + 1e-6).all()
    assert (rows["cllr_low"] < rows["cllr_high"]).any()
