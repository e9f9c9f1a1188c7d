"""A device audit without a device: whole trainings on a second device that the CPU plays (`tests/support/second_device.py`)."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from torch import distributed

from sourcetracing.runtime.process_group import ProcessGroup
from sourcetracing.scoring.scores import read_scores, score_run
from sourcetracing.training import loop
from sourcetracing.training.loop import evaluate, train_run
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.interrupted_training import CPU, weights_of
from tests.support.second_device import WrongDevice, second_device
from tests.support.small_backends import FITTED_BACKENDS, SMALL_BACKENDS
from tests.support.small_store import small_settings, write_store


def new_run(folder, *words: str) -> TrainingRun:
    return run_of(small_settings(folder, "train.languages=[en]", "train.epochs=1", "evaluation.splits=[dev,eval]", *words), "some-store")


SLOW = {"aasist"}
EACH_BACKEND = {**SMALL_BACKENDS, **FITTED_BACKENDS}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in EACH_BACKEND])
def test_training_and_scoring_keep_to_their_device_and_give_what_the_cpu_gives(name, tmp_path):
    store = write_store(tmp_path / "features", utterances_per_group=9)
    for folder in ("here", "there"):
        run = new_run(tmp_path / folder, *EACH_BACKEND[name])
        if folder == "here":
            expected = run
            train_run(run, store, CPU)
            score_run(run, store, CPU)
            continue
        with second_device() as device:
            train_run(run, store, device)
            score_run(run, store, device)
    for name, tensor in weights_of(expected).items():
        torch.testing.assert_close(weights_of(run)[name], tensor, rtol=1e-5, atol=1e-6)
    for split in ("dev", "eval"):
        found, wanted = (read_scores(one, split)[["logit_0", "logit_1", "logit_2"]] for one in (run, expected))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_what_processes_exchange_after_an_epoch_lies_on_the_cpu(run, store, monkeypatch):
    """torchrun on two GPUs ended after the first epoch: dev logits were restored on the GPU of the process that had sent them."""

    def pickled_twice(everyones, mine):
        everyones[:] = [pickle.loads(pickle.dumps(mine)) for _ in everyones]

    monkeypatch.setattr(distributed, "all_gather_object", pickled_twice)
    with second_device() as device:
        rows = loop.select_rows(store, run.settings, "dev", ["en"], device)
        model = loop.start_or_resume(run.settings, store.shape[1:], loop.RunFolder(run.folder), loop.CrossEntropy, rows).model
        halves = evaluate(model, rows, run.settings, ProcessGroup(0, 2))
        first_half = loop.select_rows(store, run.settings, "dev", ["en"], device)
        first_half.labels, first_half.resident = (part[: len(rows) // 2] for part in (rows.labels, rows.resident))
        first_half.rows = rows.rows[: len(rows) // 2]
        alone = evaluate(model, first_half, run.settings)
    assert halves == pytest.approx(alone)


@pytest.mark.parametrize("size", [1, 2])
def test_gather_refuses_a_tensor_of_another_device(size):
    with second_device() as device:
        tensor = torch.ones(3).to(device)
        with pytest.raises(AssertionError, match="gather: a tensor on meta; move it to the CPU first"):
            ProcessGroup(0, size).gather([("logits", tensor)])


def test_the_second_device_refuses_what_a_gpu_refuses():
    with second_device() as device:
        here = torch.arange(6.0).reshape(2, 3)
        there = here.to(device)
        torch.testing.assert_close((there * 2 + torch.tensor(1.0)).cpu(), here * 2 + 1)  # a number may come from the CPU
        torch.testing.assert_close(there[torch.tensor([1])].cpu(), here[[1]])  # and so may an index
        for mistake in (
            lambda: there + here,
            lambda: here @ there.T,
            lambda: torch.cat([here, there]),
            lambda: there.numpy(),
            lambda: np.asarray(there),
            lambda: pickle.dumps(there),
            lambda: torch.save(there, io.BytesIO()),
        ):
            with pytest.raises(WrongDevice):
                mistake()
