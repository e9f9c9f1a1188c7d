"""Odd audio files from our own bytes, and what every door makes of a file: the check pass, whole files, streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.checking import check_file
from sourcetracing.audio.ffmpeg import ffmpeg_program, run_pipe
from sourcetracing.audio.reading import read_audio
from sourcetracing.audio.streaming import open_audio
from sourcetracing.errors import UserError
from sourcetracing.settings.frontends import Audio

RATE = 16000


def has_ffmpeg() -> bool:
    try:
        return bool(ffmpeg_program())
    except UserError:
        return False


needs_ffmpeg = pytest.mark.skipif(not has_ffmpeg(), reason="there is no ffmpeg")


def speech_like(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """(samples,) float32: noise that comes and goes, so that coders spend more on some frames than on others."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.1, len(time)) * (np.sin(2 * np.pi * 0.37 * time) > 0.3)
    return (0.2 * np.sin(2 * np.pi * 200 * time) + noise).clip(-0.99, 0.99).astype(np.float32)


def written(path: Path, samples: np.ndarray, rate: int = RATE, **how: str) -> Path:
    """how: format and subtype of soundfile."""
    soundfile.write(path, samples, rate, **{"subtype": "PCM_16", **how})
    return path


def encoded(path: Path, samples: np.ndarray, *arguments: str, rate: int = RATE) -> Path:
    """By ffmpeg; the suffix says in which format."""
    run_pipe(["-f", "f32le", "-ar", str(rate), "-ac", "1", "-i", "pipe:0", *arguments, "-y", str(path)], samples.astype("<f4").tobytes())
    return path


def samples_by_ffmpeg(path: Path) -> int:
    """Counted by the ffmpeg program alone."""
    return len(run_pipe(["-i", str(path), "-map", "0:a:0", "-ac", "1", "-f", "s16le", "pipe:1"])) // 2


def through_all_doors(path: Path, **rules: object) -> int | str:
    """The number of samples at the file's own rate, or why it is refused: the same from every door."""
    settings = Audio(**{"silence_peak_dbfs": -200.0, "min_seconds": 0.0, **rules})
    file = check_file(path, settings)
    answers = [file.reason or round(file.duration_s * file.sample_rate), _whole(path, settings), _streamed(path, settings)]
    assert len(set(answers)) == 1, answers
    return answers[0]


def _whole(path: Path, rules: Audio) -> int | str:
    try:
        return len(read_audio(path, rules)[0])
    except BadAudio as error:
        return error.reason


def _streamed(path: Path, rules: Audio) -> int | str:
    try:
        with open_audio(path, rules) as (source, _):
            return sum(map(len, source.blocks)) or "holds no samples"
    except BadAudio as error:
        return error.reason
