"""Small synthetic audio for tests: a corpus, noises in MUSAN's layout, room responses in RIRS_NOISES' layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from sourcetracing.features.noise_bank import ClipBank
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.schema import Settings

RATE = 16000


def write_wav(path: Path, seconds: float, seed: int, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    """Seeded noise as a 16-bit file; returns what was written, as float32."""
    samples = np.rint(np.random.default_rng(seed).normal(0, level, round(seconds * rate)).clip(-0.99, 0.99) * 32767).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return samples.astype(np.float32) / 32768


def write_noises(root: Path, num_files: int = 4, seconds: float = 1.0) -> None:
    """A few files of each MUSAN category, and the text files that lie beside them."""
    for number, kind in enumerate(("music", "noise", "speech")):
        for index in range(num_files):
            write_wav(root / kind / "subset" / f"{index}.wav", seconds + index / 10, 100 * number + index)
        (root / kind / "subset" / "LICENSE").write_text("text")


def write_responses(root: Path, num_files: int = 3) -> None:
    """A few simulated rooms."""
    for index in range(num_files):
        response = np.random.default_rng(index).normal(size=1600) * np.exp(-np.arange(1600) / 300)
        path = root / "simulated_rirs" / "smallroom" / "Room001" / f"Room001-{index:05d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, response / np.abs(response).max() * 0.9, RATE, subtype="PCM_16")


def write_corpus(root: Path, num_utterances: int = 6) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Utterances between 0.3 and 0.8 s, at two sample rates; returns the utterance table and a protocol."""
    rows = []
    for number in range(num_utterances):
        path = Path("fake/en") / f"source{number % 2}" / f"{number}.wav"
        write_wav(root / path, 0.3 + number / 10, 1000 + number, rate=(16000, 22050)[number % 2])
        digest = digest_of_file(root / path)
        rows.append((f"en/source{number % 2}/{number}", str(path), "en", f"source{number % 2}", digest))
    utterances = pd.DataFrame(rows, columns=["utt_id", "path", "language", "source", "digest"])
    splits = [("train", "dev", "eval")[number % 3] for number in range(num_utterances)]
    return utterances, pd.DataFrame({"utt_id": utterances["utt_id"], "split": splits})


def small_audio_settings(root: Path) -> Settings:
    """Settings for half-second crops of a corpus, noises and rooms below `root`."""
    settings = Settings()
    settings.paths.corpus, settings.paths.exp = str(root / "corpus"), str(root / "exp")
    settings.paths.musan, settings.paths.rirs = str(root / "musan"), str(root / "RIRS_NOISES")
    settings.audio.crop_seconds, settings.compute.workers, settings.experiment.floor = 0.5, 1, []
    return settings


def bank_of(clips: list[np.ndarray]) -> ClipBank:
    """A bank in memory, from float32 clips (samples,)."""
    lengths = [len(clip) for clip in clips]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int).tolist()
    return ClipBank(np.concatenate(clips).astype(np.float32), starts, lengths, [1.0] * len(clips), "memory")
