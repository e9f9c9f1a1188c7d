"""Decoding, cropping, and the check pass."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.checking import check_corpus
from sourcetracing.audio.reading import crop, load_utterance
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.frontends import Audio
from tests.support.audio_files import small_audio_settings, write_corpus, write_wav


def test_a_16_bit_file_is_decoded_exactly(tmp_path):
    written = write_wav(tmp_path / "a.wav", 0.1, 0)
    loaded = load_utterance(tmp_path / "a.wav", Audio())
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, written)


def test_channels_are_averaged_and_a_tone_survives_resampling(tmp_path):
    time = np.arange(22050) / 22050
    left = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)], 1), 22050, subtype="FLOAT")
    loaded = load_utterance(tmp_path / "a.wav", Audio())
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert loaded.shape == (16000,)
    np.testing.assert_allclose(loaded[500:-500], expected[500:-500], atol=1e-3)


@pytest.mark.parametrize("content, reason", [(b"", "empty"), (b"not audio at all" * 10, "cannot be read as audio"), (None, "missing")])
def test_a_bad_file_is_named_with_its_reason(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadAudio, match=rf"a\.wav: .*{reason}") as caught:
        load_utterance(path, Audio())
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_file_that_changed_since_the_check_is_refused(tmp_path):
    write_wav(tmp_path / "a.wav", 0.1, 0)
    digest = digest_of_file(tmp_path / "a.wav")
    load_utterance(tmp_path / "a.wav", Audio(), digest)
    write_wav(tmp_path / "a.wav", 0.1, 1)
    with pytest.raises(BadAudio, match="changed"):
        load_utterance(tmp_path / "a.wav", Audio(), digest)


@pytest.mark.parametrize("length", [1, 3, 7, 9])
@pytest.mark.parametrize("mode", ["head", "center", "random"])
def test_a_short_utterance_is_repeated_as_numpy_wraps(length, mode):
    waveform = np.arange(length, dtype=np.float32)
    expected = np.pad(waveform, (0, 10 - length), mode="wrap")
    np.testing.assert_array_equal(crop(waveform, 10, mode, np.random.default_rng(0)), expected)


def test_head_center_and_random_crops():
    waveform = np.arange(25)
    assert crop(waveform, 10, "head")[0] == 0
    assert crop(waveform, 10, "center")[0] == 7
    assert crop(waveform, 25, "center").tolist() == waveform.tolist()
    starts = {int(crop(waveform, 10, "random", np.random.default_rng(seed))[0]) for seed in range(400)}
    assert starts == set(range(16))  # both ends can be reached


@pytest.fixture
def spoilt_corpus(tmp_path):
    """Five good files and one of each kind of bad one."""
    settings = small_audio_settings(tmp_path)
    root = tmp_path / "corpus"
    utterances, _ = write_corpus(root, 5)
    names = ["missing", "empty", "garbage", "headless", "silent", "short", "nan", "inf"]
    bad = {name: root / f"fake/en/source0/{name}.wav" for name in names}
    bad["empty"].touch()
    bad["garbage"].write_bytes(b"RIFF" + bytes(100))
    soundfile.write(bad["headless"], np.zeros(0), 16000)
    soundfile.write(bad["silent"], np.full(16000, 1e-5), 16000, subtype="FLOAT")
    write_wav(bad["short"], 0.05, 0)
    for name, value in [("nan", np.nan), ("inf", np.inf)]:
        samples = np.full(16000, 0.1, np.float32)
        samples[77] = value
        soundfile.write(bad[name], samples, 16000, subtype="FLOAT")
    rows = [(f"bad/{name}", f"fake/en/source0/{name}.wav", "en", "source0") for name in names]
    extra = pd.DataFrame(rows, columns=["utt_id", "path", "language", "source"])
    return pd.concat([utterances.drop(columns="digest"), extra], ignore_index=True), settings


REASONS = {
    "missing": "missing",
    "empty": "0 bytes",
    "garbage": "cannot be read",
    "headless": "no samples",
    "silent": "silent",
    "short": "too short",
    "nan": "NaN",
    "inf": "NaN or infinite",
}


def test_the_check_lists_every_bad_file_and_skips_on_request(spoilt_corpus):
    utterances, settings = spoilt_corpus
    settings.audio.on_bad_audio = "skip"
    checked, problems = check_corpus(utterances, settings.paths.corpus, settings)
    assert problems["utt_id"].tolist() == [f"bad/{name}" for name in REASONS]
    for reason, expected in zip(problems["reason"], REASONS.values(), strict=True):
        assert expected in reason
    assert checked["utt_id"].tolist() == utterances["utt_id"][:5].tolist()
    assert checked["sample_rate"].tolist() == [16000, 22050, 16000, 22050, 16000]
    np.testing.assert_allclose(checked["duration_s"], [0.3, 0.4, 0.5, 0.6, 0.7], atol=1e-4)
    first = f"{settings.paths.corpus}/{checked['path'][0]}"
    assert checked["digest"][0] == digest_of_file(first)


def test_by_default_bad_audio_stops_with_one_line_and_a_full_list(spoilt_corpus):
    utterances, settings = spoilt_corpus
    with pytest.raises(UserError, match=r"8 of 13 audio files .*missing\.wav.* and 5 more.*bad_audio\.csv.*on_bad_audio=skip") as caught:
        check_corpus(utterances, settings.paths.corpus, settings)
    assert "\n" not in str(caught.value)
    listing = f"{settings.paths.exp}/{settings.name}/bad_audio.csv"
    assert len(pd.read_csv(listing)) == 8
    good = utterances[:5]
    check_corpus(good, settings.paths.corpus, settings)
    assert not Path(listing).exists()  # an old list would mislead
