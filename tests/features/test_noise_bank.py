"""Noises and rooms on disk: found, sorted into categories, decoded once."""

import json

import numpy as np
import pytest
import soundfile

from sourcetracing.errors import UserError
from sourcetracing.features import noise_bank
from sourcetracing.features.noise_bank import find_noises, find_responses, needed_kinds, open_banks, prepare_banks
from tests.support.audio_files import small_audio_settings, write_noises, write_responses, write_wav


@pytest.fixture
def settings(tmp_path):
    write_noises(tmp_path / "musan")
    write_responses(tmp_path / "RIRS_NOISES")
    return small_audio_settings(tmp_path)


def test_a_bank_holds_every_file_exactly(settings, tmp_path):
    banks = open_banks(prepare_banks(settings))
    assert {kind: len(bank) for kind, bank in banks.items()} == {"music": 4, "noise": 4, "rir": 3, "speech": 4}
    expected, _ = soundfile.read(tmp_path / "musan/noise/subset/2.wav", dtype="float32")
    np.testing.assert_array_equal(banks["noise"].read(2), expected)
    assert banks["noise"].samples.dtype == np.int16
    response, _ = soundfile.read(tmp_path / "RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav", dtype="float32")
    np.testing.assert_array_equal(banks["rir"].read(1), np.trim_zeros(response, "b"))


def test_a_second_call_decodes_nothing_and_a_changed_file_decodes_anew(settings, tmp_path, monkeypatch):
    first = prepare_banks(settings)
    digests = {kind: bank.digest for kind, bank in open_banks(first).items()}
    monkeypatch.setattr(noise_bank, "_build_bank", lambda *_: pytest.fail("decoded again"))
    assert prepare_banks(settings) == first
    monkeypatch.undo()
    write_wav(tmp_path / "musan/noise/subset/0.wav", 1.5, 999)
    second = prepare_banks(settings)
    assert second["noise"] != first["noise"] and second["music"] == first["music"]
    assert open_banks(second)["noise"].digest != digests["noise"]


def test_another_rate_or_number_type_is_resampled_and_never_clipped(settings, tmp_path):
    time = np.arange(44100) / 44100
    loud = 3 * np.sin(2 * np.pi * 300 * time)
    soundfile.write(tmp_path / "musan/noise/subset/loud.wav", loud, 44100, subtype="FLOAT")
    bank = open_banks(prepare_banks(settings))["noise"]
    clip = bank.read(4)
    assert len(clip) == pytest.approx(16000, abs=2)
    np.testing.assert_allclose(clip[500:15500], 3 * np.sin(2 * np.pi * 300 * np.arange(16000) / 16000)[500:15500], atol=5e-3)


def test_only_what_the_variants_draw_from_is_needed(settings, tmp_path):
    augment = settings.augment
    assert needed_kinds(augment) == ["music", "noise", "rir", "speech"]
    augment.variants = ["original", "music", "reverb"]
    assert needed_kinds(augment) == ["music", "rir"]
    augment.force_speech = True
    assert needed_kinds(augment) == ["rir", "speech"]
    augment.variants = ["original"]
    settings.paths.musan = settings.paths.rirs = str(tmp_path / "nowhere")
    assert prepare_banks(settings) == {}


def test_the_category_is_the_third_component_from_the_end(tmp_path):
    root = tmp_path / "speech"  # a root that is named like a category must not matter
    write_noises(root)
    assert {kind: len(files) for kind, files in find_noises(root).items()} == {"music": 4, "noise": 4, "speech": 4}
    write_noises(tmp_path / "outer" / "musan")
    assert len(find_noises(tmp_path / "outer")["noise"]) == 4


@pytest.mark.parametrize("place", ["babble/subset/a.wav", "a.wav", "subset/a.wav"])
def test_an_unknown_category_is_refused(tmp_path, place):
    write_noises(tmp_path / "musan")
    write_wav(tmp_path / "musan" / place, 0.1, 0)
    with pytest.raises(UserError, match=r"a\.wav: unknown category"):
        find_noises(tmp_path / "musan")


def test_measured_rooms_are_an_option_without_the_noises_beside_them(tmp_path):
    write_responses(tmp_path)
    for name in ("RVB2014_type1_rir_largeroom1_far_angla", "RVB2014_type1_noise_largeroom1_1"):
        write_wav(tmp_path / "real_rirs_isotropic_noises" / f"{name}.wav", 0.1, 0)
    assert len(find_responses(tmp_path, real=False)) == 3
    assert [path.stem[:17] for path in find_responses(tmp_path, real=True) if "real" in str(path.parent.name)] == ["RVB2014_type1_rir"]


def test_several_microphones_give_the_first_ones_response(settings, tmp_path):
    settings.augment.real_rirs = True
    response = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32) * 0.1
    (tmp_path / "RIRS_NOISES/real_rirs_isotropic_noises").mkdir()
    soundfile.write(tmp_path / "RIRS_NOISES/real_rirs_isotropic_noises/air_rir.wav", response, 16000, subtype="FLOAT")
    bank = open_banks(prepare_banks(settings))["rir"]
    files = json.loads(prepare_banks(settings)["rir"].read_text())["files"]
    index = next(number for number, file in enumerate(files) if file.endswith("air_rir.wav"))
    np.testing.assert_array_equal(bank.read(index), response[:, 0])


def test_what_is_missing_or_broken_is_named(settings, tmp_path):
    broken = tmp_path / "musan/noise/subset/0.wav"
    broken.write_bytes(b"junk")
    with pytest.raises(UserError, match=r"noise/subset/0\.wav: cannot be read as audio"):
        prepare_banks(settings)
    broken.unlink()
    soundfile.write(tmp_path / "RIRS_NOISES/simulated_rirs/smallroom/Room001/silent.wav", np.zeros(100), 16000)
    with pytest.raises(UserError, match=r"silent\.wav: a room response without any sound"):
        prepare_banks(settings)
    settings.paths.rirs = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"nowhere.*paths\.rirs.*01_download_resources"):
        prepare_banks(settings)
