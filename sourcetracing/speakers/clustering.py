"""Spherical k-means (Dhillon & Modha 2001) by faiss, and how many clusters there are.

Shapes: N utterances, D width of an embedding, k clusters. The objective is the sum of the cosines between each utterance and the centroid
of its cluster; a centroid is the unit vector along the sum of its members.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import faiss
import numpy as np

from sourcetracing.runtime.progress import bar
from sourcetracing.runtime.seeding import seed_of

MAX_STEPS = 50  # of each restart; the best one is then followed until it stands still
MAX_STEPS_TO_REST = 10_000  # never met; a bound against rounding that goes in circles


@dataclass(frozen=True)
class Clustering:
    """labels: (N,), clusters numbered in the order of their first member; centroids: (k, D) unit rows; objective: sum of cosines."""

    labels: np.ndarray
    centroids: np.ndarray
    objective: float


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows (N, D) at length one, float64; a row of zeros stays what it is."""
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def spherical_kmeans(embeddings: np.ndarray, k: int, num_restarts: int, seed: int) -> Clustering:
    """The best of `num_restarts` clusterings of embeddings (N, D), of any length, into k <= N clusters. Depends on the seed alone."""
    units = unit_rows(embeddings)
    faiss.omp_set_num_threads(1)  # of this thread: the problem is small, and faiss' threads wait for each other at every step
    # faiss would otherwise take a sample of 256 points for each centroid, and warn below 39.
    kmeans = faiss.Kmeans(
        units.shape[1],
        k,
        spherical=True,
        niter=MAX_STEPS,
        nredo=num_restarts,
        seed=seed_of(seed, "spherical k-means", k) % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=len(units),
    )
    kmeans.train(units.astype(np.float32))
    return settle(units, kmeans.centroids.astype(np.float64))


def settle(units: np.ndarray, centroids: np.ndarray) -> Clustering:
    """Follows Lloyd's steps in float64 from centroids (k, D) until no row of `units` (N, D) changes its cluster.

    faiss stops after a set number of steps, in float32, and tells the objective of the step before its last.
    """
    labels = np.full(len(units), -1)
    for _ in range(MAX_STEPS_TO_REST):
        nearest = (units @ centroids.T).argmax(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        centroids = _centroids(units, labels, centroids)
    return _numbered(units, labels, centroids)


def _centroids(units: np.ndarray, labels: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Of each cluster; one without members stays where it was."""
    sums = np.zeros_like(before)
    np.add.at(sums, labels, units)
    return np.where((sums != 0).any(axis=1, keepdims=True), unit_rows(sums), before)


def _numbered(units: np.ndarray, labels: np.ndarray, centroids: np.ndarray) -> Clustering:
    """Clusters by first appearance, then those without members."""
    _, first = np.unique(labels, return_index=True)
    order = labels[np.sort(first)]
    order = np.concatenate([order, np.setdiff1d(np.arange(len(centroids)), order)])
    labels, centroids = np.argsort(order)[labels], centroids[order]
    return Clustering(labels, centroids, float((units * centroids[labels]).sum()))


def objective_curve(embeddings: np.ndarray, k_max: int, num_restarts: int, seed: int, num_workers: int) -> np.ndarray:
    """The best objective for k = 1 ... k_max, (k_max,); the same whatever the number of workers (threads)."""

    def objective_of(k: int) -> float:
        return spherical_kmeans(embeddings, k, num_restarts, seed).objective

    with ThreadPoolExecutor(num_workers) as pool:
        try:
            found = pool.map(objective_of, range(k_max, 0, -1))  # the longest first
            return np.array(list(bar(found, total=k_max, desc="clusters", unit="k")))[::-1]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def elbow(objectives: Sequence[float] | np.ndarray) -> int:
    """The k whose objective lies farthest from the chord between those of k = 1 and the last; of equals the smallest.

    The paper does not say how it read its elbow. Stretching an axis does not move this one: for points above one line, the distance from it
    and the height above it have the same order.
    """
    objectives = np.asarray(objectives, dtype=np.float64)
    chord = np.linspace(objectives[0], objectives[-1], len(objectives))
    return int(np.argmax(objectives - chord)) + 1
