"""The files of several training sets as one list of rows, with their features of one layer in memory once.

Shapes: N files, C samples that are no files (class means), D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sourcetracing.detection.features.feature_sets import FeatureSet

BLOCK_ROWS = 8192


class FilePool:
    """files: file_id, corpus, label, dataset (N rows); labels (N + C,), 1 = bona fide; features (N + C, D), whose order is `rows`."""

    def __init__(self, files: pd.DataFrame, labels: np.ndarray, features: np.ndarray, room: np.ndarray):
        """room: an array (N + C, D) whose first N rows are the features."""
        self.files, self.labels, self.features, self._room = files, labels, features, room
        self.rows = np.arange(len(files))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """A copy of the features (n, D) of some rows."""
        places = np.empty(len(self.rows), dtype=np.int64)
        places[self.rows] = np.arange(len(self.rows))
        return self.features[places[rows]]

    def add(self, features: np.ndarray, labels: Sequence[int]) -> np.ndarray:
        """Adds samples (C, D) that are no files, where room was left for them; returns their row numbers."""
        start, stop = len(self.rows), len(self.rows) + len(features)
        self.features = self._room[:stop]
        self.features[start:] = features
        self.rows = np.append(self.rows, np.arange(start, stop))
        self.labels = np.append(self.labels, np.asarray(labels, dtype=self.labels.dtype))
        return np.arange(start, stop)

    def bring_to_front(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, D) and labels (n,) of the kept rows as the first part of the one array: rows change places, nothing is copied.

        The order among them depends on the calls before; who goes on after an interruption repeats these.
        """
        wanted = np.zeros(len(self.rows), dtype=bool)
        wanted[kept] = True
        count, is_wanted = len(kept), wanted[self.rows]
        front, back = np.flatnonzero(~is_wanted[:count]), count + np.flatnonzero(is_wanted[count:])
        for start in range(0, len(front), BLOCK_ROWS):
            a, b = front[start : start + BLOCK_ROWS], back[start : start + BLOCK_ROWS]
            self.features[a], self.features[b] = self.features[b], self.features[a]
            self.rows[a], self.rows[b] = self.rows[b], self.rows[a]
        return self.features[:count], self.labels[self.rows[:count]]


def open_pool(sets: Sequence[FeatureSet], layer: int, spare_rows: int = 0) -> FilePool:
    """Reads one layer of all stores. spare_rows: room for samples that are added later."""
    stores = [(one.name, subset, store) for one in sets for subset, store in one.stores.items()]
    files = pd.concat([store.index.assign(corpus=subset, dataset=name) for name, subset, store in stores], ignore_index=True)
    labels = np.concatenate([part for one in sets for part in one.labels])
    room = np.empty((len(files) + spare_rows, stores[0][2].width), dtype=np.float32)
    start = 0
    for _, _, store in stores:
        room[start : start + store.num_files] = store.layer(layer)
        start += store.num_files
    return FilePool(files[["file_id", "corpus", "label", "dataset"]], labels, room[:start], room)
