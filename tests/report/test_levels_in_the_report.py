"""From run folders with unknown sources and labels on disk to the hierarchical table and the report's tab; the temperature is dev's."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score

from sourcetracing.layout import Layout
from sourcetracing.report import experiment as experiment_report
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.tables.levelled_runs import levelled_run, levelled_runs, temperature_of
from sourcetracing.tracing.calibration import calibrate
from tests.support.fake_scores import ResolvedSources, fake_runs, fake_settings, trained_run
from tests.support.traced_runs import CPU
from tests.support.traced_runs import trained_run as traced_run

# Labels of the demo's four sources and of two unknown ones.
LABELS = {
    "espeak_formant": ("formant", "espeak", "formant"),
    "espeak_klatt": ("formant", "espeak", "klatt"),
    "griffin_lim": ("copy", "espeak", "griffin_lim"),
    "lpc_vocoder": ("filter", "espeak", ""),
    "old friend": ("formant", "espeak", "klatt"),
    "nobody": ("", "", ""),
}


def with_unknown(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of two known sources again, as two unknown ones."""
    renamed = {"espeak_klatt": "old friend", "lpc_vocoder": "nobody"}
    more = scores[scores["source"].isin(list(renamed))].copy()
    more["source"], more["label"] = more["source"].map(renamed), -1
    more["utt_id"] = "unknown/" + more["utt_id"]
    return pd.concat([scores, more], ignore_index=True)


def write_utterances(settings, labels=LABELS) -> None:
    path = Layout.of(settings).utterances
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(f"{number}", source, *values) for number, (source, values) in enumerate(labels.items())]
    pd.DataFrame(rows, columns=["utt_id", "source", "architecture", "acoustic_model", "vocoder"]).to_csv(path, index=False)


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Four runs in two languages, two systems of which one is the floor; unknown sources in eval."""
    settings = fake_settings(languages=["en", "de"])
    settings.paths.exp, settings.evaluation.bootstrap_samples = str(tmp_path), 40
    runs = fake_runs(settings, tmp_path / settings.name / "runs")
    for run in runs:
        run.scores = with_unknown(run.scores)
    trained = [trained_run(run, settings) for run in runs]
    settings.experiment.systems, settings.experiment.floor = ["lfcc_one"], ["lfcc_two"]
    monkeypatch.setattr(experiment_report, "load_runs", lambda config: trained)
    return settings, trained


def test_table_tab_and_terminal(experiment, tmp_path):
    settings, trained = experiment
    write_utterances(settings)
    text = experiment_report.report_experiment(ResolvedSources(settings))
    assert "levels (accuracy in %" in text
    tables = tmp_path / "demo" / "tables"
    cells = pd.read_csv(tables / "hierarchy.csv")
    assert set(cells["group"]) == {"known", "unknown", "related", "checkpoint", "unlabelled"}
    scores = pd.read_parquet(trained[0].folder / "scores" / "eval.parquet")
    assert (trained[0].system, trained[0].train_set) == ("lfcc_one", "en")
    probabilities = softmax(scores[[f"logit_{number}" for number in range(4)]].to_numpy(), axis=1)
    # Sources 0 and 1 are one architecture, 2 and 3 one each.
    summed = np.stack([probabilities[:, :2].sum(axis=1), probabilities[:, 2], probabilities[:, 3]], axis=1)
    answered = np.array(["formant", "copy", "filter"])[summed.argmax(axis=1)]
    true = scores["source"].map({name: values[0] for name, values in LABELS.items()})
    for group, members in (("known", list(LABELS)[:4]), ("checkpoint", ["old friend"])):
        for kind, language in (("mono", "en"), ("cross", "de")):
            own = (scores["language"] == language) & scores["source"].isin(members)
            row = cells.query(f"system == 'lfcc_one' and train == 'en' and group == '{group}' and kind == '{kind}'")
            row = row[row["level"] == "architecture"].iloc[0]
            assert row["accuracy"] == pytest.approx(accuracy_score(true[own], answered[own]), abs=1e-6)
            assert np.isnan(row["temperature"])
    masked = cells.query("group == 'unlabelled' and level == 'vocoder'")
    assert (masked["rows"] == 0).all() and (masked["masked"] > 0).all()
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "Right in part" in page
    assert "lfcc_two (floor)" in (tables / "hierarchy.md").read_text()
    for system in ("lfcc_one", "lfcc_two"):
        assert (tables / f"hierarchy_{system}.png").read_bytes().startswith(b"\x89PNG")
    before = (tables / "hierarchy.csv").read_bytes()
    assert experiment_report.report_experiment(ResolvedSources(settings)) == text
    assert (tables / "hierarchy.csv").read_bytes() == before


def test_other_labels_make_the_table_again_and_none_is_said(experiment, tmp_path):
    settings, _ = experiment
    text = experiment_report.report_experiment(ResolvedSources(settings))
    assert "There is no hierarchical table" in text
    assert "Right in part" not in (tmp_path / "demo" / "report.html").read_text()
    write_utterances(settings)
    assert "levels (accuracy in %" in experiment_report.report_experiment(ResolvedSources(settings))
    write_utterances(settings, dict.fromkeys(LABELS, ("", "", "")))
    assert "There is no hierarchical table" in experiment_report.report_experiment(ResolvedSources(settings))
    assert pd.read_csv(tmp_path / "demo" / "tables" / "hierarchy.csv").empty


def test_units_are_transcripts_where_the_bootstrap_draws_these(experiment, monkeypatch):
    settings, trained = experiment
    spoken = pd.DataFrame({"utt_id": levelled_run(trained[0]).rows["unit"].unique()})
    spoken["transcript"] = [f"text {name[-1]}" if name.startswith("en") else "" for name in spoken["utt_id"]]
    settings.evaluation.bootstrap_by = "transcript"
    monkeypatch.setattr("sourcetracing.tables.levelled_runs.load_protocol", lambda settings, unknown: (spoken, None))
    units = levelled_run(trained[0]).rows["unit"]
    assert "griffin_lim\ntext 3" in set(units)
    assert "unknown/de/espeak_klatt/003" in set(units)


def test_the_temperature_is_that_of_traced_files(tmp_path):
    run = traced_run(tmp_path)
    assert np.isnan(temperature_of(run, ["en"]))
    made = calibrate(run, CPU)  # scores dev
    assert temperature_of(run, ["en"]) == pytest.approx(made.temperature)
    assert np.isnan(temperature_of(run, ["de"]))
    assert levelled_run(run).temperature == pytest.approx(made.temperature)
    run.files.weights.write_bytes(b"trained again")
    assert levelled_runs([run]) == []


def test_scores_of_dev_change_the_probabilities(experiment):
    """Logits that are twice as sure as they should be are brought back."""
    _, trained = experiment
    run = trained[0]
    eval_scores = pd.read_parquet(run.folder / "scores" / "eval.parquet")
    dev = eval_scores[eval_scores["label"] >= 0].assign(split="dev")
    story = json.dumps({"weights": digest_of_file(run.folder / "model.safetensors")})
    table = pa.Table.from_pandas(dev, preserve_index=False).replace_schema_metadata({b"story": story.encode()})
    pq.write_table(table, run.folder / "scores" / "dev.parquet")
    found = levelled_run(run)
    own = dev[dev["language"] == "en"]
    logits, labels = own[[f"logit_{number}" for number in range(4)]].to_numpy(), own["label"].to_numpy()
    grid = np.geomspace(0.2, 20, 4000)
    doubt = 1 / (len(own) + 2)
    target = np.full((len(own), 4), doubt / 3)
    target[np.arange(len(own)), labels] = 1 - doubt
    losses = [-(target * np.log(softmax(logits / one, axis=1))).sum(axis=1).mean() for one in grid]
    assert found.temperature == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)
    all_logits = eval_scores[[f"logit_{number}" for number in range(4)]].to_numpy()
    np.testing.assert_allclose(found.probabilities, softmax(all_logits / found.temperature, axis=1), atol=1e-6)


def test_a_head_of_its_own_says_its_level(experiment, monkeypatch):
    settings, trained = experiment
    run, vocoders = trained[0], ["formant", "griffin_lim", "klatt"]
    settings.train.labels = ["source", "vocoder"]
    counts = {"source": dict.fromkeys(settings.corpus.sources, 9), "vocoder": dict.fromkeys(vocoders, 9)}
    run.files.label_classes.write_text(json.dumps(counts))
    scores = pd.read_parquet(run.files.scores("eval"))
    logits = np.random.default_rng(0).normal(size=(len(scores), 3))
    heads = scores[["utt_id", "variant"]].assign(prediction_vocoder=np.array(vocoders)[logits.argmax(axis=1)])
    heads = heads.assign(**{f"logit_vocoder_{number}": logits[:, number] for number in range(3)})
    heads.sample(frac=1, random_state=1).to_parquet(run.files.label_scores("eval"))
    story = {"weights": digest_of_file(run.files.weights), "label_scores": digest_of_file(run.files.label_scores("eval"))}
    table = pa.Table.from_pandas(scores, preserve_index=False).replace_schema_metadata({b"story": json.dumps(story).encode()})
    pq.write_table(table, run.files.scores("eval"))
    texts = pd.DataFrame({"vocoder": ""}, index=scores["utt_id"].unique())
    monkeypatch.setattr("sourcetracing.scoring.scores.label_texts", lambda settings: texts)
    write_utterances(settings)
    found = levelled_run(run)
    assert found.levels["vocoder"][0] == vocoders
    np.testing.assert_allclose(found.levels["vocoder"][1], softmax(logits, axis=1), atol=1e-6)
    made = experiment_report.hierarchy_of([run], settings)
    row = made.cells.query("group == 'known' and kind == 'mono' and level == 'vocoder'").iloc[0]
    true = scores["source"].map({name: values[2] for name, values in LABELS.items()})
    own = (scores["language"] == "en") & (scores["label"] >= 0) & (true != "")
    assert row["accuracy"] == pytest.approx((heads["prediction_vocoder"] == true)[own].mean())
