"""Device, number type, threads and memory allocator: chosen once, at the door."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sourcetracing.errors import UserError
from sourcetracing.settings.paths import Compute

HALF_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# mallopt's parameter numbers, from <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def pick_device(name: str) -> torch.device:
    """`auto`: CUDA, else MPS, else CPU. A device that is asked for by name but absent is the user's mistake."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    if not available[name]:
        raise UserError(f"compute.device={name}, but this machine has no {name} device. Use compute.device=auto or cpu.")
    return torch.device(name)


def prepare_device(compute: Compute) -> torch.device:
    """The device to compute on, with `compute.deterministic` in force: every process that computes gets its device here.

    Raises `UserError` as `pick_device` does.
    """
    set_deterministic(compute.deterministic)
    return pick_device(compute.device)


def set_deterministic(wanted: bool) -> None:
    """Sums in one order and without TF32, so that a GPU gives the same bytes each time; or torch's own choices.

    Has to come before the first matrix product on a GPU. An operation that has no deterministic form goes on with a warning that names it:
    an error would take such a part away, and silence would leave a promise that does not hold.
    """
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs a pass over each new tensor; nothing here reads one unwritten
    torch.backends.cudnn.deterministic = wanted
    torch.backends.cudnn.benchmark = False  # its choice hangs on the clock
    torch.backends.cudnn.allow_tf32 = not wanted  # torch's default: on for convolutions, off for matrix products
    torch.backends.cuda.matmul.allow_tf32 = False


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16 by itself: GPUs from Ampere on. Older ones (V100, T4) emulate it, slower than float32."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies in bf16 by itself. One that does not imitates it, 3 (AVX-512) to 80 times (AVX2) slower than float32.

    Two signs are needed: the instructions (x86 from Cooper Lake and Zen 4 on, ARM from v8.6 on), and that oneDNN would use them, which
    ONEDNN_MAX_CPU_ISA can forbid; oneDNN alone says yes to any AVX-512. `compute.precision=auto` does not ask this: a CPU's is float32.
    """
    there = torch.cpu.get_capabilities()
    has_instructions = any(there.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return bool(has_instructions and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Autocast to what `resolved_precision` says, or plain float32."""
    dtype = HALF_TYPES.get(resolved_precision(device, precision))
    return torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext()


def encoder_precision(compute: Compute) -> str:
    """`compute.precision` as it is for a frozen encoder."""
    return compute.precision if compute.encoder_precision == "auto" else compute.encoder_precision


def resolved_precision(device: torch.device, precision: str) -> str:
    """float32, bf16 or fp16: what a setting means on a device (`auto`: bf16 where `has_bf16`)."""
    if precision != "auto":
        return precision
    return "bf16" if has_bf16(device) else "float32"


def precision_in_recipes(precision: str) -> str:
    """How recipes, whose digests name folders, write a resolved precision.

    float32 is written `auto`, bf16 as it is: before 2026-11 the setting itself was hashed, so this keeps the names of what a computer
    without CUDA made with the default. What CUDA made with `auto`, and what was made with `float32` by name, has another name now.
    """
    return {"float32": "auto"}.get(precision, precision)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that a device, or this machine, has no memory left."""
    signs = ("out of memory", "ALLOC_FAILED", "can't allocate memory")  # MPS; cuDNN and cuBLAS; CPU
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


def empty_cache(device: torch.device) -> None:
    """Gives freed memory of an accelerator back, so that blocks of another size can be had."""
    if device.type != "cpu":
        getattr(torch, device.type).empty_cache()


def free_bytes(device: torch.device) -> int:
    """Free memory of a CUDA device; 0 of others, where nothing is kept."""
    if device.type != "cuda":
        return 0
    empty_cache(device)  # what a run before this one held is free, but not counted as such
    return torch.cuda.mem_get_info(device)[0]


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in the machine's memory. From CUDA it is under way when this returns: wait for a `mark` set behind it."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor.contiguous(), non_blocking=True)


def mark(device: torch.device) -> torch.cuda.Event | float:
    """A point in time of a device's work; CUDA's lies where its queue of work has got to."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(start: torch.cuda.Event | float, end: torch.cuda.Event | float) -> float:
    """Between two marks; waits until the second is reached."""
    if isinstance(end, float):
        return end - start
    end.synchronize()
    return start.elapsed_time(end) / 1000


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed blocks instead of handing them back to the system after every layer; returns whether it could.

    Each training step frees and asks again for the same hundreds of megabytes. By default blocks above 32 MiB are mapped and unmapped
    each time, and the page faults cost up to half of a CPU training step (benchmarks/training_step.py). Results do not change.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    gibibyte = 1 << 30
    wishes = {_M_MMAP_THRESHOLD: gibibyte, _M_TRIM_THRESHOLD: 2 * gibibyte - 1, _M_TOP_PAD: 1 << 26}
    return all(libc.mallopt(parameter, value) for parameter, value in wishes.items())


def prepare_cpu(num_threads: int) -> None:
    """Threads for tensor arithmetic, and an allocator that keeps what it has."""
    torch.set_num_threads(num_threads)
    keep_freed_memory()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Torch's own threads would compete with ours for the cores, and sums over several threads may differ in the last digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
