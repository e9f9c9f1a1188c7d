"""Worker processes for jobs that make files: one thread each, gone with the parent, silent on Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed

from threadpoolctl import threadpool_limits

from sourcetracing.progress import bar

MOST_WORKERS = 8


def run_jobs(jobs: Iterable[tuple], *, workers: int, prepare: Callable, prepare_with: tuple, desc: str) -> None:
    """Runs jobs (function, argument, ...) in `workers` processes (0 = one per core, at most 8), each after `prepare(*prepare_with)`.

    The first exception of a job is raised here; jobs not yet begun are dropped, those under way (well under a second each) end.
    """
    jobs = list(jobs)
    workers = min(workers or min(os.cpu_count() or 1, MOST_WORKERS), len(jobs))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(prepare, prepare_with))
    try:
        futures = [pool.submit(*job) for job in jobs]
        for future in bar(as_completed(futures), total=len(futures), desc=desc, unit="file"):
            future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(prepare: Callable, prepare_with: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    threadpool_limits(1)  # also makes sums, hence bytes, the same for any number of cores
    prepare(*prepare_with)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
