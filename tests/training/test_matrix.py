"""Many runs: shards, locks, and what the scripts say while some are missing."""

from __future__ import annotations

import runpy
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_script
from sourcetracing.settings.reading import ConfigSources, read_config, to_yaml
from sourcetracing.training.joint import train_in_turn
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.plan import read_shard
from sourcetracing.training.runs import load_runs
from tests.support.places import ROOT
from tests.support.small_experiment import SmallExperiment


@pytest.fixture
def config(tmp_path: Path) -> ConfigSources:
    """An experiment of three runs (seeds) whose features are there."""
    experiment = SmallExperiment.write(tmp_path, num_utterances=18)
    settings = experiment.settings("matrix")
    settings.train.epochs, settings.experiment.seeds, settings.evaluation.bootstrap_samples = 2, [1, 2, 3], 20
    experiment.prepare(settings)
    (tmp_path / "matrix.yaml").write_text(to_yaml(settings), encoding="utf-8")
    return read_config([str(tmp_path / "matrix.yaml")])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """What a script defines, by its name without .py."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return lambda name: runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))


def test_shards_are_disjoint_complete_and_have_their_share_of_each_system():
    systems = ("aasist", "resnet18", "ecapa_tdnn")
    runs = [(system, train_set) for system in systems for train_set in ("en", "de", "fr", "it", "pl", "ru")]
    for num_shards in (1, 2, 3, 4, 5, 18, 30):
        shards = [runs[read_shard(f"{number}/{num_shards}")] for number in range(1, num_shards + 1)]
        assert sorted(run for shard in shards for run in shard) == sorted(runs)
        for wanted in ("", *systems):
            counts = [sum(system.startswith(wanted) for system, _ in shard) for shard in shards]
            assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "x", "4", "1/0", "-1/4", "1/4/2", "", "1/", "1.5/4"])
def test_a_bad_shard_is_one_clear_line(text, script, capsys):
    train_matrix = script("05_train_matrix")
    with pytest.raises(SystemExit) as ended:
        run_script(train_matrix["main"], doc="", uses=[], flags=train_matrix["FLAGS"], argv=["configs/demo.yaml", f"--shard={text}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: --shard {text}: i/n is expected, i from 1 to n, such as 1/4\n"


def test_until_all_shards_are_trained_the_scripts_say_what_is_missing(config, script, capsys):
    runs, train, metrics = load_runs(config), script("05_train_matrix")["main"], script("06_get_classification_metrics")["main"]
    with pytest.raises(UserError, match=r"^3 of 3 runs are not trained \(first: lfcc_ecapa_tdnn on en, seed 1\)\. Run: .*05_train"):
        metrics(config)
    train(config, {"--shard": "2/2"})
    assert [run.files.is_finished for run in runs] == [False, True, False]
    shown = capsys.readouterr().out
    assert "05 training: 1 of 3 runs" in shown
    assert "2 of all 3 runs are not trained yet" in shown
    metrics(config)
    shown = capsys.readouterr().out
    assert shown.count("eval: en") == 1
    assert "2 of 3 runs are not trained (first: lfcc_ecapa_tdnn on en, seed 1)" in shown
    script("13_make_tables")["main"](config)
    assert "2 of 3 runs have no scores yet" in capsys.readouterr().out


def test_rows_that_will_not_do_are_refused_before_any_run_is_trained(config, tmp_path):
    """Seen: two minutes of other systems, then the complaint about the last one."""
    good = load_runs(config)
    words = ["backend=embedding_head", "metric_learning.train_on_dev=true", "metric_learning.classes_per_batch=5"]
    bad = load_runs(read_config([str(tmp_path / "matrix.yaml"), *words]))
    for train in (train_runs, train_in_turn):
        with pytest.raises(UserError, match="classes_per_batch=5, but train and dev for en has 2 sources"):
            train([*good, *bad])
    assert not any(run.folder.exists() for run in good)


def test_cells_that_another_process_trains_come_last_and_are_waited_for(config, capsys):
    runs = load_runs(config)[:2]
    folders = [run.files for run in runs]
    training = threading.Thread(target=train_runs, args=[runs], daemon=True)
    with folders[0].only_trainer(wait=False):
        assert [folder.is_being_trained for folder in folders] == [True, False]
        with pytest.raises(UserError, match=f"another process is training {folders[0].root}"), folders[0].only_trainer(wait=False):
            pass
        training.start()
        deadline = time.monotonic() + 60
        while not folders[1].is_finished and time.monotonic() < deadline:
            time.sleep(0.05)
        assert folders[1].is_finished
        assert not folders[0].history.exists()
    training.join(timeout=60)
    assert folders[0].is_finished and not folders[0].is_being_trained
    assert "another process is training 1 of them" in capsys.readouterr().out
