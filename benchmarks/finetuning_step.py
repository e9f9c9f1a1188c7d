"""A fine-tuning step of wav2vec2-base + AASIST on waveforms, by what learns: time and peak memory; each way in a process of its own.

The published way trains every weight of the encoder. Ours keeps the convolutions as they are; LoRA matrices, gradient checkpointing,
micro-batches and bf16 are options. Random weights, regmix: a batch of 4 gives 8 rows. Freezing alone leaves the loss of the first step as
it is, which is checked. Waveforms of 4 s, or shorter where the machine is slow; bf16 is left out where the processor only imitates it.

Run     python benchmarks/finetuning_step.py [rounds=2] [steps=1] [samples=64000]      (2 minutes and a half on 2 cores)
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import NamedTuple

import numpy as np
from _rounds import Bench, spread

BATCH_SIZE = 4
PUBLISHED, OURS = "all weights (published)", "convolutions kept (ours)"
WAYS = {
    PUBLISHED: ["finetune.freeze_cnn=false"],
    OURS: [],
    "LoRA, rank 8": ["finetune.lora_rank=8"],
    "gradient checkpointing": ["finetune.gradient_checkpointing=true"],
    "micro-batches": ["train.micro_batch_size=4", "train.batch_size=8"],
    "bf16": ["compute.precision=bf16"],
}
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": (8,) * 7}
TINY |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
NARROW = ["aasist.channels=[4,4]", "aasist.gat_dims=[4,4]"]


class Step(NamedTuple):
    """What a child tells of a step: seconds per row, the process's peak memory so far, weights that learn, loss."""

    seconds: float
    peak_mb: float
    learning: float
    loss: float


def serve(folder: str, way: str, samples: int, is_tiny: bool) -> None:
    """The child: a step for each line that comes in, answered with the words of a `Step`."""
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

    words = ["system=xlsr_aasist", f"ssl.model={folder}", f"train.batch_size={BATCH_SIZE}", "compute.device=cpu"]
    settings = load_settings([*words, *WAYS[way], *(NARROW if is_tiny else [])])
    prepare_cpu(available_cores())
    torch.manual_seed(0)
    model = build_model(settings, (samples,)).train()
    state = TrainingState(model, CrossEntropy(settings, model, []), make_optimizer(model, settings))
    size = settings.train.batch_size

    torch.manual_seed(1)  # building draws by what learns

    class Rows:
        features, labels = torch.randn(size, samples) * 0.1, torch.arange(size) % 4
        further_ids = torch.zeros((size, 0), dtype=torch.int64)

        def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            return self.features[positions], self.labels[positions]

    for _ in sys.stdin:
        started = time.perf_counter()
        loss, _, num_rows = train_step(state, Rows(), mixed(np.arange(size), settings.train, rng(0)), settings)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        learning = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        print((time.perf_counter() - started) / size, peak_mb, learning, loss / num_rows, flush=True)


def measured(folder: str, way: str, bench: Bench, found: dict[str, list[Step]], samples: int) -> float:
    """Seconds per row of the better of a child's last steps; keeps what else it tells."""
    command = [sys.executable, __file__, "--serve", folder, way, str(samples), str(int(bench.is_miniature))]
    told = subprocess.run(command, input="\n" * (1 + bench["steps"]), stdout=subprocess.PIPE, text=True, check=True).stdout
    steps = [Step(*map(float, line.split())) for line in told.splitlines()]
    found[way].append(steps[-1]._replace(loss=steps[0].loss))
    return min(step.seconds for step in steps[1:])


def main(words: list[str]) -> None:
    """Each way in turn; the first step of each child warms up."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    options = {"rounds": 2, "steps": 1, "samples": 64_000}
    with Bench(__file__, words, options, {"samples": 6_400}) as bench, tempfile.TemporaryDirectory() as folder:
        Wav2Vec2Model(Wav2Vec2Config(**(TINY if bench.is_miniature else {}))).save_pretrained(folder)
        ways = [PUBLISHED, OURS] if bench.is_miniature else [way for way in WAYS if way != "bf16" or bench.with_bf16()]
        found: dict[str, list[Step]] = {way: [] for way in ways}
        whole = bench["samples"]  # one of the ways at its whole size: starting a process does not shrink with the waveforms
        probe = partial(measured, folder, PUBLISHED, bench, {PUBLISHED: []}, whole)
        # A list, for the time of the whole child counts, not that of a row which `measured` returns.
        samples = bench.fitted("samples", whole, whole / len(ways), lambda: [probe()], least=16_000, rounds=1)
        runs = {way: partial(measured, folder, way, bench, found, samples) for way in ways}  # one child at a time: memory
        what = f"fine-tuning step of wav2vec2-base + AASIST, rows of {samples / 16_000:g} s"
        rows = {way: f"{what}, {way.removesuffix(' (ours)')}" for way in ways if way != PUBLISHED}
        bench.compare(what, runs, unit="ms", each="a row", baseline=PUBLISHED, rows=rows)
        first, second = (found[way][0].loss for way in (PUBLISHED, OURS))
        np.testing.assert_allclose(second, first, rtol=1e-4, err_msg="freezing changed the loss of the first step")
        for way, steps in found.items():
            peak = spread([step.peak_mb / 1000 for step in steps])
            bench.say(f"    {way:26} peak {peak} GB, {steps[0].learning / 1e6:.1f} M weights learn")


if __name__ == "__main__":
    serve(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] == "1") if sys.argv[1:2] == ["--serve"] else main(sys.argv[1:])
