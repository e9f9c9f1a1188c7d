"""Several processes that train one network together, as torchrun and accelerate launch start them; by default a process is alone."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.utils._pytree import tree_leaves

from sourcetracing.runtime.compute import prepare_device
from sourcetracing.settings.paths import Compute


@dataclass(frozen=True)
class ProcessGroup:
    """This process (`rank`, from 0) among `size`; all must call the same methods in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def share(self, items: np.ndarray) -> np.ndarray:
        """This process's consecutive part of an array; parts differ in length by one at most."""
        return np.array_split(items, self.size)[self.rank]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()

    def gather(self, mine: Any) -> Sequence[Any]:
        """What each process has, in the order of their ranks, on every process. Tensors must lie on the CPU.

        It is pickled, and a tensor of a GPU would come back on the sender's GPU, where no other process computes.
        """
        strangers = [leaf for leaf in tree_leaves(mine) if isinstance(leaf, torch.Tensor) and leaf.device.type != "cpu"]
        assert not strangers, f"gather: a tensor on {strangers[0].device}; move it to the CPU first"
        if self.size == 1:
            return [mine]
        everyones: list[Any] = [None] * self.size
        distributed.all_gather_object(everyones, mine)
        return everyones


ALONE = ProcessGroup()


def size_of_group() -> int:
    """How many processes torchrun or accelerate started together with this one; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined_group(compute: Compute) -> Iterator[tuple[ProcessGroup, torch.device]]:
    """The group that this process was started in, and its device: GPU number LOCAL_RANK, or the CPU. Raises as `prepare_device` does."""
    device = prepare_device(compute)
    size = size_of_group()
    if size == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(distributed.get_rank(), size), device
    finally:
        gc.collect()  # what still holds the group's threads would abort the process when it ends
        distributed.destroy_process_group()
