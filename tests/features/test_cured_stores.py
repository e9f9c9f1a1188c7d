"""Cures in feature stores: no variant tells a level, nothing lies above the band limit, and another cure is another store."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sourcetracing.features import blocks
from sourcetracing.features.augment import Augmenter
from sourcetracing.features.blocks import cropped_utterance, heard_variants
from sourcetracing.features.extracting import list_items, store_recipe
from sourcetracing.features.noise_bank import open_banks, prepare_banks
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.settings.recorded import audio_rules, differences, label_recipe, name_of_recipe, protocol_recipe
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers.embedders import embedder_key
from tests.support.small_experiment import SmallExperiment

VALUES = {"trim_silence_db": 40.0, "normalize": "rms", "band_limit_hz": 3000.0}


def fixed_items() -> pd.DataFrame:
    columns = ["utt_id", "split", "language", "source", "digest"]
    return pd.DataFrame([("a", "train", "en", "x", "1" * 32), ("b", "eval", "en", "y", "2" * 32)], columns=columns)


def test_what_was_made_before_there_were_cures_keeps_its_name():
    """Digests of these settings before the cures came."""
    settings = Settings()
    assert digest_of_json(store_recipe(settings, fixed_items())) == "cc4eae5c36cc3f95408294e0fcdb6ca1"
    assert name_of_recipe(protocol_recipe(settings)) == "632d04d3"
    assert name_of_recipe(label_recipe(settings)) == "becbe0bc"
    assert digest_of_json(audio_rules(settings.audio)) == "45853a6cd0399457f4494198d938c343"


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_another_cure_is_another_store_and_other_labels(name, value):
    settings, plain = Settings(), Settings()
    setattr(settings.audio, name, value)
    made, before = (store_recipe(each, fixed_items()) for each in (settings, plain))
    assert {key: made["audio"][key] for key in made["audio"].keys() - before["audio"].keys()} == (
        {name: value, "target_dbfs": -23.0} if name == "normalize" else {name: value}
    )
    assert embedder_key(settings) != embedder_key(plain)
    assert differences(label_recipe(plain), label_recipe(settings)) == [f"audio.{name}"]
    assert name_of_recipe(label_recipe(plain)) != name_of_recipe(label_recipe(settings))
    # Which utterances there are depends on how much of them is left, not on their level and band.
    is_of_protocol = name == "trim_silence_db"
    assert differences(protocol_recipe(plain), protocol_recipe(settings)) == ([f"audio.{name}"] if is_of_protocol else [])
    assert (audio_rules(settings.audio) != audio_rules(plain.audio)) == is_of_protocol


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> SmallExperiment:
    return SmallExperiment.write(tmp_path_factory.mktemp("cured"), num_utterances=4)


def heard(experiment: SmallExperiment, **cures) -> tuple[Settings, list[np.ndarray]]:
    """(variants, samples) of each utterance."""
    settings = experiment.settings("cured")
    for name, value in cures.items():
        setattr(settings.audio, name, value)
    augmenter = Augmenter(settings.augment, open_banks(prepare_banks(settings)), settings.seed)
    items = list_items(experiment.utterances, experiment.protocol).itertuples()
    return settings, [heard_variants(settings, augmenter, item) for item in items]


def test_no_variant_tells_a_level(experiment):
    for measure, target in (("rms", -23.0), ("peak", -3.0)):
        _, made = heard(experiment, normalize=measure, target_dbfs=target)
        levels = np.abs(np.concatenate(made)).max(axis=1) if measure == "peak" else np.sqrt((np.concatenate(made) ** 2).mean(axis=1))
        np.testing.assert_allclose(20 * np.log10(levels), target, atol=1e-3)
    _, plain = heard(experiment)
    assert np.ptp(20 * np.log10(np.sqrt((np.concatenate(plain) ** 2).mean(axis=1)))) > 0.5


def test_no_variant_has_anything_above_the_limit(experiment):
    """Noise above it would not tell sources apart, but would be another input."""
    settings, made = heard(experiment, band_limit_hz=3000.0)
    rows = np.concatenate(made)
    power = np.abs(np.fft.rfft(rows * np.hanning(rows.shape[1]))) ** 2
    frequencies = np.fft.rfftfreq(rows.shape[1], 1 / settings.audio.sample_rate)
    ratio = power[:, frequencies > 3050].max(axis=1) / power[:, frequencies < 2700].mean(axis=1)
    assert 10 * np.log10(ratio.max()) < -60
    assert len(rows) == 4 * 5


def test_a_louder_source_gets_the_same_variants(experiment, monkeypatch):
    """SNRs refer to the shaped signal, so that noise is no louder beside a quiet source."""
    _, made = heard(experiment, normalize="rms")
    original = blocks.load_utterance
    monkeypatch.setattr(blocks, "load_utterance", lambda *arguments: original(*arguments) * np.float32(0.01))
    _, quiet = heard(experiment, normalize="rms")
    for one, other in zip(made, quiet, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_clean_row_is_shaped_once(experiment):
    settings, made = heard(experiment, **VALUES)
    for item, rows in zip(list_items(experiment.utterances, experiment.protocol).itertuples(), made, strict=True):
        path = f"{settings.paths.corpus}/{item.path}"
        np.testing.assert_array_equal(rows[0], cropped_utterance(settings, path, item.utt_id, item.split))
