"""Pruning by distance to the mean of one's own class within one's own data set (spec 4.8).

Shapes: N files, D feature width, G groups (data sets).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CLOSEST, FURTHEST = "cluster-closest", "cluster-furthest"
BLOCK_ROWS = 8192  # rows in memory at a time


@dataclass(frozen=True)
class Cluster:
    """The files of one class in one group: their rows, from the closest to the class mean (D,) to the furthest."""

    group: str
    label: int
    order: np.ndarray
    mean: np.ndarray

    def kept(self, fraction: float, strategy: str) -> np.ndarray:
        """The rows that stay, int(fraction * size) of them; of equal distances the lower row comes first among the closest."""
        ordered = self.order if strategy == CLOSEST else self.order[::-1]
        return ordered[: int(fraction * len(ordered))]


def find_clusters(
    take: Callable[[np.ndarray], np.ndarray], labels: np.ndarray, groups: np.ndarray, names: Sequence[str] | None = None
) -> list[Cluster]:
    """The clusters of labels (N,) and groups (N,), group after group in the order of `names`, classes ascending.

    take: row numbers (n,) -> features (n, D), called with blocks of rows. A group may lack a class.
    """
    clusters = []
    for group in names if names is not None else list(dict.fromkeys(groups.tolist())):
        for label in np.unique(labels[groups == group]):
            rows = np.flatnonzero((groups == group) & (labels == label))
            mean = _mean(take, rows)
            order = rows[np.argsort(_distances(take, rows, mean), kind="stable")]
            clusters.append(Cluster(str(group), int(label), order, mean))
    return clusters


def _blocks(rows: np.ndarray):
    for start in range(0, len(rows), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]


def _mean(take: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    return sum(take(block).sum(axis=0, dtype=np.float64) for block in _blocks(rows)) / len(rows)


def _distances(take: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.concatenate([np.linalg.norm(take(block).astype(np.float64) - mean, axis=1) for block in _blocks(rows)])
