"""Layer features of detection hear what the cures leave, in augmented copies too; each cure is another store."""

from __future__ import annotations

import numpy as np
import pytest

from sourcetracing.audio.conditioning import shaped
from sourcetracing.audio.reading import load_utterance
from sourcetracing.detection.data.manifest import audio_path
from sourcetracing.detection.features.layer_features import Extractor, build_layer_means, extract_layers
from sourcetracing.detection.features.layer_store import find_layers, layer_recipe
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.settings.schema import Settings
from tests.support.layer_audio import settings_for, write_layer_audio

LFCC = ["layer_features.kind=lfcc", "layer_features.copies=[clean,rawboost]"]
CURES = ["audio.normalize=rms", "audio.band_limit_hz=3000", "audio.trim_silence_db=40"]


def test_what_was_made_before_there_were_cures_keeps_its_name():
    settings = Settings()
    settings.layer_features.kind = "lfcc"
    assert digest_of_json(layer_recipe(settings, "clean")) == "91ddcc533db2a8e9f23dba86ac589360"


def test_layers_are_of_the_cured_sound_and_lie_in_a_store_of_their_own(tmp_path):
    audio = write_layer_audio(tmp_path / "audio")
    plain, cured = (settings_for(tmp_path, audio, tmp_path, *LFCC, *words) for words in ([], CURES))
    for settings in (plain, cured):
        extract_layers(settings)
    for copy in ("clean", "rawboost"):
        stores = [find_layers(settings, "for", copy) for settings in (plain, cured)]
        assert stores[0].folder != stores[1].folder
        assert np.abs(stores[0].layer(0) - stores[1].layer(0)).max() > 0.1
        assert stores[1].facts["recipe"]["band_limit_hz"] == 3000


@pytest.mark.parametrize("copy", ["clean", "rawboost", "codec"])
def test_every_copy_has_the_level(tmp_path, copy, monkeypatch):
    audio = write_layer_audio(tmp_path / "audio")
    settings = settings_for(tmp_path, audio, tmp_path, *LFCC, *CURES)
    extractor, heard = Extractor(settings, build_layer_means(settings, copy)), []
    monkeypatch.setattr(extractor.network, "sound", heard.append)
    rows = list(audio[:3].itertuples())
    for row in rows:
        extractor.sound(row, copy)
    for row, waveform in zip(rows, heard, strict=True):
        assert 10 * np.log10(np.mean(waveform.numpy().astype(np.float64) ** 2)) == pytest.approx(-23, abs=1e-3)
        if copy == "clean":
            expected = shaped(load_utterance(audio_path(settings, row), settings.audio), settings.audio)
            np.testing.assert_array_equal(waveform.numpy(), expected)
