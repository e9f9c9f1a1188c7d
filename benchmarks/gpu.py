"""All that a GPU is for here, in one command: frozen SSL extraction, fine-tuning, the LFCC systems at the paper's size, Table 4's 18 cells.

Encoders have random weights of the real size, so nothing is downloaded; audio is noise of real lengths, read from files. What is timed is
the scripts' own code (04, 05, 06), from files to files. XLS-R-2B has ten of its 48 blocks, for layer 9 is all that is asked of it.
Extraction: x real time counts each variant as 4 s; the peak is a large matrix product in the same number type, measured here.
The 18 cells are trained for `epochs` of the paper's 50 and scored; the time for 50 is computed from that and says so.

Run     python benchmarks/gpu.py [device=auto|cpu|cuda] [parts=extraction,finetuning,training,speedrun] [epochs=2] [record=FILE.md]
        (about 10 minutes on an H100; 20 GB of temporary files)
        python benchmarks/gpu.py miniature      (the same with tiny sizes: a minute on a CPU, which shows that it runs and nothing else)
Prints  each part as it ends, and writes them to benchmarks/results/<device>_<date>.md; a part that fails is a line, and the others go on
"""

from __future__ import annotations

import json
import platform
import re
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _bench_audio import SHORT_SECONDS, as_protocol, settings_below, write_corpus, write_noises
from ssl_extraction import VARIANT_SECONDS, XLS_R_300M, device_name, flops_of, measured_peak
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel, Wav2Vec2Config, Wav2Vec2Model

from sourcetracing.features.extracting import extract_features
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.store import FeatureStore, StoreWriter, write_block
from sourcetracing.runtime.compute import empty_cache, mark, pick_device, prepare_device, resolved_precision, seconds_between
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.parallel import available_cores
from sourcetracing.runtime.seeding import rng
from sourcetracing.scoring.scores import score_run
from sourcetracing.settings.frontends import VARIANTS, Ssl
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.training import SPLITS
from sourcetracing.training.batches import mixed
from sourcetracing.training.loop import train_run, train_step
from sourcetracing.training.networks import build_model
from sourcetracing.training.objectives import CrossEntropy
from sourcetracing.training.optimization import make_optimizer
from sourcetracing.training.runs import TrainingRun, run_of
from sourcetracing.training.state import TrainingState

RESULTS = Path(__file__).resolve().parent / "results"
XLS_R_2B = {**XLS_R_300M, "hidden_size": 1920, "intermediate_size": 7680, "num_hidden_layers": 10}
TINY = {"hidden_size": 16, "num_hidden_layers": 10, "num_attention_heads": 2, "intermediate_size": 24}
TINY_CONVOLUTIONS = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
SYSTEMS = ("lfcc_aasist", "lfcc_resnet18", "lfcc_ecapa_tdnn")
NARROW = ["aasist.channels=[4,4]", "aasist.gat_dims=[4,4]", "resnet18.width=2", "ecapa_tdnn.channels=8"]
SOURCES, PAPER_EPOCHS = ["a", "b", "c", "d"], 50


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the paper's Table 4 has 6 languages of about 1,950 utterances in five variants, rows of (80, 399)."""

    utterances: int
    batches: tuple[int, ...]  # of the encoder, in waveforms; 0 = the project's own choice
    languages: tuple[str, ...]
    utterances_per_language: int
    num_frames: int
    steps: int
    samples: int
    words: tuple[str, ...]  # settings of every system


FULL = Sizes(2000, (0, 256), ("en", "de", "fr", "it", "pl", "ru"), 1950, 399, 20, 64_000, ())
MINIATURE = Sizes(4, (0,), ("en", "de"), 15, 24, 2, 8_000, tuple(NARROW))


@dataclass(frozen=True)
class Encoder:
    """One to extract with: how it is made, the layer, and the share of `Sizes.utterances` that takes a few seconds."""

    name: str
    make: Callable[[Path, bool], None]
    layer: int | str
    share: float


def _wav2vec2(configuration: dict) -> Callable[[Path, bool], None]:
    def make(folder: Path, is_tiny: bool) -> None:
        own = {**configuration, **(TINY | TINY_CONVOLUTIONS if is_tiny else {})}
        Wav2Vec2Model(Wav2Vec2Config(**own)).save_pretrained(folder)

    return make


def _w2v_bert(folder: Path, is_tiny: bool) -> None:
    Wav2Vec2BertModel(Wav2Vec2BertConfig(vocab_size=None, **(TINY if is_tiny else {}))).save_pretrained(folder)
    SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2).save_pretrained(folder)


ENCODERS = (
    Encoder("wav2vec2-base, layer 5", _wav2vec2({}), 5, 2.0),
    Encoder("XLS-R-300M, last layer", _wav2vec2(XLS_R_300M), "last", 1.0),
    Encoder("w2v-BERT 2.0, layer 4", _w2v_bert, 4, 0.5),
    Encoder("XLS-R-2B, layer 9", _wav2vec2(XLS_R_2B), 9, 0.5),
)


def extraction(root: Path, sizes: Sizes, device: torch.device, options: dict[str, str]) -> Iterator[str]:
    """Script 04 for each encoder and batch size."""
    utterances = write_corpus(root, int(sizes.utterances * max(encoder.share for encoder in ENCODERS)))
    write_noises(root, SHORT_SECONDS)
    prepare_banks(settings_below(root, "bench", available_cores()))
    dtype = torch.bfloat16 if resolved_precision(device, "auto") == "bf16" else torch.float32
    peak = measured_peak(device, dtype)
    yield f"measured peak in {str(dtype)[6:]}: {peak / 1e12:.3g} TFLOP/s"
    for encoder in ENCODERS:
        torch.manual_seed(0)
        encoder.make(root / "encoder", sizes is MINIATURE)
        flops, some = flops_of(root, encoder.layer), utterances[: max(2, int(sizes.utterances * encoder.share))]
        for batch in sizes.batches:
            yield f"{encoder.name}, batch {batch or 'auto'}: {_extracted(root, some, encoder, batch, device, flops, peak)}"
        shutil.rmtree(root / "encoder")


def _extracted(root: Path, utterances: pd.DataFrame, encoder: Encoder, batch: int, device: torch.device, flops: float, peak: float) -> str:
    settings = settings_below(root, "bench", available_cores())
    settings.compute.device, settings.compute.encoder_batch = device.type, batch
    settings.frontend, settings.ssl = "ssl", Ssl(model=str(root / "encoder"), layer=encoder.layer)
    for attempt in ("warm-up", "timed"):  # the first call compiles kernels and fills caches
        shutil.rmtree(root / "exp" / "bench", ignore_errors=True)
        rows = utterances[:8] if attempt == "warm-up" else utterances
        store = FeatureStore.open(extract_features(settings, rows, as_protocol(rows)))
    facts = store.facts["extraction"]
    seconds, variants = facts["seconds"], len(utterances) * len(VARIANTS)
    rate = variants / seconds["all"]
    waited = seconds.get("waiting for data", 0) / seconds["all"]
    busy = seconds["encoding"] / seconds["all"] / (1 if "waiting for data" in seconds else facts["workers"])
    return (
        f"{rate * VARIANT_SECONDS:,.0f} x real time ({variants} variants in {seconds['all']:.1f} s), {flops * rate / 1e12:.3g} TFLOP/s "
        f"= {flops * rate / peak:.0%} of peak; encoder busy {busy:.0%}, waiting for data {waited:.0%}"
    )


def finetuning(root: Path, sizes: Sizes, device: torch.device, options: dict[str, str]) -> Iterator[str]:
    """Steps of xlsr_aasist on waveforms, regmix doubling the rows of a batch."""
    _wav2vec2(XLS_R_300M)(root / "encoder", sizes is MINIATURE)
    for batch_size in (2,) if sizes is MINIATURE else (16, 32):
        words = ["system=xlsr_aasist", f"ssl.model={root / 'encoder'}", f"train.batch_size={batch_size}", *sizes.words]
        settings = load_settings([*words, f"compute.device={device.type}", *_language_words(("en",))])
        model = build_model(settings, (sizes.samples,)).to(device).train()
        state = TrainingState(model, CrossEntropy(settings, model, []), make_optimizer(model, settings))
        rows = _Noise(batch_size, sizes.samples, device)
        seconds = []
        for step in range(sizes.steps):
            start = mark(device)
            train_step(state, rows, mixed(np.arange(batch_size), settings.train, rng("step", step)), settings)
            seconds.append(seconds_between(start, mark(device)))
        median = statistics.median(seconds[len(seconds) // 2 :])
        memory = f", peak memory {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB" if device.type == "cuda" else ""
        yield (
            f"xlsr_aasist, batch {batch_size} + mixed, {resolved_precision(device, 'auto')}: {1000 * median:.0f} ms a step, "
            f"{batch_size / median:.1f} samples/s{memory}"
        )
        del model, state
        empty_cache(device)


class _Noise:
    """Rows of waveforms on a device, for `train_step`."""

    def __init__(self, size: int, samples: int, device: torch.device):
        self.features = (torch.randn(size, samples) * 0.1).to(device)
        self.labels = (torch.arange(size) % len(SOURCES)).to(device)

    def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return self.features[positions], self.labels[positions]


def training(root: Path, sizes: Sizes, device: torch.device, options: dict[str, str]) -> Iterator[str]:
    """Epochs of each LFCC system on one language: 60 % of its utterances in five variants, dev after each epoch."""
    store = write_lfcc_store(root / "features", sizes, sizes.languages[:1])
    hours = 0.0
    for system in SYSTEMS:
        run = _run(root, system, sizes.languages[0], sizes, device, epochs=3, seed=1)
        train_run(run, store, prepare_device(run.settings.compute))
        epoch = float(read_csv(run.files.history, texts=())["seconds"][1:].median())  # the first one compiles
        hours += epoch * PAPER_EPOCHS * len(sizes.languages) / 3600
        yield f"{system}: {epoch:.2f} s an epoch, {3600 / epoch:,.0f} epochs an hour"
    yield f"Table 4's LFCC part, one seed: {hours:.2f} h by these epochs ({len(sizes.languages)} languages x {PAPER_EPOCHS} epochs x 3)"


def speedrun(root: Path, sizes: Sizes, device: torch.device, options: dict[str, str]) -> Iterator[str]:
    """All LFCC cells of Table 4 from features on disk to scores on disk."""
    store, epochs = write_lfcc_store(root / "features", sizes, sizes.languages), int(options.get("epochs", 2))
    in_training = in_scoring = 0.0
    for system, language in product(SYSTEMS, sizes.languages):
        run = _run(root, system, language, sizes, device, epochs=epochs, seed=2)
        started = time.perf_counter()
        train_run(run, store, prepare_device(run.settings.compute))
        trained = time.perf_counter()
        score_run(run, store, device)
        in_training += trained - started
        in_scoring += time.perf_counter() - trained
    cells, whole = len(SYSTEMS) * len(sizes.languages), in_training / epochs * PAPER_EPOCHS + in_scoring
    yield f"{cells} cells, {epochs} epochs each: training {in_training:.0f} s, scoring {in_scoring:.0f} s"
    yield f"with {PAPER_EPOCHS} epochs: {whole / 60:.1f} min (computed: training in proportion, scoring as it was)"


def _language_words(languages: tuple[str, ...]) -> list[str]:
    return [f"corpus.languages=[{','.join(languages)}]", f"corpus.sources=[{','.join(SOURCES)}]", f"train.languages=[{languages[0]}]"]


def _run(root: Path, system: str, language: str, sizes: Sizes, device: torch.device, *, epochs: int, seed: int) -> TrainingRun:
    words = [f"paths.exp={root / 'exp'}", f"system={system}", f"train.epochs={epochs}", f"train.seed={seed}", *sizes.words]
    words += [f"compute.device={device.type}", *_language_words(sizes.languages), f"train.languages=[{language}]"]
    return run_of(load_settings(words), "benchmark")


def write_lfcc_store(folder: Path, sizes: Sizes, languages: tuple[str, ...]) -> FeatureStore:
    """A store of noise, (rows, 80, frames) float16, split 60:20:20."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    num, shares = sizes.utterances_per_language, (0.6, 0.2, 0.2)
    splits = np.repeat(SPLITS, [num - 2 * int(num * shares[1]), int(num * shares[1]), int(num * shares[2])])
    rows = [
        (f"{language}/{number}", variant, splits[number], language, SOURCES[number % len(SOURCES)])
        for language in languages
        for number in range(num)
        for variant in VARIANTS
    ]
    index = pd.DataFrame(rows, columns=["utt_id", "variant", "split", "language", "source"]).assign(row=range(len(rows)))
    per_block = num * len(VARIANTS)
    writer = StoreWriter(folder, (len(rows), 80, sizes.num_frames), np.dtype("float16"), per_block)
    block = np.random.default_rng(1).normal(size=(per_block, 80, sizes.num_frames)).astype(np.float16)
    for number in range(len(languages)):
        writer.commit(number, write_block(writer.path, writer.header_bytes, number * per_block, block))
    writer.finish(index, {})
    return FeatureStore.open(folder)


PARTS = {part.__name__: part for part in (extraction, finetuning, training, speedrun)}


def main(words: list[str]) -> None:
    """Prints and records part after part."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    device, sizes = pick_device(options.get("device", "auto")), MINIATURE if "miniature" in words else FULL
    name = re.sub(r"\W+", "_", device_name(device)).strip("_").lower() or device.type
    record = Path(options.get("record", RESULTS / f"{name}_{time.strftime('%Y-%m-%d')}{'_miniature' * (sizes is MINIATURE)}.md"))
    lines = _headline(device, words)
    print("\n".join(lines), flush=True)
    for part in options.get("parts", ",".join(PARTS)).split(","):
        lines += ["", f"## {part}", ""]
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for line in _lines_of(PARTS[part], Path(folder), sizes, device, options):
                lines.append(f"* {line}")
                print(f"{part}: {line}", flush=True)
                _write(record, lines)
        lines.append(f"* {part} took {time.perf_counter() - started:.0f} s in all")
        _write(record, lines)
    print(f"written to {record}")


def _lines_of(part: Callable, *rest: object) -> Iterator[str]:
    try:
        yield from part(*rest)
    except Exception as error:  # noqa: BLE001 (what one part cannot do is a result; the others are not lost for it)
        yield f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _headline(device: torch.device, words: list[str]) -> list[str]:
    names = ("torch", "transformers", "numpy", "soundfile", "soxr")
    versions = {name: version(name) for name in names} | {"python": platform.python_version(), "cuda": torch.version.cuda}
    return [
        f"# {device_name(device)}, {time.strftime('%Y-%m-%d')}",
        "",
        f"* {available_cores()} cores; versions {json.dumps(versions)}",
        f"* command: `python {shlex.join(['benchmarks/gpu.py', *words])}`",
    ]


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
