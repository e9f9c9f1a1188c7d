"""Plan to file: what a worker process does for one utterance, one noise, one room response. Bytes depend on (seed, plan entry) alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from sourcetracing.audio.writing import write_audio
from sourcetracing.runtime.parallel import map_unordered
from sourcetracing.runtime.progress import bar
from sourcetracing.runtime.seeding import rng, seed_of
from sourcetracing.synthesis import channel, espeak
from sourcetracing.synthesis.music import make_music
from sourcetracing.synthesis.plan import NoiseFile, RoomFile, Utterance
from sourcetracing.synthesis.rooms import make_room, room_response
from sourcetracing.synthesis.sentences import make_sentences
from sourcetracing.synthesis.soundscapes import at_peak, make_noise
from sourcetracing.synthesis.vocoders import VOCODERS, vocode
from sourcetracing.synthesis.voices import Voice, make_voices

SAMPLE_RATE = 16000  # Hz, of every file
UTTERANCE_SECONDS = (4.2, 5.8)  # drawn for each utterance, so that length says nothing about the source
_TEMPO_LIMITS = (0.7, 1.4)  # of a speaker's own, to get near that length
_MOST_TALK_SENTENCES = 500

_espeak: espeak.Espeak | None = None


def start_worker(folder: str) -> None:
    """Gives this process a synthesizer whose private data lie below `folder`."""
    global _espeak
    _espeak = espeak.Espeak(Path(folder) / str(os.getpid()))


@dataclass(frozen=True)
class Job:
    """One file to make: `function(entry, root, seed)`."""

    function: Callable
    entry: Any  # a plan's: Utterance, NoiseFile, RoomFile ...
    root: str
    seed: int


def run_job(job: Job) -> None:
    """Makes the file of a job, in a worker process."""
    job.function(job.entry, job.root, job.seed)


def make_all(jobs: list[Job], workers: int) -> None:
    """One process per worker, since espeak-ng is not thread-safe; a folder of its own for each."""
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        made = map_unordered(run_job, jobs, num_workers=workers, initializer=start_worker, initargs=(folder,))
        for _ in bar(made, total=len(jobs), desc="Synthesizing", unit="file"):
            pass


def make_utterance(utterance: Utterance, root: str, seed: int) -> None:
    """Speaks, vocodes where the source is a vocoder, and records one utterance."""
    keys = (seed, utterance.language, utterance.source, utterance.stem)
    draw = rng("utterance", *keys)
    seconds = draw.uniform(*UTTERANCE_SECONDS)
    speech = speak(utterance.transcript, utterance.language, utterance.voice, utterance.base, seed_of("espeak", *keys), seconds)
    speech = channel.dither(speech, draw)
    if utterance.source in VOCODERS:
        speech = vocode(utterance.source, utterance.language, speech, draw)
    heard = channel.record(speech, utterance.voice.name, utterance.language, seed, draw, utterance.recording)
    _write(heard, Path(root) / utterance.path)


def make_noise_file(noise: NoiseFile, root: str, seed: int) -> None:
    """Makes one file of noise, music or a single talker reading on."""
    draw = rng("noise", seed, noise.category, noise.number)
    num_samples = round(noise.seconds * SAMPLE_RATE)
    if noise.category == "noise":
        samples = make_noise(noise.kind, num_samples, draw)
    elif noise.category == "music":
        samples = make_music(noise.kind, num_samples, draw)
    else:
        samples = _talk(noise, num_samples, seed)
    _write(samples, Path(root) / noise.path)


def make_room_file(room: RoomFile, root: str, seed: int) -> None:
    """Makes the response of one place in one room."""
    sides_m, seconds = make_room(room.size, rng("room", seed, room.size, room.room))
    response = room_response(sides_m, seconds, rng("position", seed, room.size, room.room, room.position))
    _write(response, Path(root) / room.path)


def speak(text: str, language: str, voice: Voice, base: str, seed: int, seconds: float | None = None) -> np.ndarray:
    """(T,) float32 at 16 kHz without silence at the ends; said twice where `seconds` are wanted, the second time at the right tempo."""
    assert _espeak is not None, "start_worker comes first"

    def say(words_per_minute: float) -> np.ndarray:
        samples = _espeak.speak(text, language, voice.variant(base), round(words_per_minute), seed)
        return channel.trim_silence(samples.astype(np.float32) / 32768, espeak.SAMPLE_RATE)

    speech = say(voice.words_per_minute)
    if seconds is not None:
        tempo = np.clip(len(speech) / espeak.SAMPLE_RATE / seconds, *_TEMPO_LIMITS)
        speech = say(voice.words_per_minute * tempo)
    return soxr.resample(speech, espeak.SAMPLE_RATE, SAMPLE_RATE)


def _talk(noise: NoiseFile, num_samples: int, seed: int) -> np.ndarray:
    """One person who is not in the corpus reads sentence after sentence."""
    voice = make_voices(noise.kind, noise.number + 1, seed, group="talker")[-1]
    base = ("formant", "klatt")[noise.number // 2 % 2]
    draw = rng("talk", seed, noise.number)
    parts, length = [], 0
    for number, sentence in enumerate(make_sentences(noise.kind, _MOST_TALK_SENTENCES, seed_of("talk", seed, noise.number))):
        speech = speak(sentence, noise.kind, voice, base, seed_of("talk", seed, noise.number, number))
        pause = np.zeros(int(draw.uniform(0.1, 0.4) * SAMPLE_RATE), np.float32)
        parts += [speech, pause]
        length += len(speech) + len(pause)
        if length >= num_samples:
            break
    whole = np.resize(np.concatenate(parts), num_samples)  # repeats, should the sentences ever run out
    return at_peak(channel.dither(whole, draw))


def _write(samples: np.ndarray, path: Path) -> None:
    assert np.isfinite(samples).all(), f"{path}: not finite"
    assert np.abs(samples).max() < 1, f"{path}: clips"
    write_audio(path, samples, SAMPLE_RATE)
