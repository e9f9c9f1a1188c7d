"""An exponential moving average of what a network learns (`train.ema_decay`): steadier than its last step, at no cost in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sourcetracing.training.checkpoints import learned_tensors


class WeightAverage:
    """After step n (from 1): average = d * average + (1 - d) * weights, d = min(decay, n / (n + 9)); at first the initial weights.

    So the first steps, whose weights are hardly trained, are soon forgotten, and a decay of 0.999 does for short trainings too. Buffers
    (BatchNorm's statistics) are averaged like weights; whole numbers are copied.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay, self.num_steps = model, decay, 0
        self.tensors = _copies(learned_tensors(model))

    @torch.no_grad()
    def update(self) -> None:
        """After each optimizer step."""
        self.num_steps += 1
        decay = min(self.decay, self.num_steps / (self.num_steps + 9))
        for name, tensor in learned_tensors(self.model).items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:
                self.tensors[name].copy_(tensor)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averaged weights; what is set in it meanwhile (centroids of classes) stays with the average alone."""
        own = _copies(learned_tensors(self.model))
        _put(self.tensors, self.model)
        yield
        self.tensors = _copies(learned_tensors(self.model))
        _put(own, self.model)

    def restore(self, tensors: dict[str, Tensor], num_steps: int) -> None:
        """Puts back `tensors` and `num_steps` of an interrupted training, on the device of the network."""
        own = learned_tensors(self.model)
        self.tensors = {name: tensor.to(own[name].device) for name, tensor in tensors.items()}
        self.num_steps = num_steps


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def _put(tensors: dict[str, Tensor], model: nn.Module) -> None:
    for name, tensor in learned_tensors(model).items():
        tensor.copy_(tensors[name])
