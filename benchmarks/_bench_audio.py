"""What the benchmarks of the preprocessing share: synthetic audio of realistic lengths, and settings for it. Imported first."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.runtime.files import digest_of_file  # noqa: E402
from sourcetracing.settings.schema import Settings

UTTERANCE_SECONDS, UTTERANCE_RATE = 5.0, 22050
NOISE_RATE, RIR_SECONDS = 16000, 0.8
MUSAN_SECONDS = {"speech": 510.0, "music": 232.0, "noise": 23.0}  # MUSAN's means: 60 h in 426, 42 h in 660, 6 h in 930 files
SHORT_SECONDS = {"speech": 10.0, "music": 10.0, "noise": 10.0}
TINY_SECONDS = {"speech": 1.0, "music": 1.0, "noise": 1.0}  # for miniatures


def write_noise(path: Path, seconds: float, rate: int, generator: np.random.Generator, decay_seconds: float = np.inf) -> None:
    """Noise as a 16-bit file, dying away with `decay_seconds`."""
    samples = (
        generator.standard_normal(round(seconds * rate), np.float32)
        * 0.1
        * np.exp(-np.arange(round(seconds * rate)) / rate / decay_seconds)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.clip(-0.99, 0.99), rate, subtype="PCM_16")


def write_noises(root: Path, noise_seconds: dict[str, float], files_per_category: int = 8, num_responses: int = 50) -> None:
    """MUSAN's layout below root/musan, RIRS_NOISES' below root/RIRS_NOISES."""
    generator = np.random.default_rng(0)
    for kind, seconds in noise_seconds.items():
        for number in range(files_per_category):
            write_noise(root / "musan" / kind / "subset" / f"{number}.wav", seconds, NOISE_RATE, generator)
    for number in range(num_responses):
        path = root / "RIRS_NOISES/simulated_rirs/mediumroom/Room001" / f"Room001-{number:05d}.wav"
        write_noise(path, RIR_SECONDS, NOISE_RATE, generator, decay_seconds=0.08)


def write_corpus(root: Path, num_files: int) -> pd.DataFrame:
    """Utterances of 5 s at 22,050 Hz, as the demo's; returns their table."""
    generator = np.random.default_rng(1)
    rows = []
    for number in range(num_files):
        path = root / "corpus" / f"fake/en/source/{number}.wav"
        write_noise(path, UTTERANCE_SECONDS, UTTERANCE_RATE, generator)
        rows.append((f"en/source/{number}", str(path.relative_to(root / "corpus")), "en", "source", digest_of_file(path)))
    return pd.DataFrame(rows, columns=["utt_id", "path", "language", "source", "digest"])


def as_protocol(utterances: pd.DataFrame) -> pd.DataFrame:
    """All utterances in train."""
    return pd.DataFrame({"utt_id": utterances["utt_id"], "split": "train"})


def settings_below(root: Path, name: str, workers: int) -> Settings:
    """Default settings with every path below `root`."""
    settings = Settings(name=name)
    settings.paths.corpus, settings.paths.exp = str(root / "corpus"), str(root / "exp")
    settings.paths.musan, settings.paths.rirs = str(root / "musan"), str(root / "RIRS_NOISES")
    settings.compute.workers, settings.audio.crop_train = workers, "head"  # as the straightforward way crops
    return settings
