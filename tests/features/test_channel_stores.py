"""Stores with variants that need no noises: what was made before they came keeps its name, any number of workers makes the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features, find_store
from sourcetracing.features.noise_files import needed_kinds
from sourcetracing.features.store import FeatureStore
from sourcetracing.runtime.files import digest_of_file, digest_of_json
from sourcetracing.settings.frontends import ALL_VARIANTS, CHANNEL_VARIANTS, Augment
from sourcetracing.settings.recorded import augment_recipe, differences, table_recipe
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import settings_of_recipe
from tests.support.audio_doors import needs_ffmpeg
from tests.support.audio_files import small_audio_settings, write_corpus

# Of the settings of augment, as they were before the channel variants came: what the recipes of older stores hold.
BEFORE = {
    "variants": ["original", "noise"],
    "noise_snr_db": [0.0, 15.0],
    "speech_snr_db": [13.0, 20.0],
    "music_snr_db": [5.0, 15.0],
    "babble_talkers": [3, 8],
    "random_offset": True,
    "stacked": False,
    "force_speech": False,
    "real_rirs": False,
}


@pytest.fixture
def corpus(tmp_path):
    """(settings, utterances, protocol) of five utterances, without noises or rooms."""
    utterances, protocol = write_corpus(tmp_path / "corpus", 5)
    settings = small_audio_settings(tmp_path)
    settings.augment.variants = ["original", *CHANNEL_VARIANTS]
    return settings, utterances, protocol


def test_the_recipe_of_a_store_with_old_variants_is_what_it_was():
    settings = Settings()
    settings.augment.variants = ["original", "noise"]
    settings.augment.codecs, settings.augment.telephone_noisy, settings.rawboost.algorithm = ["mp3_128k"], 0.1, 3
    assert digest_of_json(augment_recipe(settings)) == digest_of_json(BEFORE)
    assert list(augment_recipe(settings)) == list(BEFORE)
    assert not any(name.startswith("rawboost.") or name == "augment.codecs" for name in settings_of_recipe(settings))
    assert not any(name.startswith("rawboost.") for name in table_recipe(settings))


@pytest.mark.parametrize(
    ("variant", "setting", "value"),
    [
        ("codec", "augment.codecs", ["mp3_64k"]),
        ("telephone", "augment.telephones", ["mu_law"]),
        ("telephone", "augment.telephone_noisy", 0.1),
        ("telephone", "augment.telephone_snr_db", [0.0, 5.0]),
        ("copy_synthesis", "augment.vocoder", "lpc_vocoder"),
        ("rawboost", "rawboost.algorithm", 3),
        ("rawboost", "rawboost.snr_db", [0.0, 5.0]),
    ],
)
def test_a_setting_counts_where_its_variant_is_made(variant, setting, value):
    group, name = setting.split(".")
    for variants, counts in (([variant], True), ([other for other in ALL_VARIANTS if other != variant], False)):
        plain, changed = Settings(), Settings()
        for settings in (plain, changed):
            settings.augment.variants = variants
        setattr(getattr(changed, group), name, value)
        assert (augment_recipe(plain) != augment_recipe(changed)) == counts
        assert (setting in settings_of_recipe(changed)) == counts
        if counts:
            assert differences(table_recipe(plain), table_recipe(changed)) == [setting]


def test_only_variants_with_noises_need_noises():
    assert needed_kinds(Augment(variants=["original", *CHANNEL_VARIANTS])) == []
    assert needed_kinds(Augment(variants=["codec", "reverb", "music"])) == ["music", "rir"]
    assert needed_kinds(Augment(variants=["codec", "music"], force_speech=True)) == ["speech"]


@needs_ffmpeg
def test_any_number_of_workers_makes_the_same_float16_store(corpus):
    settings, utterances, protocol = corpus
    store = FeatureStore.open(extract_features(settings, utterances, protocol))
    first = digest_of_file(store.folder / "features.npy")
    assert store.dtype == np.float16 and np.isfinite(store.load(range(store.shape[0]))).all()
    assert store.index["variant"].tolist() == ["original", *CHANNEL_VARIANTS] * 5
    assert store.facts["versions"]["ffmpeg"] and store.facts["noises"] == {}
    assert find_store(settings, utterances, protocol).folder == store.folder
    shutil.rmtree(store.folder)
    settings.compute.workers, settings.store.block_rows = 3, 5
    again = extract_features(settings, utterances.iloc[::-1], protocol)
    assert digest_of_file(again / "features.npy") == first


@needs_ffmpeg
def test_a_store_of_the_shortest_crops(corpus):
    settings, utterances, protocol = corpus
    settings.audio.crop_seconds = 0.1
    store = FeatureStore.open(extract_features(settings, utterances, protocol))
    assert np.isfinite(store.load(range(store.shape[0]))).all()


def test_wrong_labels_are_refused_before_there_is_a_folder(corpus):
    settings, utterances, protocol = corpus
    settings.augment.variants = ["original", "copy_synthesis"]
    utterances["source"] = utterances["source"].replace("source0", "sinusoidal")
    with pytest.raises(UserError, match="augment.vocoder=sinusoidal is what makes the source sinusoidal"):
        extract_features(settings, utterances, protocol)
    assert not list(Path(settings.paths.exp).glob("*/features/*"))
