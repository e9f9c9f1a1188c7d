"""The blocks of a feature store by way of an encoder that wants batches: decode in threads, encode in one place, write in threads.

    utterances ─► decoders (threads) ─► batches in order ─► encoder (this thread) ─► one writer per block (threads) ─► finished blocks

A batch holds utterances with all their variants and is cut at fixed places within a block. So the bytes depend on compute.encoder_batch and
on the device, but neither on the number of workers nor on an interruption. Each stage holds a few batches at most: memory is flat.

On CUDA the encoder is one batch ahead of what is waited for: while the device computes it, the results of the one before are handed on.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sourcetracing.features.blocks import BlockMaker
from sourcetracing.features.front_end import row_peaks
from sourcetracing.runtime.compute import mark, seconds_between, to_host
from sourcetracing.runtime.npy import write_at
from sourcetracing.runtime.parallel import resolve_workers

WRITERS = 2  # a block can be made durable while the next one is written


@dataclass
class Batch:
    """Utterances of one block. waveforms: (utterances x variants, samples) float32, which the decoders fill."""

    block: int
    is_last: bool
    items: list[Any]
    waveforms: Tensor
    decoding: list[Future]


@dataclass
class Encoded:
    """What the encoder made of a batch: rows (..., in the store's number type) and `row_peaks`, there once `end` is reached."""

    batch: Batch
    rows: Tensor
    peaks: Tensor
    start: torch.cuda.Event | float
    end: torch.cuda.Event | float


def encode_blocks(make: BlockMaker, blocks: list[int]) -> Iterator[tuple[int, int]]:
    """Yields (block, CRC-32) in the order of `blocks`, each once it is durable on disk. Raises `UserError`."""
    decoders = ThreadPoolExecutor(resolve_workers(make.settings.compute.workers), "decode")
    writers = ThreadPoolExecutor(WRITERS, "write")
    try:
        yield from _written(make, _encoded(make, _decoded(make, blocks, decoders)), writers)
    finally:  # after an error or Ctrl-C: what is under way ends within a second, what waits is dropped
        decoders.shutdown(cancel_futures=True)
        writers.shutdown(cancel_futures=True)


def _decoded(make: BlockMaker, blocks: list[int], decoders: ThreadPoolExecutor) -> Iterator[Batch]:
    """Batches whose waveforms are there; the decoders are kept busy with the ones to come."""
    per_batch, num_workers = make.front_end.utterances_per_batch, resolve_workers(make.settings.compute.workers)
    num_ahead = max(2, -(-2 * num_workers // per_batch))
    ahead: deque[Batch] = deque()
    for block in blocks:
        items = list(make.job.block_items(block).itertuples())
        for first in range(0, len(items), per_batch):
            ahead.append(_start(make, decoders, block, items[first : first + per_batch], first + per_batch >= len(items)))
            if len(ahead) > num_ahead:
                yield _wait(make, ahead.popleft())
    while ahead:
        yield _wait(make, ahead.popleft())


def _start(make: BlockMaker, decoders: ThreadPoolExecutor, block: int, items: list[Any], is_last: bool) -> Batch:
    num_variants = len(make.settings.augment.variants)
    shape = (len(items) * num_variants, make.num_samples)
    waveforms = torch.empty(shape, pin_memory=make.front_end.device.type == "cuda")
    places = waveforms.numpy().reshape(len(items), num_variants, -1)

    def decode(item: Any, place: np.ndarray) -> None:
        place[:] = make.waveforms(item)

    return Batch(block, is_last, items, waveforms, [decoders.submit(decode, *pair) for pair in zip(items, places, strict=True)])


def _wait(make: BlockMaker, batch: Batch) -> Batch:
    with make.front_end.watch("waiting for data"):
        for future in batch.decoding:
            future.result()
    return batch


def _encoded(make: BlockMaker, batches: Iterable[Batch]) -> Iterator[tuple[Batch, np.ndarray]]:
    """(batch, its rows in the store's number type), one batch behind what the device has been given."""
    before = None
    for batch in batches:
        given = _encode(make, batch)
        if before:
            yield _finish(make, before)
        before = given
    if before:
        yield _finish(make, before)


@torch.inference_mode()
def _encode(make: BlockMaker, batch: Batch) -> Encoded:
    device = make.front_end.device
    start = mark(device)
    features = make.front_end(batch.waveforms)
    rows, peaks = to_host(features.to(make.job.dtype)), to_host(row_peaks(features))
    return Encoded(batch, rows, peaks, start, mark(device))


def _finish(make: BlockMaker, encoded: Encoded) -> tuple[Batch, np.ndarray]:
    make.front_end.watch.add("encoding", seconds_between(encoded.start, encoded.end))
    num_variants = len(make.settings.augment.variants)
    for item, peaks in zip(encoded.batch.items, encoded.peaks.split(num_variants), strict=True):
        make.refuse_overflow(peaks, item.utt_id)
    return encoded.batch, encoded.rows.numpy()


def _written(make: BlockMaker, encoded: Iterable[tuple[Batch, np.ndarray]], writers: ThreadPoolExecutor) -> Iterator[tuple[int, int]]:
    """Hands rows to the writer of their block; yields blocks as their writers end."""
    closed: deque[tuple[int, Future]] = deque()
    writer = None
    try:
        for batch, rows in encoded:
            writer = writer or BlockWriter(make, batch.block, writers)
            with make.front_end.watch("waiting for the disk"):
                writer.put(rows)
            if batch.is_last:
                writer.put(None)
                closed.append((batch.block, writer.crc))
                writer = None
            while closed and closed[0][1].done():
                block, crc = closed.popleft()
                yield block, crc.result()
        for block, crc in closed:
            with make.front_end.watch("waiting for the disk"):
                crc.result()
            yield block, crc.result()
    finally:
        if writer:
            writer.abort()


class _Abort(Exception):
    """Ends the thread of a block that is given up."""


class BlockWriter:
    """Writes one block to its place in a thread of `writers`, piece by piece; `crc` is the block's CRC-32 to come."""

    def __init__(self, make: BlockMaker, block: int, writers: ThreadPoolExecutor):
        self.make, self.block = make, block
        self.pieces: queue.Queue[np.ndarray | None | _Abort] = queue.Queue(maxsize=1)
        self.crc = writers.submit(self._write)

    def put(self, piece: np.ndarray | None) -> None:
        """The next rows, or None behind the last ones. Waits while the disk is behind. Raises what the thread died of."""
        while True:
            if self.crc.done():
                self.crc.result()
            try:
                return self.pieces.put(piece, timeout=0.1)
            except queue.Full:
                continue

    def abort(self) -> None:
        """Ends a thread that waits for more. The block is not finished and will be made again."""
        while not self.pieces.empty():
            self.pieces.get_nowait()
        self.pieces.put_nowait(_Abort())  # nobody else puts, so there is room

    def _write(self) -> int:
        with self.make.front_end.watch("writing"):
            file = self.make.job.file
            return write_at(file.path, file.offset_bytes(self.block), self._pieces(), durable=True)

    def _pieces(self) -> Iterator[np.ndarray]:
        while True:
            with self.make.front_end.watch("writers waiting"):
                piece = self.pieces.get()
            if piece is None:
                return
            if isinstance(piece, _Abort):
                raise piece
            yield piece
