"""Turns the utterances of a protocol into a feature store: decode, crop, augment, front-end, disk, in one pass.

Each utterance is handled by itself (its variants are one batch for the front-end), so the bytes depend neither on the number of workers
nor on the block size nor on where an earlier run was killed. Batching whole blocks was measured too: no faster at best, twice as slow
where the intermediate spectra fall out of the processor's cache.

The workers are threads. All that costs time (decoding, resampling, FFTs, torch) releases the interpreter lock, two threads do 1.8 times
the work of one, and they start at once, where a process would first spend seconds on importing torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
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
from sourcetracing.files import digest_of_json
from sourcetracing.layout import Layout
from sourcetracing.noise_bank import ClipBank, bank_manifests, open_banks, prepare_banks
from sourcetracing.npy import write_at
from sourcetracing.parallel import resolve_workers
from sourcetracing.progress import bar
from sourcetracing.seeding import rng
from sourcetracing.ssl_front_end import checkpoint_digest, load_ssl
from sourcetracing.store import INDEX_COLUMNS, MANIFEST, STORE_FORMAT, FeatureStore, StoreWriter, is_finished, only_writer

LIBRARIES = ("numpy", "scipy", "soundfile", "soxr", "torch", "torchaudio", "transformers")


def build_front_end(settings: Settings) -> nn.Module:
    """The module that turns (B, samples) float32 into features (B, ...)."""
    if settings.frontend == "waveform":
        return nn.Identity()
    if settings.frontend == "ssl":
        return load_ssl(settings)
    assert settings.frontend == "lfcc", settings.frontend
    return LfccFrontEnd(sample_rate=settings.audio.sample_rate, **asdict(settings.lfcc)).eval()


@torch.inference_mode()
def apply(front_end: nn.Module, waveforms: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Features (B, ...) float32 on the CPU of waveforms (B, samples); SSL encoders compute where their weights are."""
    if settings.frontend != "ssl":
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


def list_items(utterances: pd.DataFrame, protocol: pd.DataFrame) -> pd.DataFrame:
    """The utterances of a protocol in its order: columns utt_id, split, path, language, source, digest."""
    columns = ["utt_id", "path", "language", "source", "digest"]
    return protocol[["utt_id", "split"]].merge(utterances[columns], on="utt_id", validate="one_to_one")


def list_rows(items: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    """The index of a store: one row per utterance and variant, utterance by utterance."""
    rows = items.loc[items.index.repeat(len(variants))].reset_index(drop=True)
    return rows.assign(row=range(len(rows)), variant=variants * len(items))[INDEX_COLUMNS]


def store_recipe(settings: Settings, items: pd.DataFrame) -> dict:
    """All that the content of a store depends on, but for the noises themselves."""
    audio = {key: getattr(settings.audio, key) for key in ("sample_rate", "crop_seconds", "crop_train", "crop_eval")}
    rows = items[["utt_id", "split", "language", "source", "digest"]]
    more = {}
    if settings.frontend == "ssl":
        more = {"precision": settings.compute.precision, "checkpoint": checkpoint_digest(settings.ssl.model)}
    return {
        "format": STORE_FORMAT,
        "frontend": {settings.frontend: asdict(getattr(settings, settings.frontend)) | more},
        "audio": audio,
        "augment": asdict(settings.augment),
        "dtype": settings.store.dtype,
        "seed": settings.seed,
        "num_utterances": len(items),
        "utterances": digest_of_json(rows.to_numpy().tolist()),
    }


def extract_features(settings: Settings, utterances: pd.DataFrame, protocol: pd.DataFrame) -> Path:
    """Makes the feature store of an experiment, or goes on with it, or finds it done; returns its folder. Raises `UserError`.

    utterances: columns utt_id, path, language, source, digest; protocol: columns utt_id, split, whose order the rows follow.
    """
    items = list_items(utterances, protocol)
    if items.empty:
        raise UserError(
            "the protocol names no utterance of these languages and sources. Run: python scripts/02_build_protocols.py CONFIG.yaml"
        )
    manifests = prepare_banks(settings)
    recipe = store_recipe(settings, items)
    banks = open_banks(manifests)
    noises = {kind: bank.digest for kind, bank in banks.items()}
    folder = Layout.of(settings).features / f"{settings.frontend}-{digest_of_json([recipe, noises])[:8]}"
    if is_finished(folder):
        FeatureStore.open(folder)
        return folder
    with only_writer(folder):
        if not is_finished(folder):
            num_noises = {kind: len(bank) for kind, bank in banks.items()}
            _fill_store(settings, items, banks, folder, {"recipe": recipe, "noises": noises, "num_noises": num_noises})
    return folder


def find_store(settings: Settings, utterances: pd.DataFrame, protocol: pd.DataFrame) -> FeatureStore:
    """The finished store of these settings and utterances. Raises `UserError` when there is none.

    Where the noises are at hand they must be the store's too; a machine that only trains need not have them.
    """
    recipe, folder = store_recipe(settings, list_items(utterances, protocol)), Layout.of(settings).features
    noises = _known_noises(settings)
    for manifest in sorted(folder.glob(f"{settings.frontend}-*/{MANIFEST}"), key=lambda path: path.stat().st_mtime, reverse=True):
        facts = json.loads(manifest.read_text(encoding="utf-8"))
        if facts.get("recipe") == recipe and (noises is None or facts.get("noises") == noises):
            return FeatureStore.open(manifest.parent)
    raise UserError(f"{folder} holds no features for these settings. Run: python scripts/04_preprocess_dataset.py CONFIG.yaml")


def _known_noises(settings: Settings) -> dict[str, str] | None:
    try:
        manifests = bank_manifests(settings)
    except UserError:  # no noises on this machine
        return None
    return {kind: bank.digest for kind, bank in open_banks({k: path for k, path in manifests.items() if path.exists()}).items()}


def _fill_store(settings: Settings, items: pd.DataFrame, banks: dict[str, ClipBank], folder: Path, facts: dict) -> None:
    variants = settings.augment.variants
    front_end = build_front_end(settings)
    with _one_thread_each():
        feature_shape = tuple(apply(front_end, torch.zeros(1, crop_samples(settings)), settings).shape[1:])
    # At least two blocks for each worker; their size does not change the result.
    share = -(-len(items) // (2 * resolve_workers(settings.compute.workers)))
    utterances_per_block = max(1, min(settings.store.block_rows // len(variants), share))
    shape = (len(items) * len(variants), *feature_shape)
    writer = StoreWriter(folder, shape, np.dtype(settings.store.dtype), utterances_per_block * len(variants))
    job = Job(settings, items, banks, writer.path, writer.header_bytes, shape, writer.rows_per_block, front_end)
    with bar(total=len(items), initial=_count(writer, writer.finished, variants), desc="features", unit="utt") as progress:
        for block, crc in _make_blocks(job, writer.remaining()):
            writer.commit(block, crc)
            progress.update(len(writer.block_rows(block)) // len(variants))
    versions = {name: version(name) for name in LIBRARIES}
    checkpoint = {"checkpoint_commit": front_end.commit} if getattr(front_end, "commit", "") else {}
    writer.finish(list_rows(items, variants), {**facts, **checkpoint, "variants": variants, "versions": versions})


def _count(writer: StoreWriter, blocks, variants: list[str]) -> int:
    return sum(len(writer.block_rows(block)) for block in blocks) // len(variants)


@dataclass(frozen=True)
class Job:
    """What it takes to make any block of a store."""

    settings: Settings
    items: pd.DataFrame
    banks: dict[str, ClipBank]
    path: Path
    header_bytes: int
    shape: tuple[int, ...]
    rows_per_block: int
    front_end: nn.Module


class BlockMaker:
    """Computes blocks of a store and writes each to its place; threads may share one."""

    def __init__(self, job: Job):
        self.job, self.settings = job, job.settings
        self.augmenter = Augmenter(job.settings.augment, job.banks, job.settings.seed)
        self.front_end = job.front_end
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


def _make_blocks(job: Job, blocks: list[int]) -> Iterator[tuple[int, int]]:
    """Yields (block, CRC-32) as blocks get finished, by threads that each use one core."""
    keep_freed_memory()
    with _one_thread_each(), ThreadPoolExecutor(resolve_workers(job.settings.compute.workers)) as pool:
        make = BlockMaker(job)
        pending = {pool.submit(make, block): block for block in blocks}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        except BaseException:  # an error, or Ctrl-C: blocks under way end within a second and are made again next time
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Torch's own threads would compete with ours for the cores, and sums over several threads may differ in the last digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
