"""Computes the blocks of a feature store: decode, crop, augment, front-end, disk.

Each utterance is handled by itself (its variants are one batch for the front-end), so the bytes depend neither on the number of workers
nor on the block size nor on where an earlier run was killed. Batching whole blocks was measured too: no faster at best, twice as slow
where the intermediate spectra fall out of the processor's cache.

The workers are threads. All that costs time (decoding, resampling, FFTs, torch) releases the interpreter lock, two threads do 1.8 times
the work of one, and they start at once, where a process would first spend seconds on importing torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from models.lfcc import LfccFrontEnd
from sourcetracing.audio import crop, load_utterance
from sourcetracing.augment import Augmenter
from sourcetracing.compute import autocast, keep_freed_memory
from sourcetracing.config import Settings
from sourcetracing.errors import UserError
from sourcetracing.noise_bank import open_banks
from sourcetracing.npy import write_at
from sourcetracing.parallel import resolve_workers
from sourcetracing.seeding import rng
from sourcetracing.ssl_front_end import load_ssl


def stored_front_end(settings: Settings) -> str:
    """What the store holds the output of: the front-end, or the waveforms that a fine-tuned one is trained on."""
    return "waveform" if settings.frontend == "ssl" and settings.ssl.mode == "finetune" else settings.frontend


def build_front_end(settings: Settings) -> nn.Module:
    """The module that turns (B, samples) float32 into what is stored, (B, ...)."""
    kind = stored_front_end(settings)
    if kind == "waveform":
        return nn.Identity()
    if kind == "ssl":
        return load_ssl(settings)
    assert kind == "lfcc", kind
    return LfccFrontEnd(sample_rate=settings.audio.sample_rate, **asdict(settings.lfcc)).eval()


@torch.inference_mode()
def apply(front_end: nn.Module, waveforms: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Features (B, ...) float32 on the CPU of waveforms (B, samples); SSL encoders compute where their weights are."""
    if stored_front_end(settings) != "ssl":
        return front_end(waveforms)
    device = next(front_end.parameters()).device
    # On a CPU one at a time is a tenth faster than five together: what lies between the layers stays in the processor's cache.
    batches = waveforms.split(1) if device.type == "cpu" else [waveforms]
    with autocast(device, settings.compute.precision):
        return torch.cat([front_end(batch.to(device)).float().cpu() for batch in batches])


def crop_samples(settings: Settings) -> int:
    """The length of every network input, in samples."""
    return round(settings.audio.crop_seconds * settings.audio.sample_rate)


def cropped_utterance(settings: Settings, path: str | Path, utt_id: str, split: str, digest: str | None = None) -> np.ndarray:
    """The clean signal (crop_samples,) float32 that all variants of an utterance start from. Raises `BadAudio`."""
    waveform = load_utterance(path, settings.audio.sample_rate, digest)
    mode = settings.audio.crop_train if split == "train" else settings.audio.crop_eval
    return crop(waveform, crop_samples(settings), mode, rng(settings.seed, utt_id, "crop"))


@dataclass(frozen=True)
class StoreJob:
    """What it takes to make any block of a store; small, so that it can travel to another process or machine."""

    settings: Settings
    items: pd.DataFrame
    noise_manifests: dict[str, Path]
    path: Path
    header_bytes: int
    shape: tuple[int, ...]
    rows_per_block: int


class BlockMaker:
    """Computes blocks of a store and writes each to its place; threads may share one."""

    def __init__(self, job: StoreJob, front_end: nn.Module):
        self.job, self.settings, self.front_end = job, job.settings, front_end
        self.augmenter = Augmenter(job.settings.augment, open_banks(job.noise_manifests), job.settings.seed)
        self.dtype = getattr(torch, job.settings.store.dtype)
        self.most = torch.finfo(self.dtype).max

    def __call__(self, block: int) -> int:
        """Makes a block durable on disk and returns its CRC-32. Raises `UserError`."""
        num_variants = len(self.settings.augment.variants)
        first_row = block * self.job.rows_per_block
        items = self.job.items.iloc[first_row // num_variants : (first_row + self.job.rows_per_block) // num_variants]
        offset_bytes = self.job.header_bytes + first_row * int(np.prod(self.job.shape[1:])) * self.dtype.itemsize
        return write_at(self.job.path, offset_bytes, (self.stored(item) for item in items.itertuples()), durable=True)

    def stored(self, item) -> np.ndarray:
        """`features` of an utterance in the store's number type. Raises `UserError` when that cannot hold them."""
        features = self.features(item)
        self._refuse_overflow(features, item.utt_id)
        return features.to(self.dtype).numpy()

    def _refuse_overflow(self, features: torch.Tensor, utt_id: str) -> None:
        low, high = features.aminmax()  # NaN comes through
        if -self.most <= low and high <= self.most:
            return
        fits = (features.abs() <= self.most).flatten(1).all(1).tolist()
        hint = ". Use store.dtype=float32" if self.dtype == torch.float16 and features.isfinite().all() else ""
        variant = self.settings.augment.variants[fits.index(False)]
        raise UserError(f"{utt_id}, variant {variant}: its features do not fit {self.settings.store.dtype}, they reach {high:g}{hint}")

    @torch.inference_mode()
    def features(self, item) -> torch.Tensor:
        """(variants, ...feature shape) float32 of one utterance (a row of `items`)."""
        path = Path(self.settings.paths.corpus) / item.path
        clean = cropped_utterance(self.settings, path, item.utt_id, item.split, item.digest)
        return apply(self.front_end, torch.from_numpy(self.augmenter.variants(clean, item.utt_id)), self.settings)


def make_blocks(job: StoreJob, front_end: nn.Module, blocks: list[int]) -> Iterator[tuple[int, int]]:
    """Yields (block, CRC-32) as blocks get finished, by threads that each use one core."""
    keep_freed_memory()
    with one_thread_each(), ThreadPoolExecutor(resolve_workers(job.settings.compute.workers)) as pool:
        make = BlockMaker(job, front_end)
        pending = {pool.submit(make, block): block for block in blocks}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        except BaseException:  # an error, or Ctrl-C: blocks under way end within a second and are made again next time
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Torch's own threads would compete with ours for the cores, and sums over several threads may differ in the last digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
