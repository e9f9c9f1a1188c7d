"""A check that a map is of what was learned: the same network with its last layer shuffled has to give another one."""

from __future__ import annotations

from copy import copy

import torch

from sourcetracing.runtime.seeding import seed_of
from sourcetracing.tracing.system import TracingSystem
from sourcetracing.training.checkpoints import load_trained
from sourcetracing.training.label_classes import head_sizes
from sourcetracing.training.networks import build_model


def with_shuffled_last_layer(system: TracingSystem, seed: int) -> TracingSystem | None:
    """A copy whose last matrix with a side as long as there are classes has its entries in another order; None where there is no such.

    Heads of further labels stay: the answers that are explained are the first head's.
    """
    model = build_model(system.settings, system.feature_shape, head_sizes(system.label_classes))
    load_trained(model, system.run.files.weights)
    num_classes = len(system.classes)
    found = [
        tensor
        for name, tensor in model.state_dict().items()
        if tensor.ndim == 2 and num_classes in tensor.shape and tensor.is_floating_point() and "heads" not in name.split(".")
    ]
    if not found:
        return None
    generator = torch.Generator().manual_seed(seed_of(seed, "explain", "last layer"))
    order = torch.randperm(found[-1].numel(), generator=generator)
    found[-1].copy_(found[-1].flatten()[order].reshape(found[-1].shape))
    changed = copy(system)
    changed.model = model.eval().to(system.device)
    return changed
