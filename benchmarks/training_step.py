"""One CPU training step of each back-end: ours against the same network written the obvious way, in alternating rounds.

A step is what script 05 does: 16 rows of (80, 399) plus 16 mixed ones, forward, backward, Adam. Ours = our layers and an allocator that
keeps freed memory (sourcetracing.compute); straightforward = benchmarks/straightforward_networks.py with the system's allocator. Each side
has a process of its own, since allocator settings are a process's; they take turns, so a drifting machine hits both.

Run     python benchmarks/training_step.py [rounds=5] [threads=2]
Prints  median seconds per step of both, their ratio, and how far the two networks' logits are apart; then the same for ours with
        compute.precision=bf16, which is other arithmetic and hence no part of the comparison
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

STEPS_PER_ROUND = 3
SIDES = ("ours", "straightforward", "ours_bf16")
NETWORKS = ("aasist", "resnet18", "ecapa_tdnn")


def serve(name: str, side: str, threads: int) -> None:
    """The child: times a round of steps for each line that comes in."""
    import torch

    from benchmarks.straightforward_networks import straightforward
    from sourcetracing.models.losses.mixup import regmix, regmix_loss
    from sourcetracing.runtime.compute import autocast, keep_freed_memory
    from sourcetracing.training.networks import build_backend

    if side != "straightforward":
        keep_freed_memory()
    device = torch.device("cpu")
    precision = "bf16" if side == "ours_bf16" else "float32"
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_backend(name, num_features=80, num_frames=399, num_classes=4)
    if side == "straightforward":
        model = straightforward(model)
    features, labels, permutation = torch.randn(16, 80, 399), torch.randint(0, 4, (16,)), torch.randperm(16)
    with torch.inference_mode():
        print(" ".join(f"{value:.6f}" for value in model.eval()(features)[1].flatten().tolist()), flush=True)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=5e-4)
    for _ in sys.stdin:
        started = time.perf_counter()
        for _ in range(STEPS_PER_ROUND):
            optimizer.zero_grad(set_to_none=True)
            with autocast(device, precision):
                _, logits = model(regmix(features, features[permutation], 0.4))
            regmix_loss(logits.float(), labels, labels[permutation], 0.4).backward()
            optimizer.step()
        print((time.perf_counter() - started) / STEPS_PER_ROUND, flush=True)


def start(name: str, side: str, threads: int) -> tuple[subprocess.Popen, list[float]]:
    """A child and the logits it computed."""
    command = [sys.executable, __file__, "--serve", name, side, str(threads)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return child, [float(word) for word in child.stdout.readline().split()]


def one_round(child: subprocess.Popen) -> float:
    """Seconds per step in one round of a child."""
    child.stdin.write("\n")
    child.stdin.flush()
    return float(child.stdout.readline())


def compare(name: str, rounds: int, threads: int) -> None:
    """Prints one row of the result."""
    children, logits = zip(*(start(name, side, threads) for side in SIDES), strict=True)
    for child in children:
        one_round(child)  # warm-up
    times = [[one_round(child) for child in children] for _ in range(rounds)]
    for child in children:
        child.stdin.close()
        child.wait()
    ours, plain, bf16 = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = [statistics.median(row[1] / row[side] for row in times) for side in (0, 2)]
    apart = max(abs(a - b) for a, b in zip(logits[0], logits[1], strict=True))
    print(f"{name:<12}{ours:9.3f} s{plain:14.3f} s{ratios[0]:8.2f}x{apart:13.0e}{bf16:11.3f} s{ratios[1]:8.2f}x", flush=True)


def main() -> None:
    """All networks."""
    options = dict(word.split("=") for word in sys.argv[1:])
    rounds, threads = int(options.get("rounds", 5)), int(options.get("threads", 2))
    print(f"training step, 16 + 16 rows of (80, 399), {threads} threads, median of {rounds} alternating rounds of {STEPS_PER_ROUND} steps")
    print(f"{'network':<12}{'ours':>11}{'straightforward':>16}{'ratio':>9}{'logits apart':>13}{'ours, bf16':>13}{'ratio':>9}", flush=True)
    for name in NETWORKS:
        compare(name, rounds, threads)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
