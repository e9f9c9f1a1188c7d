"""SSL features on disk: ours against the published way, alternating; medians; what part stops ours, and how near the device's peak it is.

The published way takes one variant after the other: decode a whole noise file, run all blocks of the encoder in float32 with every hidden
state kept, torch.save of one .pt file. On a CPU it has torch's own threads on all cores. Ours is script 04: the encoder cut at the layer,
one array on disk; on a CPU one thread per worker, on a GPU batches. Both run the same encoder with random weights. Loading it is part of
ours; `blocks` is from the first decoded file to the last durable block, without that and without the final checksum.
The peak is measured, not looked up: a large matrix product in the same number type on the same device and threads, in every round.

bf16 is left out where the processor only imitates it.
With engines=true those of the extra `engine` that are installed take part; converting the network is loading, no part of `blocks`.

Run     python benchmarks/ssl_extraction.py [model=base|xls-r-300m] [layer=5|last] [device=auto|cpu|cuda] [batch=0] [utterances=N]
                                            [rounds=3] [compile=false] [engines=false] [record=benchmarks/results/NAME.md]
        (2 minutes and 1 GB of temporary files on 2 cores; on a GPU 2000 utterances, 10 GB)
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soxr
import torch
from _bench_audio import SHORT_SECONDS, TINY_SECONDS, UTTERANCE_RATE, as_protocol, settings_below, write_corpus, write_noises
from _machine import device_name
from _rounds import Bench
from preprocessing import CROP, load_as_published, published_variant
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2Model

from sourcetracing.errors import UserError
from sourcetracing.features.encoder_batches import WRITERS
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.store import FeatureStore
from sourcetracing.models.frontends.ssl import SslEncoder, normalized
from sourcetracing.runtime.compute import mark, pick_device, seconds_between
from sourcetracing.runtime.extras import ABSENT, version_of
from sourcetracing.runtime.parallel import available_cores
from sourcetracing.settings.frontends import VARIANTS, Ssl
from sourcetracing.settings.schema import Settings

VARIANT_SECONDS = CROP / 16000
XLS_R_300M = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": True,
}
TINY = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": (8,) * 7}
TINY |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
MODELS = {"base": ({}, 5), "xls-r-300m": (XLS_R_300M, "last"), "tiny": (TINY, 2)}  # configuration, layer unless another is asked for
PARTS = ("decoding", "encoding", "writing")
ENGINES = ("openvino", "onnxruntime")  # of the extra `engine`: those that are installed take part with engines=true


@dataclass
class Way:
    """One way of doing it, and what came out in each round."""

    name: str
    dtype: torch.dtype
    num_variants: int
    flops: float  # of one variant
    run: Callable[[], dict | None]  # returns what store.json tells of the extraction
    facts: list[dict] = field(default_factory=list)


def write_encoder(folder: Path, configuration: dict) -> None:
    """The checkpoint of a wav2vec2 encoder with random weights."""
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**configuration)).save_pretrained(folder)


@torch.inference_mode()
def published(root: Path, utterances: pd.DataFrame, encoder: Wav2Vec2Model, layer: int | str) -> None:
    """One file at a time, full depth, float32, one .pt each."""
    folder = root / "pt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    draw = np.random.default_rng(0)
    files = {kind: sorted((root / "musan" / kind).rglob("*.wav")) for kind in ("speech", "music", "noise")}
    files["reverb"] = sorted((root / "RIRS_NOISES").rglob("*.wav"))
    for number, path in enumerate(utterances["path"]):
        clean = soxr.resample(load_as_published(root / "corpus" / path), UTTERANCE_RATE, 16000)[:CROP]
        for variant in VARIANTS:
            waveform = torch.from_numpy(published_variant(clean, variant, files, draw).astype(np.float32))[None].to(encoder.device)
            output = encoder(normalized(waveform), output_hidden_states=True)
            hidden = output.last_hidden_state if layer == "last" else output.hidden_states[layer]
            torch.save(hidden.cpu().clone(), folder / f"{number:06d}_0_{variant}_{Path(path).stem}.pt")


def ours(settings: Settings, utterances: pd.DataFrame) -> dict:
    """Script 04 with the noise bank in place; returns what it tells of its speed."""
    shutil.rmtree(Path(settings.paths.exp) / settings.name, ignore_errors=True)
    return FeatureStore.open(extract_features(settings, utterances, as_protocol(utterances))).facts["extraction"]


def our_settings(root: Path, bench: Bench, layer: int | str, precision: str, compiled: bool, engine: str = "torch") -> Settings:
    """What script 04 gets."""
    settings = settings_below(root, "bench", available_cores())
    settings.compute.device, settings.compute.encoder_batch = bench["device"], bench["batch"]
    settings.compute.precision, settings.compute.compile, settings.compute.engine = precision, compiled, engine
    settings.frontend, settings.ssl = "ssl", Ssl(model=str(root / "encoder"), layer=layer)
    return settings


def flops_of(root: Path, layer: int | str) -> float:
    """Floating-point operations of the encoder, cut at a layer, for one variant (a multiplication and an addition count as two)."""
    encoder = SslEncoder(root / "encoder", layer=layer)
    # With attention as plain products: the counter does not know the CPU's fused one.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, CROP))
    return float(counter.get_total_flops())


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a matrix product, the best of ten, as large as a quarter of a second allows: a CPU without fp16 is 200 times as slow."""
    size = 256
    while True:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(10):
            start = mark(device)
            left @ right
            seconds.append(seconds_between(start, mark(device)))
        if size == (2048 if device.type == "cpu" else 8192) or 8 * min(seconds) > 0.25:
            return 2 * size**3 / min(seconds)
        size *= 2


def ways_of(bench: Bench, root: Path, utterances: pd.DataFrame, device: torch.device, layer: int | str) -> list[Way]:
    """What takes turns: the published way and ours in each number type. The audio and the encoder lie below `root`."""
    encoder, few = Wav2Vec2Model.from_pretrained(root / "encoder").eval().to(device), utterances[:32]
    cut, whole = flops_of(root, layer), flops_of(root, "last")
    ways = [Way("published", torch.float32, len(few) * len(VARIANTS), whole, lambda: published(root, few, encoder, layer))]
    types = {"float32": torch.float32}
    if device.type != "cpu" or bench.with_bf16():
        types["bf16"] = torch.bfloat16
    for precision, dtype in types.items():
        for compiled in (False, True)[: 1 + bench["compile"]]:
            settings = our_settings(root, bench, layer, precision, compiled)
            name = f"ours, {precision}" + (", compiled" if compiled else "")
            ways.append(Way(name, dtype, len(utterances) * len(VARIANTS), cut, lambda settings=settings: ours(settings, utterances)))
    for engine in [name for name in ENGINES if bench["engines"] and device.type == "cpu" and version_of(name) != ABSENT]:
        settings = our_settings(root, bench, layer, "float32", False, engine)
        run = partial(ours, settings, utterances)
        ways.append(Way(f"ours, {engine}", torch.float32, len(utterances) * len(VARIANTS), cut, run))
    return ways


def check(root: Path, bench: Bench, utterances: pd.DataFrame, layer: int | str) -> None:
    """Both made the same of the variant that draws nothing; ours is stored in half precision."""
    settings = our_settings(root, bench, layer, "float32", compiled=False)
    ours(settings, utterances)
    store = FeatureStore.open(extract_features(settings, utterances, as_protocol(utterances)))
    rows = store.index[store.index["variant"] == "original"].set_index("utt_id")["row"]
    encoder = Wav2Vec2Model.from_pretrained(root / "encoder").eval().to(pick_device(bench["device"]))
    published(root, utterances, encoder, layer)
    for number, (utt_id, path) in enumerate(zip(utterances["utt_id"], utterances["path"], strict=True)):
        theirs = torch.load(root / "pt" / f"{number:06d}_0_original_{Path(path).stem}.pt")[0].numpy()
        mine = store.load([rows[utt_id]])[0]
        np.testing.assert_allclose(mine if mine.shape == theirs.shape else mine.T, theirs, rtol=5e-3, atol=5e-3)


def main(words: list[str]) -> None:
    """Prepares audio, encoder and ways, and times them."""
    options = {"model": tuple(MODELS), "layer": "", "device": ("auto", "cpu", "cuda"), "batch": 0, "utterances": 0, "compile": False}
    options |= {"engines": False}
    with Bench(__file__, words, options, {"model": "tiny", "utterances": 2}) as bench, tempfile.TemporaryDirectory() as folder:
        device, root = pick_device(bench["device"]), Path(folder)
        bench.device = device_name(device)
        configuration, layer = MODELS[bench["model"]]
        layer = layer_of(bench["layer"]) if bench["layer"] else layer
        utterances = write_corpus(root, bench["utterances"] or (16 if device.type == "cpu" else 2000))
        write_encoder(root / "encoder", configuration)
        write_noises(root, TINY_SECONDS if bench.is_miniature else SHORT_SECONDS)
        prepare_banks(settings_below(root, "bench", available_cores()))
        check(root, bench, utterances[:1], layer)
        probed = [way.run for way in ways_of(bench, root, utterances[:2], device, layer)]
        num = bench.fitted("utterances", len(utterances), 2, lambda: [run() for run in probed], least=2)
        timed(bench, ways_of(bench, root, utterances[:num], device, layer), device, f"wav2vec2 {bench['model']}, layer {layer}")


def layer_of(text: str) -> int | str:
    """A number or `last`. Raises `UserError`."""
    if text != "last" and not text.isdecimal():
        raise UserError(f"layer={text} is neither a number nor last")
    return text if text == "last" else int(text)


def timed(bench: Bench, ways: list[Way], device: torch.device, what: str) -> None:
    """The rounds, then how near the device's peak each way came and what stopped it."""
    peaks: dict[torch.dtype, list[float]] = {way.dtype: [] for way in ways}

    def once(way: Way) -> float:
        if way is ways[0]:
            for dtype, measured in peaks.items():
                measured.append(measured_peak(device, dtype))
        started = time.perf_counter()
        facts = way.run()
        seconds = (time.perf_counter() - started) / way.num_variants
        way.facts += [facts] if facts else []
        return seconds

    runs = {way.name: partial(once, way) for way in ways}
    rows = {way.name: f"frozen {what}, on disk, {way.name.removeprefix('ours, ')}" for way in ways[1:]}
    times = bench.compare(what, runs, unit="ms", each="a variant of 4 s", baseline=ways[0].name, rows=rows)
    for way in ways:
        peak, seconds = statistics.median(peaks[way.dtype]), statistics.median(times[way.name]) / 1e3
        speed = way.flops / seconds
        bench.say(
            f"    {way.name}: {VARIANT_SECONDS / seconds:.1f} x real time, {speed / 1e12:.3g} TFLOP/s = {speed / peak:.0%} of the peak "
            f"that was measured, {peak / 1e12:.3g}"
        )
        for line in where_the_time_went(way, peak) if way.facts else ():
            bench.say(f"  {line}")


def where_the_time_went(way: Way, peak: float) -> list[str]:
    """Of the round of median length: how busy each part was, and which one is the limit."""
    facts = sorted(way.facts, key=lambda one: one["seconds"]["all"])[len(way.facts) // 2]
    seconds, workers = facts["seconds"], facts["workers"]
    in_pipeline = "waiting for data" in seconds
    places = {"decoding": workers, "encoding": 1 if in_pipeline else workers, "writing": WRITERS if in_pipeline else workers}
    busy = {part: seconds[part] / seconds["all"] / places[part] for part in PARTS}
    rate = way.num_variants / seconds["all"]
    lines = [
        f"    blocks: {rate * VARIANT_SECONDS:.1f} x real time, {way.flops * rate / peak:.0%} of peak; busy: "
        + ", ".join(f"{part} {busy[part]:.0%} of {places[part]} thread(s)" for part in PARTS)
    ]
    limit = f"the limit is {max(busy, key=busy.get)}"
    if in_pipeline:
        data, disk = (seconds[name] / seconds["all"] for name in ("waiting for data", "waiting for the disk"))
        lines += [
            f"    batches of {facts['encoder_batch']}: the encoder stood still {max(0.0, 1 - busy['encoding']):.0%} of the time",
            f"    its thread waited {data:.0%} for data, {disk:.0%} for the disk; {limit}",
        ]
    else:
        lines.append(f"    the encoder's threads had no data {busy['decoding']:.0%} of the time; {limit}")
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
