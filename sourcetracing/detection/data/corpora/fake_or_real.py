"""Fake-or-Real: for-<version>/{training,validation,testing}/{real,fake}/*.wav, no protocol file (R. Reimao, V. Tzerpos 2019)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import audio_below, make_rows, stem
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF
from sourcetracing.settings.schema import Settings

PARTS = ("training", "validation", "testing")
FOLDERS = {"real": BONAFIDE, "fake": SPOOF}


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Rows of the three parts, sorted by path within each folder. Nothing tells speakers or systems. Raises `UserError`."""
    version = settings.detection.for_version
    # The archive on Kaggle holds the folder twice, one in the other.
    place = f"{version}/{version}" if (root / version / version).is_dir() else version
    found = {f"{place}/{part}/{folder}": label for part in PARTS for folder, label in FOLDERS.items()}
    paths = [(path, label) for folder, label in found.items() for path in audio_below(root, folder)]
    names = [path for path, _ in paths]
    return make_rows({"id": [stem(path) for path in names], "path": names, "label": [label for _, label in paths]})
