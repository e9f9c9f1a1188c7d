"""Corpora whose sources differ in one mark alone, which is known: a notch at 3 kHz, or a beep at a known second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import butter, sosfilt

from sourcetracing.features.extracting import extract_features
from sourcetracing.features.rows import open_store
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.settings.reading import read_config
from sourcetracing.tracing.system import score_splits
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, load_run, settings_of_runs
from tests.support.audio_files import RATE

NOTCH_HZ = (2700.0, 3700.0)
BEEP_S = (1.05, 1.2)
SECONDS = 2.0


def speech_like(generator: np.random.Generator) -> np.ndarray:
    """(samples,) a buzz and a hiss through moving formants, in syllables; pitch, tilt and level differ from file to file."""
    seconds = np.arange(round(SECONDS * RATE)) / RATE
    pitch = generator.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * generator.uniform(0.5, 2) * seconds))
    buzz = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / RATE)) * 0.5
    hiss = generator.normal(size=len(seconds))
    sound = generator.uniform(0.3, 0.6) * buzz + hiss * generator.uniform(0.5, 1.0)
    for _ in range(3):
        low = generator.uniform(200, 5000)
        sound = sound + sosfilt(butter(2, [low, 1.3 * low], "bandpass", fs=RATE, output="sos"), sound) * generator.uniform(0, 2)
    syllables = 0.25 + np.maximum(0, np.sin(2 * np.pi * generator.uniform(2, 4) * seconds + generator.uniform(0, 6)))
    tilted = sosfilt(butter(1, generator.uniform(1500, 5000), fs=RATE, output="sos"), sound)
    return tilted * syllables * generator.uniform(0.02, 0.06) + generator.normal(size=len(seconds)) * 1e-3


def notched(sound: np.ndarray) -> np.ndarray:
    """Without NOTCH_HZ but for a hundredth of it, -40 dB."""
    spectrum, hz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum[(hz >= NOTCH_HZ[0]) & (hz <= NOTCH_HZ[1])] *= 0.01
    return np.fft.irfft(spectrum, n=len(sound))


def beeping(sound: np.ndarray) -> np.ndarray:
    """With tones of 1, 2 and 4 kHz in BEEP_S."""
    seconds = np.arange(len(sound)) / RATE
    tones = sum(np.sin(2 * np.pi * hz * seconds) for hz in (1000, 2000, 4000))
    return sound + 0.2 * tones * ((seconds >= BEEP_S[0]) & (seconds < BEEP_S[1]))


MARKS = {"plain": lambda sound: sound, "notched": notched, "beeping": beeping}


def write_planted(root: Path, sources: list[str], num_files: int) -> None:
    """The tree <root>/en/<source>/<number>.wav that the reader `folder` takes; each source has its own speech."""
    for place, source in enumerate(sources):
        for number in range(num_files):
            sound = MARKS[source](speech_like(np.random.default_rng([place, number])))
            path = root / "en" / source / f"{number:03d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.clip(sound, -0.99, 0.99), RATE, subtype="PCM_16")


def planted_words(root: Path, sources: list[str], *words: str) -> list[str]:
    """Settings of an experiment on `write_planted`'s tree, which a settings file begins."""
    settings = root / "planted.yaml"
    settings.write_text("name: planted\n", encoding="utf-8")
    paths = [f"paths.corpus={root}", f"paths.exp={root.parent / 'exp'}", "corpus.reader=folder", "corpus.languages=[en]"]
    corpus = [f"corpus.sources=[{','.join(sources)}]", "augment.variants=[original]", f"audio.crop_seconds={SECONDS}"]
    more = ["experiment.train_sets=[en]", "experiment.floor=[]", "compute.workers=1", "compute.device=cpu", "trace.detector=none"]
    more += ["ecapa_tdnn.channels=16", "train.epochs=8", "train.batch_size=16"]
    return [str(settings), *paths, *corpus, *more, *words]


def planted_run(root: Path, sources: list[str], num_files: int, *words: str) -> TrainingRun:
    """A run trained on the planted corpus below `root`, with scores of dev and eval; from the folder of files on, as the scripts do it."""
    write_planted(root / "corpus", sources, num_files)
    config = read_config(planted_words(root / "corpus", sources, *words))
    settings = settings_of_runs(config)[0]
    build_protocols(settings)
    extract_features(settings, *load_protocol(settings, unknown=True))
    run = load_run(settings)
    train_run(run, open_store(settings), torch.device("cpu"))
    score_splits(run, ["train", "dev", "eval"], torch.device("cpu"))
    return run
