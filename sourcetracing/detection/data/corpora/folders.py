"""Corpora without a protocol: what a file is stands in its path."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import audio_below, make_rows, stem
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF
from sourcetracing.settings.schema import Settings

FOR_PARTS, FOR_LABELS = ("training", "validation", "testing"), {"real": BONAFIDE, "fake": SPOOF}
FOR_LONG_NAMES = {"for-2sec": "for-2seconds", "for-rerec": "for-rerecorded"}  # of the folder inside the archive
TIMIT_KINDS, TIMIT_REAL = ("single_speaker", "multi_speaker"), "real"
ODSS_NATURAL, ODSS_SYSTEMS = "natural", ("fastpitch-hifigan", "vits")


def read_fake_or_real(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Fake-or-Real: for-<version>/{training,validation,testing}/{real,fake}/*.wav (R. Reimao, V. Tzerpos 2019)."""
    place = place_of_version(root, settings.detection.for_version)
    found = {f"{place}/{part}/{folder}": label for part in FOR_PARTS for folder, label in FOR_LABELS.items()}
    rows = [(path, label) for folder, label in found.items() for path in audio_below(root, folder)]
    return make_rows([path for path, _ in rows], [label for _, label in rows])


def place_of_version(root: Path, version: str) -> str:
    """Where a version of Fake-or-Real lies.

    The archives on Kaggle hold its folder once more, two of them under a longer name; either may have been left out.
    """
    names = [version, FOR_LONG_NAMES.get(version, version)]
    places = [*(f"{outer}/{inner}" for outer in names for inner in names), *names]
    return next((place for place in places if (root / place / FOR_PARTS[0]).is_dir()), version)


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

    <version>/single_speaker/<system>/*.wav, <version>/multi_speaker/<system>/<speaker>/*.wav; bona fide: real/<speaker>/audio/*.wav in the
    place of a system, as in the tree of AI4T's authors, else VidTIMIT/<speaker>/audio/*.wav.
    """
    version = settings.detection.timit_version
    single, multi = ([path for path in audio_below(root, f"{version}/{kind}") if not _is_real(path)] for kind in TIMIT_KINDS)
    real = [path for folder in _bona_fide_of_timit(root, version) for path in audio_below(root, folder) if path.split("/")[-2] == "audio"]
    fake = [*single, *multi]
    return make_rows(
        [*real, *fake],
        [BONAFIDE] * len(real) + [SPOOF] * len(fake),
        speaker=[path.split("/")[-3] for path in real] + [""] * len(single) + ["/".join(path.split("/")[2:-1]) for path in multi],
        source=[""] * len(real) + [path.split("/")[2] for path in fake],
    )


def _is_real(path: str) -> bool:
    """Whether <version>/<kind>/<system>/... is bona fide speech in the place of a system."""
    return path.split("/")[2] == TIMIT_REAL


def _bona_fide_of_timit(root: Path, version: str) -> list[str]:
    places = [f"{one}/{kind}/{TIMIT_REAL}" for one in dict.fromkeys((version, "CLEAN")) for kind in TIMIT_KINDS]
    return [place for place in places if (root / place).is_dir()][:1] or ["VidTIMIT"]
