"""Rows of a feature store as batches: held in memory (or on the GPU) when they fit, read through the memory map when not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.extracting import find_store
from sourcetracing.features.store import FeatureStore
from sourcetracing.protocols.table import load_protocol, select
from sourcetracing.runtime.compute import free_bytes
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.runtime.parallel import memory_budget, share_of_device
from sourcetracing.settings.corpora import SOURCE
from sourcetracing.settings.schema import Settings


def open_store(settings: Settings) -> FeatureStore:
    """The finished feature store of an experiment's settings. Raises `UserError` naming the script that makes what is missing.

    With another corpus.label its index says that in the place of the source, and its name which labels these are.
    """
    utterances, protocol = load_protocol(settings, unknown=True)
    store = find_store(settings, utterances, protocol)
    if settings.corpus.label != SOURCE:
        store.index["source"] = store.index["utt_id"].map(utterances.set_index("utt_id")["source"])
        labels = store.index[["utt_id", "source"]].drop_duplicates().to_numpy().tolist()
        store.name += f"-{digest_of_json([settings.corpus.label, labels])[:8]}"
    return store


@dataclass(frozen=True)
class FurtherLabels:
    """Of rows, besides their class. classes: label -> its classes; ids: (N, labels) int64, UNKNOWN_LABEL where it is not known."""

    classes: dict[str, list[str]]
    ids: np.ndarray

    @property
    def sizes(self) -> list[int]:
        """How many classes each label has."""
        return [len(classes) for classes in self.classes.values()]


class FeatureRows:
    """Some rows of a store with their labels.

    features: (N, ...) float16 or float32, resident on `device`, on the CPU, or left on disk; labels: (N,) int64 on `device`; further: what
    else they are labelled with, `further_ids` (N, H) int64 on `device`.
    """

    def __init__(
        self, store: FeatureStore, rows: np.ndarray, labels: np.ndarray, device: torch.device, further: FurtherLabels | None = None
    ):
        self.store, self.rows, self.device = store, np.asarray(rows), device
        self.labels = torch.from_numpy(np.array(labels, dtype=np.int64)).to(device)
        self.further = further or FurtherLabels({}, np.empty((len(self.rows), 0), np.int64))
        self.further_ids = torch.from_numpy(self.further.ids).to(device)
        self.resident = self._hold()

    def __len__(self) -> int:
        return len(self.rows)

    def _hold(self) -> torch.Tensor | None:
        num_bytes = int(np.prod(self.store.shape[1:])) * self.store.dtype.itemsize * len(self.rows)
        if num_bytes > memory_budget():
            return None
        features = torch.from_numpy(self.store.load(self.rows))
        return features.to(self.device) if num_bytes < share_of_device(free_bytes(self.device)) else features

    def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, ...) float32 and labels (B,) of some positions, on the device."""
        index = torch.from_numpy(np.ascontiguousarray(positions, dtype=np.int64))
        if self.resident is None:
            features = torch.from_numpy(self.store.load(self.rows[positions]))
        else:
            features = self.resident.index_select(0, index.to(self.resident.device))  # half the time of resident[index]
        return features.to(self.device, non_blocking=True).float(), self.labels[index.to(self.device)]


def languages_of(rows: FeatureRows) -> np.ndarray:
    """The language (N,) of each row."""
    return rows.store.index.set_index("row").loc[rows.rows, "language"].to_numpy(dtype=str)


UNKNOWN_LABEL = -1  # of a source that is no class


def label_ids(sources: pd.Series, classes: list[str]) -> np.ndarray:
    """Class ids (N,) int64 in the declared order; UNKNOWN_LABEL for a source that is no class."""
    ids = {name: number for number, name in enumerate(classes)}
    return sources.map(ids).fillna(UNKNOWN_LABEL).to_numpy(dtype=np.int64)


def dev_languages(settings: Settings, train_languages: Sequence[str]) -> list[str]:
    """The languages whose dev rows choose the epoch of a run (`train.dev_languages`)."""
    wanted = settings.train.dev_languages
    return list(settings.corpus.languages if "all" in wanted else wanted or train_languages)


def select_rows(store: FeatureStore, settings: Settings, split: str, languages: list[str], device: torch.device) -> FeatureRows:
    """`known_rows` with their features."""
    return FeatureRows(store, *known_rows(store, settings, split, languages), device)


def known_rows(store: FeatureStore, settings: Settings, split: str, languages: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(rows, class ids) of known sources in one split, some languages (dev: `dev_languages`), `train.variants` (dev: `train.dev_variants`).

    Sorted by row. Raises `UserError` without any; but there may be no dev rows, for corpora have languages without dev.
    """
    variants = (settings.train.dev_variants if split == "dev" else []) or settings.train.variants
    languages = dev_languages(settings, languages) if split == "dev" else languages
    index = store.index[store.index["source"].isin(settings.corpus.sources)]
    chosen = index[select(index, languages=languages, splits=[split], variants=variants)]
    if chosen.empty and split != "dev":
        raise UserError(f"no {split} rows for {'+'.join(languages)} in {store.folder}. Look at the counts of scripts/02_build_protocols.py")
    return chosen["row"].to_numpy(), label_ids(chosen["source"], settings.corpus.sources)
