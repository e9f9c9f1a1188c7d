"""The parts of `gpu.py` that extract: the encoder alone with each knob, beside its error, then script 04 with the fastest of them."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from _bench_audio import SHORT_SECONDS, as_protocol, settings_below, write_corpus, write_noises
from _gpu_parts import Sizes, Time
from ssl_extraction import VARIANT_SECONDS, XLS_R_300M, flops_of, measured_peak
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel, Wav2Vec2Config, Wav2Vec2Model

from sourcetracing.errors import UserError
from sourcetracing.features.blocks import crop_samples
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.front_end import FrontEnd, build_front_end
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.store import FeatureStore
from sourcetracing.metrics.classification import confusion_matrix, macro_f1
from sourcetracing.runtime.compute import HALF_TYPES, empty_cache, encoder_precision, mark, resolved_precision, seconds_between
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.parallel import available_cores
from sourcetracing.settings.frontends import VARIANTS, Ssl
from sourcetracing.settings.schema import Settings

XLS_R_2B = {**XLS_R_300M, "hidden_size": 1920, "intermediate_size": 7680, "num_hidden_layers": 10}
TINY = {"hidden_size": 16, "num_hidden_layers": 10, "num_attention_heads": 2, "intermediate_size": 24}
TINY_CONVOLUTIONS = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
# name -> configuration (None: w2v-BERT), layer, and what is tried besides: torch.compile takes a minute, and several processes are for
# an encoder that is faster than the threads of one process decode
ENCODERS = {
    "wav2vec2-base": ({}, 5, ("processes", "compile")),
    "xls-r-300m": (XLS_R_300M, "last", ("compile",)),
    "w2v-bert": (None, 4, ()),
    "xls-r-2b": (XLS_R_2B, 9, ()),
}
PROCESSES = 4  # on one GPU, by executor=ray
CLASSES, ROWS_PER_CLASS = 4, 10
MOST_BYTES = 12e9  # of features on disk at a time
MOST_UTTERANCES = 50_000


@dataclass(frozen=True)
class Knobs:
    """How the encoder is run: settings of `compute`."""

    encoder_batch: int
    encoder_precision: str
    compile: bool = False

    def __str__(self) -> str:
        return f"batch {self.encoder_batch}, {self.encoder_precision}{', compiled' * self.compile}"

    def utterances(self) -> int:
        """In a batch, with all variants."""
        return max(1, self.encoder_batch // len(VARIANTS))

    def yaml(self) -> str:
        """As a line of a configuration."""
        compiled = str(self.compile).lower()
        return f"compute: {{encoder_batch: {self.encoder_batch}, encoder_precision: {self.encoder_precision}, compile: {compiled}}}"


@dataclass
class Bench:
    """One encoder on one device, with waveforms of four kinds of noise to compare its outputs on."""

    root: Path
    sizes: Sizes
    device: torch.device
    layer: int | str
    flops: float
    waveforms: torch.Tensor
    exact: np.ndarray  # what it gives in float32

    def settings(self, knobs: Knobs) -> Settings:
        """Those of script 04."""
        settings = settings_below(self.root, "bench", available_cores())
        settings.frontend, settings.ssl = "ssl", Ssl(model=str(self.root / "encoder"), layer=self.layer)
        settings.compute = replace(settings.compute, device=self.device.type, **vars(knobs))
        return settings


def extraction(name: str, root: Path, sizes: Sizes, device: torch.device, clock: Time) -> Iterator[str]:
    """One encoder."""
    configuration, layer, besides = ENCODERS[name]
    write_encoder(root / "encoder", configuration, sizes.is_miniature)
    waveforms = four_noises(crop_samples(settings_below(root, "bench", 1)))
    bench = Bench(root, sizes, device, layer, flops_of(root, layer), waveforms, np.empty(0))
    bench.exact = outputs(build_front_end(bench.settings(Knobs(sizes.batches[0], "float32"))), waveforms)
    half = resolved_precision(device, encoder_precision(bench.settings(Knobs(1, "auto")).compute))
    peaks = {word: measured_peak(device, HALF_TYPES.get(word, torch.float32)) for word in {half, "fp16"}}
    yield f"layer {layer}, {bench.flops / 1e9:.3g} GFLOP a variant; peak of a matrix product: " + ", ".join(
        f"{peak / 1e12:.3g} TFLOP/s in {word}" for word, peak in sorted(peaks.items())
    )
    rates: dict[Knobs, float] = {}
    for knobs, front_end in ways(bench, half, rates, clock):
        rates[knobs], text = timed(bench, knobs, front_end, peaks[knobs.encoder_precision])
        yield text
    fastest = max(rates, key=rates.__getitem__)
    yield f"fastest: `{fastest.yaml()}`; put this into your YAML"
    yield to_disk(bench, fastest, rates[fastest], peaks[fastest.encoder_precision], clock)
    if "processes" in besides:
        yield in_processes(bench, fastest, rates[fastest], clock)
    if "compile" in besides and clock.left() > sizes.seconds_to_compile:  # last, for it may take all the time that is left
        compiled = replace(fastest, compile=True)
        rates[compiled], text = timed(bench, compiled, build_front_end(bench.settings(compiled)), peaks[compiled.encoder_precision])
        yield text
        if rates[compiled] > rates[fastest]:
            yield f"fastest: `{compiled.yaml()}`; put this into your YAML"
            yield to_disk(bench, compiled, rates[compiled], peaks[compiled.encoder_precision], clock)


def write_encoder(folder: Path, configuration: dict | None, is_tiny: bool) -> None:
    """A checkpoint with random weights of the real size."""
    torch.manual_seed(0)
    shutil.rmtree(folder, ignore_errors=True)
    if configuration is None:
        Wav2Vec2BertModel(Wav2Vec2BertConfig(vocab_size=None, **(TINY if is_tiny else {}))).save_pretrained(folder)
        SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2).save_pretrained(folder)
        return
    Wav2Vec2Model(Wav2Vec2Config(**configuration | (TINY | TINY_CONVOLUTIONS if is_tiny else {}))).save_pretrained(folder)


def four_noises(num_samples: int) -> torch.Tensor:
    """(CLASSES * ROWS_PER_CLASS, samples): noise whose spectrum falls faster from class to class."""
    generator = torch.Generator().manual_seed(1)
    spectra = torch.fft.rfft(torch.randn(CLASSES * ROWS_PER_CLASS, num_samples, generator=generator))
    slope = torch.arange(CLASSES).repeat_interleave(ROWS_PER_CLASS)[:, None] * 0.5
    made = torch.fft.irfft(spectra * torch.linspace(1e-3, 1, spectra.shape[1]) ** -slope, num_samples)
    return 0.1 * made / made.std(dim=1, keepdim=True)


def ways(bench: Bench, half: str, rates: dict[Knobs, float], clock: Time) -> Iterator[tuple[Knobs, FrontEnd]]:
    """Batch sizes, then fp16 with the fastest of them (`rates` fills up meanwhile) if there is time."""
    module = build_front_end(bench.settings(Knobs(1, half))).module
    for batch in bench.sizes.batches:
        knobs = Knobs(batch, half)
        yield knobs, FrontEnd(module, bench.settings(knobs))
    del module
    empty_cache(bench.device)
    if half != "fp16" and clock.left() > 3 * bench.sizes.seconds_to_disk:
        knobs = replace(max(rates, key=rates.__getitem__), encoder_precision="fp16")
        with suppress(UserError):  # not every encoder on every device
            yield knobs, build_front_end(bench.settings(knobs))


def timed(bench: Bench, knobs: Knobs, front_end: FrontEnd, peak: float) -> tuple[float, str]:
    """(variants per second of the encoder alone, what to say of it); 0 where it cannot be run like this."""
    started = time.perf_counter()
    try:
        front_end.output_shape(bench.waveforms.shape[1])
        made = outputs(front_end, bench.waveforms)
    except (UserError, RuntimeError) as error:
        return 0.0, f"{knobs}: not here: {str(error).splitlines()[0]}"
    ready = time.perf_counter() - started
    rows = bench.waveforms[torch.arange(front_end.size) % len(bench.waveforms)]
    rows = rows.pin_memory() if bench.device.type == "cuda" else rows
    one = passes(front_end, rows, 1)
    count = max(1, round(bench.sizes.seconds_each / one))
    rate = count * len(rows) / passes(front_end, rows, count)
    halved = "" if front_end.size > knobs.encoder_batch // 2 else f", halved to {front_end.size} for lack of memory"
    error = np.sqrt(np.square(made - bench.exact).mean() / np.square(bench.exact).mean())
    return rate, (
        f"encoder alone, {knobs}: {rate * VARIANT_SECONDS:,.0f} x real time, {bench.flops * rate / 1e12:.3g} TFLOP/s = "
        f"{bench.flops * rate / peak:.0%} of peak, ready after {ready:.0f} s{halved}; "
        f"relative RMS error {error:.1e} against float32, nearest-mean macro-F1 {nearest_mean_f1(bench, made):.3f} "
        f"({nearest_mean_f1(bench, bench.exact):.3f})"
    )


def passes(front_end: FrontEnd, rows: torch.Tensor, count: int) -> float:
    """Seconds of so many passes, of which the device is given one after the other."""
    start = mark(front_end.device)
    for _ in range(count):
        front_end(rows)
    return seconds_between(start, mark(front_end.device))


def outputs(front_end: FrontEnd, waveforms: torch.Tensor) -> np.ndarray:
    """(rows, width, frames) float32."""
    return front_end(waveforms).cpu().numpy()


def nearest_mean_f1(bench: Bench, made: np.ndarray) -> float:
    """Macro-F1 of telling the four noises apart by the nearest of four means, which come from every second row in float32."""
    labels = np.arange(CLASSES).repeat(ROWS_PER_CLASS)
    train, test = (np.arange(len(labels)) % 2 == remainder for remainder in (0, 1))
    exact, found = (features.mean(axis=2) for features in (bench.exact, made))
    means = np.stack([exact[train & (labels == label)].mean(axis=0) for label in range(CLASSES)])
    nearest = np.square(found[test][:, None] - means).sum(axis=2).argmin(axis=1)
    return float(macro_f1(confusion_matrix(labels[test], nearest, range(CLASSES))))


def to_disk(bench: Bench, knobs: Knobs, rate: float, peak: float, clock: Time) -> str:
    """Script 04, twice: a first run fills caches and says how much the second one can do in the time that is left."""
    settings = bench.settings(knobs)
    store_audio(bench)
    prepare_banks(settings)
    row_bytes, batch, most = bench.exact[0].size * 2, knobs.utterances(), most_utterances(bench)
    wanted = min(2 * batch, most)
    for attempt in ("first", "timed"):
        facts = extracted(bench, settings, wanted)
        measured = facts["hours_of_sound"] * 3600 / VARIANT_SECONDS / facts["seconds"]["all"]
        if attempt == "first":
            seconds = min(bench.sizes.seconds_to_disk, clock.left() / 4)
            wanted = max(wanted, min(most, int(min(rate, 8 * measured) * seconds / len(VARIANTS)) // batch * batch))
    seconds, busy = facts["seconds"], facts["seconds"]["all"]
    waiting = {name: seconds.get(name, 0.0) / busy for name in ("waiting for data", "waiting for the disk")}
    cores = seconds["decoding"] / busy / facts["workers"]
    return (
        f"files to disk, {knobs}: {measured * VARIANT_SECONDS:,.0f} x real time ({wanted} utterances x {len(VARIANTS)} variants in "
        f"{busy:.1f} s), {measured * row_bytes / 1e9:.2g} GB/s written, {bench.flops * measured / peak:.0%} of peak; encoder busy "
        f"{seconds['encoding'] / busy:.0%}, waiting for data {waiting['waiting for data']:.0%}, for the disk "
        f"{waiting['waiting for the disk']:.0%}; {facts['workers']} decoders busy {cores:.0%}"
    )


def most_utterances(bench: Bench) -> int:
    """How many of which the features find room on the disk."""
    free = min(MOST_BYTES, shutil.disk_usage(bench.root).free / 3)
    return min(MOST_UTTERANCES, int(free / (bench.exact[0].size * 2 * len(VARIANTS))))


def in_processes(bench: Bench, knobs: Knobs, rate: float, clock: Time) -> str:
    """Script 04 by several processes on the GPU. What more of the work takes more time, so that their start does not count."""
    settings = bench.settings(knobs)
    settings.executor.kind, settings.executor.address = "ray", "local"
    settings.compute.runs_per_gpu, settings.compute.workers = PROCESSES, max(1, available_cores() // PROCESSES)
    seconds = min(bench.sizes.seconds_to_disk, clock.left() / 8)
    few = 2 * PROCESSES * knobs.utterances()
    more = max(2 * few, min(most_utterances(bench), round(rate * seconds / len(VARIANTS)))) if not bench.sizes.is_miniature else few + 2
    try:
        times = {count: extracted(bench, settings, count)["seconds"]["all"] for count in (few, few, more)}
    except UserError as error:
        return f"files to disk, {PROCESSES} processes: not here: {error}"
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()  # its workers hold encoders on the GPU
    if times[more] < 1.5 * times[few]:
        seen = f"{more} utterances in {times[more]:.1f} s, {few} in {times[few]:.1f} s"
        return f"files to disk, {PROCESSES} processes: too short to tell ({seen})"
    measured = (more - few) * len(VARIANTS) / (times[more] - times[few])
    return (
        f"files to disk, {knobs}, {PROCESSES} processes (executor=ray executor.address=local compute.runs_per_gpu={PROCESSES}): "
        f"{measured * VARIANT_SECONDS:,.0f} x real time ({more} utterances in {times[more]:.1f} s, {few} in {times[few]:.1f} s)"
    )


def store_audio(bench: Bench) -> None:
    """Files of 5 s, and noises, once for all encoders."""
    if not (bench.root / "corpus.csv").is_file():
        write_noises(bench.root, SHORT_SECONDS)
        write_corpus(bench.root, bench.sizes.files).to_csv(bench.root / "corpus.csv", index=False)


def extracted(bench: Bench, settings: Settings, num_utterances: int) -> dict:
    """What script 04 tells of its speed. Each file is read many times, as another utterance with variants of its own."""
    table = read_csv(bench.root / "corpus.csv")
    table = table.iloc[np.arange(num_utterances) % len(table)].assign(utt_id=[f"en/source/{number}" for number in range(num_utterances)])
    try:
        return FeatureStore.open(extract_features(settings, table, as_protocol(table))).facts["extraction"]
    finally:
        shutil.rmtree(bench.root / "exp" / "bench" / "features", ignore_errors=True)
