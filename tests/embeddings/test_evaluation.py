"""Figures of embeddings: against scikit-learn and by hand, with ties, blockwise, by language, with unknown sources."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from sourcetracing.embeddings import evaluation
from sourcetracing.embeddings.evaluation import describe, evaluate_embeddings
from sourcetracing.features.rows import open_store
from sourcetracing.layout import Layout
from sourcetracing.metrics import retrieval
from sourcetracing.metrics.classification import equal_error_rate
from sourcetracing.metrics.retrieval import mean_average_precision, nearest_neighbour_classes, unit_rows, verification_eer
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.settings.schema import Settings
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, load_run
from tests.support.places import ROOT
from tests.support.small_experiment import SmallExperiment

CPU = torch.device("cpu")


def some_rows(num_rows: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(unit embeddings, labels of three classes, utterances of two rows each)."""
    generator = np.random.default_rng(1)
    labels = np.arange(num_rows) // 2 % 3
    embeddings = generator.normal(size=(num_rows, 4)) + 0.7 * np.eye(4)[labels]
    return unit_rows(embeddings), labels, np.array([f"utt{number // 2}" for number in range(num_rows)])


@pytest.fixture(params=[7, 256])
def block_rows(request, monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "BLOCK_ROWS", request.param)


def test_verification_eer_is_that_of_all_pairs_of_different_utterances(block_rows):
    embeddings, labels, utterances = some_rows()
    first, second = np.triu_indices(len(labels), 1)
    trial = utterances[first] != utterances[second]
    first, second = first[trial], second[trial]
    cosines = np.sum(embeddings[first] * embeddings[second], axis=1)
    expected, _ = equal_error_rate((labels[first] == labels[second]).astype(int), cosines)
    assert verification_eer(embeddings, labels, utterances) == pytest.approx(expected, abs=1e-3)
    assert sum(counts.sum() for counts in retrieval.pair_counts(embeddings, labels, utterances)) == len(first)


def test_equal_embeddings_cannot_be_told_apart():
    ones, labels = np.ones((6, 1), np.float32), np.array([0, 0, 0, 1, 1, 1])
    assert verification_eer(ones, labels, np.arange(6)) == pytest.approx(0.5)
    assert np.isnan(verification_eer(ones, np.zeros(6, int), np.arange(6)))
    # Each row finds two of five others, all at the same cosine, in whatever order they lie.
    assert mean_average_precision(ones, labels, np.arange(6)) == pytest.approx(2 / 5)


def test_retrieval_map_is_scikit_learns_mean_over_rows(block_rows):
    embeddings, labels, utterances = some_rows()
    embeddings[4:8] = embeddings[4]  # ties
    expected = []
    for row in range(len(labels)):
        others = utterances != utterances[row]
        expected.append(average_precision_score(labels[others] == labels[row], embeddings[others] @ embeddings[row]))
    assert mean_average_precision(embeddings, labels, utterances) == pytest.approx(np.mean(expected), abs=1e-5)
    assert np.isnan(mean_average_precision(embeddings[:3], np.arange(3), np.arange(3)))


def test_neighbours_vote_and_the_nearer_ones_decide_a_tie():
    gallery = unit_rows(np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [0.2, 1]]))
    labels, queries = np.array([0, 0, 1, 1, 2]), unit_rows(np.array([[1, 0.05], [0.1, 1]]))
    assert nearest_neighbour_classes(gallery, labels, queries, 3, 3).tolist() == [0, 1]
    assert nearest_neighbour_classes(gallery, labels, unit_rows(np.array([[1.0, 0.9]])), 4, 3).tolist() == [0]
    assert nearest_neighbour_classes(gallery, labels, queries, 99, 3).tolist() == [0, 1]  # no more than there are


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two sources in English and, from the middle on, in German; a third, unknown one in dev and eval of English."""
    experiment = SmallExperiment.write(tmp_path_factory.mktemp("metric"), num_utterances=72)
    later = (experiment.protocol["split"] != "train") & (experiment.protocol.index % 4 == 3) & (experiment.protocol.index < 36)
    experiment.utterances.loc[later, "source"] = "stranger"
    experiment.utterances.loc[experiment.utterances.index >= 36, "language"] = "de"
    settings = experiment.settings("metric")
    settings.corpus.languages, settings.corpus.unknown_sources = ["en", "de"], ["stranger"]
    settings.backend, settings.system = "embedding_head", "demo_ge2e"
    settings.embedding_head.hidden, settings.embedding_head.embedding = 16, 8
    settings.metric_learning.classes_per_batch, settings.train.epochs = 2, 2
    experiment.prepare(settings)
    return settings


@pytest.fixture(scope="module")
def run(settings: Settings) -> TrainingRun:
    run = load_run(settings)
    train_run(run, open_store(settings), CPU)
    return run


@pytest.fixture(scope="module")
def table(run: TrainingRun, settings: Settings) -> pd.DataFrame:
    return evaluate_embeddings(run, open_store(settings), CPU)


def test_pooled_and_each_language_have_a_row_of_figures(run, table):
    assert table["language"].tolist() == ["pooled", "en", "de"]
    scores = read_scores(run, "eval", unknown=True)
    known = scores["label"] >= 0
    assert table["num_rows"].tolist() == [known.sum(), *(int((known & (scores["language"] == name)).sum()) for name in ("en", "de"))]
    assert table["num_unknown_rows"].tolist() == [(~known).sum(), (~known).sum(), 0]
    assert table["centroid_accuracy"][0] == pytest.approx((scores["prediction"] == scores["label"])[known].mean())
    shown = table.set_index("language")[["centroid_macro_f1", "knn_accuracy", "verification_eer", "retrieval_map"]]
    assert shown.notna().all(axis=None)
    assert shown.stack().between(0, 1).all()
    assert "unknown auroc" in describe(table)
    assert "unknown" not in describe(table[table["language"] == "de"])


def test_a_language_of_unknown_sources_alone_has_no_tracing_figures(run, settings):
    rows = evaluation.eval_rows(run)
    found = evaluation.figures(rows.where(rows.labels < 0), settings)
    assert found["num_rows"] == found["num_classes"] == 0
    assert found["num_unknown_rows"] > 0
    assert all(np.isnan(found[name]) for name in (*evaluation.PERCENT, *evaluation.PERCENT_UNKNOWN))


def test_unknown_sources_are_those_far_from_every_centroid(run, table):
    scores = read_scores(run, "eval", unknown=True)
    logits = scores.filter(like="logit_").to_numpy()
    expected = roc_auc_score(scores["label"] < 0, -logits.max(axis=1))
    assert table["unknown_auroc"][0] == pytest.approx(expected)
    assert np.isnan(table["unknown_auroc"][2])


def test_neighbours_come_from_the_training_rows(run, table):
    train, rows = read_scores(run, "train"), read_scores(run, "eval", unknown=True)
    gallery, queries = unit_rows(read_embeddings(run, "train")), unit_rows(read_embeddings(run, "eval"))
    known = (rows["label"] >= 0).to_numpy()
    nearest = np.argsort(-(queries[known] @ gallery.T), axis=1)[:, :5]
    votes = np.array([np.bincount(train["label"].to_numpy()[row], minlength=2).argmax() for row in nearest])
    assert table["knn_accuracy"][0] == pytest.approx((votes == rows.loc[known, "label"]).mean())


def test_neighbours_are_those_of_the_languages_of_training_alone(run, monkeypatch):
    """A run of English whose German training rows carry the wrong class: they are no neighbours."""
    train = read_scores(run, "train")
    train["label"] = train["label"].where(train["language"] == "en", 1 - train["label"])
    gallery, queries = unit_rows(read_embeddings(run, "train")), unit_rows(read_embeddings(run, "eval"))
    monkeypatch.setattr(evaluation, "read_scores", lambda run, split, **how: train if split == "train" else read_scores(run, split, **how))

    def votes(languages: list[str]) -> np.ndarray:
        own = train["language"].isin(languages).to_numpy()
        nearest = KNeighborsClassifier(run.settings.metric_learning.neighbours, metric="cosine", algorithm="brute")
        return nearest.fit(gallery[own], train.loc[own, "label"]).predict(queries)

    assert (evaluation.eval_rows(replace(run, train_set="en")).by_neighbours == votes(["en"])).all()
    assert (evaluation.eval_rows(replace(run, train_set="de")).by_neighbours == votes(["de"])).all()
    assert (votes(["en", "de"]) != votes(["en"])).any()


def test_the_table_keeps_other_runs_and_replaces_its_own(run, settings, table):
    path = Layout.of(settings).metric_learning
    mine = pd.read_csv(path)
    mine.assign(run="another", seed=1).to_csv(path, index=False)
    evaluate_embeddings(run, open_store(settings), CPU)
    evaluate_embeddings(run, open_store(settings), CPU)
    assert pd.read_csv(path)["run"].value_counts().to_dict() == {"another": 3, run.folder.name: 3}


def test_evaluation_needs_no_network_once_rows_are_scored(run, settings, table, monkeypatch):
    monkeypatch.setattr("sourcetracing.scoring.scores.forward", lambda *_: pytest.fail("scored again"))
    again = evaluate_embeddings(run, open_store(settings), CPU)
    pd.testing.assert_frame_equal(again, table)


def test_the_script_wants_an_embedding_head(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "train_ge2e.py", "configs/demo.yaml", "system=lfcc_ecapa_tdnn", f"paths.exp={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "train_refd.py" in done.stderr
    assert done.stderr.count("\n") == 1
