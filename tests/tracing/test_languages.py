"""Temperature and rule of a run come from rows in its own languages: others pull neither, and the best detector on dev is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from sourcetracing.openset.detectors import make_detectors
from sourcetracing.scoring.scores import read_embeddings, read_scores, score_run
from sourcetracing.settings.openset import DETECTORS
from sourcetracing.tracing.calibration import calibration_sets, logits_of
from sourcetracing.tracing.unknown import WITHOUT_COMPARISON, fit_rule
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.small_store import small_settings, write_store
from tests.support.traced_runs import CPU

NAME = "nearest_neighbours"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """Trained on sources a and b in English; German has them too, and c is unknown in both."""
    root = tmp_path_factory.mktemp("languages")
    store = write_store(root / "features", utterances_per_group=12)
    words = ["corpus.sources=[a,b]", "corpus.unknown_sources=[c]", "train.languages=[en]", "evaluation.splits=[train,dev,eval]"]
    run = run_of(small_settings(root, *words, "train.mixup=none"), "some-store")
    train_run(run, store, CPU)
    score_run(run, store, CPU)
    return run


def rows_of(run: TrainingRun, split: str, languages: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, logits and labels of the stored rows."""
    scores = read_scores(run, split, unknown=True)
    kept = scores["language"].isin(languages).to_numpy()
    return read_embeddings(run, split)[kept], logits_of(scores)[kept], scores["label"].to_numpy()[kept]


def changed(run: TrainingRun, group: str, **values) -> TrainingRun:
    return replace(run, settings=replace(run.settings, **{group: replace(getattr(run.settings, group), **values)}))


def scores_by_hand(run: TrainingRun, languages: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Distance of dev rows to the k-th nearest unit training row; whether they are unknown."""
    train, _, labels = rows_of(run, "train", languages)
    dev, _, dev_labels = rows_of(run, "dev", languages)
    units, others = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train[labels >= 0], dev))
    distances = np.linalg.norm(others[:, None] - units, axis=2)
    return np.sort(distances, axis=1)[:, run.settings.openset.neighbours - 1], dev_labels < 0


def test_the_rule_is_fitted_and_set_on_the_languages_of_training(run):
    rule = fit_rule(changed(run, "trace", detector=NAME), CPU)
    dev, logits, _ = rows_of(run, "dev", ["en"])
    scores, is_unknown = scores_by_hand(run, ["en"])
    np.testing.assert_allclose(rule.score(dev, logits), scores, atol=1e-3)
    false_alarms, found, _ = roc_curve(is_unknown, scores, drop_intermediate=False)
    crossing = np.argmax(false_alarms + found >= 1)
    assert false_alarms[crossing - 1] - 1e-9 <= rule.eer <= false_alarms[crossing] + 1e-9
    assert f"{is_unknown.sum()} rows of unknown sources, {(~is_unknown).sum()} of known ones" in rule.origin
    everything, _ = scores_by_hand(run, ["en", "de"])
    own = (read_scores(run, "dev", unknown=True)["language"] == "en").to_numpy()
    assert np.abs(everything[own] - scores).max() > 0.005  # German rows would have made another rule


def test_the_default_takes_the_detector_with_the_best_auroc_on_dev(run):
    train, dev = (rows_of(run, split, ["en"]) for split in ("train", "dev"))
    known = train[2] >= 0
    areas = {}
    for name, detector in make_detectors(run.settings.openset).items():
        detector.fit(*(rows[known] for rows in train))
        areas[name] = roc_auc_score(dev[2] < 0, detector.score(*dev[:2]))
    rule = fit_rule(run, CPU)
    assert areas[rule.name] == max(areas.values())
    assert f"of {len(DETECTORS)} detectors the best on dev (AUROC {max(areas.values()):.1%}" in rule.origin
    worst = min(areas, key=areas.get)
    assert areas[worst] < areas[rule.name]
    only = [name for name in areas if name != rule.name]
    second = fit_rule(changed(run, "openset", detectors=only), CPU)
    assert areas[second.name] == max(areas[name] for name in only)


def test_without_unknown_dev_rows_there_is_a_documented_one(run, monkeypatch):
    def known_alone(run: TrainingRun, split: str, *, unknown: bool = False) -> pd.DataFrame:
        scores = read_scores(run, split, unknown=True)
        return scores.assign(label=scores["label"].clip(lower=0))

    monkeypatch.setattr("sourcetracing.tracing.unknown.read_scores", known_alone)
    rule = fit_rule(run, CPU)
    assert rule.name == WITHOUT_COMPARISON
    assert rule.eer is None
    assert "dev has no unknown sources to choose a detector by" in rule.origin
    assert WITHOUT_COMPARISON in (Path(__file__).parents[2] / "docs" / "tracing.md").read_text(encoding="utf-8")


def test_calibration_is_on_the_languages_of_training(run):
    sets = calibration_sets(run)
    assert {name: set(rows["language"]) for name, rows in sets.items()} == {"dev": {"en"}, "eval": {"en"}, "eval_other_languages": {"de"}}
    for name, rows in sets.items():
        stored = pd.read_parquet(run.files.scores(name.split("_")[0]))
        wanted = (stored["label"] >= 0) & (stored["language"] == ("de" if "other" in name else "en"))
        assert rows["utt_id"].tolist() == stored.loc[wanted, "utt_id"].tolist()
