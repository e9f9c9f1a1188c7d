"""A table row says what its run was made with, whatever stands on the command line that makes the table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from sourcetracing.layout import Layout
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.tables.making import make_tables
from sourcetracing.tables.scored_runs import ScoredRun, scored_runs
from sourcetracing.training.matrix import trained_otherwise
from sourcetracing.training.recorded import overlays_of_run, protocol_of_run
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.fake_scores import fake_scores, trained_run, write_history
from tests.support.places import ROOT

TINY = str(ROOT / "configs/tiny.yaml")
OVERLAYS = ROOT / "configs/as_published"


def settings_with(root: Path, *overlays: str) -> Settings:
    words = [f"paths.exp={root / 'exp'}", "name=x", "system=lfcc_aasist", "train.languages=[en]", "compute.device=cpu"]
    return load_settings([TINY, *(str(OVERLAYS / f"{name}.yaml") for name in overlays), *words])


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    """A protocol made by hand, so that nothing stands in the way of a command line with other splits."""
    folder = tmp_path / "exp" / "x"
    folder.mkdir(parents=True)
    pd.DataFrame({"utt_id": ["u1", "u2"], "split": ["train", "eval"]}).to_csv(folder / "protocol.csv", index=False)
    return folder


def opened(root: Path, *overlays: str) -> TrainingRun:
    """A run that was made with some overlays."""
    settings = settings_with(root, *overlays)
    run = run_of(settings, "lfcc-0")
    run.folder.mkdir(parents=True)
    RunFolder(run.folder).open(run.settings, torch.device("cpu"))
    return run


def as_read_by(run: TrainingRun, settings: Settings) -> TrainingRun:
    return TrainingRun(run.system, run.train_set, run.seed, settings, run.folder)


def test_splits_come_from_the_run_and_not_from_the_command_line(protocol, tmp_path):
    stratified = opened(tmp_path)
    lying = as_read_by(stratified, settings_with(tmp_path, "published_split"))
    assert overlays_of_run(lying) == ""


def test_a_run_with_published_splits_says_so_to_every_command_line(protocol, tmp_path):
    published = opened(tmp_path, "published_split")
    assert overlays_of_run(as_read_by(published, settings_with(tmp_path))) == "published_split"


def test_the_protocols_record_outweighs_a_config_that_had_its_splits_from_the_command_line(protocol, tmp_path):
    run = opened(tmp_path, "published_split")
    record = json.loads(run.files.protocol.read_text())
    run.files.protocol.write_text(json.dumps({**record, "settings": {"split.stratify": True}}))
    assert overlays_of_run(run) == ""


def test_how_scores_are_read_is_up_to_the_command_line(protocol, tmp_path):
    run = opened(tmp_path)
    assert overlays_of_run(as_read_by(run, settings_with(tmp_path, "published_metrics"))) == "published_metrics"


def test_speakers_settings_count_where_labels_are(protocol, tmp_path):
    run = opened(tmp_path, "published_speakers")
    assert overlays_of_run(run) == ""
    labels = Layout.of(run.settings).pseudo_speakers
    labels.parent.mkdir()
    labels.write_text("utt_id,pseudo_speaker\nu1,0\nu2,0\n")
    assert overlays_of_run(run) == "published_speakers"


def test_a_run_records_the_protocol_it_was_trained_on(protocol, tmp_path):
    run = opened(tmp_path)
    recorded = protocol_of_run(run)
    (protocol / "protocol.csv").write_text("utt_id,split\nu1,eval\nu2,train\n")
    assert protocol_of_run(run) == recorded
    run.files.protocol.unlink()
    assert protocol_of_run(run)["digest"] != recorded["digest"]


def test_rows_of_tables_after_a_lying_command_line(protocol, tmp_path):
    run = opened(tmp_path, "published_split")
    write_history(run.folder)
    lying = settings_with(tmp_path)
    lying.corpus.sources, lying.experiment.systems = ["a", "b", "c", "d"], ["lfcc_aasist"]
    trained = trained_run(ScoredRun("lfcc_aasist", "en", 688, run.folder, fake_scores(lying, "lfcc_aasist", "en", 688)), lying)
    cells = make_tables(scored_runs([trained]), lying).cells
    assert set(cells["compat"]) == {"published_split"}
    assert set(cells["protocol"]) == {json.loads(run.files.protocol.read_text())["digest"][:8]}
    assert set(cells["labels"]) == {""}  # of no group of speakers


def finished(settings: Settings) -> TrainingRun:
    made = run_of(settings, "lfcc-0")
    made.folder.mkdir(parents=True)
    RunFolder(made.folder).open(made.settings, torch.device("cpu"))
    made.files.weights.write_bytes(b"")
    made.files.outcome.write_text("{}")
    return made


@pytest.mark.parametrize(("name", "value", "words"), [("precision", "bf16", "bf16"), ("deterministic", False, "false")])
def test_a_run_that_was_computed_otherwise_is_named(protocol, tmp_path, name, value, words):
    settings = settings_with(tmp_path)
    setattr(settings.compute, name, value)
    made = finished(settings)
    assert trained_otherwise(run_of(settings_with(tmp_path), "lfcc-0")) == f"; with compute.{name}={words} there is {made.folder}"
    assert trained_otherwise(made) == ""


@pytest.mark.parametrize("left", [None, "", "compute: {precision: bf1", "compute: bf16", "[1, 2]", "train: {}"])
def test_a_run_whose_config_is_missing_or_cut_off_is_passed_over(protocol, tmp_path, left):
    settings = settings_with(tmp_path)
    settings.compute.precision = "bf16"
    made = finished(settings)
    made.files.config.unlink()
    if left is not None:
        made.files.config.write_text(left)
    assert trained_otherwise(run_of(settings_with(tmp_path), "lfcc-0")) == ""


def test_speakers_settings_are_those_of_the_labels_that_are_read(protocol, tmp_path):
    run = opened(tmp_path)
    labels = Layout.of(run.settings).pseudo_speakers
    labels.parent.mkdir()
    labels.write_text("utt_id,pseudo_speaker\nu1,0\nu2,0\n")
    assert overlays_of_run(as_read_by(run, settings_with(tmp_path, "published_speakers"))) == "published_speakers"
