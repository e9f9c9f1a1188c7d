"""A small feature store and the settings of an experiment on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.features.store import FeatureStore, StoreWriter, write_block
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS

LANGUAGES, SOURCES = ["en", "de"], ["a", "b", "c"]


def small_settings(tmp_path: Path, *words: str) -> Settings:
    """Settings of a small experiment below tmp_path, changed by key=value words."""
    basics = [f"paths.exp={tmp_path / 'exp'}", "corpus.languages=[en,de]", "corpus.sources=[a,b,c]", "augment.variants=[original,noise]"]
    network = ["ecapa_tdnn.channels=8", "train.epochs=4", "train.batch_size=8", "evaluation.batch_size=16", "compute.device=cpu"]
    network += ["experiment.floor=[]"]
    return load_settings([*basics, *network, *words])


def write_store(folder: Path, num_frames: int = 40, utterances_per_group: int = 10) -> FeatureStore:
    """A store of noise whose mean depends on the source: languages x sources x utterances x two variants, (80, num_frames)."""
    generator = np.random.default_rng(1)
    rows = [
        {"utt_id": f"{language}/{source}/{number}", "variant": variant, "split": split, "language": language, "source": source}
        for language in LANGUAGES
        for source in SOURCES
        for number in range(utterances_per_group)
        for split in [SPLITS[0 if number < 6 else 1 if number < 8 else 2]]
        for variant in ("original", "noise")
    ]
    index = pd.DataFrame(rows).assign(row=range(len(rows)))
    features = generator.normal(size=(len(rows), 80, num_frames))
    features[:, :20] += 0.8 * index["source"].map(SOURCES.index).to_numpy()[:, None, None]
    folder.mkdir(parents=True)
    writer = StoreWriter(folder, features.shape, np.dtype("float16"), len(rows))
    writer.commit(0, write_block(writer.path, writer.header_bytes, 0, features.astype(np.float16)))
    writer.finish(index, {})
    return FeatureStore.open(folder)
