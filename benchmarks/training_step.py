"""One CPU training step of each back-end: ours against the same network written the obvious way, in alternating rounds.

A step is what script 05 does: 16 rows of (80, 399) plus 16 mixed ones, forward, backward, Adam. Ours = our layers and an allocator that
keeps freed memory (sourcetracing.compute); straightforward = benchmarks/straightforward_networks.py with the system's allocator. Each side
has a process of its own, since allocator settings are a process's; they take turns, so a drifting machine hits both.

Both networks give the same logits, which is checked. With compute.precision=bf16, which is other arithmetic, ours is timed beside, unless
the processor only imitates it.

Run     python benchmarks/training_step.py [rounds=5] [threads=ALL] [batch=16] [frames=399] [steps=1]      (2 minutes on 2 cores)
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack

from _rounds import Bench

from sourcetracing.runtime.parallel import available_cores

SIDES = ("straightforward", "ours", "ours, bf16")
NETWORKS = ("aasist", "resnet18", "ecapa_tdnn")


def serve(name: str, side: str, threads: int, batch: int, frames: int, steps: int) -> None:
    """The child: times a round of steps for each line that comes in."""
    import torch
    from straightforward_networks import straightforward

    from sourcetracing.models.losses.mixup import regmix, regmix_loss
    from sourcetracing.runtime.compute import autocast, keep_freed_memory
    from sourcetracing.training.networks import build_backend

    if side != "straightforward":
        keep_freed_memory()
    device = torch.device("cpu")
    precision = "bf16" if side == "ours, bf16" else "float32"
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_backend(name, num_features=80, num_frames=frames, num_classes=4)
    if side == "straightforward":
        model = straightforward(model)
    features, labels, permutation = torch.randn(batch, 80, frames), torch.randint(0, 4, (batch,)), torch.randperm(batch)
    with torch.inference_mode():
        print(" ".join(f"{value:.6f}" for value in model.eval()(features)[1].flatten().tolist()), flush=True)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=5e-4)
    for _ in sys.stdin:
        started = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with autocast(device, precision):
                _, logits = model(regmix(features, features[permutation], 0.4))
            regmix_loss(logits.float(), labels, labels[permutation], 0.4).backward()
            optimizer.step()
        print((time.perf_counter() - started) / steps, flush=True)


class Side:
    """A child process that does a round when it is told to, and the logits it computed before the first."""

    def __init__(self, name: str, side: str, sizes: list[int]):
        command = [sys.executable, __file__, "--serve", name, side, *map(str, sizes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.logits = [float(word) for word in self.process.stdout.readline().split()]

    def __call__(self) -> float:
        """Seconds of a step."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a child ended with status {self.process.wait()}")
        return float(answer)

    def close(self) -> None:
        """Lets it end."""
        self.process.stdin.close()
        self.process.wait()


def seconds_of_all(bench: Bench, num_ways: int) -> float:
    """What the start, the warm-up and one round of every network and way would take, by the start and the second step of one."""
    started = time.perf_counter()
    side = Side("aasist", SIDES[0], [bench[option] for option in ("threads", "batch", "frames", "steps")])
    begun = time.perf_counter() - started
    side()
    step = side()
    side.close()
    return num_ways * (begun + 2 * bench["steps"] * step)


def compare(bench: Bench, name: str, sides: list[str], batch: int, parts: int) -> None:
    """One network: its children take turns."""
    sizes = [bench["threads"], batch, bench["frames"], bench["steps"]]
    with ExitStack() as children:
        ways = {}
        for side in sides:
            ways[side] = Side(name, side, sizes)
            children.callback(ways[side].close)
        apart = max(abs(ours - plain) for ours, plain in zip(ways["ours"].logits, ways["straightforward"].logits, strict=True))
        assert apart < 1e-3, f"the logits of {name} are {apart:.0e} apart"
        for way in ways.values():
            way()  # warms up
        what = f"training step of {name}, {sizes[1]} + {sizes[1]} rows"
        rows = {"ours": what, "ours, bf16": f"{what}, bf16"}
        bench.compare(what, ways, rows={side: rows[side] for side in sides if side in rows}, unit="s", parts=parts)
        bench.say(f"    logits {apart:.0e} apart")


def main(words: list[str]) -> None:
    """All networks."""
    options = {"rounds": 5, "threads": available_cores(), "batch": 16, "frames": 399, "steps": 1}
    with Bench(__file__, words, options, {"batch": 2, "frames": 64, "steps": 1}) as bench:
        sides = list(SIDES[:2] if bench.is_miniature or not bench.with_bf16() else SIDES)
        bench.say(f"  {bench['threads']} threads, rounds of {bench['steps']} steps; bf16 is other arithmetic, shown beside")
        networks = NETWORKS[-1:] if bench.is_miniature else NETWORKS
        whole = bench["batch"]
        batch = bench.fitted("rows", whole, whole, lambda: seconds_of_all(bench, len(networks) * len(sides)), least=2, rounds=1)
        for number, name in enumerate(networks):
            compare(bench, name, sides, batch, parts=len(networks) - number)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
    else:
        main(sys.argv[1:])
