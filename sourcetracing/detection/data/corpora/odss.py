"""ODSS: {natural,vits,fastpitch-hifigan}/<corpus>/<speaker>/*.wav (A. Yaroshchuk et al. 2023, doi:10.5281/zenodo.8370669)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import audio_below, make_rows, stem
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF
from sourcetracing.settings.schema import Settings

NATURAL, SYSTEMS = "natural", ("fastpitch-hifigan", "vits")


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Rows of the natural speech, then of each system; speaker and recording from the folders. Raises `UserError`."""
    rows = [(path, folder) for folder in (NATURAL, *SYSTEMS) for path in audio_below(root, folder)]
    parts = [path.split("/") for path, _ in rows]
    return make_rows(
        {
            "id": [stem(path) for path, _ in rows],
            "path": [path for path, _ in rows],
            "label": [BONAFIDE if folder == NATURAL else SPOOF for _, folder in rows],
            "speaker": ["/".join(part[1:-1]) for part in parts],
            "recording": [stem("/".join(part[1:])) for part in parts],
            "source": ["" if folder == NATURAL else folder for _, folder in rows],
        }
    )
