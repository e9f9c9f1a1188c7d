"""From the plan to the sound of one demo file: spoken, vocoded where it is a spoof, recorded, sent through the channel of its corpus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from sourcetracing.audio.writing import write_audio
from sourcetracing.detection.data.demo_plan import CORPORA, Channel, DemoFile
from sourcetracing.runtime.seeding import rng, seed_of
from sourcetracing.synthesis import channel, make
from sourcetracing.synthesis.rooms import ROOM_SIZES, make_room, room_response
from sourcetracing.synthesis.soundscapes import NOISES
from sourcetracing.synthesis.vocoders import VOCODERS, vocode

SAMPLE_RATE = 16000  # Hz
FILE_SECONDS = (2.0, 3.2)  # drawn for each file; short, so that the demo is
PEAK = 0.97
_MU = 255.0
# What a spoof is known by, put in on purpose: an encoder with random weights hears nothing finer. Each vocoder evens out loudness over time
# (the power of the envelope that is divided out) and has a colour of its own; all of them are weaker above 2.2 kHz.
_FLATTENING = {"griffin_lim": 0.5, "lpc_vocoder": 0.42, "phase_vocoder": 0.34, "sinusoidal": 0.46, "channel_vocoder": 0.38}
_ENVELOPE_SECONDS = 0.025
_SHELF_DB, _COLOUR_DB = -6.0, 3.0


def make_file(file: DemoFile, root: str, seed: int) -> None:
    """Makes one file below `root`, in a worker process that `make.start_worker` has prepared."""
    write_audio(Path(root) / file.path, synthesize(file, seed), SAMPLE_RATE)


def synthesize(file: DemoFile, seed: int) -> np.ndarray:
    """(T,) float32 at 16 kHz; depends on the seed and the plan of the file alone."""
    utterance = file.utterance
    keys = (seed, file.subset, utterance.stem)
    draw = rng("detection demo speech", *keys)
    speech = make.speak(utterance.transcript, utterance.language, utterance.voice, utterance.base, seed_of("espeak", *keys))
    speech = channel.dither(_part_of(speech, draw), draw)
    if utterance.source in VOCODERS:
        speech = _with_tell(vocode(utterance.source, utterance.language, speech, draw), utterance.source)
    heard = channel.record(speech, utterance.voice.name, utterance.language, seed, draw)
    return send(heard, CORPORA[file.subset].channel, rng("detection demo channel", *keys, file.copy))


def _with_tell(x: np.ndarray, source: str) -> np.ndarray:
    power = uniform_filter1d(x.astype(np.float64) ** 2, round(_ENVELOPE_SECONDS * SAMPLE_RATE))
    envelope = np.sqrt(np.maximum(power, 1e-4 * power.max()))
    draw = rng("detection demo colour", source)

    def gain(frequency_hz: np.ndarray) -> np.ndarray:
        waves = [draw.normal() * np.cos(np.pi * turns * frequency_hz / 8000 + draw.uniform(0, 2 * np.pi)) for turns in range(1, 6)]
        shelf = _SHELF_DB / (1 + np.exp(-(frequency_hz - 2200) / 250))
        return 10 ** ((shelf + _COLOUR_DB * sum(waves) / np.sqrt(len(waves) / 2)) / 20)

    return _filtered(x * envelope ** -_FLATTENING[source], gain).astype(np.float32)


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
    return _filtered(x, lambda hz: 1 / np.sqrt((1 + (low_hz / hz) ** 12) * (1 + (hz / high_hz) ** 12)))


def _filtered(x: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(T,) through a zero-phase filter; gain: factor for frequencies in Hz, none of them 0."""
    frequency_hz = np.maximum(np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE), 1.0)
    return np.fft.irfft(np.fft.rfft(x) * gain(frequency_hz), len(x))


def _companded(x: np.ndarray) -> np.ndarray:
    """8 bits by the mu-law, at a peak of 0.5."""
    scale = 0.5 / np.abs(x).max()
    squeezed = np.sign(x) * np.log1p(_MU * np.abs(x * scale)) / np.log1p(_MU)
    rounded = np.rint(squeezed * 127) / 127
    return np.sign(rounded) * np.expm1(np.abs(rounded) * np.log1p(_MU)) / _MU / scale
