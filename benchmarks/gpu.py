"""All that a GPU is for here, in one command: frozen SSL extraction, fine-tuning, the LFCC systems at the paper's size, Table 4's 18 cells.

Encoders have random weights of the real size, so nothing is downloaded; audio is noise, read from files. What is timed is the scripts' own
code (04, 05, 06). XLS-R-2B has ten of its 48 blocks, for layer 9 is all that is asked of it. x real time counts each variant as 4 s; the
peak is a large matrix product in the same number type, measured here. Each encoder is timed alone with each knob of `compute`
(encoder_batch, encoder_precision, compile), beside what the knob does to its output; then from files to disk with the fastest. What is
computed from a measurement and not measured itself says so.

Each part is a process of its own that is ended when its share of the budget is up; what it had printed stands. So the whole takes no
longer than the budget, whatever the card.

Run     python benchmarks/gpu.py [device=auto|cpu|cuda] [parts=wav2vec2-base,...,speedrun] [budget=570] [record=FILE.md]
        (at most `budget` seconds and 20 GB of temporary files)
        python benchmarks/gpu.py miniature      (the same with tiny sizes: two minutes on a CPU, which shows that it runs and nothing else)
Prints  each line as it is known, and writes it to benchmarks/results/<device>_<date>.md (in miniature only to what record= names); a part
        that fails is a line, and the others go on
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from _gpu_parts import FULL, MINIATURE, Time
from _rounds import defaults, help_or_go_on, parse

from sourcetracing.errors import UserError
from sourcetracing.runtime.parallel import available_cores, start_worker
from sourcetracing.settings.checking import did_you_mean

RESULTS = Path(__file__).resolve().parent / "results"
BUDGET_SECONDS, LEAST_SECONDS = 570, 10
# part -> (module, function and what it gets first, share of the budget)
PARTS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "wav2vec2-base": ("_gpu_extraction", ("extraction", "wav2vec2-base"), 130),
    "xls-r-300m": ("_gpu_extraction", ("extraction", "xls-r-300m"), 140),
    "w2v-bert": ("_gpu_extraction", ("extraction", "w2v-bert"), 45),
    "xls-r-2b": ("_gpu_extraction", ("extraction", "xls-r-2b"), 55),
    "finetuning": ("_gpu_training", ("finetuning",), 45),
    "training": ("_gpu_training", ("training",), 45),
    "speedrun": ("_gpu_training", ("speedrun",), 110),
}
OPTIONS = {"device": ("auto", "cpu", "cuda"), "parts": ",".join(PARTS), "budget": BUDGET_SECONDS, "record": ""}


def read_words(words: list[str]) -> tuple[dict[str, Any], bool]:
    """(options, whether it is the miniature). Raises `UserError`."""
    help_or_go_on(__file__, words)
    options = defaults(OPTIONS) | parse([word for word in words if word != "miniature"], OPTIONS)
    for part in options["parts"].split(","):
        if part not in PARTS:
            raise UserError(f"parts={part} is no part{did_you_mean(part, PARTS)}")
    if options["budget"] < LEAST_SECONDS:
        raise UserError(f"budget={options['budget']}: seconds, at least {LEAST_SECONDS}")
    return options, "miniature" in words


def main(words: list[str]) -> None:
    """Prints and records part after part. Raises `UserError`."""
    options, is_miniature = read_words(words)
    lines, name = headline(options["device"], words)
    slug = re.sub(r"\W+", "_", name).strip("_").lower()
    if is_miniature:
        print("miniature: shows that it runs; figures and advice mean nothing", flush=True)
    own = "" if is_miniature else RESULTS / f"{slug}_{time.strftime('%Y-%m-%d')}.md"
    record = Path(options["record"] or own) if options["record"] or own else None
    parts = options["parts"].split(",")
    total = sum(PARTS[part][2] for part in parts)
    budgets = {part: options["budget"] * PARTS[part][2] / total for part in parts}
    lines.append("* seconds at most: " + ", ".join(f"{part} {seconds:.0f}" for part, seconds in budgets.items()))
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for part, seconds in budgets.items():
            lines += ["", f"## {part}", ""]
            started = time.monotonic()
            for line in lines_of(part, Path(folder), is_miniature, options["device"], seconds):
                lines.append(f"* {line}")
                print(f"{part}: {line}", flush=True)
                if record:
                    write(record, lines)
            lines.append(f"* {part} took {time.monotonic() - started:.0f} s in all")
    if record:
        write(record, lines)
        print(f"written to {record}")


def lines_of(part: str, root: Path, is_miniature: bool, device: str, seconds: float) -> Iterator[str]:
    """What a part says, in a process of its own, until its time is up."""
    clock, context = Time(seconds), multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=run_part, args=(part, root, is_miniature, device, seconds, told, os.getpid()))
    process.start()
    try:
        while True:
            try:
                line = told.get(timeout=max(0.0, min(0.5, clock.left())))
            except queue.Empty:
                if clock.left() <= 0:
                    yield f"stopped: its {seconds:.0f} s are over; what stands above is all"
                    return
                if process.is_alive():
                    continue
                yield f"failed: its process ended with status {process.exitcode}"
                return
            if line is None:
                return
            yield line
    finally:
        process.kill()
        process.join()


def run_part(part: str, root: Path, is_miniature: bool, device: str, seconds: float, told: multiprocessing.Queue, parent: int) -> None:
    """Puts lines into `told`, and None behind the last one."""
    clock = Time(seconds)
    start_worker(parent)
    try:
        from sourcetracing.runtime.compute import pick_device

        module, (function, *first), _ = PARTS[part]
        for line in getattr(import_module(module), function)(*first, root, MINIATURE if is_miniature else FULL, pick_device(device), clock):
            told.put(line)
    except Exception as error:  # noqa: BLE001 (what one part cannot do is a result; the others are not lost for it)
        told.put(f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    told.put(None)


def headline(device: str, words: list[str]) -> tuple[list[str], str]:
    """What is written above the results, and the device's name. Raises `UserError` for a device that is not here."""
    import torch
    from _machine import device_name, versions

    from sourcetracing.runtime.compute import pick_device
    from sourcetracing.training.run_folder import git_commit

    found = pick_device(device)
    name = device_name(found)
    found_versions = versions() | {"CUDA": torch.version.cuda or "none"}
    memory = f", {torch.cuda.get_device_properties(found).total_memory / 2**30:.0f} GiB" if found.type == "cuda" else ""
    lines = [
        f"# {name}, {time.strftime('%Y-%m-%d')}",
        "",
        f"* device: {name}{memory}, driver {driver() if found.type == 'cuda' else 'none'}; {available_cores()} cores",
        f"* versions: {', '.join(f'{name} {number}' for name, number in found_versions.items())}",
        f"* commit {git_commit()}, command: `{shlex.join(['python', 'benchmarks/gpu.py', *words])}`",
    ]
    return lines, name


def driver() -> str:
    """The version of NVIDIA's driver."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def write(path: Path, lines: list[str]) -> None:
    """The record as far as it is known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
