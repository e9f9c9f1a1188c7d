"""Trainings in steps: the batches of epochs, cut otherwise; their schedules; their names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.runtime.process_group import ALONE
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.training import Train
from sourcetracing.training.batches import Batch, shuffled_batches
from sourcetracing.training.loop import train_run
from sourcetracing.training.optimization import learning_rates
from sourcetracing.training.rounds import batches_of_round, num_rounds, steps_per_round, word_for_rounds
from sourcetracing.training.run_folder import HISTORY_COLUMNS
from sourcetracing.training.runs import run_of, run_recipe
from tests.support.interrupted_training import CPU, Killed, die_after, weights_of
from tests.support.small_backends import SMALL_BACKENDS
from tests.support.small_store import small_settings

NUM_ROWS, ROWS = 36, [8, 8, 8, 8, 4]  # of a pass over English in the small store, by batch
FIGURES = [name for name in HISTORY_COLUMNS if name != "seconds"]


def rounds_of(rules: Train, num_rows: int = 20) -> list[list[Batch]]:
    """The batches of every round of a training in steps."""
    count = -(-rules.steps // steps_per_round(rules))
    return [list(batches_of_round(lambda draw: shuffled_batches(num_rows, rules, draw, ALONE), rules, number)) for number in range(count)]


@pytest.mark.parametrize(("steps", "per_round"), [(8, 3), (7, 7), (9, 1), (6, 5), (11, 20)])
def test_steps_take_the_batches_of_epochs_one_pass_after_the_other(steps, per_round):
    rules = Train(steps=steps, steps_per_dev=per_round, batch_size=8, seed=5)
    found = [batch for batches in rounds_of(rules) for batch in batches]
    passes = [shuffled_batches(20, rules, rng(5, "epoch", number), ALONE) for number in range(4)]  # three batches each
    expected = [batch for batches in passes for batch in batches][:steps]
    assert len(found) == steps
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.partners, other.partners)
        assert one.lam == other.lam
    assert sorted(np.concatenate([batch.positions for batch in found[:3]])) == list(range(20))


@pytest.mark.parametrize(
    ("rules", "lengths"),
    [
        ({"steps": 40}, [4] * 10),
        ({"steps": 25}, [3] * 8 + [1]),
        ({"steps": 3}, [1] * 3),
        ({"steps": 10, "steps_per_dev": 4}, [4, 4, 2]),
        ({"steps": 10, "steps_per_dev": 40}, [10]),
    ],
)
def test_rounds_are_a_tenth_of_the_steps_or_as_long_as_one_says(tmp_path, rules, lengths):
    assert [len(batches) for batches in rounds_of(Train(**rules))] == lengths
    settings = small_settings(tmp_path, *(f"train.{name}={value}" for name, value in rules.items()))
    assert num_rounds(settings) == len(lengths) and word_for_rounds([settings]) == "round"


def test_without_steps_a_round_is_an_epoch(tmp_path):
    settings = small_settings(tmp_path)
    assert num_rounds(settings) == 4 and steps_per_round(settings.train) == 0 and word_for_rounds([settings]) == "epoch"


@pytest.mark.parametrize("backend", ["ecapa_tdnn", "embedding_head"])
def test_as_many_steps_as_an_epoch_has_learn_what_epochs_learn(store, tmp_path, backend):
    small = ["train.languages=[en]", *SMALL_BACKENDS[backend], "train.epochs=3"]
    per_pass = len(ROWS) if backend == "ecapa_tdnn" else NUM_ROWS // 9
    by_epochs = run_of(small_settings(tmp_path, *small), "some-store")
    by_steps = run_of(small_settings(tmp_path, *small, f"train.steps={3 * per_pass}", f"train.steps_per_dev={per_pass}"), "some-store")
    assert by_epochs.folder != by_steps.folder
    histories = [pd.read_csv(train_run(run, store, CPU).history)[FIGURES] for run in (by_epochs, by_steps)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert all(torch.equal(tensor, weights_of(by_steps)[name]) for name, tensor in weights_of(by_epochs).items())


@pytest.mark.parametrize("moment", [1, 2])
def test_steps_across_passes_resume_to_the_same_bits(store, tmp_path, moment):
    words = ["train.steps=11", "train.steps_per_dev=4", "train.schedule=cosine", "train.warmup_steps=3"]
    run = run_of(small_settings(tmp_path, "train.languages=[en]", *words), "some-store")
    other = replace(run, folder=tmp_path / "interrupted")
    train_run(run, store, CPU)
    with pytest.raises(Killed):
        train_run(other, store, CPU, on_epoch=die_after(moment))
    assert other.files.num_epochs_done() == moment
    train_run(other, store, CPU)
    histories = [pd.read_csv(each.files.history)[FIGURES] for each in (run, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert list(histories[0]["epoch"]) == [1, 2, 3]
    assert all(torch.equal(tensor, weights_of(other)[name]) for name, tensor in weights_of(run).items())


def rates_of(settings, lengths: list[int], group: str = "backend") -> list[float]:
    return [learning_rates(settings, number, step, lengths[0])[group] for number, length in enumerate(lengths) for step in range(length)]


def torchs_rates(steps: int, make) -> list[float]:
    """The rates that torch's own schedulers give an optimizer of rate 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_and_warm_up_are_those_of_torch(tmp_path):
    cosine, linear = torch.optim.lr_scheduler.CosineAnnealingLR, torch.optim.lr_scheduler.LinearLR
    plain = small_settings(tmp_path, "train.steps=10", "train.steps_per_dev=4", "train.schedule=cosine", "train.lr=1")
    np.testing.assert_allclose(rates_of(plain, [4, 4, 2]), torchs_rates(10, lambda optimizer: cosine(optimizer, 10)), atol=1e-9)
    warm = replace(plain, train=replace(plain.train, warmup_steps=4))
    rates = rates_of(warm, [4, 4, 2])
    rising = torchs_rates(4, lambda optimizer: linear(optimizer, start_factor=1 / 4, total_iters=3))
    np.testing.assert_allclose(rates[:4], rising, atol=1e-9)
    np.testing.assert_allclose(rates[4:], torchs_rates(6, lambda optimizer: cosine(optimizer, 6)), atol=1e-9)


def test_a_schedule_over_epochs_ends_with_the_last_one(tmp_path):
    settings = small_settings(tmp_path, "train.epochs=3", "train.schedule=cosine", "train.lr=2", "metric_learning.loss_lr=1")
    for group, rate in (("backend", 2), ("loss", 1)):
        expected = rate * (1 + np.cos(np.pi * np.arange(15) / 15)) / 2
        np.testing.assert_allclose(rates_of(settings, [5, 5, 5], group), expected)


def test_steps_of_the_rate_count_rounds_and_warm_up_steps(tmp_path):
    words = ["train.steps=8", "train.steps_per_dev=2", "train.lr=1", "train.lr_decay=0.5", "train.lr_interval=2", "train.warmup_steps=3"]
    settings = small_settings(tmp_path, *words, "finetune.lr=1", "finetune.warmup_epochs=2.5")
    np.testing.assert_allclose(rates_of(settings, [2, 2, 2, 2]), [1 / 3, 2 / 3, 1, 1, 0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(rates_of(settings, [2, 2, 2, 2], "encoder"), [0.2, 0.4, 0.6, 0.8, 0.5, 0.5, 0.5, 0.5])


def test_history_has_the_last_rate_of_each_round(store, tmp_path):
    words = ["train.languages=[en]", "train.steps=6", "train.steps_per_dev=3", "train.schedule=cosine", "train.lr=1e-3"]
    history = pd.read_csv(train_run(run_of(small_settings(tmp_path, *words), "some-store"), store, CPU).history)
    np.testing.assert_allclose(history["lr"], 5e-4 * (1 + np.cos(np.pi * np.array([2, 5]) / 6)), rtol=1e-5)


OF_OLD = {"languages", "seed", "epochs", "batch_size", "rows_per_epoch", "micro_batch_size", "mixup", "mixup_alpha", "lr", "lr_decay"}
OF_OLD |= {"lr_interval", "beta_1", "beta_2", "eps", "weight_decay", "select", "variants", "initial_weights"}
CHANGES = ("steps=40", "schedule=cosine", "warmup_steps=3", "label_smoothing=0.1", "ema_decay=0.9", "balance_classes=true")


def folder_of(tmp_path, *words: str) -> str:
    return run_of(small_settings(tmp_path, *(f"train.{word}" for word in words)), "some-store").folder.name


def test_runs_keep_the_names_that_they_had_before_these_settings(tmp_path):
    assert run_recipe(small_settings(tmp_path))["train"].keys() == OF_OLD
    names = [folder_of(tmp_path), *(folder_of(tmp_path, change) for change in (*CHANGES, "early_stop_looks=2"))]
    assert len(set(names)) == len(names)


def test_what_decides_nothing_is_in_no_name(tmp_path):
    assert folder_of(tmp_path, "checkpoint_minutes=0") == folder_of(tmp_path)
    in_steps = folder_of(tmp_path, "steps=40")
    assert in_steps == folder_of(tmp_path, "steps=40", "epochs=9") == folder_of(tmp_path, "steps=40", "steps_per_dev=4")
    assert in_steps != folder_of(tmp_path, "steps=40", "steps_per_dev=5")


def test_rounds_without_steps_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"^train\.steps_per_dev=5: only with train\.steps; in epochs dev is looked at after each$"):
        small_settings(tmp_path, "train.steps_per_dev=5")
