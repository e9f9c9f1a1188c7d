"""Percentile bootstrap over utterances.

The variants of an utterance are the same words in the same voice: their errors go together, so they are resampled together. A
resample is a vector of weights (how often each utterance was drawn); its confusion matrix is the weighted sum of the utterances'
own matrices, which makes a thousand resamples one matrix product. One `Resampler` serves every system and variant scored on the
same utterances, so means over cells and differences between systems are paired.

Utterances are drawn within their true class, as the test sets are composed; n - 1 of n, weighted n / (n - 1), for drawing n of n
gives intervals too narrow by that factor (McCarthy and Snowden 1985). With a few utterances for each class this matters: in the
simulation of benchmarks/bootstrap_coverage.py, 32 utterances x 5 variants, 95 % intervals of a mean over 36 cells held the truth in
93 of 100 cases, those of the plain bootstrap in 79, since resamples of unequal class sizes have lower macro-F1.

The interval says how much a figure would move with other utterances of the same kind. It does not hold the variation between
training runs: that is what several seeds are for.
"""

from __future__ import annotations

import numpy as np

BLOCK_ELEMENTS = 1 << 22  # weights handled at a time: 32 MB of draws


class Resampler:
    """Resamples of `num_samples` x utterances; `classes` (U,) is the true class of each utterance, 0 to num_classes - 1."""

    def __init__(self, classes: np.ndarray, num_classes: int, num_samples: int, generator: np.random.Generator):
        self.num_classes = num_classes
        self.weights = np.empty((num_samples, len(classes)), dtype=np.uint16)
        self.row_scale = np.ones((num_classes, 1))  # a class is a row of the confusion matrix
        for class_id in range(num_classes):
            members = np.flatnonzero(np.asarray(classes) == class_id)
            self.weights[:, members] = _draw_counts(len(members), num_samples, generator)
            if len(members) > 1:
                self.row_scale[class_id] = len(members) / (len(members) - 1)

    def __len__(self) -> int:
        return len(self.weights)

    def confusions(self, utterances: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """Confusion matrices (num_samples, C, C) of the resamples, from scored rows (N,): utterance index, label, prediction."""
        num_samples, num_utterances = self.weights.shape
        own = utterance_confusions(utterances, labels, predictions, num_utterances, self.num_classes)
        flat = own.reshape(num_utterances, -1)
        counts = np.empty((num_samples, flat.shape[1]), dtype=np.float32)  # exact, whatever the order of summation: below 2**24
        for block in _blocks(num_samples, num_utterances):
            np.matmul(self.weights[block].astype(np.float32), flat, out=counts[block])
        return counts.reshape(num_samples, self.num_classes, self.num_classes) * self.row_scale


def utterance_confusions(
    utterances: np.ndarray, labels: np.ndarray, predictions: np.ndarray, num_utterances: int, num_classes: int
) -> np.ndarray:
    """Each utterance's own confusion matrix (num_utterances, C, C) float32, from rows (N,): utterance index, label, prediction."""
    cells = (utterances * num_classes + labels) * num_classes + predictions
    counts = np.bincount(cells, minlength=num_utterances * num_classes**2)
    return counts.reshape(num_utterances, num_classes, num_classes).astype(np.float32)


def percentile_interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper end of the central `level` of resampled figures (num_samples,); nan for no samples."""
    if len(samples) == 0:
        return float("nan"), float("nan")
    tail = 50 * (1 - level)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def _draw_counts(size: int, num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of `size` members is drawn in size - 1 draws: (num_samples, size). A lone member is always drawn."""
    if size < 2:
        return np.ones((num_samples, size), dtype=np.uint16)
    counts = np.empty((num_samples, size), dtype=np.uint16)
    for block in _blocks(num_samples, size):
        rows = block.stop - block.start
        draws = generator.integers(0, size, (rows, size - 1)) + np.arange(rows)[:, None] * size
        counts[block] = np.bincount(draws.ravel(), minlength=rows * size).reshape(rows, size)
    return counts


def _blocks(num_samples: int, num_columns: int) -> list[slice]:
    rows = max(1, BLOCK_ELEMENTS // max(1, num_columns))
    return [slice(start, min(start + rows, num_samples)) for start in range(0, num_samples, rows)]
