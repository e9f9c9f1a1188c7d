"""Corpora without a protocol: what a file is stands in its path."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import audio_below, make_rows, stem
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF
from sourcetracing.settings.schema import Settings

FOR_PARTS, FOR_LABELS = ("training", "validation", "testing"), {"real": BONAFIDE, "fake": SPOOF}
ODSS_NATURAL, ODSS_SYSTEMS = "natural", ("fastpitch-hifigan", "vits")


def read_fake_or_real(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Fake-or-Real: for-<version>/{training,validation,testing}/{real,fake}/*.wav (R. Reimao, V. Tzerpos 2019)."""
    version = settings.detection.for_version
    # The archive on Kaggle holds the folder twice, one in the other.
    place = f"{version}/{version}" if (root / version / version).is_dir() else version
    found = {f"{place}/{part}/{folder}": label for part in FOR_PARTS for folder, label in FOR_LABELS.items()}
    rows = [(path, label) for folder, label in found.items() for path in audio_below(root, folder)]
    return make_rows([path for path, _ in rows], [label for _, label in rows])


def read_odss(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """ODSS: {natural,vits,fastpitch-hifigan}/<corpus>/<speaker>/*.wav (A. Yaroshchuk et al. 2023, doi:10.5281/zenodo.8370669)."""
    paths = [path for folder in (ODSS_NATURAL, *ODSS_SYSTEMS) for path in audio_below(root, folder)]
    parts = [path.split("/") for path in paths]
    return make_rows(
        paths,
        [BONAFIDE if part[0] == ODSS_NATURAL else SPOOF for part in parts],
        speaker=["/".join(part[1:-1]) for part in parts],
        recording=[stem("/".join(part[1:])) for part in parts],
        source=["" if part[0] == ODSS_NATURAL else part[0] for part in parts],
    )


def read_timit(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """TIMIT-TTS and the VidTIMIT speech it imitates (D. Salvi et al. 2023, arXiv:2209.08000), bona fide first.

    <version>/single_speaker/<system>/*.wav, <version>/multi_speaker/<system>/<speaker>/*.wav; bona fide: VidTIMIT/<speaker>/audio/*.wav
    """
    version = settings.detection.timit_version
    real = [path for path in audio_below(root, "VidTIMIT") if path.split("/")[-2] == "audio"]
    single, multi = audio_below(root, f"{version}/single_speaker"), audio_below(root, f"{version}/multi_speaker")
    fake = [*single, *multi]
    return make_rows(
        [*real, *fake],
        [BONAFIDE] * len(real) + [SPOOF] * len(fake),
        speaker=[path.split("/")[-3] for path in real] + [""] * len(single) + ["/".join(path.split("/")[2:-1]) for path in multi],
        source=[""] * len(real) + [path.split("/")[2] for path in fake],
    )
