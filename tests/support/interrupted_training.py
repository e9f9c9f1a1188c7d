"""A training that is killed at a chosen moment."""

from __future__ import annotations

import torch

from sourcetracing.training.checkpoints import load_checkpoint
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
