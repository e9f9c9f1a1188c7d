"""Do the 95 % intervals hold the truth in 95 % of cases? Ours against the plain bootstrap, on simulated test sets.

Six systems tested on six languages, four classes, five variants of each utterance whose errors go together. The truth of a cell is its
macro-F1 on 20,000 simulated utterances; the interval is made from a test set of the size asked for.

Run     python benchmarks/bootstrap_coverage.py [utterances=32] [repeats=100]      (about half a minute)
Prints  how often each interval of the mean over the 36 cells held the truth
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.metrics.bootstrap import Resampler, percentile_interval
from sourcetracing.metrics.classification import macro_f1

CLASSES, SYSTEMS, LANGUAGES, VARIANTS, RESAMPLES, TRUTH_SIZE = 4, 6, 6, 5, 400, 20_000


def draw_world(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How easy each class is for each system (S, C), and what it is taken for otherwise (S, C, C)."""
    preference = generator.dirichlet(np.full(CLASSES, 0.7), (SYSTEMS, CLASSES)) * (1 - np.eye(CLASSES))
    return generator.normal(1.3, 0.8, (SYSTEMS, CLASSES)), preference / preference.sum(axis=-1, keepdims=True)


def draw_test_set(world: tuple, num_utterances: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """True classes (U,) and predictions (S, U, V); an utterance is as hard for all systems and variants, give or take."""
    ease, preference = world
    labels = np.repeat(np.arange(CLASSES), num_utterances // CLASSES)
    shared = generator.normal(0, 0.8, len(labels)) + generator.normal(0, 0.5, (SYSTEMS, len(labels)))
    right = generator.random((SYSTEMS, len(labels), VARIANTS)) < 1 / (1 + np.exp(-(ease[:, labels] + shared)))[..., None]
    thresholds = preference.cumsum(axis=-1)[:, labels, None, :]
    wrong = (generator.random(right.shape)[..., None] > thresholds).sum(axis=-1).clip(max=CLASSES - 1)
    return labels, np.where(right, labels[:, None], wrong)


def cell_figures(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Macro-F1 of each system (S,)."""
    counts = np.stack([np.bincount(np.repeat(labels, VARIANTS) * CLASSES + row.ravel(), minlength=CLASSES**2) for row in predictions])
    return macro_f1(counts.reshape(-1, CLASSES, CLASSES))


def ours(labels: np.ndarray, predictions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Resampled macro-F1 (S, resamples) as the tables have it."""
    resampler = Resampler(labels, CLASSES, RESAMPLES, generator)
    utterances, truth = np.repeat(np.arange(len(labels)), VARIANTS), np.repeat(labels, VARIANTS)
    return np.stack([macro_f1(resampler.confusions(utterances, truth, row.ravel())) for row in predictions])


def plain(labels: np.ndarray, predictions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Resampled macro-F1 (S, resamples) of utterances drawn with replacement, whatever their class."""
    drawn = generator.integers(len(labels), size=(RESAMPLES, len(labels)))
    return np.stack([cell_figures(labels[rows], predictions[:, rows]) for rows in drawn], axis=1)


def main() -> None:
    """Coverage of both ways."""
    options = dict(word.split("=") for word in sys.argv[1:])
    num_utterances, repeats = int(options.get("utterances", 32)), int(options.get("repeats", 100))
    generator, held = np.random.default_rng(0), {plain: 0, ours: 0}
    for _ in range(repeats):
        truth, samples = [], {plain: [], ours: []}
        for _ in range(LANGUAGES):
            world = draw_world(generator)
            truth.append(cell_figures(*draw_test_set(world, TRUTH_SIZE, generator)).mean())
            test_set = draw_test_set(world, num_utterances, generator)
            for method, rows in samples.items():
                rows.append(method(*test_set, generator).mean(axis=0))
        for method, rows in samples.items():
            low, high = percentile_interval(np.mean(rows, axis=0))
            held[method] += low <= np.mean(truth) <= high
    print(f"{num_utterances} utterances x {VARIANTS} variants, {repeats} repeats: how often a 95 % interval of the mean held the truth")
    for method, count in held.items():
        print(f"  {method.__name__:<6} {100 * count / repeats:5.1f} %")


if __name__ == "__main__":
    main()
