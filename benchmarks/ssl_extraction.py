"""SSL features on disk: ours against the published way, alternating; medians; what part stops ours, and how near the device's peak it is.

The published way takes one variant after the other: decode a whole noise file, run all blocks of the encoder in float32 with every hidden
state kept, torch.save of one .pt file. On a CPU it has torch's own threads on all cores. Ours is script 04: the encoder cut at the layer,
one array on disk; on a CPU one thread per worker, on a GPU batches. Both run the same encoder with random weights. Loading it is part of
ours; `blocks` is from the first decoded file to the last durable block, without that and without the final checksum.
The peak is measured, not looked up: a large matrix product in the same number type on the same device and threads, in every round.

Run     python benchmarks/ssl_extraction.py [model=base|xls-r-300m] [layer=5|last] [device=auto|cpu|cuda] [batch=0] [utterances=N]
                                            [rounds=3] [compile=false] [record=benchmarks/results/NAME.md]
        (about 4 minutes and 1 GB of temporary files on 2 cores; on a GPU 2000 utterances, 10 GB)
Prints  a line for each way; with record= also writes it, with device, versions and command, as Markdown
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import soxr
import torch
from _bench_audio import SHORT_SECONDS, UTTERANCE_RATE, as_protocol, settings_below, write_corpus, write_noises
from preprocessing import CROP, load_as_published, published_variant
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2Model

from sourcetracing.features.encoder_batches import WRITERS
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.store import FeatureStore
from sourcetracing.models.frontends.ssl import SslEncoder, normalized
from sourcetracing.runtime.compute import mark, pick_device, seconds_between
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
MODELS = {"base": ({}, 5), "xls-r-300m": (XLS_R_300M, "last")}  # configuration, layer unless another is asked for
PARTS = ("decoding", "encoding", "writing")


@dataclass
class Way:
    """One way of doing it, and what came out in each round."""

    name: str
    dtype: torch.dtype
    num_variants: int
    flops: float  # of one variant
    run: Callable[[], dict | None]  # returns what store.json tells of the extraction
    seconds: list[float] = field(default_factory=list)
    facts: list[dict] = field(default_factory=list)


def write_encoder(folder: Path, configuration: dict) -> Wav2Vec2Model:
    """A wav2vec2 encoder with random weights, also saved as a checkpoint."""
    torch.manual_seed(0)
    encoder = Wav2Vec2Model(Wav2Vec2Config(**configuration)).eval()
    encoder.save_pretrained(folder)
    return encoder


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


def our_settings(root: Path, options: dict[str, str], layer: int | str, precision: str, compiled: bool) -> Settings:
    """What script 04 gets."""
    settings = settings_below(root, "bench", available_cores())
    settings.compute.device, settings.compute.encoder_batch = options.get("device", "auto"), int(options.get("batch", 0))
    settings.compute.precision, settings.compute.compile = precision, compiled
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
    """FLOP/s of a large matrix product, the best of ten."""
    size = 2048 if device.type == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(10):
        start = mark(device)
        left @ right
        seconds.append(seconds_between(start, mark(device)))
    return 2 * size**3 / min(seconds)


def ways_of(root: Path, options: dict[str, str], device: torch.device) -> tuple[str, list[Way]]:
    """What is compared, and its headline; writes the audio and the encoder below `root`."""
    model = options.get("model", "base")
    configuration, layer = MODELS[model]
    layer = options.get("layer", layer)
    layer = layer if layer == "last" else int(layer)
    num_utterances = int(options.get("utterances", 16 if device.type == "cpu" else 2000))
    utterances, encoder = write_corpus(root, num_utterances), write_encoder(root / "encoder", configuration).to(device)
    write_noises(root, SHORT_SECONDS)
    prepare_banks(settings_below(root, "bench", available_cores()))
    few = utterances[:32]
    cut, whole = flops_of(root, layer), flops_of(root, "last")
    ways = [Way("published", torch.float32, len(few) * len(VARIANTS), whole, lambda: published(root, few, encoder, layer))]
    for precision, dtype in {"float32": torch.float32, "bf16": torch.bfloat16}.items():
        for compiled in (False, True)[: 1 + (options.get("compile") == "true")]:
            settings = our_settings(root, options, layer, precision, compiled)
            name = f"ours, {precision}" + (", compiled" if compiled else "")
            ways.append(Way(name, dtype, num_utterances * len(VARIANTS), cut, lambda settings=settings: ours(settings, utterances)))
    headline = (
        f"wav2vec2 {model}, layer {layer} ({cut / 1e9:.1f} of {whole / 1e9:.1f} GFLOP for 4 s), {num_utterances} utterances x 5 variants"
    )
    return headline, ways


def main() -> None:
    """Prints the medians of alternating rounds."""
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    device = pick_device(options.get("device", "auto"))
    with tempfile.TemporaryDirectory() as folder:
        headline, ways = ways_of(Path(folder), options, device)
        peaks: dict[torch.dtype, list[float]] = {way.dtype: [] for way in ways}
        for _ in range(int(options.get("rounds", 3))):
            for dtype, measured in peaks.items():
                measured.append(measured_peak(device, dtype))
            for way in ways:
                started = time.perf_counter()
                facts = way.run()
                way.seconds.append(time.perf_counter() - started)
                way.facts += [facts] if facts else []
    lines = report(headline, ways, {dtype: statistics.median(measured) for dtype, measured in peaks.items()})
    print("\n".join(lines))
    if "record" in options:
        write_record(Path(options["record"]), device, lines)


def report(headline: str, ways: list[Way], peaks: dict[torch.dtype, float]) -> list[str]:
    """Two lines for each of our ways: speed against the published one, then where the time went."""
    lines = [f"{headline}; medians (least, most) of {len(ways[0].seconds)} rounds"]
    lines += [f"measured peak in {str(dtype)[6:]}: {peak / 1e12:.3g} TFLOP/s" for dtype, peak in peaks.items()]
    baseline = statistics.median(ways[0].seconds) / ways[0].num_variants
    for way in ways:
        median, least, most = (figure(way.seconds) / way.num_variants for figure in (statistics.median, min, max))
        speed = way.flops / median
        lines.append(
            f"  {way.name:23} {median * 1e3:7.2f} ms per variant ({least * 1e3:.2f}, {most * 1e3:.2f}), "
            f"{VARIANT_SECONDS / median:7.1f} x real time, {speed / 1e12:6.3g} TFLOP/s = {speed / peaks[way.dtype]:4.0%} of peak   "
            f"{baseline / median:5.2f}x"
        )
        if way.facts:
            lines += where_the_time_went(way, peaks[way.dtype])
    return lines


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


def write_record(path: Path, device: torch.device, lines: list[str]) -> None:
    """What was printed, with all that is needed to do it again."""
    versions = {name: version(name) for name in ("torch", "transformers", "numpy", "soundfile", "soxr")} | {
        "python": platform.python_version()
    }
    text = [
        "# SSL extraction",
        "",
        f"* date: {time.strftime('%Y-%m-%d')}",
        f"* device: {device_name(device)}, {available_cores()} cores",
        f"* versions: {json.dumps(versions)}",
        f"* command: `python {shlex.join(['benchmarks/ssl_extraction.py', *sys.argv[1:]])}`",
        "",
        *(f"    {line}" for line in lines),
        "",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text), encoding="utf-8")


def device_name(device: torch.device) -> str:
    """What the hardware calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    models = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    return models[0] if models and device.type == "cpu" else f"{platform.processor() or platform.machine()} ({device.type})"


if __name__ == "__main__":
    main()
