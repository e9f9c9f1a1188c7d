"""What will stop frozen extraction on one GPU: cores that decode and augment, the GPU's arithmetic, its memory, or the disk. Derived.

Measured here: what an utterance with five variants costs a core of this machine up to its waveforms (no encoder; MUSAN-like noises), all
cores at work; and what is left of that when the audio lasts 50 ms, in seconds of the thread. That is Python's own part, during which it
lets no other thread of the process work: a process decodes no more utterances a second than fit into it, on however many cores.
Counted, from shapes alone: floating-point operations of an encoder for a variant of four seconds, and bytes that its operators read and
write in bf16 autocast, one operator after the other (what `compute.compile=true` fuses away is part of that). Taken from data sheets, not
measured: a card's dense bf16 operations and its memory's bytes a second; operators reach a part of both, so these are bounds from above.

Run     python benchmarks/gpu_limits.py [cores=16] [disk=2.0 (GB/s)] [utterances=200]
        (half a minute, 100 MB of temporary files)
Prints  the Markdown table of docs/scaling.md, section "One GPU"
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import _bench_audio
import torch
from _bench_audio import SHORT_SECONDS, as_protocol, settings_below, write_noises
from _rounds import options_or_exit
from scaling_table import ENCODERS, NUM_VARIANTS, SAMPLES, STORED, operations
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Wav2Vec2Config, Wav2Vec2Model

from sourcetracing.features.blocks import BlockMaker, StoreJob
from sourcetracing.features.extracting import list_items
from sourcetracing.features.front_end import FrontEnd, build_front_end, convert_once
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.store import BlockFile
from sourcetracing.runtime.compute import one_thread_each
from sourcetracing.runtime.parallel import available_cores

VARIANT_SECONDS = SAMPLES / 16_000
CARDS = {"H100 SXM": (989e12, 3.35e12), "H200": (989e12, 4.8e12)}  # data sheets: dense bf16 operations, bytes of memory, a second
NAMES = ("wav2vec2-base, layer 5", "XLS-R-300M, last layer")


class BytesMoved(TorchDispatchMode):
    """Adds up the bytes of what each operator reads and writes; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = operator(*args, **(kwargs or {}))
        if not operator.is_view and operator.namespace == "aten":
            self.total += sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves((args, made)) if isinstance(leaf, torch.Tensor))
        return made


def bytes_moved(name: str, batch: int = 16) -> float:
    """Of one variant, a batch's weights shared among its rows."""
    encoder = Wav2Vec2Model(Wav2Vec2Config(**ENCODERS[name])).eval()
    convert_once(encoder, "bf16")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        waveforms = torch.zeros(batch, SAMPLES)
        with torch.autocast("cpu", torch.bfloat16), BytesMoved() as moved:
            encoder(waveforms)
    return moved.total / batch


def waveform_seconds(root: Path, num_utterances: int, cores: int, *, is_short: bool = False) -> tuple[float, float]:
    """For an utterance with five variants: (seconds of a core with `cores` threads at it, seconds that its thread computes)."""
    settings = settings_below(root, "limits", cores)
    if is_short:
        settings.audio.crop_seconds = _bench_audio.UTTERANCE_SECONDS = 0.05
    utterances = _bench_audio.write_corpus(root, num_utterances)
    write_noises(root, SHORT_SECONDS)
    items, manifests = list_items(utterances, as_protocol(utterances)), prepare_banks(settings)
    job = StoreJob(settings, items, manifests, BlockFile(root / "unused", 0, 4 * SAMPLES, num_utterances * NUM_VARIANTS, 320))
    front_end: FrontEnd = build_front_end(settings)
    make, rows = BlockMaker(job, front_end), list(items.itertuples())

    def work(row: Any) -> float:
        before = time.thread_time()
        make.waveforms(row)
        return time.thread_time() - before

    with one_thread_each(), ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, rows[: 4 * cores]))
        started = time.perf_counter()
        computed = sum(pool.map(work, rows))
        return (time.perf_counter() - started) * cores / num_utterances, computed / num_utterances


def main(words: Sequence[str]) -> None:
    """Prints what was measured, then the table."""
    options = options_or_exit(__file__, words, {"cores": 16, "disk": 2.0, "utterances": 200})
    cores, disk = options["cores"], options["disk"] * 1e9
    with tempfile.TemporaryDirectory() as folder:
        here, count = available_cores(), options["utterances"]
        alone, _ = waveform_seconds(Path(folder) / "alone", count, 1)
        seconds, _ = waveform_seconds(Path(folder) / "all", count, here)
        _, locked = waveform_seconds(Path(folder) / "short", count, 1, is_short=True)
    measured = f"{1e3 * seconds:.1f} ms of a core with {here} threads, {1e3 * alone:.1f} ms with one; Python's part {1e3 * locked:.2f} ms"
    print(f"waveforms of an utterance with {NUM_VARIANTS} variants: {measured} (measured)\n")
    heads = [f"{cores} such cores", "the threads of one process", f"a disk of {disk / 1e9:g} GB/s"]
    heads += [f"arithmetic ({' / '.join(CARDS)})", "memory, operator by operator"]
    print(f"| x real time, at most by | {' | '.join(heads)} |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in NAMES:
        flops, moved, (shape, width) = operations(name), bytes_moved(name), STORED[name]
        bounds = [cores / seconds * NUM_VARIANTS, NUM_VARIANTS / locked, disk / (prod(shape) * width)]
        told = [f"{bound * VARIANT_SECONDS:,.0f}" for bound in bounds]
        told.append(" / ".join(f"{peak / flops * VARIANT_SECONDS:,.0f}" for peak, _ in CARDS.values()))
        told.append(" / ".join(f"{memory / moved * VARIANT_SECONDS:,.0f}" for _, memory in CARDS.values()))
        costs = f"{flops / 1e9:.0f} GFLOP, {moved / 1e6:.0f} MB moved, {prod(shape) * width / 1e3:.0f} kB stored"
        print(f"| {name} ({costs}) | {' | '.join(told)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
