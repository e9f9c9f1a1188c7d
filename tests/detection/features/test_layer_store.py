"""Layer features on disk: found by settings and files, refused when they are of others, unfinished or damaged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import COLUMNS
from sourcetracing.detection.features.layer_store import LayerStore, files_digest, find_layers, layer_folder
from sourcetracing.errors import UserError
from sourcetracing.settings.reading import load_settings
from tests.support.detection import write_layers

INDEX = pd.DataFrame({"file_id": [f"for/{number}" for number in range(6)], "label": ["bonafide", "spoof", "spoof"] * 2})
FEATURES = np.random.default_rng(0).normal(size=(6, 3, 5)).astype(np.float32)
LAYERS = [0, 4, 9]


def settings_for(tmp_path, *words):
    return load_settings([f"paths.exp={tmp_path}", "ssl.model=facebook/wav2vec2-xls-r-2b", "layer_features.layers=[0,4,9]", *words])


def write_manifest(settings, index) -> pd.DataFrame:
    rows = index.assign(corpus="for", path="a.wav", speaker="", group="", source="", duration_s=1.0, digest="d")[list(COLUMNS)]
    DetectionLayout(settings).manifest.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(DetectionLayout(settings).manifest, index=False)
    return rows


def test_what_was_written_is_found_and_read(tmp_path):
    settings = settings_for(tmp_path)
    write_layers(layer_folder(settings, "for", "clean", files_digest(write_manifest(settings, INDEX))), LAYERS, INDEX, FEATURES)
    store = find_layers(settings, "for")
    assert store.layers == LAYERS and (store.num_files, store.width) == (6, 5)
    for position, layer in enumerate(LAYERS):
        features = store.layer(layer)
        np.testing.assert_array_equal(features, FEATURES[:, position])
        assert isinstance(features, np.memmap) and features.dtype == np.float32 and not features.flags.writeable
    assert store.labels.tolist() == [1, 0, 0, 1, 0, 0] and store.labels.dtype == np.int8
    pd.testing.assert_frame_equal(store.index, INDEX, check_dtype=False)


def test_a_layer_that_is_not_stored_is_refused(tmp_path):
    store = write_layers(tmp_path / "store", LAYERS, INDEX, FEATURES)
    with pytest.raises(UserError, match=r"layers 0, 4, 9, not 3\. Run: .*01_extract_layers"):
        store.layer(3)


@pytest.mark.parametrize(
    "word",
    [
        "ssl.model=facebook/wav2vec2-base",
        "ssl.normalize=false",
        "layer_features.layers=[9]",
        "layer_features.max_seconds=4",
        "layer_features.kind=lfcc",
    ],
)
def test_other_settings_are_another_store(tmp_path, word):
    settings = settings_for(tmp_path)
    write_layers(layer_folder(settings, "for", "clean", files_digest(write_manifest(settings, INDEX))), LAYERS, INDEX, FEATURES)
    with pytest.raises(UserError, match=r"no features of for, clean, for these settings \(of other settings or files there is for-clean-"):
        find_layers(settings_for(tmp_path, word), "for")


@pytest.mark.parametrize("copy, word", [("rawboost", "rawboost.algorithm=4"), ("codec", "codec.aac_kbps=[32]"), ("codec", "seed=3")])
def test_augmented_copies_depend_on_their_settings_and_the_clean_one_does_not(tmp_path, copy, word):
    plain, changed = settings_for(tmp_path), settings_for(tmp_path, word)
    assert layer_folder(plain, "for", copy, "") != layer_folder(changed, "for", copy, "")
    assert layer_folder(plain, "for", "clean", "") == layer_folder(changed, "for", "clean", "")
    with pytest.raises(UserError, match=rf"layer_features.copies=\[clean,{copy}\]"):
        find_layers(plain, "for", copy)


def test_another_list_of_files_is_another_store(tmp_path):
    settings = settings_for(tmp_path)
    rows = write_manifest(settings, INDEX)
    write_layers(layer_folder(settings, "for", "clean", files_digest(rows)), LAYERS, INDEX, FEATURES)
    assert find_layers(settings, "for").num_files == 6
    write_manifest(settings, INDEX.assign(label="spoof"))
    with pytest.raises(UserError, match="no features of for, clean"):
        find_layers(settings, "for")


def test_a_store_that_is_missing_unfinished_or_damaged_is_refused(tmp_path):
    folder = tmp_path / "store"
    with pytest.raises(UserError, match="is missing. Run:"):
        LayerStore.open(folder)
    write_layers(folder, LAYERS, INDEX, FEATURES)
    with open(folder / "features.npy", "r+b") as file:
        file.truncate(200)
    with pytest.raises(UserError, match="damaged .* Delete that folder"):
        LayerStore.open(folder)
    (folder / "store.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        LayerStore.open(folder)
