"""Batches, and orders of a pass, with as many rows of one class as of another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def balanced_batches(
    labels: np.ndarray, classes_per_batch: int, rows_per_class: int, num_batches: int, generator: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (class ids (N,), positions (N, M) in labels): classes drawn for each batch, rows of a class in random order.

    No row of a class comes twice before all of its rows came once, and none twice in a batch. Every class needs at least M rows.
    """
    classes = np.unique(labels)
    queues = {int(label): _Queue(np.flatnonzero(labels == label), generator) for label in classes}
    for _ in range(num_batches):
        chosen = np.sort(generator.choice(classes, classes_per_batch, replace=False))
        yield chosen, np.stack([queues[int(label)].take(rows_per_class) for label in chosen])


class _Queue:
    """The rows of a class in random order, drawn anew whenever they are used up."""

    def __init__(self, rows: np.ndarray, generator: np.random.Generator):
        self.rows, self.generator = rows, generator
        self.waiting = rows[:0]

    def take(self, count: int) -> np.ndarray:
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        if missing := count - len(taken):
            fresh = self.generator.permutation(self.rows)
            fresh = np.concatenate([fresh[~np.isin(fresh, taken)], fresh[np.isin(fresh, taken)]])  # those of this batch come last
            taken, self.waiting = np.concatenate([taken, fresh[:missing]]), fresh[missing:]
        return taken


def balanced_order(labels: np.ndarray, languages: np.ndarray, num_rows: int, generator: np.random.Generator) -> np.ndarray:
    """`num_rows` positions in random order of rows with labels (N,) and languages (N,): classes are equally frequent, within each class its
    languages, and within these the rows, each time as nearly as whole numbers allow.
    """
    drawn, classes = [], np.unique(labels)
    for label, share in zip(classes, _shares(num_rows, len(classes), generator), strict=True):
        own = np.flatnonzero(labels == label)
        spoken = np.unique(languages[own])
        for language, count in zip(spoken, _shares(share, len(spoken), generator), strict=True):
            rows = own[languages[own] == language]
            drawn += [np.tile(rows, count // len(rows)), generator.permutation(rows)[: count % len(rows)]]
    return generator.permutation(np.concatenate(drawn))


def _shares(total: int, num_parts: int, generator: np.random.Generator) -> np.ndarray:
    """`total` in whole parts that differ by one at most; which are the larger ones is drawn."""
    shares = np.full(num_parts, total // num_parts)
    shares[generator.choice(num_parts, total % num_parts, replace=False)] += 1
    return shares
