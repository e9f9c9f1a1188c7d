"""The parts of `gpu.py` that train: steps of a fine-tuned encoder, epochs of the LFCC systems, all LFCC cells of Table 4 at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import _bench_audio  # noqa: F401 (puts the project on the path)
import numpy as np
import pandas as pd
import torch
from _gpu_parts import Sizes, Time

from sourcetracing.features.rows import FeatureRows, select_rows
from sourcetracing.features.store import FeatureStore, StoreWriter, is_finished, write_block
from sourcetracing.runtime.compute import empty_cache, mark, prepare_device, resolved_precision, seconds_between
from sourcetracing.runtime.files import read_csv
from sourcetracing.scoring.scores import score_run
from sourcetracing.settings.frontends import VARIANTS
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS
from sourcetracing.training.batches import load, mixed
from sourcetracing.training.loop import train_run, train_step
from sourcetracing.training.matrix import each_run
from sourcetracing.training.networks import build_model
from sourcetracing.training.objectives import CrossEntropy
from sourcetracing.training.optimization import make_optimizer
from sourcetracing.training.runs import TrainingRun, run_of
from sourcetracing.training.state import TrainingState

SYSTEMS = ("lfcc_aasist", "lfcc_resnet18", "lfcc_ecapa_tdnn")
SOURCES, PAPER_EPOCHS = ["a", "b", "c", "d"], 50


def finetuning(root: Path, sizes: Sizes, device: torch.device, clock: Time) -> Iterator[str]:
    """Steps of xlsr_aasist on waveforms, regmix doubling the rows of a batch."""
    from _gpu_extraction import XLS_R_300M, write_encoder

    write_encoder(root / "encoder", XLS_R_300M, sizes.is_miniature)
    for batch_size in (2,) if sizes.is_miniature else (16, 32):
        words = ["system=xlsr_aasist", f"ssl.model={root / 'encoder'}", f"train.batch_size={batch_size}", *sizes.words]
        settings = load_settings([*words, f"compute.device={device.type}", *_language_words(("en",))])
        seconds = _seconds_of_steps(settings, sizes, device, clock)
        median = statistics.median(seconds[len(seconds) // 2 :])
        memory = f", peak memory {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB" if device.type == "cuda" else ""
        yield (
            f"xlsr_aasist, batch {batch_size} + mixed, {resolved_precision(device, 'auto')}: {1000 * median:.0f} ms a step, "
            f"{batch_size / median:.1f} samples/s ({len(seconds)} steps){memory}"
        )
        empty_cache(device)


def _seconds_of_steps(settings: Settings, sizes: Sizes, device: torch.device, clock: Time) -> list[float]:
    model = build_model(settings, (sizes.samples,)).to(device).train()
    state = TrainingState(model, CrossEntropy(settings, model, []), make_optimizer(model, settings))
    rows = _Noise(settings.train.batch_size, sizes.samples, device)
    batch = mixed(np.arange(settings.train.batch_size), settings.train, np.random.default_rng(1))
    seconds: list[float] = []
    while len(seconds) < sizes.steps and (not seconds or clock.left() > seconds[-1] + 5):
        seconds.append(_seconds(device, partial(train_step, state, rows, batch, settings)))
    return seconds


class _Noise:
    """Rows of waveforms on a device, for `train_step`."""

    def __init__(self, size: int, samples: int, device: torch.device):
        self.features = (torch.randn(size, samples) * 0.1).to(device)
        self.labels = (torch.arange(size) % len(SOURCES)).to(device)
        self.further_ids = torch.zeros((size, 0), dtype=torch.int64, device=device)

    def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return self.features[positions], self.labels[positions]


def training(root: Path, sizes: Sizes, device: torch.device, clock: Time) -> Iterator[str]:
    """Epochs of each LFCC system on one language: 60 % of its utterances in five variants, dev after each epoch; one run at a time."""
    store = lfcc_store(root / "features", sizes)
    rows = select_rows(store, _run(root, SYSTEMS[0], sizes.languages[0], sizes, device).settings, "train", [sizes.languages[0]], device)
    fetching = {rows.resident.device.type: _fetching_seconds(rows, sizes, device)}
    rows.resident = rows.resident.cpu()  # as where they do not fit
    fetching.setdefault("cpu", _fetching_seconds(rows, sizes, device))
    yield f"training rows of one language: {rows.resident.nbytes / 1e6:,.0f} MB; fetching and mixing a batch takes " + ", ".join(
        f"{1e3 * seconds:.2f} ms from {place}" for place, seconds in fetching.items()
    )
    hours = 0.0
    for system in SYSTEMS:
        run = _run(root, system, sizes.languages[0], sizes, device, "train.epochs=3", "train.seed=1")
        train_run(run, store, prepare_device(run.settings.compute))
        epoch = float(read_csv(run.files.history, texts=())["seconds"][1:].median())  # the first one is slower: kernels are chosen
        scoring = _seconds(device, partial(score_run, run, store, device))
        hours += (epoch * PAPER_EPOCHS + scoring) * len(sizes.languages) / 3600
        share = fetching[device.type] * -(-len(rows) // run.settings.train.batch_size) / epoch
        per_hour = f"{3600 / epoch:,.0f} epochs an hour"
        yield f"{system}: {epoch:.2f} s an epoch, {per_hour}; fetching is {share:.0%} of it; scored in {scoring:.1f} s"
    cells = f"{len(sizes.languages)} languages x {PAPER_EPOCHS} epochs x {len(SYSTEMS)}"
    yield f"Table 4's LFCC part, one seed, one run at a time: {hours:.2f} h (computed: {cells})"


def _fetching_seconds(rows: FeatureRows, sizes: Sizes, device: torch.device) -> float:
    rules = load_settings([]).train
    batch = mixed(np.arange(min(rules.batch_size, len(rows))), rules, np.random.default_rng(1))
    piece = np.arange(len(batch.positions))
    load(rows, batch, piece, rules.mixup)
    count = 10 * sizes.steps

    def fetch() -> None:
        for _ in range(count):
            load(rows, batch, piece, rules.mixup)

    return _seconds(device, fetch) / count


def _seconds(device: torch.device, function: Callable[[], object]) -> float:
    start = mark(device)
    function()
    return seconds_between(start, mark(device))


def speedrun(root: Path, sizes: Sizes, device: torch.device, clock: Time) -> Iterator[str]:
    """All LFCC cells of Table 4, several at once on the device as script 05 trains them; on original sound alone, a fifth of the rows.

    A fifth of an epoch and of its dev pass costs a fifth of them: hours of the whole follow from that.
    """
    store = lfcc_store(root / "features", sizes)
    for number, at_once in enumerate(sizes.runs_at_once):
        words = ["train.variants=[original]", "train.epochs=3", f"train.seed={10 + at_once}"]
        words += [f"compute.runs_per_gpu={at_once}", f"compute.workers={at_once}"]
        runs = [_run(root, system, language, sizes, device, *words) for language, system in product(sizes.languages, SYSTEMS)]
        until = clock.left() * (1 - 1 / (len(sizes.runs_at_once) - number))  # each number of runs has its share of the time
        started, done = time.perf_counter(), []
        for run in each_run(partial(train_cell, store.folder), runs):
            done.append(run)
            if clock.left() < until:
                break
        wall = time.perf_counter() - started
        yield f"{at_once} at once: {_told(runs, done, wall, at_once)}"


def train_cell(store: Path, run: TrainingRun) -> None:
    """Runs in a worker process."""
    train_run(run, FeatureStore.open(store), prepare_device(run.settings.compute))


def _told(runs: list[TrainingRun], done: list[TrainingRun], wall: float, at_once: int) -> str:
    count = f"{len(done)} of {len(runs)} cells, {wall:.0f} s with the start of the processes"
    epochs: dict[str, list[float]] = {system: [] for system in SYSTEMS}
    for run in done:
        epochs[run.system] += list(read_csv(run.files.history, texts=())["seconds"][1:] * len(VARIANTS))
    if not all(epochs.values()):
        return f"{count}; the time was up before each system had a cell"
    medians = {system: statistics.median(seconds) for system, seconds in epochs.items()}
    cells = sorted((medians[run.system] * PAPER_EPOCHS for run in runs), reverse=True)
    told = ", ".join(f"{system} {seconds:.2f} s" for system, seconds in medians.items())
    return f"{count}; an epoch: {told}; Table 4's LFCC part, one seed: {makespan(cells, at_once) / 3600:.2f} h without scoring (computed)"


def makespan(seconds: list[float], at_once: int) -> float:
    """When the last of some jobs ends, which start in this order, each as soon as one of `at_once` places is free."""
    free = [0.0] * at_once
    for job in seconds:
        first = free.index(min(free))
        free[first] += job
    return max(free)


def _language_words(languages: tuple[str, ...]) -> list[str]:
    return [f"corpus.languages=[{','.join(languages)}]", f"corpus.sources=[{','.join(SOURCES)}]", f"train.languages=[{languages[0]}]"]


def _run(root: Path, system: str, language: str, sizes: Sizes, device: torch.device, *more: str) -> TrainingRun:
    words = [f"paths.exp={root / 'exp'}", f"system={system}", *sizes.words, f"compute.device={device.type}"]
    return run_of(load_settings([*words, *_language_words(sizes.languages), f"train.languages=[{language}]", *more]), "benchmark")


def lfcc_store(folder: Path, sizes: Sizes) -> FeatureStore:
    """A store of noise, (rows, 80, frames) float16, split 60:20:20, for all languages; made once."""
    if is_finished(folder):
        return FeatureStore.open(folder)
    folder.mkdir(parents=True, exist_ok=True)
    num, shares = sizes.utterances_per_language, (0.6, 0.2, 0.2)
    splits = np.repeat(SPLITS, [num - 2 * int(num * shares[1]), int(num * shares[1]), int(num * shares[2])])
    rows = [
        (f"{language}/{number}", variant, splits[number], language, SOURCES[number % len(SOURCES)])
        for language in sizes.languages
        for number in range(num)
        for variant in VARIANTS
    ]
    index = pd.DataFrame(rows, columns=["utt_id", "variant", "split", "language", "source"]).assign(row=range(len(rows)))
    per_block = num * len(VARIANTS)
    writer = StoreWriter(folder, (len(rows), 80, sizes.num_frames), np.dtype("float16"), per_block)
    block = np.random.default_rng(1).standard_normal((per_block, 80, sizes.num_frames), np.float32).astype(np.float16)
    for number in range(len(sizes.languages)):
        writer.commit(number, write_block(writer.path, writer.header_bytes, number * per_block, block))
    writer.finish(index, {})
    return FeatureStore.open(folder)
