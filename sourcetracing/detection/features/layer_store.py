"""Layer features on disk: one array (files, layers, width) per subset and copy.

Folder  exp/<name>/detection/features/<corpus>-<copy>-<hash>/: the hash is that of the settings which the content depends on, then that of
        the files. copy: clean, rawboost, codec.
Files   features.npy  float32; rows in the order of the manifest
        index.csv     file_id, label (bonafide, spoof)
        store.json    layers, settings, versions, checksum; written last, so a folder that has it is finished
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import BONAFIDE
from sourcetracing.errors import UserError
from sourcetracing.features.resolved import engine_in_recipes, how_computed, in_todays_terms, revision_of
from sourcetracing.features.ssl_front_end import checkpoint_digest
from sourcetracing.features.store import FeatureStore, is_finished
from sourcetracing.layout import StoreLayout
from sourcetracing.runtime.files import digest_of_json, read_csv
from sourcetracing.settings.recorded import sound_recipe
from sourcetracing.settings.schema import Settings

LAYER_STORE_FORMAT = 1  # raise it when features change for the same settings and audio
DIGESTED_COLUMNS = ("file_id", "label", "digest")


class LayerStore(FeatureStore):
    """A finished store, open for reading: `layers` (numbers), `width`, `index` (file_id, label), `facts` (of store.json)."""

    what, command = "store of layer features", "python scripts/detection/01_extract_layers.py CONFIG.yaml"
    text_columns = ("file_id", "label")

    def __init__(self, folder: Path, facts: dict, index: pd.DataFrame, header_bytes: int):
        super().__init__(folder, facts, index, header_bytes)
        self.layers: list[int] = list(facts["layers"])
        self.num_files, _, self.width = self.shape

    def layer(self, number: int) -> np.ndarray:
        """One layer (files, width) float32: a memory-mapped, read-only view. Raises `UserError` for a layer that is not stored."""
        if number not in self.layers:
            held = _ranges(self.layers)
            raise UserError(f"{self.folder.name} holds the layers {held}, not {number}. Run: {self.command} layer_features.layers=[...]")
        return np.load(StoreLayout(self.folder).features, mmap_mode="r")[:, self.layers.index(number)]

    @property
    def labels(self) -> np.ndarray:
        """(files,) int8: 1 = bonafide, 0 = spoof."""
        return (self.index["label"] == BONAFIDE).to_numpy().astype(np.int8)


def layers_of(settings: Settings, copy: str) -> list[int]:
    """The layers that the settings want of a copy, ascending; [] = all."""
    wanted = settings.layer_features
    return sorted(set(wanted.copy_layers if copy != "clean" and wanted.copy_layers else wanted.layers))


def layer_recipe(settings: Settings, copy: str) -> dict:
    """All that the features of a file depend on, but for the file: front-end, augmentation and its seed."""
    wanted = settings.layer_features
    recipe: dict = {"format": LAYER_STORE_FORMAT, "kind": wanted.kind, "max_seconds": wanted.max_seconds}
    recipe["sample_rate"] = settings.audio.sample_rate
    recipe |= sound_recipe(settings.audio)
    if wanted.kind == "ssl":
        ssl = settings.ssl
        recipe |= {
            "model": ssl.model,
            "revision": revision_of(settings),
            "normalize": ssl.normalize,
            "checkpoint": checkpoint_digest(ssl.model),
        }
        recipe |= {"layers": layers_of(settings, copy), "published_norm": _norm_of_copy(copy) if wanted.published_norm else False}
        recipe |= how_computed(settings, of_encoder=True) | engine_in_recipes(settings)
    else:
        recipe |= {"lfcc": asdict(settings.lfcc), "deviation": wanted.lfcc_deviation}
    if copy != "clean":
        recipe |= {"copy": copy, "options": asdict(getattr(settings, copy)), "seed": settings.seed}
    return recipe


def _norm_of_copy(copy: str) -> bool | str:
    """What layer_features.published_norm means for a copy. It was the last layer alone of both: that is no recipe of augmented ones now."""
    return True if copy == "clean" else "every layer"


def layer_folder(settings: Settings, corpus: str, copy: str, files: str) -> Path:
    """The folder of a store, which need not be there yet. files: `files_digest` of its rows."""
    recipe, features = layer_recipe(settings, copy), DetectionLayout(settings).features
    folder = features / f"{corpus}-{copy}-{digest_of_json(recipe)[:8]}{files[:8]}"
    if is_finished(folder):
        return folder
    others = (path for path in sorted(features.glob(f"{corpus}-{copy}-????????{files[:8]}")) if is_finished(path))
    return next((path for path in others if _has_recipe(path, recipe, settings.ssl.revision)), folder)


def _has_recipe(folder: Path, recipe: dict, asked: str) -> bool:
    """Whether a store of another name is of this recipe: one that was named before precision and revision were resolved."""
    facts = json.loads(StoreLayout(folder).record.read_text(encoding="utf-8"))
    theirs = facts.get("recipe", {})
    return (in_todays_terms(theirs, facts, recipe, asked) if "precision" in recipe else theirs) == recipe


def files_digest(rows: pd.DataFrame) -> str:
    """32 hex digits of what a store depends on in its rows of the manifest: which files, their bytes, labels and order."""
    return digest_of_json(rows[list(DIGESTED_COLUMNS)].to_numpy().tolist())


def find_layers(settings: Settings, corpus: str, copy: str = "clean") -> LayerStore:
    """The finished store of a subset, made with these settings, of the files that the manifest lists. Raises `UserError` for none."""
    folder = layer_folder(settings, corpus, copy, _listed_files(settings, corpus))
    if is_finished(folder):
        return LayerStore.open(folder)
    others = [path.name for path in folder.parent.glob(f"{corpus}-{copy}-*") if is_finished(path)]
    reason = f" (of other settings or files there is {others[0]})" if others else ""
    command = LayerStore.command if copy == "clean" else f"{LayerStore.command} layer_features.copies=[clean,{copy}]"
    raise UserError(f"{folder.parent} holds no features of {corpus}, {copy}, for these settings{reason}. Run: {command}")


def _listed_files(settings: Settings, corpus: str) -> str:
    """`files_digest` of a subset in the manifest; "" where there is no manifest or not this subset."""
    path = DetectionLayout(settings).manifest
    if not path.is_file():
        return ""
    facts = path.stat()
    return _digests_of_subsets(path, facts.st_mtime_ns, facts.st_size).get(corpus, "")


@lru_cache(maxsize=4)
def _digests_of_subsets(path: Path, changed_ns: int, size_bytes: int) -> dict[str, str]:
    rows = read_csv(path, usecols=["corpus", *DIGESTED_COLUMNS])
    return {corpus: files_digest(group) for corpus, group in rows.groupby("corpus", sort=False)}


def _ranges(numbers: Sequence[int]) -> str:
    """0-48 where they have no gaps, else all of them."""
    whole = list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}-{numbers[-1]}" if whole and len(numbers) > 2 else ", ".join(map(str, numbers))
