"""ffmpeg through pipes: the same samples as soundfile's, every format, clear lines for what cannot be read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.ffmpeg import FfmpegError, FfmpegSound, _first_line, run_pipe
from sourcetracing.audio.reading import load_utterance
from sourcetracing.settings.frontends import Audio

RATE = 16000


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def sound_of(path: Path) -> np.ndarray:
    """(samples, channels), at the file's own rate."""
    with closing(FfmpegSound(path)) as sound:
        return np.concatenate(list(sound.blocks(10 * sound.rate)))


def encode(path: Path, waveform: np.ndarray, rate: int, *arguments: str) -> Path:
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", "1", "-i", "pipe:0"]
    run_pipe([*raw, *arguments, "-y", str(path)], waveform.astype("<f4").tobytes())
    return path


@pytest.mark.parametrize("rate", [16000, 22050])
def test_the_samples_are_those_of_soundfile(tmp_path, rate):
    stereo = np.stack([tone(25, rate), tone(25, rate, 1000.0)], axis=1)  # longer than two blocks
    soundfile.write(tmp_path / "a.wav", stereo, rate, subtype="FLOAT")
    assert sound_of(tmp_path / "a.wav").shape == (25 * rate, 2)
    np.testing.assert_array_equal(sound_of(tmp_path / "a.wav"), stereo)


@pytest.mark.parametrize("order", [1, -1])
def test_the_reason_does_not_hang_on_which_thread_speaks_first(order):
    """ffmpeg reads and decodes in threads: of a cut m4a either may complain first, and two doors gave two reasons."""
    words = [b"[mov @ 0x55d0] stream 0, offset 0x9774: partial file", b"[aac @ 0x55d1] Input buffer exhausted before END element found"]
    assert _first_line(b"\n".join(words[::order])) == "stream 0, offset 0x9774: partial file"


@pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.webm", "a.mka"])
def test_formats_that_soundfile_does_not_read(tmp_path, name):
    path = encode(tmp_path / name, tone(3, 48000), 48000)
    decoded = load_utterance(path, Audio())
    assert abs(len(decoded) - 3 * RATE) < 0.1 * RATE
    spectrum = np.abs(np.fft.rfft(decoded[:RATE]))  # 1 Hz per bin
    assert spectrum.argmax() == 440


def test_a_video_gives_its_sound(tmp_path):
    sound = encode(tmp_path / "a.wav", tone(2, RATE), RATE)
    source = ["-f", "lavfi", "-i", "color=black:size=32x32:duration=2"]
    run_pipe([*source, "-i", str(sound), "-c:v", "mpeg4", "-c:a", "aac", "-y", str(tmp_path / "a.mp4")])
    assert abs(len(sound_of(tmp_path / "a.mp4")) - 2 * RATE) < 0.1 * RATE


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "text.m4a").write_text("no sound")
    run_pipe(["-f", "lavfi", "-i", "color=black:size=32x32:duration=1", "-c:v", "mpeg4", "-y", str(tmp_path / "mute.mp4")])
    for name in ("text.m4a", "mute.mp4", "missing.m4a"):
        with pytest.raises(BadAudio, match=f"{name}: cannot be read as audio .ffmpeg: "):
            sound_of(tmp_path / name)


def test_a_playlist_reaches_no_network(tmp_path):
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    with pytest.raises(BadAudio):
        sound_of(tmp_path / "list.m3u8")


def test_a_reader_that_stops_early_leaves_no_process(tmp_path):
    path = encode(tmp_path / "a.m4a", tone(60, RATE), RATE)
    sound = FfmpegSound(path)
    assert len(next(sound.blocks(RATE))) == RATE
    sound.close()  # would hang if ffmpeg were waited for without being ended


def test_run_pipe_speaks_ffmpegs_words():
    with pytest.raises(FfmpegError, match="ffmpeg: .*nonsense"):
        run_pipe(["-f", "nonsense", "-i", "pipe:0"])
