"""The list of an experiment's runs: states, figures, what differs, and damaged folders as a line each."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from sourcetracing.scoring import run_list
from sourcetracing.scoring.run_list import WIDTH, ListedRun, list_runs, table_of, text_of
from sourcetracing.settings.reading import read_config
from sourcetracing.training.checkpoints import save_checkpoint
from sourcetracing.training.other_runs import others_line
from sourcetracing.training.run_folder import HISTORY_COLUMNS
from sourcetracing.training.runs import TrainingRun, run_of


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    return [f"paths.exp={tmp_path}", "corpus.languages=[en,de]", "compute.device=cpu", "train.epochs=3"]


def made(words: list[str], *more: str, epochs_done: int = 3, finished: bool = True, system: str = "lfcc_ecapa_tdnn") -> TrainingRun:
    """A run folder as a training of so many epochs leaves it."""
    settings = read_config([*words, "train.languages=[en]", *more]).resolve(system=system)
    run = run_of(settings, "store")
    run.folder.mkdir(parents=True)
    run.files.open(run.settings, torch.device("cpu"))
    run.files.write_history(
        [dict.fromkeys(HISTORY_COLUMNS, 0.1) | {"epoch": n + 1, "dev_macro_f1": 0.5 + n / 10} for n in range(epochs_done)]
    )
    if finished:
        save_checkpoint(run.files.weights, {"weight": torch.zeros(100)}, {})
        run.files.finish({"best_epoch": epochs_done, "dev_macro_f1": 0.75})
    return run


def replaced(path: Path, text: str, other: str) -> None:
    before = path.read_text()
    assert text in before
    path.write_text(before.replace(text, other))


def listed(words: list[str]) -> dict[str, ListedRun]:
    return {Path(run.folder).name: run for run in list_runs(read_config(words))}


def test_states_figures_and_what_differs(words, monkeypatch):
    ours, longer = made(words), made(words, "train.epochs=5", "train.mixup=none", epochs_done=5)
    stopped, other_seed = made(words, "train.lr=0.1", epochs_done=2, finished=False), made(words, "train.seed=7")
    monkeypatch.setattr(run_list, "load_runs", lambda config: [ours])
    found = listed(words)
    assert len(found) == 4
    first = found[ours.folder.name]
    assert (first.system, first.train_set, first.seed, first.state) == ("lfcc_ecapa_tdnn", "en", "688", "finished")
    assert (first.epochs_done, first.epochs, first.dev_macro_f1, first.differs, first.scored) == (3, 3, 0.75, "", "")
    assert found[longer.folder.name].differs == "train.epochs=5 (now 3); train.mixup=none (now regmix)"
    second = found[stopped.folder.name]
    assert (second.state, second.epochs_done, second.dev_macro_f1) == ("stopped", 2, pytest.approx(0.6))
    assert found[other_seed.folder.name].differs == "seed not in experiment.seeds"
    assert others_line([ours]).startswith("3 more runs are in ")
    assert others_line([ours, longer, stopped, other_seed]) == ""


def test_features_and_systems_of_other_settings_are_named(words, monkeypatch):
    made(words)
    resnet = made(words, system="lfcc_resnet18")
    monkeypatch.setattr(run_list, "load_runs", lambda config: [])
    assert [run.differs for run in list_runs(read_config(words))] == ["its features or protocol", "system not in experiment.systems"]
    cropped = list_runs(read_config([*words, "audio.crop_seconds=2.5", "experiment.systems=[lfcc_resnet18]"]))
    assert [run.differs for run in cropped] == [
        "audio.crop_seconds=4.0 (now 2.5); system not in experiment.systems",
        "audio.crop_seconds=4.0 (now 2.5)",
    ]
    resnet.folder.rename(resnet.folder.parents[1] / "lfcc_ecapa_tdnn" / resnet.folder.name)  # as somebody tidied up
    assert len(list_runs(read_config(words))) == 2


def test_a_run_being_trained(words):
    run = made(words, finished=False, epochs_done=1)
    with run.files.only_trainer(wait=False):
        assert listed(words)[run.folder.name].state == "being trained"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda files: files.config.write_text("train: {epochs: [3"), "config.yaml"),
        (lambda files: files.config.unlink(), "config.yaml does not exist"),
        (lambda files: files.config.write_text("name: x\n"), "config.yaml lacks settings of a run"),
        (lambda files: files.config.write_bytes(b"\xff\xfe\x00"), "config.yaml"),
        (lambda files: replaced(files.config, "seed: 688", "seed: .inf"), "config.yaml: train.seed=inf: a whole number is expected"),
        (lambda files: replaced(files.config, "epochs: 3", "epochs: .inf"), "config.yaml: train.epochs=inf: a whole number is expected"),
        (lambda files: replaced(files.config, "epochs: 3", "epochs: .nan"), "config.yaml: train.epochs=nan: a whole number is expected"),
        (lambda files: replaced(files.config, "languages: [en]", "languages: en"), "train.languages='en': a list of words is expected"),
        (lambda files: files.config.write_text("[" * 3000), "config.yaml"),
        (lambda files: files.weights.write_bytes(b""), "model.safetensors is damaged"),
        (lambda files: files.weights.write_bytes(files.weights.read_bytes()[:-1]), "model.safetensors is damaged"),
        (lambda files: files.outcome.write_text('{"dev_mac'), "model.json is damaged"),
        (lambda files: files.outcome.write_text('{"dev_macro_f1": Infinity}'), "model.json is damaged"),
        (lambda files: files.outcome.write_text('{"dev_macro_f1": null}'), "model.json is damaged"),
        (lambda files: files.outcome.write_text("[]"), "model.json is damaged"),
        (lambda files: files.outcome.write_bytes(b"\xff"), "model.json is damaged"),
        (lambda files: files.history.write_bytes(b"\xff\0"), "history.csv is damaged"),
        (lambda files: (files.outcome.unlink(), files.history.write_bytes(b"\xff\0")), "history.csv is damaged"),
        (lambda files: (files.outcome.unlink(), files.history.write_text("a,b\n1,2\n")), "history.csv is damaged"),
        (lambda files: (files.outcome.unlink(), files.history.write_text("dev_macro_f1\nhalf\n")), "history.csv is damaged"),
    ],
)
def test_damaged_runs_are_a_line_each(words, damage, problem):
    run, whole = made(words), made(words, "train.lr=0.1")
    damage(run.files)
    found = listed(words)
    assert problem in found[run.folder.name].problem
    for python in ("\n", "Error:", "codec", "object", "convert", "recursion", "Unable"):
        assert python not in found[run.folder.name].problem
    assert found[whole.folder.name].problem == ""
    assert list(found)[-1] == run.folder.name
    assert text_of(list(found.values()))


def test_a_missing_model_json_is_an_unfinished_run_and_odd_files_are_no_runs(words):
    run = made(words)
    run.files.outcome.unlink()
    (run.folder.parent / "notes.txt").write_text("mine")
    (run.folder.parent / "empty").mkdir()
    (run.folder.parent / ".hidden").mkdir()
    found = listed(words)
    assert found[run.folder.name].state == "stopped"
    assert found["notes.txt"].problem == "is no run folder"
    assert found["empty"].problem == "config.yaml does not exist"
    assert ".hidden" not in found


def test_scores_that_are_no_parquet_are_not_counted(words):
    run = made(words)
    run.files.scores("eval").parent.mkdir()
    run.files.scores("eval").write_bytes(b"PAR1")
    assert listed(words)[run.folder.name].scored == ""


def test_one_epoch_is_no_plural(words):
    made(words, "train.epochs=1", epochs_done=1)
    assert "finished, 1 epoch " in text_of(list_runs(read_config(words)))


def test_text_fits_a_terminal_and_the_table_has_every_run(words):
    made(words, "train.epochs=50", "train.mixup=none", "train.lr=0.5", "ecapa_tdnn.channels=8", "train.weight_decay=0.5", epochs_done=50)
    made(words)
    runs = list_runs(read_config(words))
    shown = text_of(runs)
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert re.search(r"lfcc_ecapa_tdnn +en +688 +finished, 50 epochs +75\.0 +-", shown)
    frame = table_of(runs)
    assert frame["differs"].tolist() == [run.differs for run in runs]
    assert pd.notna(frame["dev_macro_f1"]).all()
    assert table_of([]).columns.tolist() == frame.columns.tolist()
