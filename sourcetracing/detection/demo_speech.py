"""From the plan to the sound of one demo file: spoken, vocoded where it is a spoof, recorded, sent through the channel of its corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sourcetracing.detection.demo_plan import CORPORA, Channel, DemoFile
from sourcetracing.files import atomic_path
from sourcetracing.seeding import rng, seed_of
from sourcetracing.synthesis import channel, make
from sourcetracing.synthesis.rooms import ROOM_SIZES, make_room, room_response
from sourcetracing.synthesis.soundscapes import NOISES
from sourcetracing.synthesis.vocoders import VOCODERS, vocode

SAMPLE_RATE = 16000  # Hz
FILE_SECONDS = (2.0, 3.2)  # drawn for each file; short, so that the demo is
PEAK = 0.97
_MU = 255.0


@dataclass(frozen=True)
class Job:
    """A file to make below `root`."""

    file: DemoFile
    root: str
    seed: int


def run_job(job: Job) -> None:
    """Makes one file, in a worker process that `make.start_worker` has prepared."""
    path = Path(job.root) / job.file.path
    with atomic_path(path) as partial:
        soundfile.write(partial, synthesize(job.file, job.seed), SAMPLE_RATE, subtype="PCM_16")


def synthesize(file: DemoFile, seed: int) -> np.ndarray:
    """(T,) float32 at 16 kHz; depends on the seed and the plan of the file alone."""
    utterance = file.utterance
    keys = (seed, file.subset, utterance.stem)
    draw = rng("detection demo speech", *keys)
    speech = make.speak(utterance.transcript, utterance.language, utterance.voice, utterance.base, seed_of("espeak", *keys))
    speech = channel.dither(_part_of(speech, draw), draw)
    if utterance.source in VOCODERS:
        speech = vocode(utterance.source, utterance.language, speech, draw)
    heard = channel.record(speech, utterance.voice.name, utterance.language, seed, draw)
    return send(heard, CORPORA[file.subset].channel, rng("detection demo channel", *keys, file.copy))


def send(x: np.ndarray, route: Channel, draw: np.random.Generator) -> np.ndarray:
    """(T,) through room, noise, band limits, telephone companding and level of a channel."""
    if draw.random() < route.room_share:
        x = np.convolve(x, _room(draw))[: len(x)]
    noise = list(NOISES.values())[draw.integers(len(NOISES))](len(x), draw)
    x = x + channel.rms(x) / channel.rms(noise) * 10 ** (-draw.uniform(*route.snr_db) / 20) * noise
    x = _band_limited(x, draw.uniform(*route.low_hz), draw.uniform(*route.high_hz))
    if draw.random() < route.mu_law_share:
        x = _companded(x)
    gain = 10 ** (draw.uniform(*route.level_dbfs) / 20) / channel.rms(x)
    return (x * min(gain, PEAK / np.abs(x).max())).astype(np.float32)


def _part_of(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    num_samples = min(len(x), round(draw.uniform(*FILE_SECONDS) * SAMPLE_RATE))
    start = int(draw.integers(len(x) - num_samples + 1))
    return x[start : start + num_samples]


def _room(draw: np.random.Generator) -> np.ndarray:
    sides_m, seconds = make_room(list(ROOM_SIZES)[draw.integers(len(ROOM_SIZES))], draw)
    return room_response(sides_m, min(seconds, 0.3), draw)


def _band_limited(x: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Slopes of 36 dB per octave on both sides."""
    spectrum = np.fft.rfft(x)
    frequency_hz = np.maximum(np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE), 1.0)
    gain = 1 / np.sqrt((1 + (low_hz / frequency_hz) ** 12) * (1 + (frequency_hz / high_hz) ** 12))
    return np.fft.irfft(spectrum * gain, len(x))


def _companded(x: np.ndarray) -> np.ndarray:
    """8 bits by the mu-law, at a peak of 0.5."""
    scale = 0.5 / np.abs(x).max()
    squeezed = np.sign(x) * np.log1p(_MU * np.abs(x * scale)) / np.log1p(_MU)
    rounded = np.rint(squeezed * 127) / 127
    return np.sign(rounded) * np.expm1(np.abs(rounded) * np.log1p(_MU)) / _MU / scale
