"""Percentile bootstrap over utterances.

The variants of an utterance are the same words in the same voice: their errors go together, so they are resampled together. A
resample is a vector of weights (how often each utterance was drawn); its confusion matrix is the weighted sum of the utterances'
own matrices, which makes a thousand resamples one matrix product. The same weights serve every system and variant scored on the
same utterances, so that differences and means over cells are paired.

The interval says how much the figure would move with other utterances of the same kind. It does not hold the variation between
training runs: that is what several seeds are for.
"""

from __future__ import annotations

import numpy as np

BLOCK_ELEMENTS = 1 << 22  # weights handled at a time: 32 MB of draws


def utterance_weights(num_utterances: int, num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each utterance is drawn: (num_samples, num_utterances) uint16, each row sums to num_utterances."""
    weights = np.empty((num_samples, num_utterances), dtype=np.uint16)
    for block in _blocks(num_samples, num_utterances):
        rows = block.stop - block.start
        draws = generator.integers(0, num_utterances, (rows, num_utterances))
        draws += np.arange(rows)[:, None] * num_utterances
        weights[block] = np.bincount(draws.ravel(), minlength=rows * num_utterances).reshape(rows, num_utterances)
    return weights


def utterance_confusions(
    utterances: np.ndarray, labels: np.ndarray, predictions: np.ndarray, num_utterances: int, num_classes: int
) -> np.ndarray:
    """Each utterance's own confusion matrix (num_utterances, C, C) float32, from rows (N,): utterance index, label, prediction."""
    cells = (utterances * num_classes + labels) * num_classes + predictions
    counts = np.bincount(cells, minlength=num_utterances * num_classes**2)
    return counts.reshape(num_utterances, num_classes, num_classes).astype(np.float32)


def resampled_confusions(weights: np.ndarray, confusions: np.ndarray) -> np.ndarray:
    """Confusion matrices (num_samples, C, C) of the resamples `weights` (num_samples, U) of `confusions` (U, C, C)."""
    num_samples, num_utterances = weights.shape
    assert len(confusions) == num_utterances, "weights and confusions are of different utterances"
    flat = confusions.reshape(num_utterances, -1)
    result = np.empty((num_samples, flat.shape[1]), dtype=np.float32)  # exact: counts stay far below 2**24
    for block in _blocks(num_samples, num_utterances):
        np.matmul(weights[block].astype(np.float32), flat, out=result[block])
    return result.reshape(num_samples, *confusions.shape[1:])


def percentile_interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper end of the central `level` of resampled figures (num_samples,); nan for no samples."""
    if len(samples) == 0:
        return float("nan"), float("nan")
    tail = 50 * (1 - level)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def _blocks(num_samples: int, num_utterances: int) -> list[slice]:
    rows = max(1, BLOCK_ELEMENTS // max(1, num_utterances))
    return [slice(start, min(start + rows, num_samples)) for start in range(0, num_samples, rows)]
