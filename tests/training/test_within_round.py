"""A training that is killed within a round ends with the bits of one that is not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.runtime.process_group import ProcessGroup
from sourcetracing.training import loop
from sourcetracing.training.batches import Batch
from sourcetracing.training.checkpoints import load_checkpoint
from sourcetracing.training.loop import between_steps, train_run, train_step
from sourcetracing.training.run_folder import HISTORY_COLUMNS, RunFolder
from sourcetracing.training.runs import TrainingRun, run_of
from sourcetracing.training.within_round import Position, random_states, restore_random_states
from tests.support.interrupted_training import CPU, Killed, dying_at_step, weights_of
from tests.support.small_backends import SMALL_BACKENDS
from tests.support.small_store import small_settings

FIGURES = [name for name in HISTORY_COLUMNS if name != "seconds"]
EACH_STEP = "train.checkpoint_minutes=1e-9"
MODES = {
    "epochs": SMALL_BACKENDS["ecapa_tdnn"],
    "steps": [*SMALL_BACKENDS["ecapa_tdnn"], "train.steps=10", "train.steps_per_dev=4", "train.schedule=cosine"],
    "average": [*SMALL_BACKENDS["ecapa_tdnn"], "train.ema_decay=0.8", "train.label_smoothing=0.1", "train.balance_classes=true"],
    "dropout": SMALL_BACKENDS["aasist"],
    "metric loss": [*SMALL_BACKENDS["embedding_head"], "metric_learning.loss=aam_softmax", "train.ema_decay=0.8"],
}


def new_run(folder, mode: str, *words: str) -> TrainingRun:
    basics = ["train.languages=[en]", "train.epochs=2", EACH_STEP]
    return run_of(small_settings(folder, *basics, *MODES[mode], *words), "some-store")


def finish(run: TrainingRun, store, monkeypatch, step=loop.train_step) -> int:
    """Trains a run to its end; returns in how many steps."""
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", counted := dying_at_step(0, step))
        train_run(run, store, CPU)
    return counted.calls


def kill_at(run: TrainingRun, number: int, store, monkeypatch, step=loop.train_step) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop, "train_step", dying_at_step(number, step))
        train_run(run, store, CPU)


def require_same(run: TrainingRun, other: TrainingRun) -> None:
    expected, found = weights_of(run), weights_of(other)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    pd.testing.assert_frame_equal(*(pd.read_csv(one.files.history)[FIGURES] for one in (run, other)), check_exact=True)
    assert not other.files.last.exists() and not other.files.progress.exists()


@pytest.mark.parametrize("mode", [pytest.param(mode, marks=[pytest.mark.slow] * (mode == "dropout")) for mode in MODES])
@pytest.mark.parametrize("step", [2, 4, 6, 8])
def test_killed_within_a_round_and_resumed_equals_uninterrupted(store, tmp_path, monkeypatch, mode, step):
    run = new_run(tmp_path, mode)
    num_steps = finish(run, store, monkeypatch)
    other = replace(run, folder=tmp_path / "interrupted")
    kill_at(other, step, store, monkeypatch)
    assert finish(other, store, monkeypatch) == num_steps - (step - 1)  # it went on at the step that was killed
    require_same(run, other)


def drawing_step(state, *rest):
    """A step that draws from the global generators, as dropout and SpecAugment do, and lets the weights know."""
    sums = train_step(state, *rest)
    with torch.no_grad():
        next(state.model.parameters()).add_(1e-3 * (torch.rand(()) + np.random.random()))  # noqa: NPY002
    return sums


def test_what_is_drawn_goes_on_where_it_was(store, tmp_path, monkeypatch):
    run = new_run(tmp_path, "epochs")
    finish(run, store, monkeypatch, drawing_step)
    other = replace(run, folder=tmp_path / "interrupted")
    kill_at(other, 4, store, monkeypatch, drawing_step)
    finish(other, store, monkeypatch, drawing_step)
    require_same(run, other)


def test_killed_again_and_again(store, tmp_path, monkeypatch):
    run = new_run(tmp_path, "average")
    finish(run, store, monkeypatch)
    other = replace(run, folder=tmp_path / "interrupted")
    for _ in range(4):
        kill_at(other, 3, store, monkeypatch)
    finish(other, store, monkeypatch)
    require_same(run, other)


def test_steps_since_the_last_save_are_taken_again(store, tmp_path, monkeypatch):
    run = new_run(tmp_path, "average")
    num_steps = finish(run, store, monkeypatch)
    other = replace(run, folder=tmp_path / "interrupted")
    keep = loop.keep_within_round
    monkeypatch.setattr(loop, "keep_within_round", lambda state, position, *rest: position.step == 2 and keep(state, position, *rest))
    kill_at(other, 5, store, monkeypatch)
    assert load_checkpoint(other.files.last)[1]["within_round"]["step"] == 2
    assert finish(other, store, monkeypatch) == num_steps - 2
    require_same(run, other)


def test_saved_as_often_as_one_says(store, tmp_path, monkeypatch):
    clock, saved = SimpleNamespace(now=0.0), []
    monkeypatch.setattr("sourcetracing.training.loop.time.monotonic", lambda: clock.now)
    step = loop.train_step

    def slow_step(*arguments):
        clock.now += 60  # a step takes a minute
        return step(*arguments)

    monkeypatch.setattr(loop, "train_step", slow_step)
    keep = loop.keep_within_round
    monkeypatch.setattr(
        loop, "keep_within_round", lambda state, position, *rest: (saved.append(position.step), keep(state, position, *rest))
    )
    words = ["train.steps=24", "train.steps_per_dev=12"]
    for minutes, expected in ((5, [5, 10, 5, 10]), (12, []), (0, [])):
        saved.clear()
        run = new_run(tmp_path / str(minutes), "epochs", *words, f"train.checkpoint_minutes={minutes}")
        train_run(run, store, CPU)
        assert saved == expected


def test_a_group_of_processes_saves_at_the_end_of_rounds_only(run):
    run.settings.train.checkpoint_minutes = 1e-9
    state = SimpleNamespace(group=ProcessGroup(0, 2), saved_at=-1e9, next_epoch=0)  # without weights: saving them would raise
    between_steps(state, run.settings, RunFolder(run.folder), CPU)(Position(1), Batch(np.arange(4)), 5)
    assert run.files.progress.is_file() and not run.files.last.exists()


def test_random_states_come_back():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (what the transformers library draws from)
    np.random.normal()  # noqa: NPY002 (the second of its pair waits)
    states = {name: state.clone() for name, state in random_states(CPU).items()}
    draws = [(torch.rand(5).tolist(), np.random.normal(size=3).tolist(), np.random.randint(99, size=700).tolist())]  # noqa: NPY002
    restore_random_states(states, CPU)
    draws.append((torch.rand(5).tolist(), np.random.normal(size=3).tolist(), np.random.randint(99, size=700).tolist()))  # noqa: NPY002
    assert draws[0] == draws[1]
