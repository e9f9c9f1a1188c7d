"""One block of a feature store: decode, crop, augment, front-end, disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sourcetracing.audio.conditioning import shaped
from sourcetracing.audio.reading import crop, load_utterance
from sourcetracing.errors import UserError
from sourcetracing.features.augment import Augmenter
from sourcetracing.features.front_end import FrontEnd, row_peaks
from sourcetracing.features.noise_bank import open_banks
from sourcetracing.features.store import BlockFile
from sourcetracing.runtime.npy import write_at
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings


def crop_samples(settings: Settings) -> int:
    """The length of every network input, in samples."""
    return round(settings.audio.crop_seconds * settings.audio.sample_rate)


def cropped_utterance(settings: Settings, path: str | Path, utt_id: str, split: str, digest: str | None = None) -> np.ndarray:
    """The clean signal (crop_samples,) float32 that all variants of an utterance start from, shaped. Raises `BadAudio`."""
    waveform = load_utterance(path, settings.audio, digest)
    mode = settings.audio.crop_train if split == "train" else settings.audio.crop_eval
    return shaped(crop(waveform, crop_samples(settings), mode, rng(settings.seed, utt_id, "crop")), settings.audio)


def heard_variants(settings: Settings, augmenter: Augmenter, item) -> np.ndarray:
    """What networks hear of an utterance (a row of `list_items`): (variants, crop_samples) float32, each shaped. Raises `UserError`."""
    path = Path(settings.paths.corpus) / item.path
    clean = cropped_utterance(settings, path, item.utt_id, item.split, item.digest)
    made = augmenter.variants(clean, item.utt_id)
    for row in made:
        if not np.array_equal(row, clean):  # that is shaped already
            row[:] = shaped(row, settings.audio)
    return made


@dataclass(frozen=True)
class StoreJob:
    """What it takes to make any block of a store; small, so that it can travel to another process or machine."""

    settings: Settings
    items: pd.DataFrame
    noise_manifests: dict[str, Path]
    file: BlockFile

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.settings.store.dtype)

    def block_items(self, block: int) -> pd.DataFrame:
        """The utterances of a block."""
        num_variants, rows = len(self.settings.augment.variants), self.file.rows(block)
        return self.items.iloc[rows.start // num_variants : rows.stop // num_variants]


class BlockMaker:
    """Computes blocks of a store, an utterance at a time, and writes each to its place; threads may share one."""

    def __init__(self, job: StoreJob, front_end: FrontEnd):
        self.job, self.settings, self.front_end = job, job.settings, front_end
        self.num_samples = crop_samples(job.settings)
        self.augmenter = Augmenter.of(job.settings, open_banks(job.noise_manifests))

    def __call__(self, block: int) -> int:
        """Makes a block durable on disk and returns its CRC-32. Raises `UserError`."""
        rows = (self.stored(item) for item in self.job.block_items(block).itertuples())
        with self.front_end.watch("writing"):
            return write_at(self.job.file.path, self.job.file.offset_bytes(block), rows, durable=True)

    def stored(self, item) -> np.ndarray:
        """`features` of an utterance in the store's number type. Raises `UserError` when that cannot hold them."""
        features = self.features(item)
        self.refuse_overflow(row_peaks(features), item.utt_id)
        return features.to(self.job.dtype).numpy()

    def features(self, item) -> torch.Tensor:
        """(variants, ...feature shape) float32 of one utterance (a row of `items`)."""
        waveforms = torch.from_numpy(self.waveforms(item))
        with self.front_end.watch("encoding"):
            return self.front_end(waveforms).cpu()

    def waveforms(self, item) -> np.ndarray:
        """The acoustic variants (variants, samples) float32 of one utterance. Raises `UserError`."""
        with self.front_end.watch("decoding"):
            return heard_variants(self.settings, self.augmenter, item)

    def refuse_overflow(self, peaks: torch.Tensor, utt_id: str) -> None:
        """Raises `UserError` when `row_peaks` (variants,) of an utterance are beyond the store's number type, or NaN."""
        fits = peaks <= torch.finfo(self.job.dtype).max
        if fits.all():
            return
        worst = int(fits.int().argmin())
        hint = ". Use store.dtype=float32" if self.job.dtype == torch.float16 and peaks.isfinite().all() else ""
        if self.settings.compute.encoder_precision == "fp16" and not peaks.isfinite().all():
            hint = ". Use compute.encoder_precision=bf16 or float32"
        raise UserError(
            f"{utt_id}, variant {self.settings.augment.variants[worst]}: its features do not fit {self.settings.store.dtype}, "
            f"they reach {peaks[worst]:g}{hint}"
        )
