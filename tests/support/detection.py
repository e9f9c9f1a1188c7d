"""A small detection experiment without audio: a manifest and layer features of Gaussian clouds, one per corpus and class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.detection.classifier.logistic import LinearModel, eer_of_scores
from sourcetracing.detection.data.groups import used_subsets
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import COLUMNS
from sourcetracing.detection.features.layer_store import LayerStore, files_digest, layer_folder
from sourcetracing.features.store import StoreWriter, write_block
from sourcetracing.settings.detection import Logreg
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings

SETS = "{A: [asv19_train, asv19_dev], B: [odss], C: [for], ITW: [itw], AI4T: [ai4trust]}"
LAYERS, WIDTH = [0, 1, 2], 6
COPIES = {"clean": 0.0, "rawboost": 0.3, "codec": 0.6}  # how far a copy is moved


def detection_settings(tmp_path, *words: str) -> Settings:
    """Three training sets, two real-life sets, features of layer 1."""
    sets = [f"detection.sets={SETS}", "detection.train=[A,B,C]", "detection.test=[ITW,AI4T]"]
    baseline = ["detection.baseline_train=[A]", "detection.baseline_test=[B,C,ITW,AI4T]", "logreg.layer=1"]
    return load_settings([f"paths.exp={tmp_path}", "name=small", *sets, *baseline, *words])


def make_detection(settings: Settings, files_per_subset: int = 60) -> pd.DataFrame:
    """Writes the manifest and the stores of all copies; returns the manifest. Classes overlap; the real-life sets are shifted."""
    frames = [_rows(subset, files_per_subset) for subset in used_subsets(settings)]
    manifest = pd.concat(frames, ignore_index=True)[list(COLUMNS)]
    DetectionLayout(settings).manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.to_csv(DetectionLayout(settings).manifest, index=False)
    for subset, rows in manifest.groupby("corpus", sort=False):
        index = rows[["file_id", "label"]].reset_index(drop=True)
        for copy, moved in COPIES.items():
            write_layers(layer_folder(settings, subset, copy, files_digest(rows)), LAYERS, index, features_of(subset, index, moved))
    return manifest


def write_layers(folder: Path, layers: Sequence[int], index: pd.DataFrame, features: np.ndarray) -> LayerStore:
    """Makes a store at once. index: columns file_id, label; features: (files, layers, width) float32."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = StoreWriter(folder, features.shape, features.dtype, len(features))
    writer.commit(0, write_block(writer.path, writer.header_bytes, 0, features))
    writer.finish(index, {"layers": list(layers)}, columns=LayerStore.text_columns)
    return LayerStore.open(folder)


def features_of(subset: str, index: pd.DataFrame, moved: float = 0.0) -> np.ndarray:
    """(files, layers, width): noise around a place of the class and one of the subset."""
    generator = np.random.default_rng([ord(letter) for letter in subset])
    place = 0.7 * generator.normal(size=WIDTH)
    side = np.where(index["label"] == "bonafide", 0.4, -0.4)[:, None, None]
    noise = generator.normal(size=(len(index), len(LAYERS), WIDTH))
    return (noise + place + side + moved).astype(np.float32)


def evaluate(model: LinearModel, features: np.ndarray, labels: np.ndarray, options: Logreg) -> tuple[float, float]:
    """EER (fraction) and its threshold of a model on features (N, D) with labels (N,) in {0, 1}."""
    return eer_of_scores(labels, model.scores(features), options)


def _rows(subset: str, count: int) -> pd.DataFrame:
    numbers = np.arange(count)
    return pd.DataFrame(
        {
            "file_id": [f"{subset}/f{number}" for number in numbers],
            "corpus": subset,
            "path": [f"f{number}.wav" for number in numbers],
            "label": np.where(numbers % 3 == 0, "bonafide", "spoof"),
            "speaker": [f"s{number % 10}" for number in numbers],
            "group": [f"s{number % 10}" for number in numbers],
            "source": "",
            "duration_s": 1.0,
            "digest": [f"{subset}{number}" for number in numbers],
        }
    )
