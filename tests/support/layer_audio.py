"""A small detection experiment with audio: files of two subsets, their manifest, and settings that make layer features of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import COLUMNS
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from tests.support.audio_files import write_wav

NUM_FILES = 11  # of the subset `for`
SETS = "detection.sets={FoR: [for], ITW: [itw]}"


def write_layer_audio(root: Path) -> pd.DataFrame:
    """Files between 0.2 and 1.2 s of two subsets, at two sample rates, and their manifest (`root` in its attrs)."""
    rows = []
    for subset in ("for", "itw"):
        for number in range(NUM_FILES if subset == "for" else 3):
            path, seconds = Path(f"clips/{number}.wav"), 0.2 + 0.1 * ((7 * number) % NUM_FILES)
            write_wav(root / subset / path, seconds, number, rate=(16000, 22050)[number % 2])
            label = ("bonafide", "spoof")[number % 2]
            digest = digest_of_file(root / subset / path)
            rows.append((f"{subset}/{number}", subset, str(path), label, "", str(number), "", seconds, digest))
    manifest = pd.DataFrame(rows, columns=COLUMNS)
    manifest.attrs["root"] = root
    return manifest


def words_for(tmp_path: Path, audio: pd.DataFrame, model: Path, *words: str) -> list[str]:
    root = audio.attrs["root"]
    corpora = [SETS, f"detection.roots={{for: {root / 'for'}, itw: {root / 'itw'}}}", "detection.train=[FoR]", "detection.test=[ITW]"]
    baseline = ["detection.baseline_train=[FoR]", "detection.baseline_test=[ITW]"]
    computing = ["compute.device=cpu", "compute.workers=2", "layer_features.block_files=4"]
    return [f"paths.exp={tmp_path / 'exp'}", f"ssl.model={model}", *corpora, *baseline, *computing, *words]


def settings_for(tmp_path: Path, audio: pd.DataFrame, model: Path, *words: str) -> Settings:
    """The settings, below whose paths.exp the manifest then lies."""
    settings = load_settings(words_for(tmp_path, audio, model, *words))
    write_manifest(settings, audio)
    return settings


def write_manifest(settings: Settings, rows: pd.DataFrame) -> None:
    DetectionLayout(settings).manifest.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(DetectionLayout(settings).manifest, index=False)
