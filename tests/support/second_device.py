"""A second device that a CPU can play: tensors on it hold real values, and what a GPU would refuse or cannot do raises `WrongDevice`.

Its tensors say `device=meta` (a name that torch knows everywhere and nothing here uses) and carry a CPU tensor. Each operation on them is
done on the CPU, after the check that every tensor in it lies on the device. Numbers (tensors without dimensions) and indices may come
from the CPU, as on CUDA. numpy, pickle and files take no tensor that lies there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

SECOND = torch.device("meta")
_MOVES = (torch.ops.aten._to_copy, torch.ops.aten.copy_)  # the ways from one device to the other
_TAKES_INDICES = (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_, torch.ops.aten._index_put_impl_)


class WrongDevice(AssertionError):
    """A tensor on the second device met one that is not there, or something that knows no devices."""


class Tensor2(torch.Tensor):
    """A tensor on the second device; `held` is its value on the CPU."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Tensor2:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=SECOND
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        return _run(op, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __reduce_ex__(self, protocol: int):
        raise WrongDevice("a tensor on the second device is pickled: its receiver may have no such device")

    def __array__(self, *args, **kwargs):
        raise WrongDevice("numpy is given a tensor on the second device")

    def numpy(self, *args, **kwargs):
        """Refused, as by CUDA."""
        raise WrongDevice("numpy() of a tensor on the second device")

    def untyped_storage(self):
        """Refused: files are written from the machine's memory."""
        raise WrongDevice("the memory of a tensor on the second device is read (by a file, safetensors or another process)")

    data_ptr = untyped_storage

    def __repr__(self, **kwargs) -> str:
        return f"Tensor2({self.held!r})"


class _Mode(TorchDispatchMode):
    """Catches what makes tensors on the second device out of nothing or out of CPU tensors."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        return _run(op, args, kwargs or {})


def _run(op: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Tensor2)]
    if there:
        _check(op, args, tensors)
    wanted = kwargs.get("device")
    wanted = torch.device(wanted) if wanted is not None else None
    own_kwargs = {**kwargs, "device": torch.device("cpu")} if wanted == SECOND else kwargs
    plain_args, plain_kwargs = tree_map_only(Tensor2, lambda tensor: tensor.held, (args, own_kwargs))
    with torch.inference_mode(False), torch.no_grad():  # views of weights in inference mode are for torch's own tensors alone
        result = op(*plain_args, **plain_kwargs)
        if op._schema.name.endswith("_") and isinstance(args[0], torch.Tensor):  # in place
            return args[0]
        lands_there = wanted == SECOND if wanted is not None else bool(there) and op is not torch.ops.aten._local_scalar_dense.default
        return tree_map_only(torch.Tensor, Tensor2, result) if lands_there else result


def _check(op: Any, args: tuple, tensors: list[torch.Tensor]) -> None:
    if op.overloadpacket in _MOVES:
        return
    if op.overloadpacket in _TAKES_INDICES:
        tensors = [leaf for leaf in tree_leaves((args[0], args[2:])) if isinstance(leaf, torch.Tensor)]
    strangers = [tensor for tensor in tensors if not isinstance(tensor, Tensor2) and tensor.dim()]
    if strangers:
        raise WrongDevice(f"{op}: {tuple(strangers[0].shape)} on the CPU meets a tensor on the second device")


@contextmanager
def second_device() -> Iterator[torch.device]:
    """While this lasts, `tensor.to(device)` of the device it gives makes a tensor of the second device."""
    with _Mode():
        yield SECOND
