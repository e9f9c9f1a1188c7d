"""Sets of subsets with their layer features, which stay on disk.

A store with many layers holds the rows of one layer far apart. `contiguous_layer` copies a layer to a file of its own where it will be
read many times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np
import pandas as pd

from sourcetracing.detection.features.layer_store import LayerStore, find_layers
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import atomic_path
from sourcetracing.runtime.locks import held
from sourcetracing.settings.schema import Settings

_COPY_ROWS = 2048


@dataclass(frozen=True)
class FeatureSet:
    """One set of tables: its name and the stores of its subsets, by subset."""

    name: str
    stores: Mapping[str, LayerStore]

    @property
    def files(self) -> pd.DataFrame:
        """dataset, file_id, label (1 = bona fide), a row per file."""
        parts = [store.index[["file_id"]].assign(label=store.labels) for store in self.stores.values()]
        files = pd.concat(parts, ignore_index=True)
        files.insert(0, "dataset", self.name)
        return files

    @property
    def labels(self) -> list[np.ndarray]:
        """For each store (N_k,): 1 = bona fide, 0 = spoof."""
        return [store.labels for store in self.stores.values()]

    @property
    def num_files(self) -> int:
        return sum(store.num_files for store in self.stores.values())

    def blocks(self, layer: int, scratch: Path | None = None) -> list[np.ndarray]:
        """For each store (N_k, D), memory-mapped; with `scratch` contiguous, in files of that folder where need be."""
        return [store.layer(layer) if scratch is None else contiguous_layer(store, layer, scratch) for store in self.stores.values()]


def open_sets(settings: Settings, sets: Mapping[str, Sequence[str]], copy: str = "clean") -> list[FeatureSet]:
    """The sets with their stores. Raises `UserError` where features are missing."""
    return [FeatureSet(name, {subset: find_layers(settings, subset, copy) for subset in subsets}) for name, subsets in sets.items()]


def check_apart(training: Sequence[FeatureSet], tested: Sequence[FeatureSet] = ()) -> None:
    """Raises `UserError` where a subset is trained on and tested, or is in two training sets."""
    used: dict[str, str] = {}
    for one in training:
        for subset in one.stores:
            if subset in used:
                raise UserError(f"{subset} is in the sets {used[subset]} and {one.name}; a file can be used once")
            used[subset] = one.name
    for one in tested:
        for subset in one.stores:
            if subset in used:
                raise UserError(f"{subset} would be tested (in {one.name}) though it is trained on (in {used[subset]})")


def stores_record(sets: Sequence[FeatureSet]) -> dict[str, list[str]]:
    """Set -> folder names of its stores (they hold a hash of what made them): what results depend on."""
    return {one.name: [store.folder.name for store in one.stores.values()] for one in sets}


def common_layers(sets: Sequence[FeatureSet]) -> list[int]:
    """Layers that every store holds. Raises `UserError` for none."""
    stores = [store for one in sets for store in one.stores.values()]
    layers = sorted(set.intersection(*(set(store.layers) for store in stores)))
    if not layers:
        raise UserError(f"no layer is stored for all of {', '.join(store.folder.name for store in stores)}")
    return layers


def contiguous_layer(store: LayerStore, layer: int, scratch: Path) -> np.ndarray:
    """One layer (N, D), memory-mapped, its rows one behind the other: the store's own array, or a copy below `scratch`."""
    features = store.layer(layer)
    if features.flags.c_contiguous:
        return features
    path = scratch / f"{store.folder.name}_{layer}.npy"
    if not path.is_file():
        with atomic_path(path) as partial:
            copy = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=features.shape)
            for start in range(0, len(features), _COPY_ROWS):
                copy[start : start + _COPY_ROWS] = features[start : start + _COPY_ROWS]
            copy.flush()
            del copy
    return np.load(path, mmap_mode="r")


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder for copies that are read many times; gone afterwards."""
    with sole_user(folder):
        try:
            yield folder
        finally:
            rmtree(folder, ignore_errors=True)


def sole_user(folder: Path) -> AbstractContextManager[None]:
    """Holds the lock of a folder that its user removes; waits while another process works there."""
    return held(folder.with_name(f".{folder.name}.lock"), f"another process is computing in {folder}", wait=True)
