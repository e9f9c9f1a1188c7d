"""Worker processes that use one thread each, leave Ctrl-C to their parent and never outlive it; and threads.

joblib's workers survive a kill of their parent, and neither it nor an executor's `map` stops at once at the first error.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

import psutil

from sourcetracing.errors import UserError

MOST_WORKERS = 8
QUEUED_PER_WORKER = 2
_num_sharing = 1  # processes that were started together with this one and do the same, itself among them
_num_on_device = 1  # those of them that share its GPU
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def available_cores() -> int:
    """Cores this process may run on (respects taskset and containers' cpusets)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def resolve_workers(workers: int) -> int:
    """The number of worker processes that a setting asks for; 0 = one per core, at most 8."""
    return workers if workers > 0 else min(available_cores(), MOST_WORKERS)


def _exit_with_parent(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(0.5)
    os._exit(1)


def start_worker(parent_pid: int, num_workers: int = 1, initializer: Callable | None = None, initargs: tuple = ()) -> None:
    """Runs first in each worker process."""
    share_memory_among(num_workers)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_exit_with_parent, args=(parent_pid,), daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def share_memory_among(num_processes: int, on_device: int | None = None) -> None:
    """Tells how many processes on this machine, this one included, are about to fill memory with data of their own.

    on_device: how many of them share its GPU; by default all of them.
    """
    global _num_sharing, _num_on_device  # noqa: PLW0603 (facts of the process, set once)
    _num_sharing, _num_on_device = num_processes, on_device or num_processes


def memory_budget() -> int:
    """Bytes that this process may fill with data it could also read from disk: half of what is free, shared among those that do the same.

    Those are the workers of a pool, the tasks of a Ray cluster on this machine, and the processes that torchrun started here. Each asks
    for itself, so without the sharing eight of them would take eight halves.
    """
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    return psutil.virtual_memory().available // (2 * _num_sharing * (max(1, int(local)) if local.isdecimal() else 1))


def share_of_device(free_bytes: int) -> int:
    """Bytes of a GPU's memory that this process may fill with data it could also have elsewhere; `memory_budget` is the machine's."""
    return free_bytes // (2 * _num_on_device)


def _start_pool(num_workers: int, initializer: Callable | None, initargs: tuple) -> ProcessPoolExecutor:
    # Thread counts are read when a library is first imported, which in a spawned child is before any initializer of ours runs.
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    return ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(os.getpid(), num_workers, initializer, initargs),
    )


def map_unordered(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    num_workers: int,
    initializer: Callable | None = None,
    initargs: tuple = (),
    queued_per_worker: int = QUEUED_PER_WORKER,
) -> Iterator[tuple[Any, Any]]:
    """Yields (item, function(item)) as they finish. Never holds more than a few items in flight, so memory stays flat.

    On an error or Ctrl-C in the parent the workers are killed at once: the caller's work must be resumable by design.
    A worker that dies (the system kills it for lack of memory, say) is a `UserError`.
    """
    saved = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    pool = _start_pool(num_workers, initializer, initargs)
    try:
        yield from _as_finished(pool, function, items, queued_per_worker * num_workers)
        pool.shutdown()
    except BrokenProcessPool:
        _kill(pool)
        raise UserError(
            "a worker process was killed, most likely for lack of memory. Run the same command again with fewer: compute.workers=1"
        ) from None
    except BaseException:
        _kill(pool)
        raise
    finally:
        for name, value in saved.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def in_threads(function: Callable[[Any], Any], items: Iterable[Any], *, num_workers: int) -> Iterator[tuple[Any, Any]]:
    """Yields (item, function(item)) as they finish, a few in flight; the first error ends it all."""
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            yield from _as_finished(pool, function, items, QUEUED_PER_WORKER * num_workers)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _as_finished(pool: Executor, function: Callable[[Any], Any], items: Iterable[Any], num_in_flight: int) -> Iterator[tuple[Any, Any]]:
    pending: dict[Future, Any] = {}
    items = iter(items)
    while True:
        for item in islice(items, num_in_flight - len(pending)):
            pending[pool.submit(function, item)] = item
        if not pending:
            return
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            yield pending.pop(future), future.result()


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # Python 3.14 has kill_workers(); until then this is the only handle
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)
