"""The plan of script 05: what it counts, what it chooses, what it says of time."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.training.loop import train_run
from sourcetracing.training.plan import describe_plan, make_plan, name_of, only, rows_of
from sourcetracing.training.runs import run_of
from tests.support.interrupted_training import CPU, Killed, die_after, weights_of
from tests.support.small_store import small_settings


def utterances_of(store) -> pd.DataFrame:
    return store.index.drop_duplicates("utt_id")[["utt_id", "language", "split"]]


def cells_of(tmp_path, *more: str):
    languages = ("[en]", "[de]", "[en,de]")
    return [run_of(small_settings(tmp_path, f"train.languages={names}", *more), "some-store") for names in languages]


def test_it_counts_cells_epochs_and_time_by_the_rates_measured(store, tmp_path):
    runs, utterances = cells_of(tmp_path), utterances_of(store)
    (before,) = make_plan(runs, utterances)
    assert (before.num_runs, before.num_done, before.epochs_left) == (3, 0, 12)
    assert math.isnan(before.seconds) and "known after 10 steps" in describe_plan([before], runs)
    train_run(runs[0], store, CPU)
    with pytest.raises(Killed):
        train_run(runs[1], store, CPU, on_epoch=die_after(1))
    (line,) = make_plan(runs, utterances)
    assert (line.num_done, line.epochs_left) == (1, 3 + 4)
    histories = [pd.read_csv(run.files.history)["seconds"] for run in runs[:2]]
    rate = pd.concat(histories).median() / 36  # rows of an epoch in one language: 3 sources x 6 utterances x 2 variants
    assert line.seconds == pytest.approx(rate * (3 * 36 + 4 * 72))
    assert "about" in describe_plan([line], runs)
    train_run(runs[1], store, CPU)
    train_run(runs[2], store, CPU)
    (after,) = make_plan(runs, utterances)
    assert (after.num_done, after.epochs_left) == (3, 0)
    assert describe_plan([after], runs).splitlines()[1].endswith("-")


def test_what_is_fitted_has_no_steps_to_be_measured(store, tmp_path):
    runs = [run_of(small_settings(tmp_path, "train.languages=[en]", "system=stats_logreg", "backend=statistics"), "some-store")]
    text = describe_plan(make_plan(runs, utterances_of(store)), runs)
    assert "known after its first run, without steps" in text and "10 steps" not in text


def test_cells_are_chosen_by_name(tmp_path):
    runs = cells_of(tmp_path)
    assert [name_of(run) for run in runs] == ["lfcc_ecapa_tdnn/en/688", "lfcc_ecapa_tdnn/de/688", "lfcc_ecapa_tdnn/en+de/688"]
    assert only(runs, "*") == runs == only(runs, "lfcc_ecapa_tdnn")
    assert only(runs, "lfcc_ecapa_tdnn/en") == runs[:1]
    assert only(runs, "*/en+de/688") == runs[2:]
    with pytest.raises(UserError, match="did you mean 'lfcc_ecapa_tdnn/de'"):
        only(runs, "lfcc_ecapa_tdn/de")


def test_an_epoch_of_fewer_rows(store, tmp_path):
    settings = small_settings(tmp_path, "train.languages=[en,de]", "train.rows_per_epoch=20", "train.epochs=2")
    run = run_of(settings, "some-store")
    assert rows_of(run, utterances_of(store)) == 20
    train_run(run, store, CPU)
    other = replace(run, folder=tmp_path / "interrupted")
    with pytest.raises(Killed):
        train_run(other, store, CPU, on_epoch=die_after(1))
    train_run(other, store, CPU)
    assert all(torch.equal(tensor, weights_of(other)[name]) for name, tensor in weights_of(run).items())
    accuracies = pd.read_csv(run.files.history)["train_accuracy"] * 20
    assert (accuracies - accuracies.round()).abs().max() < 1e-4  # twentieths: twenty rows were seen
