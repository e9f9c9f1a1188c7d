"""Script 07's work on a trained run: threshold from dev, figures, tables, pictures, resuming, and its error lines."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL, select_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.layout import Layout
from sourcetracing.metrics.ranking import threshold_at_eer
from sourcetracing.openset import experiment
from sourcetracing.openset.evaluation import FIGURES, decided, evaluate
from sourcetracing.openset.experiment import detector_scores, openset_files, run_openset
from sourcetracing.openset.trials import load_trials, padded
from sourcetracing.report.openset_tab import openset_tab
from sourcetracing.scoring.reports import write_reports
from sourcetracing.scoring.scores import read_embeddings, read_scores, score_run
from sourcetracing.settings.as_published import overlays_of
from sourcetracing.settings.training import SPLITS
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.small_store import small_settings, write_store

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[TrainingRun, FeatureStore]:
    """A run trained on sources a and b of both languages, scored; source c is unknown. And its store."""
    root = tmp_path_factory.mktemp("openset")
    store = write_store(root / "features", utterances_per_group=14)
    words = ["corpus.sources=[a,b]", "corpus.unknown_sources=[c]", "train.languages=[en,de]", "evaluation.bootstrap_samples=60"]
    settings = small_settings(root, *words, "evaluation.splits=[train,dev,eval]", "train.lr=0.002", "train.mixup=none")
    run = run_of(settings, "some-store")
    train_run(run, store, CPU)
    score_run(run, store, CPU)
    return run, store


@pytest.fixture
def run(made) -> TrainingRun:
    return made[0]


def changed(run: TrainingRun, group: str, **values) -> TrainingRun:
    """The same run under other settings of a group."""
    settings = replace(run.settings, **{group: replace(getattr(run.settings, group), **values)})
    return replace(run, settings=settings)


def tables_of(run: TrainingRun) -> tuple[pd.DataFrame, pd.DataFrame]:
    layout = Layout.of(run.settings)
    return pd.read_csv(layout.openset_table), pd.read_csv(layout.openset_by_language)


def test_trials_are_known_training_rows_and_all_rows_of_dev_and_eval(run):
    train, dev = load_trials(run, "train"), load_trials(run, "dev")
    assert set(train.table["source"]) == {"a", "b"}
    assert set(dev.table["source"]) == {"a", "b", "c"}
    assert (dev.is_unknown == (dev.table["source"] == "c")).all()
    assert train.embeddings.shape[0] == train.logits.shape[0] == len(train.table)
    own = load_trials(replace(run, train_set="de"), "train")
    assert set(own.table["language"]) == {"de"}


def test_the_whole_of_it_and_a_second_run_that_does_nothing(run, monkeypatch):
    text = run_openset([run])
    assert "mahalanobis" in text
    table, by_language = tables_of(run)
    files = openset_files(run)
    assert set(table["split"]) == {"dev", "eval"}
    assert set(table["variant"]) == {"pooled", "original", "noise"}
    assert set(by_language["language"]) == {"en", "de"}
    best = table.query("split == 'eval' and variant == 'pooled'").set_index("detector")
    assert best.loc["mahalanobis", "auroc"] > 0.75
    figures = best[list(FIGURES)].to_numpy()
    assert ((figures >= 0) & (figures <= 1)).all()
    assert (best["auroc_low"] <= best["auroc"]).all()
    assert (best["auroc"] <= best["auroc_high"]).all()
    scored = pd.read_parquet(files.scores("eval"))
    assert set(run.settings.openset.detectors) <= set(scored.columns)
    assert len(scored) == len(read_scores(run, "eval", unknown=True))
    for name in ("curves.png", "histograms.png", "oscr.png"):
        assert (files.root / name).read_bytes().startswith(b"\x89PNG")
    before = {path: path.stat().st_mtime_ns for path in files.root.iterdir()}
    csv = Layout.of(run.settings).openset_table.read_bytes()
    monkeypatch.setattr(experiment, "judge", lambda run: pytest.fail("made again"))
    run_openset([run])
    assert before == {path: path.stat().st_mtime_ns for path in files.root.iterdir()}
    assert Layout.of(run.settings).openset_table.read_bytes() == csv


def test_other_settings_and_an_interrupted_run_are_made_again(run, monkeypatch):
    run = changed(run, "openset", detectors=["nearest_neighbours"])
    run_openset([run])
    files = openset_files(run)
    figures = files.figures.read_bytes()

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    other = changed(run, "openset", neighbours=3)
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "draw_pictures", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_openset([other])
    assert not experiment.is_up_to_date(other)
    run_openset([other])
    assert files.figures.read_bytes() != figures
    run_openset([run])
    assert files.figures.read_bytes() == figures


def test_the_threshold_is_that_of_dev(run):
    train, dev, eval_ = (load_trials(run, split) for split in SPLITS)
    scores = detector_scores(train, {"dev": dev, "eval": eval_}, run)
    run_openset([run])
    table = tables_of(run)[0]
    for name in scores["dev"]:
        eer, threshold = threshold_at_eer(dev.is_unknown, scores["dev"][name], "crossing")
        rows = table[(table["detector"] == name)]
        assert rows["threshold"].to_numpy() == pytest.approx(threshold, abs=1e-6)
        pooled = rows[(rows["variant"] == "pooled")].set_index("split")
        assert pooled.loc["dev", "eer"] == pytest.approx(eer, abs=1e-6)
        called = scores["eval"][name] > threshold
        assert pooled.loc["eval", "unknown_found"] == pytest.approx(called[eval_.is_unknown].mean(), abs=1e-6)
        assert pooled.loc["eval", "known_rejected"] == pytest.approx(called[~eval_.is_unknown].mean(), abs=1e-6)


def test_the_published_overlay_turns_nsd_over_and_adds_zero_rows(run):
    run = changed(run, "openset", detectors=["nsd", "mahalanobis"])
    run_openset([run])
    right = tables_of(run)[0].query("split == 'eval' and variant == 'pooled'").set_index("detector")
    other = changed(run, "openset", inverted_nsd=True, padded_batch=16, eer_point="nearest")
    assert overlays_of(changed(run, "openset", inverted_nsd=True, padded_batch=128, eer_point="nearest").settings) == "published_ood"
    run_openset([other])
    turned = tables_of(run)[0].query("split == 'eval' and variant == 'pooled'").set_index("detector")
    num_rows = right.loc["nsd", ["known", "unknown"]].sum()
    assert turned.loc["nsd", "known"] == right.loc["nsd", "known"] + -num_rows % 16
    unpadded = changed(run, "openset", inverted_nsd=True)
    run_openset([unpadded])
    only_turned = tables_of(run)[0].query("split == 'eval' and variant == 'pooled'").set_index("detector")
    assert only_turned.loc["nsd", "auroc"] == pytest.approx(1 - right.loc["nsd", "auroc"], abs=1e-5)
    assert only_turned.loc["mahalanobis", "auroc"] == right.loc["mahalanobis", "auroc"]


def test_padding_fills_whole_batches_with_zeros_that_count_as_known(run):
    dev = load_trials(run, "dev")
    filled = padded(dev, 64)
    added = len(filled.table) - len(dev.table)
    assert len(filled.table) % 64 == 0
    assert 0 < added < 64
    assert not filled.is_unknown[-added:].any()
    assert not filled.embeddings[-added:].any()
    assert not filled.logits[-added:].any()
    assert padded(dev, 0) is dev


def test_a_part_with_one_kind_of_rows_has_no_figures():
    table = pd.DataFrame(
        {"unit": list("abcdef"), "variant": "original", "language": ["en"] * 4 + ["de"] * 2, "prediction": [0, 1, 0, 1, 0, 0]}
    )
    table["label"] = [0, 1, UNKNOWN_LABEL, UNKNOWN_LABEL, UNKNOWN_LABEL, UNKNOWN_LABEL]
    found = evaluate(table, {"x": np.arange(6.0)}, {"x": 1.5}, num_classes=2, num_samples=20, seed=1).set_index("language")
    assert found.loc["en", "auroc"] == 1.0
    assert found.loc["de", list(FIGURES)].isna().all()
    assert found.loc["all", "unknown"] == 4


def test_figures_at_a_threshold_are_those_of_scikit_learn():
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(1)
    truth, decisions = generator.integers(0, 4, 200), generator.integers(0, 4, 200)
    truth[truth == 1] = 0  # a class without rows
    confusion = np.zeros((4, 4), int)
    np.add.at(confusion, (truth, decisions), 1)
    found = decided(confusion)
    assert found["detection_f1"] == pytest.approx(f1_score(truth == 3, decisions == 3))
    assert found["open_macro_f1"] == pytest.approx(f1_score(truth, decisions, labels=range(4), average="macro", zero_division=0))
    assert found["open_macro_f1_present"] == pytest.approx(f1_score(truth, decisions, labels=[0, 2, 3], average="macro"))


def test_intervals_widen_with_fewer_utterances_not_with_fewer_variants():
    def width(num_utterances: int, copies: int) -> float:
        generator = np.random.default_rng(2)
        label = np.repeat([0, UNKNOWN_LABEL], num_utterances // 2)
        score = generator.normal(size=num_utterances) + (label < 0)
        table = pd.DataFrame({"unit": np.arange(num_utterances), "language": "en", "label": label, "prediction": 0})
        rows = pd.concat([table.assign(variant=f"copy{number}") for number in range(copies)])
        figures = evaluate(rows, {"x": np.tile(score, copies)}, {"x": 0.5}, num_classes=1, num_samples=300, seed=3)
        pooled = figures[(figures["language"] == "all") & (figures["variant"] == "pooled")].iloc[0]
        return pooled["auroc_high"] - pooled["auroc_low"]

    assert width(60, 1) == pytest.approx(width(60, 5), rel=1e-6)
    assert width(60, 1) > 1.5 * width(400, 1)


def test_missing_unknown_sources_get_a_clear_line(run, tmp_path):
    path = run.files.scores("dev")
    kept = path.read_bytes(), path.with_suffix(".embeddings.npy").read_bytes()
    scores = pd.read_parquet(path)
    known = scores["label"] != UNKNOWN_LABEL
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq

        metadata = pq.read_schema(path).metadata
        facts = {**json.loads(metadata[b"story"]), "embeddings": None}  # as scores of before, which do not name their embeddings
        table = pa.Table.from_pandas(scores[known], preserve_index=False)
        table = table.replace_schema_metadata({**metadata, b"story": json.dumps(facts).encode()})
        pq.write_table(table, path)
        np.save(path.with_suffix(".embeddings.npy"), np.load(path.with_suffix(".embeddings.npy"))[known.to_numpy()])
        with pytest.raises(UserError, match=r"dev of demo has no row of an unknown source \(corpus.unknown_sources=\[c\]\)"):
            run_openset([run])
    finally:
        path.write_bytes(kept[0])
        path.with_suffix(".embeddings.npy").write_bytes(kept[1])


def test_untrained_runs_are_named_and_counted(run):
    untrained = replace(run, folder=run.folder.with_name("nothing"))
    with pytest.raises(UserError, match=r"1 of 1 runs are not trained .*\. Run: python scripts/05_train_matrix.py"):
        run_openset([untrained])
    assert "1 of 2 runs are not trained" in run_openset([run, untrained])


def test_published_figures_stand_beside_the_baseline_only(run):
    run = changed(run, "openset", detectors=["nsd"])
    settings = replace(run.settings, corpus=replace(run.settings.corpus, reader="mlaad_source_tracing"))
    text = run_openset([replace(run, settings=settings, system="w2v2_base_aasist")])
    assert "published nsd: EER 63 %, F1 0.31" in text
    assert "published" not in run_openset([run])


def test_other_people_s_figures_stand_behind_ours_where_the_corpus_is_theirs(run):
    own = replace(run.settings, corpus=replace(run.settings.corpus, reader="mlaad_source_tracing"))
    run_openset([replace(run, settings=own)])
    table = tables_of(run)[0]
    published = table[table["split"] == "published"].set_index(["system", "published_figure"])
    klein = published.loc[("Pindrop open-set (Klein): best system", "FPR95")]
    assert klein["published_percent"] == 8.3
    assert klein["published_source"] == "arXiv:2507.06470"
    assert "known rows are the positive class" in klein["published_differs"]
    assert published.loc[("Baseline of the special session: REFD baseline", "EER"), "published_percent"] == 63
    # Nothing of theirs stands in a column of ours, and our rows are as they were.
    assert published[[*FIGURES, "known", "unknown", "threshold"]].isna().all(axis=None)
    text = Layout.of(run.settings).openset_text.read_text(encoding="utf-8")
    assert "| Pindrop open-set (Klein): best system | MLAAD v5, official lists of the special session | FPR95 | 8.3 |" in text
    html = openset_tab(*tables_of(run), {})
    assert "Published" in html
    assert "arXiv:2606.10223" in html
    run_openset([run])
    ours = tables_of(run)[0]
    assert "published" not in set(ours["split"])
    mine = table[table["split"] != "published"]
    assert (mine[list(FIGURES)].to_numpy() == ours[list(FIGURES)].to_numpy()).all()
    assert mine["known"].astype(int).tolist() == ours["known"].tolist()
    assert "## Published" not in Layout.of(run.settings).openset_text.read_text(encoding="utf-8")


def test_the_tab_shows_every_detector_and_picture(run):
    run_openset([run])
    table, by_language = tables_of(run)
    html = openset_tab(table, by_language, {run.folder.name: {"curves.png": b"png"}})
    assert all(name.replace("_", " ") in html for name in run.settings.openset.detectors)
    assert html.count("<img") == 1
    assert openset_tab(None, None, {}) == ""


# ---- which variants dev and eval are scored on


def test_only_wanted_variants_are_scored_and_read(made, tmp_path):
    run, store = made
    everything = read_scores(run, "dev", unknown=True)
    clean = changed(run, "evaluation", variants=["original"])
    assert set(read_scores(clean, "dev")["variant"]) == {"original"}
    assert len(read_embeddings(clean, "dev")) == len(read_scores(clean, "dev", unknown=True)) == len(everything) // 2
    assert len(read_scores(clean, "train")) == len(read_scores(run, "train"))
    path = run.files.scores("dev")
    kept = path.read_bytes(), path.with_suffix(".embeddings.npy").read_bytes()
    path.unlink()
    score_run(clean, store, CPU)
    assert set(pd.read_parquet(path)["variant"]) == {"original"}
    with pytest.raises(UserError, match="missing or older"):
        read_scores(run, "dev")
    score_run(run, store, CPU)
    assert path.read_bytes() == kept[0]


def test_dev_variants_choose_the_rows_of_dev_alone(made):
    run, store = made
    settings = changed(run, "train", dev_variants=["original"]).settings
    assert len(select_rows(store, settings, "dev", ["en"], CPU)) == len(select_rows(store, run.settings, "dev", ["en"], CPU)) // 2
    assert len(select_rows(store, settings, "train", ["en"], CPU)) == len(select_rows(store, run.settings, "train", ["en"], CPU))
    assert run_of(settings, "some-store").folder != run.folder
    assert run_of(changed(run, "evaluation", variants=["original"]).settings, "some-store").folder == run.folder


def test_reports_name_the_classes_present(run):
    settings = changed(run, "corpus", sources=["a", "b"]).settings
    text = write_reports([replace(run, settings=replace(settings, evaluation=replace(settings.evaluation, splits=["eval"])))])
    assert "present" not in text
    report = run.files.class_report("eval", "en").read_text()
    assert "2 of 2 known classes" in report
    assert "Macro F1 (mean of per-class F1) over the 2 classes with rows" in report


def test_train_and_dev_are_scored_though_only_eval_is_asked_for(run, monkeypatch):
    asked = []
    monkeypatch.setattr(experiment, "score_runs", asked.extend)
    run_openset([changed(run, "evaluation", splits=["eval"])])
    assert [one.settings.evaluation.splits for one in asked] == [["train", "dev", "eval"]]


def test_a_kill_under_other_settings_leaves_nothing_that_passes_for_whole(run, monkeypatch):
    """The record of the settings of before stayed beside scores of others, and was believed when those came back."""
    run = changed(run, "openset", detectors=["nearest_neighbours"])
    run_openset([run])
    scores = pd.read_parquet(openset_files(run).scores("eval"))
    other = changed(run, "openset", neighbours=3)
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "draw_pictures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_openset([other])
    assert not experiment.is_up_to_date(run)
    run_openset([run])
    pd.testing.assert_frame_equal(pd.read_parquet(openset_files(run).scores("eval")), scores)
