"""Tracing, noises, segments and the detection manifest took what 02 refuses, or the other way round; audio.channel reached none of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.detection.data.segments import segment_recordings
from sourcetracing.errors import UserError
from sourcetracing.features.extracting import store_recipe
from sourcetracing.features.noise_bank import open_banks, prepare_banks
from sourcetracing.metrics.calibration import Calibration, Reliability
from sourcetracing.settings.corpora import DEMO_CHANGES
from sourcetracing.settings.recorded import audio_rules, differences, label_recipe, name_of_recipe, protocol_recipe
from sourcetracing.settings.schema import Settings
from sourcetracing.tracing.job import Answers, Outputs
from sourcetracing.tracing.output import header_of
from sourcetracing.tracing.tracer import Tracer
from tests.support.audio_doors import RATE, speech_like, written
from tests.support.audio_files import small_audio_settings, write_noises
from tests.support.small_experiment import SmallExperiment
from tests.support.traced_runs import random_run


def half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: 44 + (path.stat().st_size - 44) // 2])
    return path


# --- tracing

AS_IT_IS = {"dev": Reliability(1, 1.0, 0.0, 0.0)}


@pytest.fixture
def run_folder(tmp_path, monkeypatch) -> Path:
    """A network that nobody trained: what counts is which samples it gets."""
    monkeypatch.setattr("sourcetracing.tracing.tracer.calibrate", lambda *_: Calibration("", 1.0, ["en"], 15, AS_IT_IS, AS_IT_IS))
    monkeypatch.setattr("sourcetracing.tracing.tracer.fit_rule", lambda *_: None)
    return random_run(tmp_path / "run")


def test_tracing_says_what_is_odd(run_folder, tmp_path):
    tracer, sound = Tracer.load(run_folder, []), speech_like(2)
    for name, samples, words in (
        ("loud", 4 * sound, "peaks above 1"),
        ("one", np.stack([sound, 0 * sound], 1), "one silent channel, the right one"),
        ("narrow", narrow(sound), "nothing above 4 kHz"),
    ):
        assert words in "; ".join(tracer(floats(tmp_path / f"{name}.wav", samples)).notes)
    assert tracer(floats(tmp_path / "fine.wav", sound)).notes == []
    for name, samples, words in (
        ("integers", 32768 * sound, "integers in a file of floats"),
        ("constant", np.full(RATE, 0.3), "constant"),
        ("cancel", np.stack([sound, -sound], 1), "channels cancel"),
    ):
        with pytest.raises(BadAudio, match=words):
            tracer(floats(tmp_path / f"{name}.wav", samples))
    chosen = Tracer.load(run_folder, ["audio.channel=right"])
    assert chosen(tmp_path / "cancel.wav").duration_s == 2


def test_a_cut_file_is_not_traced_unless_it_is_kept(run_folder, tmp_path):
    path = half(written(tmp_path / "a.wav", speech_like(4)))
    tracer = Tracer.load(run_folder, [])
    line = answers_of(tracer, path).add(path)
    assert "NOT TRACED: cut off: header says 4.00 s, file holds 2.00 s; audio.on_truncated=keep uses what is there of it" in line
    keeping = Tracer.load(run_folder, ["audio.on_truncated=keep"])
    found = keeping(path)
    assert (found.duration_s, found.notes[0].startswith("cut off: header says 4.00 s")) == (2.0, True)


def answers_of(tracer: Tracer, path: Path) -> Answers:
    return Answers(Outputs(), tracer, {}, [path])


def test_answers_with_another_channel_are_other_answers(run_folder):
    headers = [header_of(Tracer.load(run_folder, words))["settings"] for words in ([], ["audio.channel=left"], ["audio.on_truncated=keep"])]
    assert [header.get("channel") for header in headers] == [None, "left", None]
    assert [header.get("on_truncated") for header in headers] == [None, None, "keep"]


def floats(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


def narrow(samples: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    spectrum[len(spectrum) // 2 :] = 0
    return np.fft.irfft(spectrum, len(samples))


# --- noises


def test_a_cut_noise_is_named_or_kept(tmp_path):
    settings = small_audio_settings(tmp_path)
    settings.augment.variants = ["original", "noise"]
    write_noises(tmp_path / "musan", num_files=2, seconds=1.0)
    half(tmp_path / "musan/noise/subset/0.wav")
    with pytest.raises(BadAudio, match=r"0\.wav: cut off: header says 1\.00 s, file holds 0\.50 s"):
        prepare_banks(settings)
    settings.audio.on_truncated = "keep"
    assert open_banks(prepare_banks(settings))["noise"].lengths == [8000, round(1.1 * RATE)]


def test_a_streamed_noise_is_banked_whole_and_a_channel_of_it_if_asked(tmp_path):
    settings = small_audio_settings(tmp_path)
    settings.augment.variants = ["original", "noise"]
    write_noises(tmp_path / "musan", num_files=1)
    path = tmp_path / "musan/noise/subset/0.wav"
    left, right = speech_like(1, seed=1), speech_like(1, seed=2)
    content = written(path, np.stack([left, right], 1)).read_bytes()
    path.write_bytes(content[:40] + bytes(4) + content[44:])  # its header says 0
    for channel, expected in (("mean", (left + right) / 2), ("left", left), ("right", right)):
        settings.audio.channel = channel
        np.testing.assert_allclose(open_banks(prepare_banks(settings))["noise"].read(0), expected, atol=1e-4)


# --- segments


@pytest.mark.parametrize("policy", ["fail", "skip", "keep"])
def test_segments_follow_the_policy(tmp_path, policy):
    (tmp_path / "in").mkdir()
    half(written(tmp_path / "in/cut.wav", speech_like(4)))
    written(tmp_path / "in/whole.wav", speech_like(2))
    (tmp_path / "list.txt").write_text("cut.wav|spoof\nwhole.wav|spoof\n")
    settings = Settings()
    settings.compute.workers, settings.audio.on_truncated = 1, policy
    settings.detection.segment_seconds, settings.detection.min_segment_seconds = 1.0, 0.5
    words = (tmp_path / "list.txt", tmp_path / "in", tmp_path / "out", settings)
    if policy == "fail":
        with pytest.raises(UserError, match=r"1 of 2 recordings cannot be cut: .*cut\.wav: cut off.*audio\.on_truncated=skip"):
            segment_recordings(*words)
        return
    segments, failed = segment_recordings(*words)
    assert (len(segments), len(failed)) == {"skip": (2, 1), "keep": (4, 0)}[policy]


# --- what is recorded


def test_the_default_channel_changes_no_name_and_another_changes_all(tmp_path):
    experiment = SmallExperiment.write(tmp_path, num_utterances=6)
    settings, items = experiment.settings("a"), experiment.utterances.assign(split="train")
    plain = store_recipe(settings, items)
    assert set(plain["audio"]) == {"sample_rate", "crop_seconds", "crop_train", "crop_eval"}
    recipe = protocol_recipe(settings)
    later = ("audio.channel", "audio.on_truncated", "audio.trim_silence_db", "corpus.label", *DEMO_CHANGES)
    older = {name: value for name, value in recipe.items() if name not in later}
    text = json.dumps(older, sort_keys=True, ensure_ascii=False).encode()
    assert name_of_recipe(recipe) == hashlib.blake2b(text, digest_size=4).hexdigest()
    assert differences(older, recipe) == []
    assert "channel" not in audio_rules(settings.audio)
    before = {what: what(settings) for what in (protocol_recipe, label_recipe)}
    settings.audio.channel = "left"
    assert store_recipe(settings, items)["audio"]["channel"] == "left"
    assert audio_rules(settings.audio)["channel"] == "left"
    for what, made in before.items():
        assert differences(made, what(settings)) == ["audio.channel"]
        assert name_of_recipe(made) != name_of_recipe(what(settings))
