"""Work on the machines of a Ray cluster (`executor=ray`): blocks of a feature store, training runs, scores.

All machines must have the same Python packages and see the same folders under the same paths: the checkout, the corpus, paths.exp. Only
settings and row tables travel by Ray; audio, features and weights are files. A task whose worker or machine dies is done again elsewhere.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from sourcetracing.errors import UserError
from sourcetracing.features.store import BlockFile
from sourcetracing.runtime.compute import pick_device, prepare_cpu
from sourcetracing.runtime.extras import needs
from sourcetracing.runtime.parallel import THREAD_VARIABLES, share_memory_among
from sourcetracing.settings.places import PROJECT_ROOT
from sourcetracing.settings.schema import Settings

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.exceptions import RayError

MOST_RETRIES = 10  # of a task whose worker or machine died; what fails by an error of its own is not tried again
BLOCKS_PER_GPU_TASK = 8
SECONDS_TO_ANSWER = 5.0  # for a cluster's address
# What decides where the Hub's files are looked for; a token is not handed on, for Ray writes these into its logs.
_HANDED_ON = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_HOW_TO_START = "Start one: `ray start --head` here, `ray start --address=<this machine>:6379` on the others (docs/scaling.md)"


class BlockJob(Protocol):
    """What it takes to make any block of a store; small, for it travels."""

    settings: Settings
    file: BlockFile


Opened = Callable[[Any], Callable[[Sequence[int]], Iterable[tuple[int, int]]]]


def connect(settings: Settings) -> ModuleType:
    """The module `ray`, connected to the cluster at executor.address. Raises `UserError` when there is none."""
    with needs("cluster", "executor=ray"):
        import ray

    if ray.is_initialized():
        return ray
    address = settings.executor.address
    _refuse_silent((address == "auto" and os.environ.get("RAY_ADDRESS")) or address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # spares a warning
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    own = {"include_dashboard": False} if address == "local" else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, runtime_env={"env_vars": _worker_environment()}, **quiet, **own)
    except ConnectionError:
        raise UserError(f"executor.address={address}: no Ray cluster runs here. {_HOW_TO_START}") from None
    except (ValueError, RuntimeError) as error:  # another version of Ray or Python there, say
        raise UserError(f"executor.address={address}: {' '.join(str(error).split())}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray replaces it by one that ends the process without a word
    return ray


def _refuse_silent(address: str) -> None:
    """Ray itself waits for minutes, with a page of warnings, when nobody answers."""
    if address in ("auto", "local"):
        return
    match = re.fullmatch(r"\[?([\w.:-]+?)\]?:(\d+)", address)
    if not match:
        raise UserError(f"executor.address={address}: auto, local or host:port is expected, such as 10.0.0.1:6379")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"executor.address={address}: no Ray cluster answers ({error}). {_HOW_TO_START}") from None


def _worker_environment() -> dict[str, str]:
    inherited = os.environ.get("PYTHONPATH")
    variables = {"PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), *([inherited] if inherited else [])])}
    variables |= dict.fromkeys(THREAD_VARIABLES, "1")
    return variables | {name: os.environ[name] for name in _HANDED_ON if name in os.environ}


def _kind_of_worker(settings: Settings, on_gpu: bool) -> str:
    """GPU or CPU: what a task occupies one of."""
    there = connect(settings).cluster_resources()
    if on_gpu and settings.compute.device != "cpu" and there.get("GPU", 0) >= 1:
        return "GPU"
    if on_gpu and settings.compute.device not in ("auto", "cpu"):
        raise UserError(f"compute.device={settings.compute.device}, but the Ray cluster has no GPU. Use compute.device=auto or cpu.")
    if there.get("CPU", 0) < 1:
        raise UserError("the Ray cluster has no CPU to offer. Start its machines with `ray start ... --num-cpus=N`")
    return "CPU"


def map_unordered(function: Callable[[Any], Any], items: Sequence[Any], settings: Settings, *, on_gpu: bool) -> Iterator[tuple[Any, Any]]:
    """Yields (item, function(item)) as they finish on the cluster, each by one thread.

    With on_gpu they go to its GPUs, where there are any, `compute.runs_per_gpu` to each. On an error or Ctrl-C here the tasks under way
    are killed: the caller's work must be resumable by design. Raises `UserError`.
    """
    ray = connect(settings)
    kind, sharing = _kind_of_worker(settings, on_gpu), settings.compute.runs_per_gpu
    occupied = {"num_cpus": 1, "num_gpus": 1 / sharing if kind == "GPU" else 0}
    of_machine = most_tasks_of_a_machine(ray.nodes(), kind, len(items), sharing)
    told = (os.getcwd(), of_machine, sharing if kind == "GPU" else of_machine)
    task = ray.remote(_work).options(max_retries=MOST_RETRIES, scheduling_strategy="SPREAD", **occupied)
    pending = {task.remote(function, item, *told): item for item in items}
    try:
        while pending:
            for done in ray.wait(list(pending))[0]:
                yield pending.pop(done), ray.get(done)
    except ray.exceptions.RayError as error:
        if (ours := _in_one_line(error)) is None:
            raise
        raise ours from error
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)


def _in_one_line(error: RayError) -> UserError | OSError | None:
    """What is wrong with a worker, or what it complained of; None for a bug, of which Ray's own account tells more."""
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

    if not isinstance(error, RayTaskError):
        first = str(error).strip().splitlines()[0]
        if not isinstance(error, (NodeDiedError, OutOfMemoryError, WorkerCrashedError)):
            return UserError(f"the Ray cluster does not run tasks: {first}")
        return UserError(
            f"a task was lost {MOST_RETRIES + 1} times, most likely for lack of memory: {first} Ray's logs lie there in "
            "/tmp/ray/session_latest/logs; `ray start --num-cpus=N` makes a machine run fewer tasks at a time"
        )
    if isinstance(error.cause, (UserError, OSError)):
        return error.cause
    if "failed to import" in str(error.cause):
        reason = str(error.cause).strip().splitlines()[-1]
        return UserError(f"a machine of the cluster lacks {PROJECT_ROOT}, or a Python package that is there on this one: {reason}")
    return None


def most_tasks_of_a_machine(nodes: Sequence[Mapping[str, Any]], kind: str, num_tasks: int, runs_per_gpu: int = 1) -> int:
    """How many of some tasks may run side by side on one machine. nodes: what `ray.nodes()` tells; kind: what tasks occupy."""
    there = [int(node["Resources"].get(kind, 0)) * (runs_per_gpu if kind == "GPU" else 1) for node in nodes if node["Alive"]]
    return max(1, min(num_tasks, max(there, default=1)))


def _work(function: Callable[[Any], Any], item: Any, folder: str, of_machine: int, of_device: int) -> Any:
    """Runs in a worker of the cluster, in the folder that the command was given in, beside others on its machine and its GPU."""
    try:
        os.chdir(folder)
    except OSError:
        raise _not_shared(folder) from None
    prepare_cpu(num_threads=1)
    share_memory_among(of_machine, on_device=of_device)
    return function(item)


def _not_shared(path: str | Path) -> UserError:
    return UserError(f"{platform.node()} does not see {path}: all machines of the cluster must have the same folders (docs/scaling.md)")


def num_workers(settings: Settings, *, on_gpu: bool) -> int:
    """How many tasks of `make_blocks` the cluster runs at a time. Raises `UserError`."""
    kind = _kind_of_worker(settings, on_gpu=on_gpu)
    tasks_each = settings.compute.runs_per_gpu if kind == "GPU" else 1
    return int(connect(settings).cluster_resources()[kind]) * tasks_each


def device_type(settings: Settings, *, on_gpu: bool) -> str:
    """cuda or cpu: where tasks compute, for records. Raises `UserError`."""
    return {"GPU": "cuda", "CPU": "cpu"}[_kind_of_worker(settings, on_gpu=on_gpu)]


def make_blocks(job: BlockJob, opened: Opened, blocks: Sequence[int], *, on_gpu: bool) -> Iterator[tuple[int, int]]:
    """Yields (block, CRC-32) as blocks of a store get finished; workers write them, and what they wrote is read back here.

    opened: a function of a module, called once with the job in each worker; it returns what makes blocks there. Raises `UserError`.
    """
    reference, made = connect(job.settings).put(job), {}
    size = 1
    if _kind_of_worker(job.settings, on_gpu) == "GPU":  # decoding, encoding and writing of neighbouring blocks overlap there
        size = max(1, min(BLOCKS_PER_GPU_TASK, len(blocks) // (2 * num_workers(job.settings, on_gpu=on_gpu))))
    tasks = [blocks[first : first + size] for first in range(0, len(blocks), size)]
    work = partial(_make_blocks, reference, opened, on_gpu)
    for _, results in map_unordered(work, tasks, job.settings, on_gpu=on_gpu):
        made |= results
        yield from results
    _refuse_strangers_bytes(job.file, made)


def _make_blocks(reference: ObjectRef, opened: Opened, on_gpu: bool, blocks: Sequence[int]) -> list[tuple[int, int]]:
    return list(_maker(reference, opened, on_gpu)(blocks))


@lru_cache(maxsize=1)
def _maker(reference: ObjectRef, opened: Opened, on_gpu: bool) -> Callable[[Sequence[int]], Iterable[tuple[int, int]]]:
    """What makes blocks of a job, built once in each worker process."""
    import ray

    job = ray.get(reference)
    if not job.file.path.is_file():
        raise _not_shared(job.file.path)
    if not on_gpu or pick_device(job.settings.compute.device).type == "cpu":
        job.settings.compute.workers = 1  # the cluster runs one task for each core
    return opened(job)


def _refuse_strangers_bytes(file: BlockFile, made: dict[int, int]) -> None:
    """Reads back what the workers wrote: a folder that is not the same everywhere must not become a store with holes."""
    for block, crc in made.items():
        if not file.holds(block, crc):
            raise UserError(
                f"{file.path}: block {block} is not what a worker wrote; do all machines of the cluster see this folder? "
                "Run the same command again"
            )
