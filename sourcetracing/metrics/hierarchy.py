"""Figures of answers that are right in part: probabilities of coarser labels, and precision, recall, F over sets of ancestors.

The *ancestors* of a class are its labels on all levels, and the class itself. Hierarchical precision, recall and F (Kiritchenko et al.
2006) count the ancestors that the answer and the truth share: a wrong system of the right architecture is half right.

Shapes: N rows, C classes, L labels of a level, W resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

BLOCK_ELEMENTS = 1 << 22  # weights handled at a time: 32 MB


def label_groups(labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """(names (L,), the number of each class' group (C,)) of the labels of the classes: equal labels are one group, each "" is its own."""
    names: list[str] = []
    numbers = np.empty(len(labels), dtype=np.int64)
    for place, label in enumerate(labels):
        if not label or label not in names:
            names.append(label)
        numbers[place] = len(names) - 1 if not label else names.index(label)
    return names, numbers


def summed(probabilities: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Probabilities (N, L) of labels: the sums of those of their classes (N, C). groups (C,): of `label_groups`."""
    total = np.zeros((len(probabilities), int(groups.max(initial=-1)) + 1))
    for place, group in enumerate(groups):
        total[:, group] += probabilities[:, place]
    return total


def hierarchical(shared: np.ndarray, answered: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F (...) from sums over rows: ancestors that answer and truth share, those of the answer, those of the truth."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return shared / answered, shared / true, 2 * shared / (answered + true)


def macro_f1_of_sums(hits: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Mean F1 (...) over the labels that have rows, from sums (..., L); nan without rows."""
    present = support > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(present, 2 * hits / np.where(present, predicted + support, 1), 0.0)
        return f1.sum(axis=-1) / present.sum(axis=-1)


def weighted_sums(counts: np.ndarray, scale: np.ndarray, units: np.ndarray, columns: csr_array) -> np.ndarray:
    """Sums (W, K) over rows of `columns` (N, K), each row weighted by how often its unit was drawn.

    counts (W, U), scale (U,): of `bootstrap.Draws`; units (N,): of each row.
    """
    members, inside = np.unique(units, return_inverse=True)
    places = (inside, np.arange(len(units)))
    own = csr_array((np.ones(len(units)), places), shape=(len(members), len(units))) @ columns
    own = csr_array(own.multiply(scale[members][:, None])).T.tocsr()
    total = np.empty((len(counts), columns.shape[1]))
    rows = max(1, BLOCK_ELEMENTS // max(1, len(members)))
    for start in range(0, len(counts), rows):
        block = counts[start : start + rows][:, members].T.astype(np.float64)
        total[start : start + rows] = (own @ block).T
    return total
