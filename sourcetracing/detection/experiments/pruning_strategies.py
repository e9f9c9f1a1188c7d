"""Which files a pruning strategy keeps: drawn at random, by the distance to the mean of one's class, by the distance to the boundary.

The published strategies with what is wrong in them stand behind settings (D63, D65). What is nearest to the decision boundary is taken for
noise, what is furthest for redundant: noisy drops the nearest, both drops half of the nearest and half of the furthest.

Shapes: N files, D feature width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sourcetracing.settings.detection import STRATEGIES

RANDOM, CLOSEST, FURTHEST, NOISY, BOTH = STRATEGIES
BLOCK_ROWS = 8192  # rows in memory at a time


def random_rows(num_files: int, fraction: float, seed: int) -> np.ndarray:
    """int(fraction * N) rows in the order of the published draw."""
    return np.random.default_rng(seed).choice(num_files, int(fraction * num_files), replace=False)


@dataclass(frozen=True)
class Cluster:
    """The files of one class in one data set: their rows, from the closest to the class mean (D,) to the furthest."""

    label: int
    order: np.ndarray
    mean: np.ndarray

    def kept(self, fraction: float, strategy: str) -> np.ndarray:
        """The rows that stay, int(fraction * size) of them; of equal distances the lower row comes first among the closest."""
        ordered = self.order if strategy == CLOSEST else self.order[::-1]
        return ordered[: int(fraction * len(ordered))]


def find_clusters(take: Callable[[np.ndarray], np.ndarray], labels: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> list[Cluster]:
    """The clusters of labels (N,) and data sets (N,), set after set in the order of `names`, classes ascending.

    take: row numbers (n,) -> features (n, D), called with blocks of rows. A set may lack a class.
    """
    clusters = []
    for group in names:
        for label in np.unique(labels[groups == group]):
            rows = np.flatnonzero((groups == group) & (labels == label))
            blocks = [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]
            mean = sum(take(block).sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
            distances = np.concatenate([np.linalg.norm(take(block).astype(np.float64) - mean, axis=1) for block in blocks])
            clusters.append(Cluster(int(label), rows[np.argsort(distances, kind="stable")], mean))
    return clusters


@dataclass(frozen=True)
class Step:
    """What one step leaves: row numbers (n,), ascending, into all N files."""

    name: str
    kept: np.ndarray


def margin_steps(margins: np.ndarray, strategy: str, fractions: Sequence[float]) -> list[Step]:
    """For each kept fraction the rows that stay, by the margins (N,) of one model: exactly round(fraction * N) of them.

    Of equal margins the lower row counts as the nearer one. Names: kept90, kept80 ...
    """
    order = np.argsort(margins, kind="stable")
    steps = []
    for fraction in sorted(fractions, reverse=True):
        low, high = _cuts(len(margins), fraction, strategy)
        steps.append(Step(name_of(fraction), np.sort(order[low : len(order) - high])))
    return steps


def refitted_steps(
    margins_of: Callable[[np.ndarray], np.ndarray], num_files: int, strategy: str, fractions: Sequence[float]
) -> Iterator[Step]:
    """Like `margin_steps`, but the margins of each step come from a model fitted on what the step before left.

    margins_of: rows (n,) -> their margins (n,) under a model fitted on these rows.
    """
    kept, dropped = np.arange(num_files), (0, 0)
    for fraction in sorted(fractions, reverse=True):
        cuts = _cuts(num_files, fraction, strategy)
        order = np.argsort(margins_of(kept), kind="stable")
        low, high = cuts[0] - dropped[0], cuts[1] - dropped[1]
        kept, dropped = np.sort(kept[order[low : len(order) - high]]), cuts
        yield Step(name_of(fraction), kept)


def published_steps(margins: np.ndarray, strategy: str, percent: int = 10, num_steps: int = 10) -> list[Step]:
    """The published steps by the margins (N,) of one model: percentages floored to integers, halved by integer division (D65).

    Each step cuts what is left at a percentile: at first `percent`, then what that share of all N files is in percent of what is left.
    Names hold the sum of the percentages, as the published lists do: `135` is the eighth step of both.
    """
    kept, share, total, steps = np.arange(len(margins)), percent / 100, 0, []
    for _ in range(num_steps):
        left = margins[kept]
        if strategy == NOISY:
            stays = left >= np.percentile(left, percent)
        else:
            stays = (left >= np.percentile(left, percent // 2)) & (left <= np.percentile(left, 100 - percent // 2))
        kept, total = kept[stays], total + percent
        if not len(kept):
            break
        steps.append(Step(str(total), kept))
        percent = int(share * len(margins) / len(kept) * 100)
        if percent >= 100:
            break
    return steps


def name_of(fraction: float) -> str:
    """How a kept fraction is spelled in names: 0.3 -> kept30."""
    return f"kept{100 * fraction:g}"


def _cuts(num_files: int, fraction: float, strategy: str) -> tuple[int, int]:
    """How many of the nearest and of the furthest files go."""
    dropped = num_files - round(fraction * num_files)
    return (dropped, 0) if strategy == NOISY else (dropped // 2, dropped - dropped // 2)
