"""The nearest of a million enrolled sources: ms for a file after loading, against the straightforward product with all models.

The models are made up: directions around `groups` centres, as far from these as two sources of one kind of synthesizer may be. Half of the
files are near a model, half are near none. They lie on disk as a library keeps them (search/), are loaded memory-mapped in a process of
their own, whose memory is told, and every answer is compared with the product's. A library's other part, a folder for each source, is not
read here: reading it grows with the number of sources and happens once for each start (docs/enrolment.md).

Run     python benchmarks/enrolment_search.py [models=1000000] [width=192] [files=200] [groups=1000] [rounds=3]      (a minute, 3 GB)
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from _rounds import Bench, figure

THREADS = 2
OPTIONS = {"models": 1_000_000, "width": 192, "files": 200, "groups": 1000}


def make_models(num: int, width: int, groups: int) -> np.ndarray:
    """(num, width) float32 of length 1."""
    generator = np.random.default_rng(1)
    models = generator.standard_normal((num, width), dtype=np.float32)
    models += 1.5 * generator.standard_normal((groups, width), dtype=np.float32)[np.arange(num) % groups]
    models /= np.linalg.norm(models, axis=1, keepdims=True)
    return models


def make_files(models: np.ndarray, num: int) -> np.ndarray:
    """(num, width): every second one lies near a model."""
    generator = np.random.default_rng(2)
    files = generator.standard_normal((num, models.shape[1])).astype(np.float32)
    near = np.arange(0, num, 2)
    files[near] = files[near] * 0.5 / np.sqrt(models.shape[1]) + models[generator.integers(len(models), size=len(near))]
    return files / np.linalg.norm(files, axis=1, keepdims=True)


def build(folder: Path, sizes: dict[str, int]) -> dict[str, object]:
    """Writes models, files and index; returns its seconds and code."""
    from sourcetracing.enrolment.search import SourceSearch

    models = make_models(sizes["models"], sizes["width"], sizes["groups"])
    np.save(folder / "models.npy", models)
    np.save(folder / "files.npy", make_files(models, sizes["files"]))
    started = time.perf_counter()
    search = SourceSearch.of(models, least_coded=0)
    code = search.save(folder / "codes.faiss")
    return {"seconds": time.perf_counter() - started, "code": code}


def trace(folder: Path, code: dict) -> dict[str, object]:
    """Loads, then answers file by file; returns seconds, answers and memory: all, and the mapped pages in it."""
    import faiss
    import psutil

    from sourcetracing.enrolment.search import SourceSearch

    faiss.omp_set_num_threads(THREADS)
    files = np.load(folder / "files.npy")
    started = time.perf_counter()
    search = SourceSearch.load(np.load(folder / "models.npy", mmap_mode="r"), folder / "codes.faiss", code)
    loaded, seconds, answers = time.perf_counter() - started, [], []
    for file in files:
        before = time.perf_counter()
        answers.append(search(file))
        seconds.append(time.perf_counter() - before)
    memory = psutil.Process().memory_info()
    return {"load": loaded, "ms": [1e3 * one for one in seconds], "answers": answers, "rss": memory.rss, "mapped": memory.shared}


def product(folder: Path) -> dict[str, object]:
    """The straightforward way: all models in memory, one matrix-vector product a file."""
    import torch

    torch.set_num_threads(THREADS)
    files, models = np.load(folder / "files.npy"), torch.from_numpy(np.load(folder / "models.npy"))
    seconds, answers = [], []
    for file in torch.from_numpy(files):
        before = time.perf_counter()
        scores = models @ file
        row = int(scores.argmax())
        seconds.append(time.perf_counter() - before)
        answers.append((row, float(scores[row])))
    return {"ms": [1e3 * one for one in seconds], "answers": answers}


def in_child(*words: str) -> dict:
    """What a part of this benchmark prints, in a process of its own."""
    command = [sys.executable, __file__, "--measure", *words]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(words: list[str]) -> None:
    """Builds once; then both ways in turns."""
    with Bench(__file__, words, OPTIONS, {"models": 2000, "files": 10, "groups": 10}) as bench, tempfile.TemporaryDirectory() as folder:
        sizes = {name: bench[name] for name in OPTIONS}
        built = in_child("build", folder, json.dumps(sizes))
        size = f"{sizes['models']:,} models of width {sizes['width']}"
        bench.say(f"  {size}: index built in {built['seconds']:.1f} s, off by {built['code']['error']:.4f} at most")
        found: dict[str, list[dict]] = {"ours": [], "straightforward": []}

        def way(name: str, *arguments: str) -> float:
            found[name].append(in_child(name, folder, *arguments))
            return sum(found[name][-1]["ms"]) / 1e3

        ways = {"straightforward": lambda: way("straightforward"), "ours": lambda: way("ours", json.dumps(built["code"]))}
        what = f"the nearest of {sizes['models']:,} enrolled sources"
        bench.compare(what, ways, unit="ms", per=sizes["files"], each="a file")
        for number, (ours, plain) in enumerate(zip(found["ours"], found["straightforward"], strict=False)):
            pairs = list(zip(ours["answers"], plain["answers"], strict=True))
            # Two models may be equally near to the rounding of the product's float32.
            same = sum(one[0] == other[0] or abs(one[1] - other[1]) < 1e-6 for one, other in pairs)
            bench.say(
                f"    round {number + 1}: loaded in {figure(ours['load'])} s; median {figure(median(ours['ms']))}, at most "
                f"{figure(max(ours['ms']))} ms for each of {len(pairs)} files; memory {ours['rss'] / 1e6:,.0f} MB, "
                f"{ours['mapped'] / 1e6:,.0f} of them mapped; same answer as the product: {same} of {len(pairs)}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        part, place, *rest = sys.argv[2:]
        if part == "build":
            print(json.dumps(build(Path(place), json.loads(rest[0]))))
        else:
            print(json.dumps(trace(Path(place), json.loads(rest[0])) if part == "ours" else product(Path(place))))
    else:
        main(sys.argv[1:])
