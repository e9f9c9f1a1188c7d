"""How long features and training take, how much disk and memory, what that costs: MLAAD v5 and MCL-MLAAD, each front-end and system.

Nothing is timed here. Measured: RATES below, by the benchmarks that each of them names (two cores). Derived: other encoders, by counting
their floating-point operations from shapes alone, as if a core did as many of them per second as in the measured encoder. Hours on a GPU
follow from a throughput that is ASSUMED and was never measured here; where nothing was even assumed, a cell says so.

Run     python benchmarks/scaling_table.py [assumed_gpu_teraflops=100] [price_per_hour=P]
        (price_per_hour: of one machine with two cores; adds the money that each system costs at that price)
Prints  the Markdown tables of docs/scaling.md (takes seconds)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2Model


@dataclass(frozen=True)
class Rate:
    """Seconds of both cores of a machine, all included; what took them, which benchmark says so, when and on what."""

    seconds: float
    what: str
    measured_by: str
    date: str
    cpu: str


EPYC, XEON = "AMD EPYC, family 25 model 1", "Intel Xeon (Sapphire Rapids class)"
# The one place for measured rates: write the newest here, and all tables follow. Those of the EPYC are of one run of `make benchmark`.
RATES = {
    "LFCC": Rate(10.8e-3, "an utterance, five variants", "preprocessing.py", "2026-11-27", EPYC),
    "base": Rate(292e-3, "a variant, wav2vec2-base to layer 5, float32", "ssl_extraction.py", "2026-11-27", EPYC),
    "LFCC-AASIST": Rate(1.94, "a training step of AASIST, 16 + 16 rows", "training_step.py", "2026-11-27", EPYC),
    "LFCC-ResNet18": Rate(1.98, "a training step of ResNet18, 16 + 16 rows", "training_step.py", "2026-11-27", EPYC),
    "LFCC-ECAPA-TDNN": Rate(1.84, "a training step of ECAPA-TDNN, 16 + 16 rows", "training_step.py", "2026-11-27", EPYC),
    "MUSAN": Rate(1.67, "an hour of noises into the noise bank", "real_scale.py", "2026-11-27", XEON),
    "RIR": Rate(1.43e-3, "a room response into the noise bank", "real_scale.py", "2026-11-27", XEON),
}

CORPORA = {"MLAAD v5, special session": 56_891, "MCL-MLAAD": 11_700}
NUM_VARIANTS, SAMPLES, SAMPLE_RATE = 5, 64_000, 16_000
NUM_LANGUAGES, EPOCHS, BATCH = 6, 50, 16
MUSAN_HOURS, RIRS_GB = 109, 5.0  # RIRS_NOISES unpacked, as 16-bit files, as script 01 reserves it: an upper limit

LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True, "num_attention_heads": 16}
ENCODERS = {
    "wav2vec2-base, layer 5": {"num_hidden_layers": 5},
    "XLS-R-300M, last layer": {**LARGE, "hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096},
    "XLS-R-2B, last layer": {**LARGE, "hidden_size": 1920, "num_hidden_layers": 48, "intermediate_size": 7680},
}
MEASURED = {"LFCC": "measured rate", "wav2vec2-base, layer 5": "measured rate", "waveform": "taken as LFCC's"}
STORED = {  # shape of a row and bytes of a number
    "LFCC": ((80, 399), 2),
    "waveform": ((SAMPLES,), 4),
    "wav2vec2-base, layer 5": ((768, 199), 2),
    "XLS-R-300M, last layer": ((1024, 199), 2),
    "XLS-R-2B, last layer": ((1920, 199), 2),
}
LFCC_SYSTEMS = ("LFCC-AASIST", "LFCC-ResNet18", "LFCC-ECAPA-TDNN")
FINE_TUNED = ("XLSR-AASIST", "W2V2EN-AASIST", "W2V2(xx)-AASIST")  # all of XLS-R-300M's size, trained on stored waveforms
PASSES = 3  # forward and backward: the backward pass takes twice the operations of the forward pass
NOT_MEASURED = "not measured"


@cache
def operations(name: str) -> float:
    """Floating-point operations of an encoder for one variant of four seconds."""
    with FakeTensorMode(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder = Wav2Vec2Model(Wav2Vec2Config(**ENCODERS[name], attn_implementation="eager")).eval()
        hidden = encoder(torch.zeros(1, SAMPLES)).last_hidden_state
    assert (hidden.shape[2], hidden.shape[1]) == STORED[name][0]
    return float(counter.get_total_flops())


def variant_seconds(name: str, base_seconds: float) -> float:
    """Of two cores, for a variant. base_seconds: what wav2vec2-base up to layer 5 takes."""
    if name not in ENCODERS:
        return RATES["LFCC"].seconds / NUM_VARIANTS
    return base_seconds * operations(name) / operations("wav2vec2-base, layer 5")


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h` or `52 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{seconds / 3600:,.0f} h"


def row_bytes(name: str) -> int:
    """Of a stored row."""
    shape, num_bytes = STORED[name]
    return prod(shape) * num_bytes


def feature_lines(num_utterances: int, gpu_operations: float) -> list[str]:
    """The table of one corpus."""
    gpu = f"one GPU at an assumed {gpu_operations / 1e12:g} TFLOP/s"
    lines = [
        f"| front-end | a row | disk | 2 cores | CPU hours are | {gpu} |",
        "|---|---|---:|---:|---|---:|",
    ]
    rows = num_utterances * NUM_VARIANTS
    for name, (shape, num_bytes) in STORED.items():
        row = f"{' × '.join(map(str, shape))} {'float16' if num_bytes == 2 else 'float32'}"
        on_cpu = duration(rows * variant_seconds(name, RATES["base"].seconds))
        on_gpu = duration(rows * operations(name) / gpu_operations) if name in ENCODERS else "–"
        known = MEASURED.get(name, "derived: operations")
        disk = f"{rows * row_bytes(name) / 1e9:.1f} GB"
        lines.append(f"| {name} | {row} | {disk} | {on_cpu} | {known} | {on_gpu} |")
    return lines


def noise_lines() -> list[str]:
    """What the noises take, once for all front-ends and experiments."""
    musan = MUSAN_HOURS * 3600 * SAMPLE_RATE * 2 / 1e9
    decoding = duration(MUSAN_HOURS * RATES["MUSAN"].seconds), duration(60_000 * RATES["RIR"].seconds)
    return [
        "| once for all experiments | as downloaded | noise bank | decoded in |",
        "|---|---:|---:|---:|",
        f"| MUSAN, {MUSAN_HOURS} h | 12.5 GB | {musan:.1f} GB (16-bit) | {decoding[0]} |",
        f"| RIRS_NOISES, 60,000 simulated rooms | at most {RIRS_GB:.0f} GB | at most {2 * RIRS_GB:.0f} GB (float32) | {decoding[1]} |",
    ]


@dataclass(frozen=True)
class System:
    """What one system of Table 4 takes: the seconds of a run (on one language) and of its features, bytes on disk, bytes of rows held."""

    name: str
    run_seconds: float
    feature_seconds: float
    disk_bytes: float
    held_bytes: float
    source: str


def systems() -> list[System]:
    """All of Table 4. A run trains on one of six languages: 60 % of its utterances in five variants, 20 % dev, 50 epochs."""
    rows = CORPORA["MCL-MLAAD"] * NUM_VARIANTS
    of_run = round(0.6 * CORPORA["MCL-MLAAD"] / NUM_LANGUAGES) * NUM_VARIANTS
    held = 0.8 * rows / NUM_LANGUAGES
    found = []
    for name in LFCC_SYSTEMS:
        features = rows * variant_seconds("LFCC", 0)
        sizes = rows * row_bytes("LFCC"), held * row_bytes("LFCC")
        found.append(System(name, EPOCHS * -(-of_run // BATCH) * RATES[name].seconds, features, *sizes, f"`{RATES[name].measured_by}`"))
    encoder = variant_seconds("XLS-R-300M, last layer", RATES["base"].seconds)
    for name in FINE_TUNED:
        training = EPOCHS * of_run * 2 * PASSES * encoder  # mixup doubles the rows
        sizes = rows * row_bytes("waveform"), held * row_bytes("waveform")
        found.append(System(name, training, rows * variant_seconds("waveform", 0), *sizes, "derived: operations × 3, `ssl_extraction.py`"))
    return found


def system_lines(price_per_hour: float | None) -> list[str]:
    """Hours, disk, memory and cost of each system of Table 4, dev and eval left out."""
    cost = "machine hours" if price_per_hour is None else f"machine hours (at {price_per_hour:g} an hour)"
    where = "2 cores | 100 nodes of 2 cores | one H200 | 8 GPUs"
    lines = [
        f"| system, six runs | {where} | features on disk | rows in memory, a run | {cost} | from |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for system in systems():
        all_seconds = NUM_LANGUAGES * system.run_seconds + system.feature_seconds
        on_nodes = system.run_seconds + system.feature_seconds / 100
        hours = f"{all_seconds / 3600:,.0f}"
        money = "" if price_per_hour is None else f" ({price_per_hour * all_seconds / 3600:,.2f})"
        times = f"{duration(all_seconds)} | {duration(on_nodes)} | {NOT_MEASURED} | {NOT_MEASURED}"
        sizes = f"{system.disk_bytes / 1e9:.1f} GB | {system.held_bytes / 1e9:.2f} GB"
        lines.append(f"| {system.name} | {times} | {sizes} | {hours}{money} | {system.source} |")
    return lines


def rate_lines() -> list[str]:
    """Where every number comes from."""
    lines = ["| measured rate, two cores | | benchmark | date | CPU |", "|---|---:|---|---|---|"]
    for rate in RATES.values():
        seconds = f"{rate.seconds:.2f} s" if rate.seconds >= 0.5 else f"{1000 * rate.seconds:.3g} ms"
        lines.append(f"| {rate.what} | {seconds} | `benchmarks/{rate.measured_by}` | {rate.date} | {rate.cpu} |")
    return lines


def main(gpu_operations: float, price_per_hour: float | None = None) -> None:
    """Prints all tables."""
    print("\n".join(rate_lines()) + "\n")
    for corpus, num_utterances in CORPORA.items():
        hours = num_utterances * NUM_VARIANTS * SAMPLES / SAMPLE_RATE / 3600
        print(f"{corpus}: {num_utterances:,} utterances × {NUM_VARIANTS} variants × 4 s = {hours:,.0f} h of sound\n")
        print("\n".join(feature_lines(num_utterances, gpu_operations)) + "\n")
    print("\n".join(noise_lines()) + "\n")
    print("MCL-MLAAD, Table 4: each system on six languages, 50 epochs, without its dev evaluations; features counted with each system\n")
    print("\n".join(system_lines(price_per_hour)))


if __name__ == "__main__":
    from _rounds import options_or_exit

    asked = options_or_exit(__file__, sys.argv[1:], {"assumed_gpu_teraflops": 100.0, "price_per_hour": 0.0})
    main(asked["assumed_gpu_teraflops"] * 1e12, asked["price_per_hour"] or None)
