"""RawBoost, algorithm 5 (convolutive, then impulsive): ours against the straightforward way, alternating; medians, one thread.

The straightforward way filters each power of the signal in the time domain (scipy.signal.lfilter) and changes the drawn samples one by one.
Both draw the same and give the same samples, which is checked.
Run     python benchmarks/rawboost.py [rounds=5] [files=10]      (about 20 s)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.signal
from _rounds import Bench

from sourcetracing.features.rawboost import between, draw_filter, limited, rawboost
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.frontends import Rawboost

RATE, LENGTHS = 16000, (1, 4, 10)
SETTINGS = Rawboost()


def straightforward(waveform: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Algorithm 5 as one would write it down."""
    filters = []
    for order in range(SETTINGS.orders):
        bias = SETTINGS.bias_db if order else (0, 0)
        filters.append(draw_filter(RATE, SETTINGS, (SETTINGS.gain_db[0] - bias[0], SETTINGS.gain_db[1] - bias[1]), draws))
    boosted = np.zeros(len(waveform))
    for order, taps in enumerate(filters, start=1):
        longer = np.append(waveform.astype(np.float64) ** order, np.zeros(len(taps) + 1))
        start = (len(taps) + 1) // 2
        boosted += scipy.signal.lfilter(taps, 1, longer)[start : start + len(waveform)]
    boosted = limited(boosted - boosted.mean())
    share = between(0, SETTINGS.impulse_percent, draws) / 100
    positions = draws.permutation(len(boosted))[: int(len(boosted) * share)]
    first, second = draws.uniform(size=len(positions)), draws.uniform(size=len(positions))
    changed = boosted.copy()
    for number, position in enumerate(positions):
        changed[position] += SETTINGS.impulse_gain * boosted[position] * (2 * first[number] - 1) * (2 * second[number] - 1)
    return limited(changed)


def boosted_by(way: Callable, waves: list[np.ndarray]) -> list[np.ndarray]:
    """Every file with its own draws."""
    return [way(waveform, rng(number)) for number, waveform in enumerate(waves)]


def ours(waveform: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """What script detection/03 calls."""
    return rawboost(waveform, RATE, SETTINGS, draws)


def main(words: list[str]) -> None:
    """A comparison for each length of sound."""
    with Bench(__file__, words, {"rounds": 5, "files": 10}, {"files": 2}) as bench:
        for number, seconds in enumerate(LENGTHS):
            waves = [rng(file).normal(0, 0.1, seconds * RATE).astype(np.float32) for file in range(bench["files"])]
            ways = {"straightforward": partial(boosted_by, straightforward, waves), "ours": partial(boosted_by, ours, waves)}
            np.testing.assert_allclose(ways["ours"](), ways["straightforward"](), atol=1e-9)
            what = f"RawBoost, algorithm 5, {seconds} s of sound"
            bench.compare(what, ways, unit="ms", per=len(waves), each="a file", parts=len(LENGTHS) - number)


if __name__ == "__main__":
    main(sys.argv[1:])
