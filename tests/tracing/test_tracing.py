"""Tracing files: the same numbers as scores, every window heard once, calibrated probabilities, clear lines for what is wrong."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.special import log_softmax, softmax

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.ffmpeg import run_pipe
from sourcetracing.audio.reading import load_utterance, resample, resample_blocks
from sourcetracing.audio.streaming import Windows, open_audio
from sourcetracing.errors import UserError
from sourcetracing.metrics.calibration import calibration_error, fit_temperature
from sourcetracing.runtime.cli import run_tool
from sourcetracing.scoring.scores import is_scored, read_scores
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.openset import DETECTORS
from sourcetracing.tracing.calibration import calibrate, logits_of
from sourcetracing.tracing.inputs import list_files
from sourcetracing.tracing.job import Outputs, trace_files
from sourcetracing.tracing.system import TracingSystem, run_in_folder
from sourcetracing.tracing.tracer import Tracer, combine
from sourcetracing.tracing.unknown import fit_rule
from sourcetracing.training.runs import TrainingRun
from tests.support.audio_files import RATE, write_wav
from tests.support.places import ROOT
from tests.support.tiny_ssl import save_tiny
from tests.support.traced_runs import CPU, random_run, trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def tracer(run: TrainingRun) -> Tracer:
    return Tracer.load(run.folder, [])


def run_script(name: str, *words: str | Path) -> int:
    """The exit status of a script, run in this process."""
    main = runpy.run_path(str(ROOT / "scripts" / name))
    with pytest.raises(SystemExit) as ended:
        run_tool(main["main"], doc=main["__doc__"], uses=["trace"], things="FILE", flags=main["FLAGS"], argv=list(map(str, words)))
    return ended.value.code


# --- the system


def test_logits_are_those_of_the_scores(run):
    system = TracingSystem(run_in_folder(run.folder), CPU)
    scores = read_scores(run, "eval", unknown=True).query("variant == 'original'")
    utterances = pd.read_csv(Path(run.settings.paths.exp) / run.settings.name / "utterances.csv").set_index("utt_id")
    for row in scores.itertuples():
        waveform = load_utterance(Path(run.settings.paths.corpus) / utterances.loc[row.utt_id, "path"], Audio())
        _, window = next(iter(Windows([waveform], system.window_samples, 100)))
        _, logits = system(window[None])
        np.testing.assert_allclose(logits[0], [row.logit_0, row.logit_1], atol=2e-5)


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_ssl_and_raw_systems_load_alike(tmp_path, mode):
    model = save_tiny("xls-r", tmp_path / "checkpoint")
    more = ["store.dtype=float32"] if mode == "finetune" else []
    for number, words in enumerate((["system=xlsr_frozen_aasist", f"ssl.model={model}", f"ssl.mode={mode}", *more], ["system=raw_aasist"])):
        system = TracingSystem(run_in_folder(random_run(tmp_path / str(number), *words)), CPU)
        waveforms = np.random.default_rng(0).normal(0, 0.1, (3, system.window_samples)).astype(np.float32)
        embeddings, logits = system(waveforms)
        assert (logits.shape, len(embeddings)) == ((3, 3), 3)
        np.testing.assert_allclose(system(waveforms[1:2])[1], logits[1:2], atol=1e-4)


# --- windows


@pytest.mark.parametrize("num_samples", [1, 40, 99, 100, 101, 130, 150, 151, 1000, 1033])
@pytest.mark.parametrize("block", [7, 64, 5000])
def test_windows_cover_a_stream_however_it_is_cut(num_samples, block):
    samples = np.arange(1, num_samples + 1, dtype=np.float32)
    windows = Windows((samples[start : start + block] for start in range(0, num_samples, block)), 100, 30)
    found = list(windows)
    assert windows.num_samples == num_samples
    starts = [start for start, _ in found]
    expected = list(range(0, max(num_samples - 100, 0) + 1, 30))
    assert starts == expected + ([num_samples - 100] if expected[-1] + 100 < num_samples else [])
    for start, waveform in found:
        np.testing.assert_array_equal(waveform, np.resize(samples[start : start + 100], 100))


def test_a_streamed_file_is_the_loaded_one(tmp_path):
    stereo = np.random.default_rng(0).normal(0, 0.1, (23 * 22050, 2))
    soundfile.write(tmp_path / "a.flac", stereo, 22050)
    with open_audio(tmp_path / "a.flac", Audio()) as (source, blocks):
        streamed = np.concatenate(list(blocks))
    np.testing.assert_allclose(streamed, load_utterance(tmp_path / "a.flac", Audio()), atol=1e-6)
    assert (source.rate, source.is_lossy) == (22050, False)


# --- calibration


def noisy_logits(num_rows: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax at `temperature` is the true distribution of the labels."""
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 2, (num_rows, 5))
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    return logits * temperature, (generator.random((num_rows, 1)) > cumulated).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_and_mends_the_error(temperature):
    logits, labels = noisy_logits(20_000, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    assert calibration_error(softmax(logits / found, axis=1), labels, 15) < 0.015
    if temperature != 1:
        assert calibration_error(softmax(logits, axis=1), labels, 15) > 0.08


def test_rows_that_are_all_right_do_not_end_in_certainty():
    logits = np.eye(4)[np.arange(40) % 4] * 5.0
    temperature = fit_temperature(logits, np.arange(40) % 4)
    assert softmax(logits / temperature, axis=1).max() == pytest.approx(41 / 42, abs=1e-3)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6], [0.35, 0.65]])
    # The bin of 0.95: accuracy 0.5, off by 0.45. The bin of 0.6 to 0.7: accuracy 1, off by 0.375.
    assert calibration_error(probabilities, np.array([0, 1, 1, 1]), 10) == pytest.approx((2 * 0.45 + 2 * 0.375) / 4)


def test_a_run_is_calibrated_once_on_known_rows_of_dev(run, tracer):
    content = json.loads((run.folder / "calibration.json").read_text())
    dev = read_scores(run, "dev")
    assert (dev["label"] >= 0).all()
    assert content["temperature"] == pytest.approx(fit_temperature(logits_of(dev), dev["label"].to_numpy()))
    assert content["after"]["dev"]["nll"] <= content["before"]["dev"]["nll"] + 0.01
    assert set(content["after"]) == {"dev", "eval"}
    assert (run.folder / "calibration.png").stat().st_size > 5000
    before = (run.folder / "calibration.json").stat().st_mtime_ns
    calibrate(run, CPU)
    assert (run.folder / "calibration.json").stat().st_mtime_ns == before
    assert is_scored(run, "dev") and is_scored(run, "train")


def test_combining_windows():
    log_p = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [1e-9, 1 - 1e-9]]))
    assert combine(log_p, "probability") == pytest.approx([0.6, 0.4], abs=1e-6)
    sharp = combine(log_p, "log_probability")
    assert sharp.sum() == pytest.approx(1)
    assert sharp[0] < 0.01  # one odd window decides


# --- known or unknown


def test_the_threshold_is_dev_s_equal_error(run, tracer):
    dev = read_scores(run, "dev", unknown=True)
    assert tracer.rule.eer is not None
    embeddings = np.load(run.folder / "scores" / "dev.embeddings.npy").astype(np.float32)
    called = tracer.rule.score(embeddings, logits_of(dev)) > tracer.rule.threshold
    is_unknown = dev["label"].to_numpy() < 0
    assert abs(called[~is_unknown].mean() - (1 - called[is_unknown].mean())) < 0.1
    assert "equal error on dev" in tracer.rule.origin


def test_without_unknown_sources_the_threshold_is_a_quantile(tmp_path):
    closed = trained_run(tmp_path, unknown=False)
    rule = fit_rule(closed, CPU)
    dev = read_scores(closed, "dev")
    embeddings = np.load(closed.folder / "scores" / "dev.embeddings.npy").astype(np.float32)
    assert (rule.score(embeddings, logits_of(dev)) > rule.threshold).mean() == pytest.approx(0.05, abs=0.02)
    assert rule.eer is None and "dev has no unknown sources" in rule.origin
    assert fit_rule(run_in_folder(closed.folder, ["trace.detector=none"]), CPU) is None


def test_every_detector_can_be_chosen(run):
    scores = read_scores(run, "dev", unknown=True)
    embeddings = np.load(run.folder / "scores" / "dev.embeddings.npy").astype(np.float32)
    for name in ("max_softmax", "mahalanobis", "nearest_neighbours"):
        rule = fit_rule(run_in_folder(run.folder, [f"trace.detector={name}"]), CPU)
        assert rule.name == name
        assert np.isfinite(rule.score(embeddings, logits_of(scores))).all()


# --- one file


def test_a_long_file_with_silence(tracer, tmp_path):
    samples = np.random.default_rng(1).normal(0, 0.1, 10 * RATE)
    samples[3 * RATE : 7 * RATE] = 0
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    found = tracer(tmp_path / "a.wav")
    num_windows = 1 + round((10 - 0.5) / 0.25)
    assert found.num_silent == 15  # starts at 3.0, 3.25 ... 6.5
    assert len(found.starts_s) == num_windows - 15
    assert found.duration_s == 10
    assert not ((found.starts_s >= 3.0) & (found.starts_s <= 6.5)).any()
    np.testing.assert_allclose(found.probabilities, found.window_probabilities.mean(axis=0))
    assert found.unknown_score == pytest.approx(found.window_scores.mean())
    assert found.is_unknown == (found.unknown_score > tracer.rule.threshold)
    one = samples[: RATE // 2].astype(np.float32)
    # 16-bit samples in the file
    _, logits = tracer.system((np.rint(one * 32768) / 32768).astype(np.float32)[None])
    wanted = np.exp(log_softmax(logits / tracer.calibration.temperature, axis=1))[0]
    np.testing.assert_allclose(found.window_probabilities[0], wanted, atol=1e-3)


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.m4a", "a.webm", "a.mp4"])
def test_coded_files_are_traced_and_say_so(tracer, tmp_path, name):
    waveform = np.random.default_rng(2).normal(0, 0.1, 3 * 48000).astype("<f4")
    run_pipe(["-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "pipe:0", "-y", str(tmp_path / name)], waveform.tobytes())
    found = tracer(tmp_path / name)
    assert found.duration_s == pytest.approx(3, abs=0.15)
    assert any("lossy codec" in note for note in found.notes)


def test_notes_on_short_and_narrow_files(tracer, tmp_path):
    write_wav(tmp_path / "short.wav", 0.3, 1)
    write_wav(tmp_path / "narrow.wav", 2, 1, rate=8000)
    assert any("shorter than a window" in note for note in tracer(tmp_path / "short.wav").notes)
    assert any("8000 Hz: nothing above 4000 Hz" in note for note in tracer(tmp_path / "narrow.wav").notes)


def write_text(path: Path) -> None:
    path.write_text("this is text")


def write_nan(path: Path) -> None:
    soundfile.write(path, np.full(RATE, np.nan, dtype=np.float32), RATE, subtype="FLOAT")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.wav": (lambda path: None, "is missing"),
    "empty.wav": (lambda path: path.touch(), "is empty"),
    "text.wav": (write_text, "cannot be read as audio"),
    "silent.wav": (lambda path: write_wav(path, 2, 1, level=0.0), "silent throughout"),
    "short.wav": (lambda path: write_wav(path, 0.01, 1), "too short"),
    "nan.wav": (write_nan, "NaN or infinite"),
    "header.wav": (lambda path: soundfile.write(path, np.zeros(0), RATE), "holds no samples"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_audio_is_named_with_its_reason(tracer, tmp_path, name):
    write, reason = BROKEN[name]
    write(tmp_path / name)
    with pytest.raises(BadAudio, match=f"{name}: .*{reason}"):
        tracer(tmp_path / name)


# --- many files


def test_folders_and_patterns(tmp_path):
    for name in ("a/1.wav", "a/b/2.FLAC", "a/notes.txt", "c/3.m4a", "a/.hidden.wav", "odd.xyz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def names(*words: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in list_files([str(tmp_path / word) for word in words])[0]]

    assert names("a") == ["a/1.wav", "a/b/2.FLAC"]
    assert list_files([str(tmp_path / "a")])[1] == 1
    assert names("odd.xyz", "a/1.wav", "a") == ["odd.xyz", "a/1.wav", "a/b/2.FLAC"]  # each once
    assert names("*/*.m4a", "**/*.FLAC") == ["c/3.m4a", "a/b/2.FLAC"]
    (tmp_path / "void").mkdir()
    for word, line in (("void", "no audio in this folder"), ("*.nothing", "no file fits this pattern")):
        with pytest.raises(UserError, match=line):
            names(word)
    with pytest.raises(UserError, match="which files"):
        list_files([])


def test_a_broken_file_is_named_and_the_others_go_on(run, tmp_path, capsys):
    for name in ("1.wav", "2.wav"):
        write_wav(tmp_path / "in" / name, 2, 1)
    write_text(tmp_path / "in" / "broken.wav")
    outputs = Outputs(tmp_path / "o.json", tmp_path / "o.csv", tmp_path / "pictures")
    arguments = ([str(tmp_path / "in")], str(run.folder), ["trace.overlap=0"], outputs)
    with pytest.raises(UserError, match=r"1 of 3 files could not be traced.*broken\.wav"):
        trace_files(*arguments)
    shown = capsys.readouterr().out
    assert "broken.wav: NOT TRACED: cannot be read as audio" in shown
    assert "does not tell fake from genuine" in shown
    check_json(json.loads((tmp_path / "o.json").read_text()), run)
    table = pd.read_csv(tmp_path / "o.csv")
    assert table["status"].tolist() == ["traced", "traced", "failed"]
    np.testing.assert_allclose(table.loc[:1, ["p_source0", "p_source1"]].sum(axis=1), 1, atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["1.wav.png", "2.wav.png"]

    traced_at = (tmp_path / "pictures" / "1.wav.png").stat().st_mtime_ns  # a second run keeps what it has
    first = (tmp_path / "o.json").read_bytes()
    write_wav(tmp_path / "in" / "2.wav", 3, 1)
    (tmp_path / "in" / "broken.wav").unlink()
    trace_files(*arguments)
    assert "1.wav: traced before, kept" in capsys.readouterr().out
    again = json.loads((tmp_path / "o.json").read_text())
    assert again["files"][0] == json.loads(first)["files"][0]
    assert [entry["duration_s"] for entry in again["files"]] == [2, 3]
    assert (tmp_path / "pictures" / "1.wav.png").stat().st_mtime_ns == traced_at


def check_json(content: dict, run: TrainingRun) -> None:
    assert content["system"]["classes"] == ["source0", "source1"]
    assert content["unknown"]["detector"] in DETECTORS
    assert len(content["when_not_to_believe"]) >= 5
    traced, failed = content["files"][0], content["files"][2]
    assert set(failed) == {"path", "status", "reason", "facts"}
    assert traced["decision"] in ("known", "unknown")
    assert set(traced["probabilities"]) == {"source0", "source1"}
    assert traced["top"][0]["probability"] >= traced["top"][1]["probability"]
    assert traced["top"][0]["source"] == max(traced["probabilities"], key=traced["probabilities"].get)
    assert traced["num_windows"] == len(traced["windows"]) == 4
    assert [window["start_s"] for window in traced["windows"]] == [0, 0.5, 1.0, 1.5]
    assert all(sum(window["probabilities"].values()) == pytest.approx(1, abs=1e-4) for window in traced["windows"])


def test_another_file_is_not_overwritten(run, tmp_path):
    write_wav(tmp_path / "a.wav", 1, 1)
    (tmp_path / "o.json").write_text('{"mine": 1, "files": 3}\n')
    with pytest.raises(UserError, match="is not a result of this script"):
        trace_files([str(tmp_path / "a.wav")], str(run.folder), ["trace.overlap=0"], Outputs(json=tmp_path / "o.json"))
    assert (tmp_path / "o.json").read_text() == '{"mine": 1, "files": 3}\n'


# --- wrong runs, wrong words


def test_what_is_no_run_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        run_in_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no config.yaml in it"):
        run_in_folder(tmp_path / "empty")
    with pytest.raises(UserError, match=f"holds some; name one of them: .*{run.folder.name}"):
        run_in_folder(run.folder.parent)
    with pytest.raises(UserError, match="trace.overlap"):
        run_in_folder(run.folder, ["trace.overlap=1"])


def test_damaged_runs_are_refused(run, tmp_path):
    def copy(name: str) -> Path:
        return Path(shutil.copytree(run.folder, tmp_path / name))

    damaged = copy("damaged")
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(UserError, match="model.safetensors is damaged"):
        TracingSystem(run_in_folder(damaged), CPU)
    bare = copy("bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(UserError, match="model.safetensors is missing"):
        TracingSystem(run_in_folder(bare), CPU)
    other = copy("other")
    (other / "classes.json").write_text('["source1", "source0"]')
    with pytest.raises(UserError, match="was trained on the classes"):
        run_in_folder(other)
    with pytest.raises(UserError, match="has shape"):
        (other / "classes.json").unlink()
        TracingSystem(run_in_folder(other, ["corpus.sources=[source0,source1,source2]"]), CPU)


def test_the_script(run, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = "trace_audio.py"
    write_wav(tmp_path / "a=b.wav", 1, 1)
    assert run_script(script, tmp_path / "a=b.wav", "--run", run.folder, "trace.overlap=0", "trace.top_k=1") == 0
    assert "a=b.wav: 1.0 s, 2 windows" in capsys.readouterr().out
    assert run_script(script, tmp_path / "none.wav", "--run", run.folder) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: 1 of 1 files could not be traced")
    wrong = {
        "which system": ["x.wav"],
        "--rum: there is no such flag; did you mean '--run'?": ["--rum", "x"],
        "which files": ["--run", "x"],
        "unknown setting 'trace.hop'": [tmp_path / "a=b.wav", "--run", run.folder, "trace.hop=1"],
    }
    for line, words in wrong.items():
        assert run_script(script, *words) == 2
        (only,) = capsys.readouterr().err.strip().splitlines()
        assert line in only
    assert run_script(script, "--help") == 0
    assert "trace.overlap=0.5" in capsys.readouterr().out


def test_memory_does_not_grow_with_the_file(run, tmp_path):
    minute = np.random.default_rng(0).normal(0, 0.1, (60 * 44100, 2)).astype(np.float32)
    minute[5 * 44100 :] = 0  # silent windows are read and resampled, but cost no network
    for name, minutes in (("1.wav", 1), ("10.wav", 10)):
        with soundfile.SoundFile(tmp_path / name, "w", 44100, 2) as file:
            for _ in range(minutes):
                file.write(minute)
    done = subprocess.run([sys.executable, "-c", PEAKS, run.folder, tmp_path], cwd=ROOT, capture_output=True, text=True)
    short_mb, long_mb = map(float, done.stdout.split()[-2:])
    assert long_mb - short_mb < 60  # the file is 212 MB as samples, 38 MB as one channel at 16 kHz


PEAKS = """
import resource, sys
from sourcetracing.tracing.tracer import Tracer
tracer = Tracer.load(sys.argv[1], ["trace.overlap=0"])
for name in ("1.wav", "10.wav"):
    tracer(f"{sys.argv[2]}/{name}")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_resampling_in_blocks_is_resampling():
    waveform = np.random.default_rng(0).normal(0, 0.1, 44100).astype(np.float32)
    blocks = np.concatenate(list(resample_blocks(np.array_split(waveform, 7), 44100, RATE)))
    np.testing.assert_allclose(blocks, resample(waveform, 44100, RATE), atol=1e-6)


def test_a_recording_is_never_overwritten_by_answers_about_it(run, tmp_path):
    write_wav(tmp_path / "a.wav", 1, 1)
    before = (tmp_path / "a.wav").read_bytes()
    for outputs in (Outputs(csv=tmp_path / "a.wav"), Outputs(json=tmp_path / "x/../a.wav"), Outputs(report=tmp_path / "a.wav")):
        with pytest.raises(UserError, match="is one of the files that are read"):
            trace_files([str(tmp_path / "a.wav")], str(run.folder), [], outputs)
    with pytest.raises(UserError, match="would be written twice"):
        trace_files([str(tmp_path / "a.wav")], str(run.folder), [], Outputs(json=tmp_path / "o", csv=tmp_path / "o"))
    assert (tmp_path / "a.wav").read_bytes() == before
