"""How long features and training take and how much disk: MLAAD v5 and MCL-MLAAD with five variants, for each front-end.

Nothing is timed here. Measured: the rates below, by the benchmarks that the README records (two cores). Derived: other encoders, by
counting their floating-point operations from shapes alone, as if a core did as many of them per second as in the measured encoder. Hours on
a GPU follow from a throughput that is ASSUMED and was never measured here.

Run     python benchmarks/scaling_table.py [assumed_gpu_teraflops=100]
Prints  the Markdown tables of docs/scaling.md (takes seconds)
"""

from __future__ import annotations

import sys
from functools import cache
from math import prod

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2Model

CORPORA = {"MLAAD v5, special session": 56_891, "MCL-MLAAD": 11_700}
NUM_VARIANTS, SAMPLES = 5, 64_000

# Measured on a machine with two cores, both at work.
LFCC_SECONDS = 4.80e-3  # an utterance with five variants, all included: benchmarks/preprocessing.py
BASE_SECONDS = 165e-3  # a variant by wav2vec2-base up to layer 5, all included, float32: benchmarks/ssl_extraction.py
BASE_BF16_SECONDS = 79e-3  # the same with compute.precision=bf16
STEP_SECONDS = {"LFCC-AASIST": 0.97, "LFCC-ResNet18": 0.70, "LFCC-ECAPA-TDNN": 0.67}  # 16 + 16 rows: benchmarks/training_step.py

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
        return LFCC_SECONDS / NUM_VARIANTS
    return base_seconds * operations(name) / operations("wav2vec2-base, layer 5")


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h` or `52 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{seconds / 3600:,.0f} h"


def feature_lines(num_utterances: int, gpu_operations: float) -> list[str]:
    """The table of one corpus."""
    gpu = f"one GPU at an assumed {gpu_operations / 1e12:g} TFLOP/s"
    lines = [
        f"| front-end | a row | disk | 2 cores, float32 | 2 cores, bf16 | CPU hours are | {gpu} |",
        "|---|---|---:|---:|---:|---|---:|",
    ]
    rows = num_utterances * NUM_VARIANTS
    for name, (shape, num_bytes) in STORED.items():
        row = f"{' × '.join(map(str, shape))} {'float16' if num_bytes == 2 else 'float32'}"
        times = [duration(rows * variant_seconds(name, BASE_SECONDS)), "–", "–"]
        if name in ENCODERS:
            times[1:] = duration(rows * variant_seconds(name, BASE_BF16_SECONDS)), duration(rows * operations(name) / gpu_operations)
        known = MEASURED.get(name, "derived: operations")
        disk = f"{rows * prod(shape) * num_bytes / 1e9:.1f} GB"
        lines.append(f"| {name} | {row} | {disk} | {times[0]} | {times[1]} | {known} | {times[2]} |")
    return lines


def training_lines() -> list[str]:
    """Training on MCL-MLAAD as published: 60 % of the utterances of one of six languages, five variants, 50 epochs of batches of 16."""
    steps = 50 * -(-round(0.6 * CORPORA["MCL-MLAAD"] / 6) * NUM_VARIANTS // 16)
    lines = ["| system | a step, 2 cores | steps of a run | a run | six runs |", "|---|---:|---:|---:|---:|"]
    for name, seconds in STEP_SECONDS.items():
        lines.append(f"| {name} | {seconds:.2f} s | {steps:,} | {duration(steps * seconds)} | {duration(6 * steps * seconds)} |")
    return lines


def main(gpu_operations: float) -> None:
    """Prints all tables."""
    for corpus, num_utterances in CORPORA.items():
        hours = num_utterances * NUM_VARIANTS * SAMPLES / 16_000 / 3600
        print(f"{corpus}: {num_utterances:,} utterances × {NUM_VARIANTS} variants × 4 s = {hours:,.0f} h of sound\n")
        print("\n".join(feature_lines(num_utterances, gpu_operations)) + "\n")
    print("MCL-MLAAD, training one run (on one of six languages, 50 epochs), without its dev evaluations\n")
    print("\n".join(training_lines()))


if __name__ == "__main__":
    options = dict(word.split("=") for word in sys.argv[1:])
    main(float(options.get("assumed_gpu_teraflops", 100)) * 1e12)
