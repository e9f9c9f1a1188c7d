"""Intervals of cells, means and differences against a jackknife with scikit-learn's macro-F1, which knows nothing of our bootstrap."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from sourcetracing.tables.axes import CROSS
from sourcetracing.tables.making import Tables, make_tables, mean_of
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.tables.significance import contrast
from tests.support.fake_scores import fake_scores, fake_settings

LANGUAGES, PER_CLASS, NORMAL = ["en", "de"], 20, 1.959964
TOLERANCE = 0.12  # a thousand resamples know an end to about 4 % of the width; the jackknife is a linear approximation


def scored(accuracies: dict[tuple[str, str], float], tmp_path) -> list[ScoredRun]:
    """(system, training language) -> how often it is right, on utterances of their own luck; noise is worse."""
    settings, runs = fake_settings(languages=LANGUAGES, systems=["a", "b"]), []
    for (system, train), accuracy in accuracies.items():
        scores = fake_scores(settings, "x", train, 1, per_class=PER_CLASS)
        generator = np.random.default_rng(zlib.crc32(f"{system}{train}".encode()))
        ease = pd.Series(generator.normal(0, 0.1, scores["utt_id"].nunique()), index=scores["utt_id"].unique())
        right = generator.random(len(scores)) < accuracy + scores["utt_id"].map(ease) - 0.1 * (scores["variant"] == "noise")
        scores["prediction"] = np.where(right, scores["label"], (scores["label"] + generator.integers(1, 4, len(scores))) % 4)
        runs.append(ScoredRun(system, train, 1, tmp_path, scores))
    return runs


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> tuple[list[ScoredRun], Tables]:
    settings = fake_settings(languages=LANGUAGES, systems=["a", "b"])
    settings.evaluation.bootstrap_samples = 4000
    accuracies = {("a", "en"): 0.85, ("a", "de"): 0.8, ("b", "en"): 0.72, ("b", "de"): 0.68}
    runs = scored(accuracies, tmp_path_factory.mktemp("intervals"))
    return runs, make_tables(runs, settings)


def macro_f1(rows: pd.DataFrame) -> float:
    return f1_score(rows["label"], rows["prediction"], average="macro")


def jackknife_sd(frames: list[pd.DataFrame], figure) -> float:
    """Standard error of figure(frames) when utterances are drawn within language and class: each left out of all frames in turn."""
    utterances = pd.concat(frames).drop_duplicates("utt_id")[["utt_id", "language", "label"]]
    variance = 0.0
    for _, members in utterances.groupby(["language", "label"]):
        without = np.array([figure([frame[frame["utt_id"] != utt_id] for frame in frames]) for utt_id in members["utt_id"]])
        variance += (len(members) - 1) / len(members) * ((without - without.mean()) ** 2).sum()
    return float(np.sqrt(variance))


def rows_of(runs: list[ScoredRun], system: str, train: str, test: str) -> pd.DataFrame:
    (run,) = [run for run in runs if (run.system, run.train_set) == (system, train)]
    return run.scores[run.scores["language"] == test]


def test_the_interval_of_a_cell_is_as_wide_as_the_jackknife_says_and_lies_around_it(example):
    runs, tables = example
    for system, train, test in [("a", "en", "de"), ("b", "de", "de")]:
        rows = rows_of(runs, system, train, test)
        key = tables.cells[["system", "train", "test", "variant"]].eq([system, train, test, "pooled"]).all(axis=1)
        (row,) = tables.cells[key].itertuples()
        expected = NORMAL * jackknife_sd([rows], lambda frames: macro_f1(frames[0]))
        assert row.macro_f1 == pytest.approx(macro_f1(rows), abs=1e-12)
        assert (row.ci_high - row.ci_low) / 2 == pytest.approx(expected, rel=TOLERANCE)
        assert (row.ci_high + row.ci_low) / 2 == pytest.approx(row.macro_f1, abs=0.25 * expected)


def test_the_interval_of_a_mean_over_cells_too(example):
    runs, tables = example
    frames = [rows_of(runs, "a", "en", "de"), rows_of(runs, "a", "de", "en")]
    mean = mean_of(tables, "a", CROSS)
    figure = np.mean([macro_f1(frame) for frame in frames])
    expected = NORMAL * jackknife_sd(frames, lambda frames: np.mean([macro_f1(frame) for frame in frames]))
    assert mean.macro_f1 == pytest.approx(figure, abs=1e-12)
    assert (mean.ci_high - mean.ci_low) / 2 == pytest.approx(expected, rel=TOLERANCE)


def test_the_interval_of_a_difference_on_the_same_utterances_is_that_of_pairs(example):
    runs, tables = example
    frames = [rows_of(runs, "a", "en", "en"), rows_of(runs, "b", "en", "en")]
    found = contrast(tables, ("a", [("en", "en")]), ("b", [("en", "en")]))
    expected = NORMAL * jackknife_sd(frames, lambda frames: macro_f1(frames[0]) - macro_f1(frames[1]))
    assert found.difference == pytest.approx(macro_f1(frames[0]) - macro_f1(frames[1]), abs=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=TOLERANCE)
    assert (found.high + found.low) / 2 == pytest.approx(found.difference, abs=0.25 * expected)
