"""Two variants of one system, defined in a user's own YAML, from 05 to the tables; their runs are traced, exported and read alone."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.layout import Layout
from sourcetracing.settings.reading import read_config, read_yaml, to_yaml
from sourcetracing.tracing.export import export_system
from sourcetracing.tracing.system import TracingSystem, run_in_folder
from sourcetracing.training.runs import load_runs
from tests.support.interrupted_training import CPU
from tests.support.places import ROOT
from tests.support.small_experiment import SmallExperiment

SYSTEMS = """
experiment: {systems: [narrow, wide], floor: []}
systems:
  narrow: {base: lfcc_ecapa_tdnn, ecapa_tdnn: {channels: 8}, train: {steps: 6, steps_per_dev: 3, schedule: cosine, warmup_steps: 2}}
  wide: {base: narrow, ecapa_tdnn: {channels: 16}, train: {ema_decay: 0.9, label_smoothing: 0.1, balance_classes: true}}
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """The settings files of an experiment whose features are there."""
    root = tmp_path_factory.mktemp("own_systems")
    experiment = SmallExperiment.write(root, num_utterances=18)
    settings = experiment.settings("variants")
    settings.evaluation.bootstrap_samples, settings.train.batch_size = 20, 8
    experiment.prepare(settings)
    (root / "small.yaml").write_text(to_yaml(settings), encoding="utf-8")
    (root / "mine.yaml").write_text(SYSTEMS, encoding="utf-8")
    return [str(root / "small.yaml"), str(root / "mine.yaml")]


@pytest.fixture(scope="module")
def tables(words) -> Path:
    """The folder of the tables, after scripts 05, 06 and 13."""
    config = read_config(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        for script, more in (("05_train_matrix", [{}]), ("06_get_classification_metrics", []), ("13_make_tables", [])):
            runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))["main"](config, *more)
    return Layout.of(config.resolve()).tables


def test_every_step_of_the_pipeline_knows_them(words, tables):
    runs = load_runs(read_config(words))
    assert [(run.system, run.folder.parent.name, run.files.num_epochs_done()) for run in runs] == [
        ("narrow",) * 2 + (2,),
        ("wide",) * 2 + (2,),
    ]
    table = next(path for path in sorted(Path(tables).glob("table4*.csv")) if "system" in pd.read_csv(path).columns)
    assert {"narrow", "wide"} <= set(pd.read_csv(table)["system"])
    assert json.loads(runs[1].files.outcome.read_text())["num_parameters"] > json.loads(runs[0].files.outcome.read_text())["num_parameters"]


def test_a_run_is_known_without_the_yaml_that_defined_it(words, tables, tmp_path, monkeypatch):
    _, run = load_runs(read_config(words))
    monkeypatch.chdir(tmp_path)
    assert read_yaml(run.files.config)["systems"] == {"wide": {"base": "lfcc_ecapa_tdnn", "frontend": "lfcc", "backend": "ecapa_tdnn"}}
    alone = run_in_folder(run.folder)
    assert (alone.system, alone.settings.ecapa_tdnn.channels) == ("wide", 16)
    TracingSystem(alone, CPU)
    export_system(str(run.folder), [], onnx=None, folder=tmp_path / "exported")
    moved = run_in_folder(tmp_path / "exported")
    assert (moved.system, moved.settings.train.ema_decay) == ("wide", 0.9)


def test_one_of_them_by_its_name_is_the_run_that_is_there(words, tables, capsys):
    train = runpy.run_path(str(ROOT / "train_refd.py"))["main"]
    train(read_config([*words, "system=narrow"]))
    shown = capsys.readouterr().out
    assert "train narrow on en, seed 688" in shown and "round " in shown and "epoch" not in shown
