"""With each cure a traced file is heard as a training row was, by the run folder and by the ONNX file alike; and the answer says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from scipy.special import log_softmax

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.conditioning import shaped
from sourcetracing.audio.reading import load_utterance
from sourcetracing.errors import UserError
from sourcetracing.features.augment import Augmenter
from sourcetracing.features.blocks import heard_variants
from sourcetracing.metrics.calibration import Calibration, Reliability
from sourcetracing.settings.frontends import Audio
from sourcetracing.tracing.model_card import _conditioning
from sourcetracing.tracing.onnx_export import export_onnx
from sourcetracing.tracing.output import header_of
from sourcetracing.tracing.system import TracingSystem, run_in_folder
from sourcetracing.tracing.tracer import Tracer
from tests.support.audio_doors import RATE, speech_like, written
from tests.support.traced_runs import CPU, random_run

CURES = {
    "silence": ["audio.trim_silence_db=40"],
    "level": ["audio.normalize=rms"],
    "peak": ["audio.normalize=peak", "audio.target_dbfs=-3"],
    "band": ["audio.band_limit_hz=3000"],
    "all": ["audio.trim_silence_db=40", "audio.normalize=rms", "audio.band_limit_hz=3000"],
}
AS_IT_IS = {"dev": Reliability(1, 1.0, 0.0, 0.0)}
CALIBRATION = Calibration("", 1.0, ["en"], 15, AS_IT_IS, AS_IT_IS)


@pytest.fixture(autouse=True)
def without_scores(monkeypatch):
    """Of a network that nobody trained there are none; what counts is which samples it gets."""
    monkeypatch.setattr("sourcetracing.tracing.tracer.calibrate", lambda *_: CALIBRATION)
    monkeypatch.setattr("sourcetracing.tracing.tracer.fit_rule", lambda *_: None)


def sound(seconds: float, level: float = 1.0) -> np.ndarray:
    """Between silences of 0.33 and 0.21 s."""
    return level * np.concatenate([np.zeros(round(0.33 * RATE)), speech_like(seconds, seed=3), np.zeros(round(0.21 * RATE))])


class Item:
    """A row of `list_items`."""

    def __init__(self, path: str, split: str):
        self.path, self.split, self.utt_id, self.digest = path, split, path, None


def trained_on(tracer: Tracer, folder: Path, name: str, split: str = "eval") -> np.ndarray:
    """Logits (sources,) of the row that a store of the run's settings has of a file: what the network is trained on."""
    settings, system = tracer.system.settings, tracer.system
    settings.paths.corpus = str(folder)
    [heard] = heard_variants(settings, Augmenter(settings.augment, {}, settings.seed), Item(name, split))
    with torch.inference_mode():
        features = system.front_end(torch.from_numpy(heard)[None]).to(torch.float16).float()
        return system.model(features)[1][0].numpy()


@pytest.mark.parametrize("words", CURES.values(), ids=CURES)
@pytest.mark.parametrize("seconds", [0.25, 0.4, 1.7], ids=["shorter", "as long", "longer"])
def test_a_traced_file_is_heard_as_a_training_row(tmp_path, words, seconds):
    """The windows are 0.4 s; the row in eval is the first window."""
    tracer = Tracer.load(random_run(tmp_path / "run", *words), [])
    plain = Tracer.load(random_run(tmp_path / "plain"), [])
    path = written(tmp_path / "a.wav", sound(seconds, 0.3))
    found = tracer(path)
    expected = log_softmax(trained_on(tracer, tmp_path, "a.wav"))
    np.testing.assert_allclose(np.log(found.window_probabilities[0]), expected, rtol=1e-5, atol=2e-5)
    assert np.abs(np.log(found.window_probabilities[0]) - np.log(plain(path).window_probabilities[0])).max() > 1e-4  # it is another sound
    assert found.duration_s == pytest.approx(seconds + 0.54)
    assert found.starts_s[0] == pytest.approx(0.33 if "audio.trim_silence_db=40" in words else 0.0, abs=0.002)


def test_level_and_silence_of_a_file_change_nothing(tmp_path):
    tracer = Tracer.load(random_run(tmp_path / "run", *CURES["all"]), [])
    answers = []
    for number, samples in enumerate((speech_like(2, seed=3), 0.01 * speech_like(2, seed=3), np.pad(speech_like(2, seed=3), 960))):
        soundfile.write(tmp_path / f"{number}.wav", samples, RATE, subtype="FLOAT")
        answers.append(tracer(tmp_path / f"{number}.wav"))
    for answer in answers[1:]:
        np.testing.assert_allclose(answer.window_probabilities, answers[0].window_probabilities, atol=1e-3)
    np.testing.assert_allclose(answers[2].starts_s, answers[0].starts_s + 0.06)


def test_a_long_file_is_heard_window_by_window_as_loaded_whole(tmp_path):
    """Longer than the blocks of ten seconds that it is decoded in."""
    tracer = Tracer.load(random_run(tmp_path / "run", *CURES["all"]), ["trace.overlap=0"])
    path = written(tmp_path / "a.wav", np.concatenate([np.zeros(11 * RATE), speech_like(24, seed=4), np.zeros(12 * RATE)]))
    found, whole = tracer(path), load_utterance(path, tracer.audio)
    size = tracer.system.window_samples
    starts = list(range(0, len(whole) - size + 1, size))
    windows = np.stack([whole[start : start + size] for start in [*starts, *([len(whole) - size] if len(whole) % size else [])]])
    np.testing.assert_allclose(found.starts_s[:3], 11 + np.arange(3) * 0.4, atol=0.021)
    with torch.inference_mode():
        features = tracer.system.front_end(torch.from_numpy(shaped(windows, tracer.audio))).to(torch.float16).float()
        expected = torch.softmax(tracer.system.model(features)[1], 1).numpy()
    np.testing.assert_allclose(found.window_probabilities, expected, atol=1e-5)


def test_too_little_between_silences_is_one_line(tmp_path):
    tracer = Tracer.load(random_run(tmp_path / "run", *CURES["silence"]), [])
    with pytest.raises(BadAudio, match="too short without the silence at its ends"):
        tracer(written(tmp_path / "a.wav", sound(0.03)))


@pytest.mark.parametrize(
    ("trained", "word", "was"),
    [
        ([], "audio.trim_silence_db=40", "audio.trim_silence_db=0.0"),
        ([], "audio.normalize=rms", "audio.normalize=none"),
        (CURES["level"], "audio.target_dbfs=-3", "audio.target_dbfs=-23.0"),
        (CURES["all"], "audio.band_limit_hz=0", "audio.band_limit_hz=3000.0"),
        ([], "audio.sample_rate=8000", "audio.sample_rate=16000"),
        ([], "audio.crop_seconds=0.3", "audio.crop_seconds=0.4"),
    ],
)
def test_a_sound_that_it_was_not_trained_on_is_refused(tmp_path, trained, word, was):
    folder = random_run(tmp_path / "run", *trained)
    with pytest.raises(UserError) as caught:
        Tracer.load(folder, [word])
    assert str(caught.value).startswith(word.partition("=")[0])
    assert f"{folder} was trained with {was}, and hears nothing else" in str(caught.value) and "\n" not in str(caught.value)
    Tracer.load(folder, ["audio.on_bad_audio=skip", "audio.channel=left"])


def test_answers_say_which_cures_were_on(tmp_path):
    header = header_of(Tracer.load(random_run(tmp_path / "run", *CURES["all"]), []))["settings"]
    assert {name: header[name] for name in ("trim_silence_db", "normalize", "target_dbfs", "band_limit_hz")} == {
        "trim_silence_db": 40.0,
        "normalize": "rms",
        "target_dbfs": -23.0,
        "band_limit_hz": 3000.0,
    }
    plain = header_of(Tracer.load(random_run(tmp_path / "plain"), []))["settings"]
    assert not {"trim_silence_db", "normalize", "target_dbfs", "band_limit_hz"} & set(plain)
    card = _conditioning(Audio(trim_silence_db=40, normalize="rms", band_limit_hz=3000))
    assert "everything above 3000 Hz is removed; the root mean square of each window is brought to -23 dBFS" in card
    assert _conditioning(Audio()) == ""


@pytest.mark.parametrize("words", [CURES["all"], CURES["peak"]], ids=["all", "peak"])
def test_an_onnx_file_shapes_its_windows_itself(tmp_path, words):
    system = TracingSystem(run_in_folder(random_run(tmp_path / "run", *words)), CPU)
    path = tmp_path / "a.onnx"
    export_onnx(system, CALIBRATION, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    windows = np.stack([generator.normal(0, level, system.window_samples) for level in (0.003, 0.1, 2.0, 0.0)]).astype(np.float32)
    logits, embedding = session.run(["logits", "embedding"], {"waveform": windows})
    expected_embedding, expected_logits = system(windows)
    np.testing.assert_allclose(embedding, expected_embedding, atol=1e-3 * np.abs(expected_embedding).max())
    np.testing.assert_allclose(logits, expected_logits, atol=1e-3 * np.abs(expected_logits).max())
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["normalize"] == ("rms" if words == CURES["all"] else "peak")
    assert ("trim_silence_db" in facts) == (words == CURES["all"])
