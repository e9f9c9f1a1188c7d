"""The plan of script 05: what it counts, what it chooses, what it says of time."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.experiments import cell_of
from sourcetracing.run_folder import RunFolder
from sourcetracing.training import train_cell
from sourcetracing.training_plan import describe_plan, make_plan, name_of, only, rows_of
from tests.conftest import small_settings
from tests.test_training import CPU, Killed, die_after, weights_of


def utterances_of(store) -> pd.DataFrame:
    return store.index.drop_duplicates("utt_id")[["utt_id", "language", "split"]]


def cells_of(tmp_path, *more: str):
    languages = ("[en]", "[de]", "[en,de]")
    return [cell_of(small_settings(tmp_path, f"train.languages={names}", *more), "some-store") for names in languages]


def test_it_counts_cells_epochs_and_time_by_the_rates_measured(store, tmp_path):
    cells, utterances = cells_of(tmp_path), utterances_of(store)
    (before,) = make_plan(cells, utterances)
    assert (before.num_cells, before.num_done, before.epochs_left) == (3, 0, 12)
    assert math.isnan(before.seconds) and "known after the first epoch" in describe_plan([before], cells)
    train_cell(cells[0], store, CPU)
    with pytest.raises(Killed):
        train_cell(cells[1], store, CPU, on_epoch=die_after(1))
    (line,) = make_plan(cells, utterances)
    assert (line.num_done, line.epochs_left) == (1, 3 + 4)
    histories = [pd.read_csv(RunFolder(cell.folder).history)["seconds"] for cell in cells[:2]]
    rate = pd.concat(histories).median() / 36  # rows of an epoch in one language: 3 sources x 6 utterances x 2 variants
    assert line.seconds == pytest.approx(rate * (3 * 36 + 4 * 72))
    assert "about" in describe_plan([line], cells)
    train_cell(cells[1], store, CPU)
    train_cell(cells[2], store, CPU)
    (after,) = make_plan(cells, utterances)
    assert (after.num_done, after.epochs_left) == (3, 0)
    assert describe_plan([after], cells).splitlines()[1].endswith("-")


def test_cells_are_chosen_by_name(tmp_path):
    cells = cells_of(tmp_path)
    assert [name_of(cell) for cell in cells] == ["lfcc_ecapa_tdnn/en/688", "lfcc_ecapa_tdnn/de/688", "lfcc_ecapa_tdnn/en+de/688"]
    assert only(cells, "*") == cells == only(cells, "lfcc_ecapa_tdnn")
    assert only(cells, "lfcc_ecapa_tdnn/en") == cells[:1]
    assert only(cells, "*/en+de/688") == cells[2:]
    with pytest.raises(UserError, match="did you mean 'lfcc_ecapa_tdnn/de'"):
        only(cells, "lfcc_ecapa_tdn/de")


def test_an_epoch_of_fewer_rows(store, tmp_path):
    settings = small_settings(tmp_path, "train.languages=[en,de]", "train.rows_per_epoch=20", "train.epochs=2")
    cell = cell_of(settings, "some-store")
    assert rows_of(cell, utterances_of(store)) == 20
    train_cell(cell, store, CPU)
    other = replace(cell, folder=tmp_path / "interrupted")
    with pytest.raises(Killed):
        train_cell(other, store, CPU, on_epoch=die_after(1))
    train_cell(other, store, CPU)
    assert all(torch.equal(tensor, weights_of(other)[name]) for name, tensor in weights_of(cell).items())
    accuracies = pd.read_csv(RunFolder(cell.folder).history)["train_accuracy"] * 20
    assert (accuracies - accuracies.round()).abs().max() < 1e-4  # twentieths: twenty rows were seen
