"""Cutting recordings: lengths, the rest, resuming after a kill, broken files, flat memory, the script as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.audio.streaming import open_audio
from sourcetracing.detection.data.segments import cut, read_recordings, segment_recordings
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.schema import Settings
from tests.support.places import ROOT

SCRIPT = ROOT / "scripts" / "detection" / "segment_recordings.py"


def settings_of(seconds: float = 2.0, least: float = 0.5, on_bad_audio: str = "fail") -> Settings:
    settings = Settings()
    settings.compute.workers = 1
    settings.detection.segment_seconds, settings.detection.min_segment_seconds = seconds, least
    settings.audio.on_bad_audio = on_bad_audio
    return settings


def write_recording(path: Path, seconds: float, rate: int = 16000, channels: int = 1, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return np.rint(samples * 32767).mean(axis=1) / 32767


def write_list(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def lengths(segments: pd.DataFrame, recording: str) -> list[float]:
    return segments["seconds"][segments["recording"] == recording].tolist()


@pytest.mark.parametrize(
    ("seconds", "expected"), [(6.0, [2.0, 2.0, 2.0]), (5.0, [2.0, 2.0, 1.0]), (4.4, [2.0, 2.0]), (1.0, [1.0]), (2.0, [2.0])]
)
def test_lengths_of_segments(tmp_path, seconds, expected):
    write_recording(tmp_path / "in/a.wav", seconds)
    segments, failed = segment_recordings(write_list(tmp_path, "a.wav|spoof"), tmp_path / "in", tmp_path / "out", settings_of())
    assert lengths(segments, "a.wav") == expected
    assert segments["start_s"].tolist() == [2.0 * n for n in range(len(expected))]
    assert failed == []
    for row in segments.itertuples():
        assert soundfile.info(tmp_path / "out" / row.path).duration == row.seconds


def test_segments_put_together_are_the_recording(tmp_path):
    samples = write_recording(tmp_path / "in/a.wav", 5.3)
    segments, _ = segment_recordings(write_list(tmp_path, "a.wav|spoof"), tmp_path / "in", tmp_path / "out", settings_of())
    joined = np.concatenate([soundfile.read(tmp_path / "out" / path)[0] for path in segments["path"]])
    assert np.abs(joined - samples).max() < 2e-4


def test_stereo_at_another_rate_is_mixed_and_resampled(tmp_path):
    write_recording(tmp_path / "in/a.flac", 4.0, rate=44100, channels=2)
    segments, _ = segment_recordings(write_list(tmp_path, "a.flac|bonafide|Ann"), tmp_path / "in", tmp_path / "out", settings_of())
    info = soundfile.info(tmp_path / "out" / segments["path"][0])
    assert (info.samplerate, info.channels) == (16000, 1)
    assert lengths(segments, "a.flac") == pytest.approx([2.0, 2.0], abs=1e-3)
    assert segments[["label", "speaker"]].drop_duplicates().to_numpy().tolist() == [["bonafide", "Ann"]]


def test_blocks_of_any_size_give_the_same_segments():
    samples = np.arange(1000, dtype=np.float32)
    for size in (1, 7, 100, 999, 1000):
        blocks = (samples[start : start + size] for start in range(0, 1000, size))
        found = list(cut(blocks, 300, 50))
        assert [len(segment) for segment in found] == [300, 300, 300, 100]
        assert np.array_equal(np.concatenate(found), samples)
    assert [len(segment) for segment in cut(iter([samples]), 300, 101)] == [300, 300, 300]
    assert list(cut(iter([]), 300, 0)) == []


def test_memory_does_not_grow_with_a_recording(tmp_path):
    def peak_bytes(seconds: float) -> int:
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.zeros(round(seconds * 16000), dtype=np.int16), 16000)
        tracemalloc.start()
        with open_audio(path, Audio(sample_rate=8000)) as (_, blocks):
            assert len(list(map(len, cut(blocks, 80000, 0)))) == seconds / 10
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(600) < 1.5 * peak_bytes(60)


def test_a_second_run_cuts_nothing_and_changed_settings_cut_again(tmp_path):
    write_recording(tmp_path / "in/a.wav", 6.0)
    words = (write_list(tmp_path, "a.wav|spoof"), tmp_path / "in", tmp_path / "out")
    first, _ = segment_recordings(*words, settings_of())
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("0*.wav")}
    second, _ = segment_recordings(*words, settings_of())
    assert second.equals(first)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("0*.wav")} == times
    third, _ = segment_recordings(*words, settings_of(seconds=3.0))
    assert lengths(third, "a.wav") == [3.0, 3.0]
    assert len(list((tmp_path / "out").rglob("0*.wav"))) == 2


def test_a_broken_recording_is_named_and_the_others_are_cut(tmp_path):
    write_recording(tmp_path / "in/good.wav", 2.0)
    write_recording(tmp_path / "in/short.wav", 0.2)
    (tmp_path / "in/text.wav").write_bytes(b"no sound in here")
    whole = tmp_path / "in/cut.flac"
    write_recording(whole, 8.0)
    whole.write_bytes(whole.read_bytes()[:60000])
    listing = write_list(tmp_path, "good.wav|spoof", "text.wav|spoof", "gone.wav|spoof", "cut.flac|spoof", "short.wav|bonafide")
    with pytest.raises(UserError, match=r"4 of 5 recordings cannot be cut: .*text.wav"):
        segment_recordings(listing, tmp_path / "in", tmp_path / "out", settings_of())
    assert not (tmp_path / "out/segments.csv").exists()
    segments, failed = segment_recordings(listing, tmp_path / "in", tmp_path / "out", settings_of(on_bad_audio="skip"))
    assert segments["recording"].unique().tolist() == ["good.wav"]
    assert len(failed) == 4
    reasons = pd.read_csv(tmp_path / "out/segments_failed.csv").set_index("path")["reason"]
    assert reasons["gone.wav"] == "is missing"
    assert "shorter than detection.min_segment_seconds" in reasons["short.wav"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.wav|real"], "line 1: 'real' is no label"),
        (["a.wav|spoof", "b.wav"], r"line 2: expected path\|label"),
        (["a.wav|spoof", "a.wav|spoof"], "line 2: a.wav is listed before"),
        (["path|label"], "lists no recordings"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read_recordings(write_list(tmp_path, *lines))


def test_the_script_goes_on_after_a_kill(tmp_path):
    names = [f"{n}.wav" for n in range(6)]
    for n, name in enumerate(names):
        write_recording(tmp_path / "in" / name, 30.0, rate=8000, seed=n)
    listing = write_list(tmp_path, *(f"{name}|spoof" for name in names))
    config = tmp_path / "config.yaml"
    config.write_text(f"detection:\n  roots: {{ai4trust: {tmp_path / 'out'}}}\ncompute: {{workers: 1}}\n")
    command = [sys.executable, SCRIPT, config, "--list", listing, "--source", tmp_path / "in", "detection.segment_seconds=1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("out/*.done.json")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*.done.json")}
    assert done
    assert not (tmp_path / "out/segments.csv").exists()
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert "180 segments of 6 recordings" in finished.stdout
    assert all(path.stat().st_mtime_ns == made for path, made in done.items())
    segment_recordings(listing, tmp_path / "in", tmp_path / "again", settings_of(seconds=1.0, least=2.0))
    found, expected = (
        {p.relative_to(root): digest_of_file(p) for p in root.glob("*/*.wav")} for root in (tmp_path / "out", tmp_path / "again")
    )
    assert found == expected
