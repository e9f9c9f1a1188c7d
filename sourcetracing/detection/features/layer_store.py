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

from sourcetracing.detection.data.manifest import BONAFIDE, detection_folder, manifest_path
from sourcetracing.errors import UserError
from sourcetracing.features.ssl_front_end import checkpoint_digest
from sourcetracing.features.store import StoreWriter, is_finished, write_block
from sourcetracing.layout import StoreLayout
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.settings.detection_features import COPIES
from sourcetracing.settings.schema import Settings

LAYER_STORE_FORMAT = 1  # raise it when features change for the same settings and audio
INDEX_COLUMNS = ["file_id", "label"]
DIGESTED_COLUMNS = ("file_id", "label", "digest")
MAKE_COMMAND = "python scripts/detection/01_extract_layers.py CONFIG.yaml"


class LayerStore:
    """A finished store, open for reading: `layers` (numbers), `width`, `index` (file_id, label), `facts` (of store.json)."""

    def __init__(self, folder: Path, facts: dict, index: pd.DataFrame):
        self.folder, self.facts, self.index = folder, facts, index
        self.layers: list[int] = list(facts["layers"])
        self.num_files, _, self.width = facts["shape"]

    @classmethod
    def open(cls, folder: str | Path) -> LayerStore:
        """Opens a store in milliseconds. Raises `UserError` when it is missing, unfinished or damaged."""
        folder = Path(folder)
        if not is_finished(folder):
            raise UserError(f"the layer features {folder} are {'not finished' if folder.is_dir() else 'missing'}. Run: {MAKE_COMMAND}")
        try:
            facts = json.loads(StoreLayout(folder).record.read_text(encoding="utf-8"))
            index = pd.read_csv(StoreLayout(folder).index, dtype=str, keep_default_na=False)
            stored = np.load(StoreLayout(folder).features, mmap_mode="r")  # refuses a file that is too short for its shape
            intact = list(stored.shape) == facts["shape"] and len(index) == len(stored) and len(facts["layers"]) == stored.shape[1]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(folder, str(error)) from None
        if not intact:
            raise _damaged(folder, f"its files do not have the shape that {StoreLayout(folder).record.name} tells of")
        return cls(folder, facts, index)

    def features(self, layer: int) -> np.ndarray:
        """One layer (files, width) float32: a memory-mapped, read-only view. Raises `UserError` for a layer that is not stored."""
        if layer not in self.layers:
            raise UserError(
                f"{self.folder.name} holds the layers {_ranges(self.layers)}, not {layer}. Run: {MAKE_COMMAND} layer_features.layers=[...]"
            )
        return np.load(StoreLayout(self.folder).features, mmap_mode="r")[:, self.layers.index(layer)]

    @property
    def labels(self) -> np.ndarray:
        """(files,) int8: 1 = bonafide, 0 = spoof."""
        return (self.index["label"] == BONAFIDE).to_numpy().astype(np.int8)


def layers_of(settings: Settings, copy: str) -> list[int]:
    """The layers that the settings want of a copy, ascending; [] = all."""
    wanted = settings.layer_features
    return sorted(set(wanted.copy_layers if copy != "clean" and wanted.copy_layers else wanted.layers))


def layer_recipe(settings: Settings, copy: str = "clean") -> dict:
    """All that the features of a file depend on, but for the file: front-end, augmentation and its seed."""
    wanted = settings.layer_features
    recipe: dict = {"format": LAYER_STORE_FORMAT, "kind": wanted.kind, "max_seconds": wanted.max_seconds}
    recipe["sample_rate"] = settings.audio.sample_rate
    if wanted.kind == "ssl":
        ssl = settings.ssl
        recipe |= {"model": ssl.model, "revision": ssl.revision, "normalize": ssl.normalize, "checkpoint": checkpoint_digest(ssl.model)}
        recipe |= {"layers": layers_of(settings, copy), "published_norm": wanted.published_norm}
        recipe["precision"] = settings.compute.precision
    else:
        recipe |= {"lfcc": asdict(settings.lfcc), "deviation": wanted.lfcc_deviation}
    if copy != "clean":
        recipe |= {"copy": copy, "options": asdict(getattr(settings, copy)), "seed": settings.seed}
    return recipe


def layer_folder(settings: Settings, corpus: str, copy: str = "clean", files: str = "") -> Path:
    """The folder of a store. files: `files_digest` of its rows; a folder named without it is found for any manifest."""
    assert copy in COPIES, copy
    name = f"{corpus}-{copy}-{digest_of_json(layer_recipe(settings, copy))[:8]}"
    return detection_folder(settings) / "features" / (name + files[:8])


def files_digest(rows: pd.DataFrame) -> str:
    """32 hex digits of what a store depends on in its rows of the manifest: which files, their bytes, labels and order."""
    return digest_of_json(rows[list(DIGESTED_COLUMNS)].to_numpy().tolist())


def find_layers(settings: Settings, corpus: str, copy: str = "clean") -> LayerStore:
    """The finished store of a subset, made with these settings, of the files that the manifest lists. Raises `UserError` for none."""
    exact = layer_folder(settings, corpus, copy, _listed_files(settings, corpus))
    plain = layer_folder(settings, corpus, copy)
    for folder in (exact, plain):
        if is_finished(folder):
            return LayerStore.open(folder)
    others = [path.name for path in plain.parent.glob(f"{corpus}-{copy}-*") if is_finished(path)]
    reason = f" (of other settings or files there is {others[0]})" if others else ""
    raise UserError(f"{plain.parent} holds no features of {corpus}, {copy}, for these settings{reason}. Run: {_command(copy)}")


def write_layers(
    folder: str | Path, layers: Sequence[int], index: pd.DataFrame, features: np.ndarray, facts: dict | None = None
) -> LayerStore:
    """Makes a store at once from arrays. index: columns file_id, label; features: (files, layers, width)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    features = np.ascontiguousarray(features, np.float32)
    writer = StoreWriter(folder, features.shape, features.dtype, len(features))
    writer.commit(0, write_block(writer.path, writer.header_bytes, 0, features))
    finish_layers(writer, layers, index, facts or {})
    return LayerStore.open(folder)


def finish_layers(writer: StoreWriter, layers: Sequence[int], index: pd.DataFrame, facts: dict) -> None:
    """Turns a full writer into a store."""
    writer.finish(index, {"layers": [int(layer) for layer in layers], **facts}, columns=INDEX_COLUMNS)


def _listed_files(settings: Settings, corpus: str) -> str:
    """`files_digest` of a subset in the manifest; "" where there is no manifest or not this subset."""
    path = manifest_path(settings)
    if not path.is_file():
        return ""
    facts = path.stat()
    return _digests_of_subsets(path, facts.st_mtime_ns, facts.st_size).get(corpus, "")


@lru_cache(maxsize=4)
def _digests_of_subsets(path: Path, changed_ns: int, size_bytes: int) -> dict[str, str]:
    rows = pd.read_csv(path, usecols=["corpus", *DIGESTED_COLUMNS], dtype=str, keep_default_na=False)
    return {corpus: files_digest(group) for corpus, group in rows.groupby("corpus", sort=False)}


def _command(copy: str) -> str:
    return MAKE_COMMAND if copy == "clean" else f"{MAKE_COMMAND} layer_features.copies=[clean,{copy}]"


def _ranges(numbers: Sequence[int]) -> str:
    """0-48 where they have no gaps, else all of them."""
    whole = list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}-{numbers[-1]}" if whole and len(numbers) > 2 else ", ".join(map(str, numbers))


def _damaged(folder: Path, reason: str) -> UserError:
    return UserError(f"the layer features {folder} are damaged ({reason}). Delete that folder, then run: {MAKE_COMMAND}")
