"""A run that was trained with other settings was "not trained" to every script behind 05: now they name it, and the setting."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.reading import read_config, to_yaml
from sourcetracing.training.matrix import those_trained, train_runs
from sourcetracing.training.runs import load_runs
from tests.support.places import ROOT
from tests.support.small_experiment import SmallExperiment

SCRIPTS = {"06_get_classification_metrics": (), "07_ood_detector": (), "08_generate_embeddings": ({},), "09_visualize_embeddings": ({},)}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """An experiment of one run, trained for one epoch."""
    root = tmp_path_factory.mktemp("other_settings")
    experiment = SmallExperiment.write(root, num_utterances=18)
    settings = experiment.settings("small")
    settings.train.epochs, settings.evaluation.bootstrap_samples = 1, 20
    experiment.prepare(settings)
    (root / "small.yaml").write_text(to_yaml(settings), encoding="utf-8")
    train_runs(load_runs(read_config([str(root / "small.yaml")])))
    return root / "small.yaml"


def main_of(script: str, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))["main"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["train.epochs=3"], "train.epochs=1"),
        (["train.lr=0.1", "ecapa_tdnn.channels=16"], "train.lr=0.0005, ecapa_tdnn.channels=8"),
        (["experiment.seeds=[7]"], "train.seed=688"),
    ],
)
def test_every_script_names_it(config, monkeypatch, changes, named):
    words = read_config([str(config), *changes])
    [run] = load_runs(words)
    [made] = (folder for folder in run.folder.parent.iterdir() if folder != run.folder)
    line = rf"1 of 1 runs are not trained \(first: .*\); with {named} there is {made}\. Run: .*05_train"
    for script, chosen in [*SCRIPTS.items(), ("10_verify_sources", ()), ("13_make_tables", ())]:
        with pytest.raises(UserError, match=line):
            main_of(script, monkeypatch)(words, *chosen)


def test_the_shortcut_audit_names_it_too(config, monkeypatch, capsys):
    main_of("11_audit_shortcuts", monkeypatch)(read_config([str(config), "train.epochs=3", "train.variants=[original]"]))
    shown = capsys.readouterr().out
    assert "1 of 1 runs are not trained" in shown and "train.epochs=1" in shown and "train.variants=[]" in shown


def test_runs_of_the_experiment_itself_are_no_news(config):
    trained, lack = those_trained(load_runs(read_config([str(config), "experiment.seeds=[688,1]"])))
    assert [run.seed for run in trained] == [688]
    assert lack == "1 of 2 runs are not trained (first: lfcc_ecapa_tdnn on en, seed 1)"
