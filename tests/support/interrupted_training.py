"""A training that is killed at a chosen moment."""

from __future__ import annotations

import torch

from sourcetracing.training.checkpoints import load_checkpoint
from sourcetracing.training.loop import train_step
from sourcetracing.training.runs import TrainingRun

CPU = torch.device("cpu")


class Killed(BaseException):
    """Stands for kill -9 at a chosen moment."""


def die_after(epoch: int):
    def on_epoch(done: int) -> None:
        if done == epoch:
            raise Killed

    return on_epoch


def weights_of(run: TrainingRun) -> dict[str, torch.Tensor]:
    return load_checkpoint(run.files.weights)[0]


def dying_at_step(number: int, train_step=train_step):
    """A stand-in for `loop.train_step` that is killed in its call `number` (from 1), and counts calls in `calls`."""

    def step(*arguments):
        step.calls += 1
        if step.calls == number:
            raise Killed
        return train_step(*arguments)

    step.calls = 0
    return step
