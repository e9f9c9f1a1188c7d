"""RawBoost, algorithm 5 (convolutive, then impulsive): ours against the straightforward way, alternating; medians, one thread.

The straightforward way filters each power of the signal in the time domain (scipy.signal.lfilter) and changes the drawn samples one by one.
Both draw the same and give the same samples, which is checked.
Run: python benchmarks/rawboost.py        (about 20 s)
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.detection.features.rawboost import between, draw_filter, limited, rawboost
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.detection import Rawboost

RATE, ROUNDS, FILES = 16000, 5, 10
OPTIONS = Rawboost()


def straightforward(waveform: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Algorithm 5 as one would write it down."""
    filters = []
    for order in range(OPTIONS.orders):
        bias = OPTIONS.bias_db if order else (0, 0)
        filters.append(draw_filter(RATE, OPTIONS, (OPTIONS.gain_db[0] - bias[0], OPTIONS.gain_db[1] - bias[1]), draws))
    boosted = np.zeros(len(waveform))
    for order, taps in enumerate(filters, start=1):
        longer = np.append(waveform.astype(np.float64) ** order, np.zeros(len(taps) + 1))
        start = (len(taps) + 1) // 2
        boosted += scipy.signal.lfilter(taps, 1, longer)[start : start + len(waveform)]
    boosted = limited(boosted - boosted.mean())
    share = between(0, OPTIONS.impulse_percent, draws) / 100
    positions = draws.permutation(len(boosted))[: int(len(boosted) * share)]
    first, second = draws.uniform(size=len(positions)), draws.uniform(size=len(positions))
    changed = boosted.copy()
    for number, position in enumerate(positions):
        changed[position] += OPTIONS.impulse_gain * boosted[position] * (2 * first[number] - 1) * (2 * second[number] - 1)
    return limited(changed)


def main() -> None:
    """A line for each length of sound."""
    print(f"milliseconds per file, median (least, most) of {ROUNDS} rounds of {FILES} files")
    for seconds in (1, 4, 10):
        waves = [rng(number).normal(0, 0.1, seconds * RATE).astype(np.float32) for number in range(FILES)]
        ways: dict[str, Callable] = {
            "straightforward": straightforward,
            "ours": lambda waveform, draws: rawboost(waveform, RATE, OPTIONS, draws),
        }
        np.testing.assert_allclose(*(run(waves[0], rng(1)) for run in ways.values()), atol=1e-9)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, run in ways.items():
                started = time.perf_counter()
                for number, waveform in enumerate(waves):
                    run(waveform, rng(number))
                times[name].append((time.perf_counter() - started) / FILES * 1000)
        middle = {name: statistics.median(values) for name, values in times.items()}
        told = ", ".join(f"{name} {middle[name]:.1f} ({min(values):.1f}, {max(values):.1f})" for name, values in times.items())
        print(f"  {seconds:2} s of sound: {told}   {middle['straightforward'] / middle['ours']:.1f}x", flush=True)


if __name__ == "__main__":
    main()
