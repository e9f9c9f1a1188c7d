"""NSD in its mean-vector form against the straightforward product of all rows: seconds, peak memory, and that the scores are the same.

The published code multiplies every scored row with every training row and averages afterwards (D35): for MLAAD's eval split
a matrix of 38 GB. The mean can be taken first. Each side has a process of its own, whose peak memory the system keeps (ru_maxrss, with
python and numpy in it).

Run     python benchmarks/nsd.py [rows=20000] [width=160] [classes=24]      (seconds; the straightforward product needs rows^2 x 4 bytes)
Prints  one line per side, and the largest relative difference of the scores
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SIDES = ("mean vector", "straightforward")


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
    scores = (mean_vector if side == "mean vector" else straightforward)(train, test)
    seconds = time.perf_counter() - started
    np.save(out_path, scores)
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Both sides."""
    options = dict(word.split("=") for word in sys.argv[1:])
    sizes = [int(options.get(name, default)) for name, default in (("rows", 20_000), ("width", 160), ("classes", 24))]
    print(f"NSD, {sizes[0]:,} training rows x {sizes[0]:,} scored rows x {sizes[1]} dimensions")
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for side in SIDES:
            path = f"{folder}/{side}.npy"
            command = [sys.executable, __file__, "--measure", side, path, *map(str, sizes)]
            seconds, peak_mb = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
            found.append(np.load(path))
            print(f"  {side:<16}{seconds:9.3f} s{peak_mb:9.0f} MB at most", flush=True)
    print(f"  largest relative difference of the scores: {np.abs(found[0] / found[1] - 1).max():.0e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], list(map(int, sys.argv[4:])), sys.argv[3])
    else:
        main()
