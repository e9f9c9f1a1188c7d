"""Turns the files of a manifest into layer features: decode, augment, encode, write block by block, here or on a cluster.

A block is some rows of the manifest in a row. Within it files are sorted by duration and cut into batches of at most so much sound, padding
included; on a CPU each file is a batch. So the bytes depend on the settings and on the device, but neither on the number of workers or
machines nor on an interruption.

Each worker is a thread that decodes a batch and encodes it; on a CPU with one core each, on a GPU one at a time while the others decode.
No more than two batches for each worker are under way: memory does not grow with the corpus.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.conditioning import shaped
from sourcetracing.audio.reading import load_utterance
from sourcetracing.detection.data.groups import BASELINE_TRAIN, used_subsets
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import BUILD_COMMAND, audio_path, load_manifest
from sourcetracing.detection.features.codecs import codec_copy
from sourcetracing.detection.features.layer_store import LayerStore, files_digest, layer_folder, layer_recipe, layers_of
from sourcetracing.errors import UserError
from sourcetracing.features import ray_cluster as cluster
from sourcetracing.features.engines import converted, engine_facts, is_torch, refuse_what_cannot
from sourcetracing.features.front_end import convert_once
from sourcetracing.features.rawboost import rawboost
from sourcetracing.features.resolved import checkpoint_facts, resolved, revision_of
from sourcetracing.features.ssl_front_end import load_ssl
from sourcetracing.features.store import BlockFile, StoreWriter, is_finished, library_versions, only_writer, write_block
from sourcetracing.runtime.compute import (
    autocast,
    empty_cache,
    encoder_precision,
    is_out_of_memory,
    keep_freed_memory,
    one_thread_each,
    resolved_precision,
)
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar, say
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.frontends import FRONTENDS
from sourcetracing.settings.schema import Settings

if TYPE_CHECKING:
    from sourcetracing.models.frontends.layer_means import LayerMeans
    from sourcetracing.models.frontends.lfcc_means import LfccMeans, Sound

# On a CPU each file goes alone: batches gain 5 to 10 % there (docs/detection_features.md), and alone a file's features do not depend on
# what lies beside it.
CPU_BATCH_SECONDS, GPU_BATCH_SECONDS = 0.0, 320.0
_LENGTHS_TO_TRY = (24_000, 40_000)  # samples of the noises with which another engine is compared with torch


def wanted_stores(settings: Settings) -> list[tuple[str, str]]:
    """(subset, copy) of every store that the settings ask for: augmented copies only of what the augmented baseline trains on.

    Those of other training sets are made when it is known which files are kept (`experiments.augment_pruned`), and of these alone.
    """
    trained = used_subsets(settings, BASELINE_TRAIN)
    copies = dict.fromkeys(settings.layer_features.copies)
    return [(subset, copy) for copy in copies for subset in (used_subsets(settings) if copy == "clean" else trained)]


def extract_layers(settings: Settings) -> list[Path]:
    """Makes every wanted store, or goes on with it, or finds it done; returns their folders. Raises `UserError`."""
    manifest, extractors, folders = load_manifest(settings), {}, []
    for subset, copy in wanted_stores(settings):
        rows = manifest[manifest["corpus"] == subset].reset_index(drop=True)
        if rows.empty:
            raise UserError(f"{DetectionLayout(settings).manifest} lists no file of {subset}. Run: {BUILD_COMMAND}")
        folders.append(extract_files(settings, rows, copy, extractors))
    return folders


def extract_files(settings: Settings, rows: pd.DataFrame, copy: str, extractors: dict[tuple, Extractor]) -> Path:
    """Makes the store of some files of one subset (rows of the manifest), or goes on with it, or finds it done; returns its folder.

    extractors: what earlier calls with these settings loaded. Raises `UserError`.
    """
    if settings.layer_features.kind == "ssl":
        revision_of(settings, ask_hub=True)  # which fills the cache, so that folders are named after the commit from the start
    folder = layer_folder(settings, rows["corpus"].iloc[0], copy, files_digest(rows))
    if is_finished(folder):
        return folder
    network = (*layers_of(settings, copy), settings.layer_features.published_norm and copy != "clean")
    if network not in extractors:  # the encoder is loaded once where it can be
        extractors.clear()
        extractors[network] = Extractor(settings, build_layer_means(settings, copy))
    with only_writer(folder):
        if not is_finished(folder):
            _fill_store(extractors[network], rows, copy, folder)
    return folder


def build_layer_means(settings: Settings, copy: str) -> LayerMeans | LfccMeans:
    """The network, on the device of the settings. Raises `UserError`: no such model, wrong weights, a layer that does not exist."""
    return _lfcc_means(settings) if settings.layer_features.kind == "lfcc" else _encoder_means(settings, copy)


def _lfcc_means(settings: Settings) -> LfccMeans:
    from sourcetracing.models.frontends.lfcc_means import LfccMeans

    wanted = settings.layer_features
    if set(wanted.layers + wanted.copy_layers) - {0}:
        raise UserError(f"layer_features.layers={wanted.layers}: LFCCs are one layer, number 0")
    lfcc = FRONTENDS["lfcc"].load()(sample_rate=settings.audio.sample_rate, **vars(settings.lfcc)).eval()
    return LfccMeans(lfcc, settings.lfcc.n_lfcc, deviation=wanted.lfcc_deviation)


def _encoder_means(settings: Settings, copy: str) -> LayerMeans:
    from sourcetracing.models.frontends.layer_means import LayerMeans  # transformers takes seconds to import

    layers = layers_of(settings, copy)
    encoder = load_ssl(replace(settings, ssl=replace(settings.ssl, layer="last", mode="frozen")))
    refuse_what_cannot(settings, next(encoder.parameters()).device)
    last = len(encoder.blocks)
    # Published (D60): a layer of augmented copies comes from an encoder that is cut there, layers of plain ones from the whole encoder.
    published = {last} if copy == "clean" else set(layers or range(last + 1))
    try:
        network = LayerMeans(encoder, layers, normed=published if settings.layer_features.published_norm else ())
    except ValueError as error:
        raise UserError(f"layer_features.layers of ssl.model={settings.ssl.model}: {error}") from None
    convert_once(encoder.network, resolved_precision(network.device, encoder_precision(settings.compute)))
    if not is_torch(settings):
        noises = (torch.randn(length, generator=torch.Generator().manual_seed(length)) for length in _LENGTHS_TO_TRY)
        network.engine = converted(network.means, [network.inputs([network.sound(noise)]) for noise in noises], settings)
    return network.eval()


@dataclass
class Batch:
    """Rows of one block that are encoded together. places: where in the block each belongs."""

    block: int
    is_last: bool
    places: np.ndarray
    rows: list = field(repr=False)


class Extractor:
    """Encodes files with one network; threads may share it."""

    def __init__(self, settings: Settings, network: LayerMeans | LfccMeans):
        self.settings, self.network = settings, network
        self.on_cpu = network.device.type == "cpu"
        self.one_at_a_time: AbstractContextManager = nullcontext() if self.on_cpu else threading.Lock()
        self.batch_seconds = batch_seconds_on(settings, network.device.type)

    def sound(self, row, copy: str) -> Sound:
        """What the network gets of one row of the manifest, augmented as the copy says. Raises `BadAudio`, `UserError`."""
        path, rate = audio_path(self.settings, row), self.settings.audio.sample_rate
        waveform = load_utterance(path, self.settings.audio, row.digest or None, BUILD_COMMAND)
        if self.settings.layer_features.max_seconds:
            waveform = waveform[: max(1, round(self.settings.layer_features.max_seconds * rate))]
        self._check_length(path, len(waveform))
        waveform = shaped(waveform, self.settings.audio)
        generator = rng(self.settings.seed, row.file_id, copy)
        if copy == "rawboost":
            waveform = rawboost(waveform, rate, self.settings.rawboost, generator).astype(np.float32)
        elif copy == "codec":
            waveform = codec_copy(waveform, rate, self.settings.codec, generator)
        if copy != "clean":
            waveform = shaped(waveform, self.settings.audio)
        return self.network.sound(torch.from_numpy(np.ascontiguousarray(waveform)))

    def _check_length(self, path: Path, num_samples: int) -> None:
        rate, longest = self.settings.audio.sample_rate, self.network.longest
        if num_samples < self.network.shortest:
            raise BadAudio(path, f"too short ({num_samples} samples, the front-end needs {self.network.shortest})")
        if longest is not None and num_samples > longest:
            seconds = longest / rate
            raise BadAudio(
                path, f"lasts {num_samples / rate:.1f} s, the encoder hears {seconds:g} s. Use layer_features.max_seconds={seconds:g}"
            )

    def __call__(self, batch: Batch, copy: str) -> np.ndarray:
        """(rows, layers, width) float32 of a batch. Raises `UserError`."""
        sounds = [self.sound(row, copy) for row in batch.rows]
        features = np.empty((len(sounds), len(self.network.layers), self.network.width), np.float32)
        with self.one_at_a_time:
            for together in self._groups(sounds):
                features[together] = self._encode([sounds[number] for number in together], batch.rows[together[-1]])
        for row, made in zip(batch.rows, features, strict=True):
            if not np.isfinite(made).all():
                raise UserError(
                    f"{audio_path(self.settings, row)}: its features are not finite. Is the sound? "
                    "Else use compute.encoder_precision=float32"
                )
        return features

    def _groups(self, sounds: Sequence[Sound]) -> list[list[int]]:
        """All of them, or those of one length."""
        if self.network.pads:
            return [list(range(len(sounds)))]
        groups: dict[int, list[int]] = {}
        for number, sound in enumerate(sounds):
            groups.setdefault(sound.num_samples, []).append(number)
        return list(groups.values())

    @torch.inference_mode()
    def _encode(self, sounds: list[Sound], row) -> np.ndarray:
        """Halves the batch when memory runs out."""
        try:
            with autocast(self.network.device, encoder_precision(self.settings.compute)):
                return self.network(sounds).float().cpu().numpy()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(sounds) == 1:
                raise UserError(
                    f"{audio_path(self.settings, row)}: not enough memory on {self.network.device.type} for {row.duration_s:.0f} s in one "
                    "pass. Use layer_features.max_seconds, or compute.device=cpu"
                ) from None
        empty_cache(self.network.device)  # here, where the error and the tensors that its traceback holds are gone
        say(
            f"layer_features.batch_seconds: {len(sounds)} files do not fit the memory of {self.network.device.type}; half of them at a time"
        )
        middle = len(sounds) // 2
        return np.concatenate([self._encode(half, row) for half in (sounds[:middle], sounds[middle:])])


def batch_seconds_on(settings: Settings, device: str) -> float:
    """How much sound a batch has on a cpu or another device; 0 = one file."""
    return settings.layer_features.batch_seconds or (CPU_BATCH_SECONDS if device == "cpu" else GPU_BATCH_SECONDS)


def plan_batches(durations_s: np.ndarray, batch_seconds: float) -> list[np.ndarray]:
    """Positions of files, sorted by duration and cut so that number x longest stays within `batch_seconds`; a longer one goes alone."""
    order = np.argsort(durations_s, kind="stable")[::-1]  # the longest first: what does not fit the memory shows at once
    batches, start = [], 0
    while start < len(order):
        longest = max(float(durations_s[order[start]]), 1e-3)
        stop = start + max(1, int(batch_seconds / longest))
        batches.append(order[start:stop])
        start = stop
    return batches


@dataclass(frozen=True)
class LayerJob:
    """What it takes to make any block of a store. rows: of the manifest; copy: clean, rawboost, codec."""

    settings: Settings
    rows: pd.DataFrame
    copy: str
    file: BlockFile


@dataclass(frozen=True)
class Made:
    """Some files of a block are done. places: which; crc: of the block, once it is whole and on disk."""

    block: int
    places: np.ndarray
    crc: int | None


def opened(job: LayerJob) -> Callable[[Sequence[int]], Iterator[tuple[int, int]]]:
    """What makes blocks, with a network of its own, as a worker of a cluster needs it: yields (block, CRC-32). Raises `UserError`."""
    return partial(_whole_blocks, job, Extractor(job.settings, build_layer_means(job.settings, job.copy)))


def _whole_blocks(job: LayerJob, extractor: Extractor, blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    return ((made.block, made.crc) for made in _made_here(job, extractor, blocks) if made.crc is not None)


def _made_here(job: LayerJob, extractor: Extractor, blocks: Sequence[int]) -> Iterator[Made]:
    keep_freed_memory()
    return _written(job, _encoded(extractor, _plan(job, extractor, blocks), job.copy))


def _made_elsewhere(job: LayerJob, blocks: Sequence[int]) -> Iterator[Made]:
    made = cluster.make_blocks(job, opened, blocks, on_gpu=_is_encoder(job.settings))
    return (Made(block, np.arange(len(job.file.rows(block))), crc) for block, crc in made)


def _plan(job: LayerJob, extractor: Extractor, blocks: Sequence[int]) -> Iterator[Batch]:
    cap = job.settings.layer_features.max_seconds or np.inf
    for block in blocks:
        numbers = job.file.rows(block)
        part = job.rows.iloc[numbers.start : numbers.stop]
        batches = plan_batches(part["duration_s"].clip(upper=cap).to_numpy(), extractor.batch_seconds)
        listed = list(part.itertuples(index=False))
        for number, places in enumerate(batches):
            yield Batch(block, number == len(batches) - 1, places, [listed[place] for place in places])


def _encoded(extractor: Extractor, batches: Iterator[Batch], copy: str) -> Iterator[tuple[Batch, np.ndarray]]:
    """(batch, its features) in order; the workers are kept busy with the next ones."""
    num_workers = resolve_workers(extractor.settings.compute.workers)
    # A fresh thread counts its own OpenMP threads: without the initializer its first matrix products would use all cores.
    with one_thread_each(), ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        pending: deque[tuple[Batch, Future]] = deque()
        try:
            for batch in batches:
                pending.append((batch, pool.submit(extractor, batch, copy)))
                if len(pending) >= 2 * num_workers:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        except BaseException:  # an error, or Ctrl-C: batches under way end, what waits is dropped and made again next time
            pool.shutdown(cancel_futures=True)
            raise


def _fill_store(extractor: Extractor, rows: pd.DataFrame, copy: str, folder: Path) -> None:
    settings, network = extractor.settings, extractor.network
    on_cluster = settings.executor.kind == "ray"
    shape = (len(rows), len(network.layers), network.width)
    writer = StoreWriter(folder, shape, np.dtype(np.float32), _files_per_block(settings, len(rows)))
    job = LayerJob(_as_meant_here(settings), rows, copy, writer.file)
    hours = rows["duration_s"].to_numpy() / 3600
    done = sum(len(writer.block_rows(block)) for block in writer.finished)
    started, made_hours = time.perf_counter(), 0.0
    steps = _made_elsewhere(job, writer.remaining()) if on_cluster else _made_here(job, extractor, writer.remaining())
    with closing(steps), bar(total=len(rows), initial=done, desc=f"{rows['corpus'].iloc[0]}, {copy}", unit="file") as progress:
        for made in steps:
            if made.crc is not None:
                writer.commit(made.block, made.crc)
            made_hours += hours[writer.block_rows(made.block).start + made.places].sum()
            per_minute = made_hours / (time.perf_counter() - started) * 60
            progress.set_postfix_str(f"{made_hours:.2f} h of sound, {per_minute:.2f} h/min", refresh=False)
            progress.update(len(made.places))
    facts = _facts(extractor, rows, copy, made_hours, time.perf_counter() - started)
    writer.finish(rows, facts, columns=LayerStore.text_columns)


def _files_per_block(settings: Settings, num_files: int) -> int:
    """On a cluster at least two blocks for each worker, where files go alone: batches are cut within blocks."""
    wanted = settings.layer_features.block_files
    if settings.executor.kind != "ray" or batch_seconds_on(settings, _device_type(settings)):
        return wanted
    return max(1, min(wanted, -(-num_files // (2 * cluster.num_workers(settings, on_gpu=_is_encoder(settings))))))


def _as_meant_here(settings: Settings) -> Settings:
    """With number type and commit as this process, which names the store, understands them: all machines shall do the same."""
    return replace(resolved(settings), ssl=replace(settings.ssl, revision=revision_of(settings)))


def _is_encoder(settings: Settings) -> bool:
    return settings.layer_features.kind == "ssl"


def _device_type(settings: Settings) -> str:
    """cpu or cuda: where the cluster computes."""
    return cluster.device_type(settings, on_gpu=_is_encoder(settings))


def _written(job: LayerJob, encoded: Iterator[tuple[Batch, np.ndarray]]) -> Iterator[Made]:
    """Puts features to their places; a block goes to disk with its last batch."""
    block = None
    for batch, features in encoded:
        rows, crc = job.file.rows(batch.block), None
        if block is None or len(block) != len(rows):
            block = np.empty((len(rows), *features.shape[1:]), np.float32)
        block[batch.places] = features
        if batch.is_last:
            crc = write_block(job.file.path, job.file.header_bytes, rows.start, block)
        yield Made(batch.block, batch.places, crc)


def _facts(extractor: Extractor, rows: pd.DataFrame, copy: str, hours: float, seconds: float) -> dict:
    """What store.json tells beside the shape."""
    settings, network = extractor.settings, extractor.network
    commit = getattr(getattr(network, "encoder", None), "commit", "")
    device = _device_type(settings) if settings.executor.kind == "ray" else network.device.type
    extraction = {"device": device, "batch_seconds": batch_seconds_on(settings, device)}
    extraction |= engine_facts(settings) if _is_encoder(settings) else {}
    extraction |= {"hours_of_sound": float(hours), "seconds": seconds}
    return {
        "layers": [int(layer) for layer in network.layers],
        "corpus": rows["corpus"].iloc[0],
        "copy": copy,
        "recipe": layer_recipe(settings, copy),
        "files": files_digest(rows),
        **(checkpoint_facts(settings, commit) if _is_encoder(settings) else {}),
        "versions": library_versions(),
        "extraction": extraction,
    }
