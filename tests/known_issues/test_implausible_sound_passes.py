"""1e30 passed 02 and stopped 04; constant DC was speech; integers in a float file were traced with p = 1.000; [x, -x] was "silent"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from sourcetracing.audio.checking import check_corpus, check_file
from sourcetracing.audio.reading import load_utterance
from sourcetracing.settings.frontends import Audio
from tests.support.audio_doors import RATE, speech_like, through_all_doors
from tests.support.audio_files import small_audio_settings, write_corpus


def floats(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def spiked(value: float) -> np.ndarray:
    samples = speech_like(2)
    samples[777] = value
    return samples


def notes_of(path: Path, **rules: str) -> str:
    file = check_file(path, Audio(**rules))
    assert file.reason == ""
    return "; ".join(file.notes)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (spiked(1e30), "its peak is 1e+30"),
        (spiked(np.nan), "1 of its samples are NaN or infinite"),
        (spiked(-np.inf), "1 of its samples are NaN or infinite"),
        (speech_like(2) * 32768, "integers in a file of floats"),
    ],
    ids=["1e30", "nan", "inf", "integers"],
)
def test_nonsense_is_refused_by_every_door(tmp_path, samples, reason):
    assert reason in through_all_doors(floats(tmp_path / "a.wav", samples))


@pytest.mark.parametrize("level", [0.25, -0.9, 1e-3])
def test_constant_dc_is_no_sound(tmp_path, level):
    assert check_file(floats(tmp_path / "a.wav", np.full(RATE, level)), Audio()).reason.startswith("constant: every sample is about")


def test_sound_on_top_of_dc_is_sound(tmp_path):
    assert check_file(floats(tmp_path / "a.wav", 0.3 + 0.1 * speech_like(2)), Audio()).reason == ""


def test_channels_that_cancel_are_named_and_one_can_be_chosen(tmp_path):
    sound = speech_like(2)
    path = floats(tmp_path / "a.wav", np.stack([sound, -sound], 1))
    reason = check_file(path, Audio()).reason
    assert "channels cancel" in reason and "audio.channel=left|right|mean" in reason
    np.testing.assert_array_equal(load_utterance(path, Audio(channel="left")), sound)
    np.testing.assert_array_equal(load_utterance(path, Audio(channel="right")), -sound)
    assert check_file(path, Audio(channel="right")).reason == ""


def test_what_is_odd_gets_a_note(tmp_path):
    sound = speech_like(4)
    assert notes_of(floats(tmp_path / "fine.wav", sound)) == ""
    assert notes_of(floats(tmp_path / "loud.wav", 4 * sound)).startswith("peaks above 1")
    assert "the right one" in notes_of(floats(tmp_path / "left.wav", np.stack([sound, 0 * sound], 1)))
    assert "the left one" in notes_of(floats(tmp_path / "right.wav", np.stack([0 * sound, sound], 1)))
    narrow = soxr.resample(sound, RATE, 8000)
    for rate in (16000, 22050, 48000):
        assert notes_of(floats(tmp_path / "up.wav", soxr.resample(narrow, 8000, rate), rate)).startswith("nothing above 4 kHz")
    assert notes_of(floats(tmp_path / "narrow.wav", narrow, 8000)) == ""  # its rate says so


def test_a_silent_chosen_channel_is_named(tmp_path):
    path = floats(tmp_path / "a.wav", np.stack([speech_like(1), np.zeros(RATE)], 1))
    assert check_file(path, Audio(channel="right")).reason.startswith("its right channel is silent")


def test_the_check_pass_skips_nonsense_and_counts_notes(tmp_path, capsys):
    settings, (utterances, _) = small_audio_settings(tmp_path), write_corpus(tmp_path / "corpus")
    for number, samples in enumerate([spiked(1e30), 4 * speech_like(2), 5 * speech_like(1)]):
        floats(tmp_path / "corpus" / utterances["path"][number], samples)
    settings.audio.on_bad_audio = "skip"
    checked, problems = check_corpus(utterances.drop(columns="digest"), settings.paths.corpus, settings)
    assert (len(checked), problems["reason"].str.contains("1e\\+30").tolist()) == (5, [True])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    (listing,) = (tmp_path / "exp").rglob("audio_notes.csv")
    assert len(said) == 1 and "2 of 5 files: peaks above 1" in said[0]
    assert pd.read_csv(listing)["path"].tolist() == utterances["path"][1:3].tolist()
