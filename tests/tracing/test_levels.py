"""How far down the tree an answer is named: by hand, dev's counts by pandas, and what trace_audio.py, its CSV, JSON and page say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sourcetracing.casework.case_report import write_case
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.metrics.ranking import is_above
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.settings.schema import Settings
from sourcetracing.tracing.export import export_system
from sourcetracing.tracing.job import Outputs, trace_files
from sourcetracing.tracing.levels import Count, Levels, Record, labels_of_run, lines_of
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.training.runs import TrainingRun
from tests.support.traced_runs import trained_run

GOOD = Count(rows=100, right=95, utterances=50, sources=4, mean_share=0.94)
POOR = Count(rows=100, right=60, utterances=50, sources=4, mean_share=0.6)
FEW = Count(rows=4, right=4, utterances=4, sources=1, mean_share=1.0)
NONE = Count(rows=0, right=0, utterances=0, sources=0, mean_share=float("nan"))
CLASSES = ["bark", "bark-small", "vits", "odd"]


def levels_of(unknown: Count | None = GOOD, confidence: float = 0.9) -> Levels:
    labels = {
        "architecture": ["lm", "lm", "vits", "vits"],
        "acoustic_model": ["bark", "bark", "vits", ""],
        "vocoder": ["encodec", "encodec", "hifigan", "hifigan"],
        "source": CLASSES,
    }
    return Levels([Record(level, names, GOOD, None if level == "source" else unknown) for level, names in labels.items()], confidence)


def named(levels: Levels, probabilities: list[float], is_unknown: bool | None) -> list[str]:
    return [answer.label for answer in levels(np.array(probabilities), is_unknown) if answer.is_named]


def test_it_stops_where_it_is_no_longer_sure():
    levels = levels_of()
    assert named(levels, [0.95, 0.02, 0.02, 0.01], False) == ["lm", "bark", "encodec", "bark"]
    assert named(levels, [0.5, 0.45, 0.05, 0.0], False) == ["lm", "bark", "encodec"]
    assert named(levels, [0.5, 0.0, 0.5, 0.0], None) == []
    found = levels(np.array([0.5, 0.45, 0.05, 0.0]), False)
    assert [answer.level for answer in found] == ["architecture", "acoustic_model", "vocoder", "source"]
    np.testing.assert_allclose([answer.probability for answer in found], [0.95, 0.95, 0.95, 0.5])
    assert found[3].why == "not sure: below 0.9"
    assert found[0].why == "right on dev's known sources: 95.0 % of 100 dev rows"
    # Of the two vits the odd one has no acoustic model: as a label it stays alone.
    assert named(levels, [0.0, 0.0, 0.02, 0.98], False) == ["vits", "hifigan", "odd"]
    assert levels(np.array([0.0, 0.0, 0.02, 0.98]), False)[1].why == "the likeliest source has no label there"
    assert named(levels, [0.0, 0.0, 0.5, 0.5], False) == ["vits", "hifigan"]


@pytest.mark.parametrize(
    ("unknown", "wanted", "why"),
    [
        (GOOD, ["lm", "bark", "encodec"], "right on dev's unknown sources: 95.0 % of 100 dev rows"),
        (POOR, [], "the source is unknown, and of dev's unknown sources such an answer was right in 60.0 % of 100 dev rows only"),
        (FEW, [], "the source is unknown, and dev has too few unknown ones to show that this holds (4 utterances of 1 sources)"),
        (NONE, [], "the source is unknown, and dev has no labelled unknown sources that would show that this holds"),
        (None, [], "the source is unknown, and dev has no labelled unknown sources that would show that this holds"),
    ],
)
def test_of_an_unknown_source_only_what_dev_shows(unknown, wanted, why):
    levels = levels_of(unknown)
    assert named(levels, [0.97, 0.01, 0.01, 0.01], True) == wanted
    found = levels(np.array([0.97, 0.01, 0.01, 0.01]), True)
    assert (found[0].why, found[3].why, found[3].is_named) == (why, "unknown", False)
    assert [entry["named_when_unknown"] for entry in levels.header()] == [bool(wanted)] * 3 + [False]


def test_what_every_known_source_has_is_no_answer():
    levels = Levels([Record("architecture", ["x", "x"], GOOD, GOOD), Record("source", ["a", "b"], GOOD, None)], 0.9)
    found = levels(np.array([0.95, 0.05]), False)
    assert [answer.is_named for answer in found] == [False, True]
    assert found[0].why == "every known source has it, so this tells nothing"


def test_lines_and_texts():
    assert NONE.text() == "no dev row was as sure"
    lines = lines_of(levels_of()(np.array([0.5, 0.45, 0.05, 0.0]), False))
    assert lines[1] == "acoustic model  bark  0.950  (right on dev's known sources: 95.0 % of 100 dev rows)"
    assert lines[3] == "source          – (bark)  0.500  (not sure: below 0.9)"


# --- a run on a small corpus


LABELS = {"source0": ("x", "m", "v"), "source1": ("x", "n", ""), "stranger": ("x", "o", "v")}


def write_labels(settings: Settings, labels: dict[str, tuple[str, str, str]] = LABELS) -> None:
    path = Layout.of(settings).utterances
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for place, level in enumerate(("architecture", "acoustic_model", "vocoder")):
        table[level] = [labels[source][place] for source in table["source"]]
    table.to_csv(path, index=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    run = trained_run(tmp_path_factory.mktemp("levels"))
    write_labels(run.settings)
    return run


@pytest.fixture(scope="module")
def tracer(run) -> Tracer:
    return Tracer.load(run.folder, ["trace.level_confidence=0.5", "trace.detector=energy"])


def test_dev_counts_by_pandas(run, tracer):
    scores = read_scores(run, "dev", unknown=True)
    logits = scores[["logit_0", "logit_1"]].to_numpy(float) / tracer.calibration.temperature
    first = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    flagged = is_above(tracer.rule.score(read_embeddings(run, "dev"), logits * tracer.calibration.temperature), tracer.rule.threshold)
    is_stranger = (scores["source"] == "stranger").to_numpy()
    by_level = {record.level: record for record in tracer.levels.records}
    assert list(by_level) == ["architecture", "acoustic_model", "vocoder", "source"]
    known = ~is_stranger & ~flagged
    assert (by_level["architecture"].known.rows, by_level["architecture"].known.right) == (known.sum(), known.sum())
    answered = np.where(first >= 0.5, "source0", "source1")
    right = answered == scores["source"].to_numpy()
    assert (by_level["source"].known.rows, by_level["source"].known.right) == (known.sum(), (right & known).sum())
    # source1 has no vocoder, so that answers of it are none, and its own rows have no truth.
    told = known & (answered == "source0") & (scores["source"] == "source0").to_numpy()
    assert (by_level["vocoder"].known.rows, by_level["vocoder"].known.right) == (told.sum(), told.sum())
    unknown = by_level["acoustic_model"].unknown
    assert (unknown.rows, unknown.right, unknown.sources) == ((is_stranger & flagged).sum(), 0, 1)
    assert by_level["architecture"].unknown.right == (is_stranger & flagged).sum()


def test_terminal_json_csv_and_page(run, tracer, tmp_path, capsys):
    path = next(Path(run.settings.paths.corpus).rglob("*.wav"))
    words = ["trace.level_confidence=0.5", "trace.detector=energy"]
    trace_files([str(path)], str(run.folder), words, Outputs(json=tmp_path / "a.json", csv=tmp_path / "a.csv"))
    text, content = capsys.readouterr().out, json.loads((tmp_path / "a.json").read_text())
    assert "  named from 0.5 on:\n    architecture  " in text
    entry = content["files"][0]
    wanted = tracer.levels_of(tracer(path))
    assert entry["levels"] == [answer.entry() for answer in wanted]
    assert entry["levels"][0]["probability"] == pytest.approx(1, abs=1e-5)
    assert entry["levels"][1]["probability"] == pytest.approx(max(entry["probabilities"].values()), abs=1e-5)
    row = pd.read_csv(tmp_path / "a.csv", keep_default_na=False).iloc[0]
    assert row["named"] == "+".join(answer.level for answer in wanted if answer.is_named)
    assert row["level_architecture"] == ("x" if wanted[0].is_named else "")
    assert row["level_acoustic_model_probability"] == pytest.approx(entry["levels"][1]["probability"])
    write_case(tmp_path / "case.html", tracer, [tracer(path)])
    assert "How far down the answer is sure" in (tmp_path / "case.html").read_text()
    assert [level["level"] for level in content["levels"]] == ["architecture", "acoustic_model", "vocoder", "source"]


def test_an_export_names_levels_as_the_run_does(run, tracer, tmp_path):
    export_system(str(run.folder), [], onnx=None, folder=tmp_path / "shared", licence="mit")
    moved = Tracer.load(
        tmp_path / "shared", ["paths.exp=/nowhere", "compute.device=cpu", "trace.level_confidence=0.5", "trace.detector=energy"]
    )
    assert moved.levels == tracer.levels
    (tmp_path / "shared" / "labels.json").write_text("[")
    with pytest.raises(UserError, match=r"labels\.json is damaged"):
        labels_of_run(moved.system.run)


def test_nothing_is_said_without_labels(run, tmp_path, capsys):
    write_labels(run.settings, dict.fromkeys(LABELS, ("", "", "")))
    path = next(Path(run.settings.paths.corpus).rglob("*.wav"))
    trace_files([str(path)], str(run.folder), [], Outputs(csv=tmp_path / "a.csv"))
    assert "named from" not in capsys.readouterr().out
    assert not any(name.startswith("level_") or name == "named" for name in pd.read_csv(tmp_path / "a.csv"))
    write_labels(run.settings)
