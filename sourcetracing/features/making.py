"""Makes the blocks of a feature store.

On a CPU each utterance is handled by itself (its variants one after the other in an SSL encoder, together otherwise), so the bytes depend
neither on the number of workers nor on the block size nor on where an earlier run was killed. Batching whole blocks was measured too: no
faster at best, twice as slow where the intermediate spectra fall out of the processor's cache. An encoder on a GPU wants batches:
`encoder_batches`.

The workers are threads. All that costs time (decoding, resampling, FFTs, torch) releases the interpreter lock, two threads do 1.5 to
1.8 times the work of one, and they start at once, where a process would first spend seconds on importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

import torch

from sourcetracing.features.blocks import BlockMaker, StoreJob
from sourcetracing.features.encoder_batches import encode_blocks
from sourcetracing.features.front_end import FrontEnd, build_front_end
from sourcetracing.runtime.compute import keep_freed_memory, one_thread_each
from sourcetracing.runtime.parallel import resolve_workers


def opened(job: StoreJob) -> Callable[[Sequence[int]], Iterator[tuple[int, int]]]:
    """`make_blocks` of a job with a front-end of its own, as a worker of a cluster needs it. Raises `UserError`."""
    return partial(make_blocks, job, build_front_end(job.settings))


def make_blocks(job: StoreJob, front_end: FrontEnd, blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields (block, CRC-32) as blocks get finished: by threads that each use one core, or in batches of the encoder."""
    keep_freed_memory()
    make = BlockMaker(job, front_end)
    if front_end.is_batched:
        yield from encode_blocks(make, blocks)
        return
    # A fresh thread counts its own OpenMP threads: without the initializer its first matrix products would use all cores.
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with one_thread_each(), ThreadPoolExecutor(resolve_workers(job.settings.compute.workers), **one_thread) as pool:
        pending = {pool.submit(make, block): block for block in blocks}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        except BaseException:  # an error, or Ctrl-C: blocks under way end within a second and are made again next time
            pool.shutdown(cancel_futures=True)
            raise
