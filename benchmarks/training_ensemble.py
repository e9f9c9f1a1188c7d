"""The training step of `make demo` in other ways than script 05's: six networks as one (vmap), torch.compile, bf16; what stays the same.

A step is that of one cell of configs/demo.yaml: ECAPA-TDNN of 48 channels, 8 rows of (80, 399) plus 8 mixed ones, forward, backward, Adam.
`apart` is what script 05 does, one network after the other. An ensemble stacks the weights of `cells` networks and maps one forward pass
over them, so that they share each operation. With compile=true a compiled network is started twice, with an empty and with a filled
cache of kernels, and tells what each first step took, compilers included; without a C++ compiler it is left out. Losses of the first
steps show parity: the first ones differ by rounding, the third ones by what Adam makes of it, for it divides small gradients by their size.

Each way has a process of its own; they take turns. Times are processor time, of all threads, which other programs change less than the
clock on the wall (clock=wall, for an idle machine).

Run     python benchmarks/training_ensemble.py [rounds=5] [cells=6] [threads=1] [steps=2] [clock=cpu] [compile=false]
        (a minute on an idle machine; with compile=true up to ten; no part of `make benchmark`)
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack

from _rounds import Bench

APART, ENSEMBLE = "apart", "ensemble"
WAYS = (APART, ENSEMBLE, "apart, compiled", "apart, bf16")
STEPS_TO_COMPARE = 3
LAM = 0.4


def serve(way: str, cells: int, threads: int, batch: int, frames: int, steps: int) -> None:
    """The child: tells what the first step took and the losses of the first steps; then times a round of steps for each line."""
    import torch

    from sourcetracing.models.losses.mixup import regmix
    from sourcetracing.runtime.compute import keep_freed_memory, set_deterministic
    from sourcetracing.training.networks import build_backend

    keep_freed_memory()
    set_deterministic(True)
    torch.set_num_threads(threads)
    models, inputs, labels = [], [], []
    for cell in range(cells):
        torch.manual_seed(cell)
        models.append(build_backend("ecapa_tdnn", num_features=80, num_frames=frames, num_classes=4, channels=48).train())
        features, permutation = torch.randn(batch, 80, frames), torch.randperm(batch)
        own = torch.randint(0, 4, (batch,))
        inputs.append(regmix(features, features[permutation], LAM))
        labels.append((own, own[permutation]))
    step = together(models, inputs, labels) if way == ENSEMBLE else one_by_one(models, inputs, labels, way)
    before, wall = cpu_seconds(), time.perf_counter()
    losses = [step()]
    print(cpu_seconds() - before, time.perf_counter() - wall, flush=True)
    losses += [step() for _ in range(STEPS_TO_COMPARE - 1)]
    for number in (0, -1):
        print(" ".join(f"{loss:.8f}" for loss in losses[number]), flush=True)
    for _ in sys.stdin:
        before, wall = cpu_seconds(), time.perf_counter()
        for _ in range(steps):
            step()
        print(cpu_seconds() - before, time.perf_counter() - wall, flush=True)


def cpu_seconds() -> float:
    """Of this process and of those that it waited for, compilers among them."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def one_by_one(models: list, inputs: list, labels: list, way: str) -> Callable[[], list[float]]:
    """A step of each network in turn; returns their losses."""
    import torch

    from sourcetracing.models.losses.mixup import regmix_loss
    from sourcetracing.runtime.compute import autocast

    optimizers = [torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=5e-4) for model in models]
    networks = [torch.compile(model) for model in models] if "compiled" in way else models
    precision = "bf16" if "bf16" in way else "float32"

    def step() -> list[float]:
        losses = []
        for network, optimizer, rows, (own, partners) in zip(networks, optimizers, inputs, labels, strict=True):
            optimizer.zero_grad(set_to_none=True)
            with autocast(rows.device, precision):
                _, logits = network(rows)
            loss = regmix_loss(logits.float(), own, partners, LAM)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return step


def together(models: list, inputs: list, labels: list) -> Callable[[], list[float]]:
    """A step of all networks as one; returns their losses. Adam takes each weight by itself, so stacked ones get what they would apart."""
    import torch
    from torch.func import functional_call, stack_module_state, vmap

    from sourcetracing.models.losses.mixup import regmix_loss

    weights, buffers = stack_module_state(models)
    optimizer = torch.optim.Adam(weights.values(), lr=2e-3, weight_decay=5e-4)
    rows = torch.stack(inputs)

    def logits_of_all(weights: dict, buffers: dict, rows: torch.Tensor) -> torch.Tensor:
        return vmap(lambda own, states, x: functional_call(models[0], (own, states), (x,))[1])(weights, buffers, rows)

    def step() -> list[float]:
        optimizer.zero_grad(set_to_none=True)
        logits = logits_of_all(weights, buffers, rows)
        losses = torch.stack([regmix_loss(own, *pair, LAM) for own, pair in zip(logits, labels, strict=True)])
        losses.sum().backward()  # no network's weights are in another's loss
        optimizer.step()
        return losses.tolist()

    return step


class Side:
    """A child process that does a round when it is told to, what its first step took, and its losses of the first and the third step."""

    def __init__(self, way: str, sizes: list[int], clock: str, cache: str):
        self.which, self.per = ("cpu", "wall").index(clock), sizes[0] * sizes[-1]
        command = [sys.executable, __file__, "--serve", way, *map(str, sizes)]
        # One compiling thread: the others would be processes that nobody waits for, and their time would be nobody's.
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.first_step, self.first, self.third = (self._answer() for _ in range(3))

    def _answer(self) -> list[float]:
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a child ended with status {self.process.wait()}")
        return [float(word) for word in answer.split()]

    def __call__(self) -> float:
        """Seconds of a step of one network."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()[self.which] / self.per

    def close(self) -> None:
        """Lets it end."""
        self.process.stdin.close()
        self.process.wait()


def is_possible(bench: Bench, way: str, has_bf16: bool) -> bool:
    """Whether this machine and these options allow a way; says why not."""
    if "compiled" not in way:
        return has_bf16 or "bf16" not in way
    if bench["compile"] and not shutil.which(os.environ.get("CXX", "g++")):
        bench.say(f"  {way}: left out, there is no C++ compiler")
        return False
    return bench["compile"]


def started(bench: Bench, way: str, sizes: list[int], cache: str) -> Side:
    """A child; a compiled one has been started before, so that its kernels lie in the cache."""
    for what in ("an empty", "a filled") if "compiled" in way else ("no",):
        side = Side(way, sizes, bench["clock"], cache)
        cpu, wall = side.first_step
        bench.say(f"  {way}: first step with {what} cache of kernels {cpu:.1f} s of processor time, {wall:.1f} s on the wall")
        if what == "an empty":
            side.close()
    return side


def main(words: list[str]) -> None:
    """All ways in turns, and how far their losses are from those of networks apart."""
    options = {"rounds": 5, "cells": 6, "threads": 1, "batch": 8, "frames": 399, "steps": 2, "clock": ("cpu", "wall"), "compile": False}
    miniature = {"cells": 2, "batch": 2, "frames": 64, "steps": 1}
    with Bench(__file__, words, options, miniature) as bench, ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory())
        sizes = [bench[option] for option in ("cells", "threads", "batch", "frames", "steps")]
        has_bf16, ways = bench.with_bf16(), {}
        for way in WAYS:
            if is_possible(bench, way, has_bf16):
                # Six compiled networks of one process would share one compilation, or not; script 05 has a process for each.
                own_sizes = [1, *sizes[1:]] if way == "apart, compiled" else sizes
                ways[way] = started(bench, way, own_sizes, cache)
                stack.callback(ways[way].close)
        rows = {way: f"training step of the demo, {way}" for way in ways if way != APART}
        bench.compare("training step of the demo", ways, unit="ms", each="a network", baseline=APART, rows=rows)
        for way, side in ways.items():
            apart = [
                max(abs(own - other) for own, other in zip(losses, expected, strict=False))
                for losses, expected in ((side.first, ways[APART].first), (side.third, ways[APART].third))
            ]
            bench.say(f"    {way:38} losses of the first step {apart[0]:.0e} apart, of the third {apart[1]:.0e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main(sys.argv[1:])
