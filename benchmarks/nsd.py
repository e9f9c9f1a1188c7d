"""NSD in its mean-vector form against the straightforward product of all rows: seconds, peak memory, and that the scores are the same.

The published code multiplies every scored row with every training row and averages afterwards (D35): for MLAAD's eval split
a matrix of 38 GB. The mean can be taken first, which gives the same scores (checked to 1e-4). Each side has a process of its own, whose
peak memory the system keeps (ru_maxrss, with python and numpy in it).

Run     python benchmarks/nsd.py [rounds=3] [rows=20000] [width=160] [classes=24]
        (a minute; the product needs rows^2 x 4 bytes: 1.6 GB)
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from functools import partial

import numpy as np
from _rounds import Bench, spread

SIDES = ("straightforward", "ours")


def make_rows(rows: int, width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (rows, width) and logits (rows, classes), float32."""
    generator = np.random.default_rng(seed)
    return tuple(generator.normal(0.5, 1, (rows, size)).astype(np.float32) for size in (width, classes))


def straightforward(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The definition: minus E(x) times the mean over training rows of <unit x, unit f_i> E_i, as one (M, N) product."""
    from scipy.special import logsumexp

    (fitted, scored), (fitted_energy, energy) = (
        [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows, _ in (train, test)],
        [logsumexp(logits, axis=1) for _, logits in (train, test)],
    )
    products_MN = scored @ (fitted * fitted_energy[:, None]).T
    return -energy * products_MN.mean(axis=1)


def mean_vector(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Ours."""
    from sourcetracing.openset.detectors import Nsd

    return Nsd().fit(*train, np.zeros(len(train[0]), np.int64)).score(*test)


def measure(side: str, sizes: list[int], out_path: str) -> None:
    """The child: computes, saves the scores, prints seconds and peak MB."""
    import scipy.special  # noqa: F401 (imports are not what is timed)

    import sourcetracing.openset.detectors  # noqa: F401

    train, test = make_rows(*sizes, seed=1), make_rows(*sizes, seed=2)
    started = time.perf_counter()
    scores = (mean_vector if side == "ours" else straightforward)(train, test)
    seconds = time.perf_counter() - started
    np.save(out_path, scores)
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def in_child(side: str, sizes: list[int], folder: str, peaks: dict[str, list[float]]) -> float:
    """Seconds of one side; keeps its peak memory in MB."""
    command = [sys.executable, __file__, "--measure", side, f"{folder}/{side}.npy", *map(str, sizes)]
    seconds, peak_mb = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    peaks[side].append(peak_mb)
    return seconds


def main(words: list[str]) -> None:
    """Both sides in turns."""
    options = {"rows": 20_000, "width": 160, "classes": 24}
    with Bench(__file__, words, options, {"rows": 300}) as bench, tempfile.TemporaryDirectory() as folder:
        sizes, peaks = [bench[name] for name in options], {side: [] for side in SIDES}
        ways = {side: partial(in_child, side, sizes, folder, peaks) for side in SIDES}
        what = f"NSD, {sizes[0]:,} training rows x {sizes[0]:,} scored rows x {sizes[1]} dimensions"
        bench.compare(what, ways, unit="ms")
        plain, fast = (np.load(f"{folder}/{side}.npy") for side in SIDES)
        np.testing.assert_allclose(fast, plain, rtol=1e-4)
        for side in SIDES:
            bench.say(f"    {side:16}{spread(peaks[side])} MB of memory at most")
        bench.row("NSD, memory at most", peaks["ours"], peaks["straightforward"], unit="MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], list(map(int, sys.argv[4:])), sys.argv[3])
    else:
        main(sys.argv[1:])
