"""A fine-tuning step of wav2vec2-base + AASIST on waveforms, by what learns: time and peak memory; each way in a process of its own.

The published way trains every weight of the encoder. Ours keeps the convolutions as they are; LoRA matrices, gradient checkpointing,
micro-batches and bf16 are options. Random weights, 4-s waveforms, regmix: a batch of 4 gives 8 rows. Alternating rounds, medians.
Run: python benchmarks/finetuning_step.py [rounds=3]        (about 5 minutes a round on 2 cores)
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
BATCH_SIZE, SAMPLES = 4, 64_000
WAYS = {
    "all weights (published)": ["finetune.freeze_cnn=false"],
    "convolutions kept (ours)": [],
    "LoRA, rank 8": ["finetune.lora_rank=8"],
    "gradient checkpointing": ["finetune.gradient_checkpointing=true"],
    "micro-batches": ["train.micro_batch_size=4", "train.batch_size=8"],
    "bf16": ["compute.precision=bf16"],
}


def serve(folder: str, way: str) -> None:
    """The child: a step for each line that comes in; answers with its seconds per row and the peak memory so far."""
    import torch

    from sourcetracing.runtime.compute import prepare_cpu
    from sourcetracing.runtime.parallel import available_cores
    from sourcetracing.runtime.seeding import rng
    from sourcetracing.settings.reading import load_settings
    from sourcetracing.training.batches import mixed
    from sourcetracing.training.loop import train_step
    from sourcetracing.training.networks import build_model
    from sourcetracing.training.objectives import CrossEntropy
    from sourcetracing.training.optimization import make_optimizer
    from sourcetracing.training.state import TrainingState

    settings = load_settings(
        ["system=xlsr_aasist", f"ssl.model={folder}", f"train.batch_size={BATCH_SIZE}", "compute.device=cpu", *WAYS[way]]
    )
    prepare_cpu(available_cores())
    model = build_model(settings, (SAMPLES,)).train()
    state = TrainingState(model, CrossEntropy(settings, model, []), make_optimizer(model, settings))
    size = settings.train.batch_size

    class Rows:
        features, labels = torch.randn(size, SAMPLES) * 0.1, torch.arange(size) % 4

        def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            return self.features[positions], self.labels[positions]

    for _ in sys.stdin:
        started = time.perf_counter()
        train_step(state, Rows(), mixed(np.arange(size), settings.train, rng(0)), settings)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        learning = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        print((time.perf_counter() - started) / size, peak_mb, learning, flush=True)


def main() -> None:
    """Prints a line for each way."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    rounds = int(dict(word.split("=") for word in sys.argv[1:]).get("rounds", 3))
    with tempfile.TemporaryDirectory() as folder:
        Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
        found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
        for number in range(rounds):
            for way in WAYS:  # one child at a time: together they would not fit a laptop's memory
                found[way].append(measure(folder, way))
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    report(found)


def measure(folder: str, way: str) -> tuple[float, float, float]:
    """(seconds per row, peak MB, weights that learn) of a child's second and third step."""
    command = [sys.executable, __file__, "--serve", folder, way]
    answer = subprocess.run(command, input="\n\n\n", stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    steps = [[float(word) for word in line.split()] for line in answer]
    return min(step[0] for step in steps[1:]), steps[-1][1], steps[-1][2]


def report(found: dict[str, list[tuple[float, float, float]]]) -> None:
    """Medians over rounds, and ratios to the first way."""
    medians = {way: [statistics.median(values) for values in zip(*rounds, strict=True)] for way, rounds in found.items()}
    first = medians[next(iter(medians))]
    print(f"fine-tuning step, wav2vec2-base + AASIST, batch of {BATCH_SIZE} (micro-batches: 8 in fours) + mixed rows, per row of 4 s")
    for way, (seconds, peak_mb, learning) in medians.items():
        print(
            f"  {way:26} {1000 * seconds:6.0f} ms  {first[0] / seconds:4.2f}x   peak {peak_mb / 1000:4.1f} GB"
            f"   {learning / 1e6:5.1f} M weights learn"
        )


if __name__ == "__main__":
    serve(*sys.argv[2:]) if sys.argv[1:2] == ["--serve"] else main()
