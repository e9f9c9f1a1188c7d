"""TIMIT-TTS and the VidTIMIT speech it imitates (D. Salvi et al. 2023, arXiv:2209.08000).

<version>/single_speaker/<system>/*.wav, <version>/multi_speaker/<system>/<speaker>/*.wav; bona fide: VidTIMIT/<speaker>/audio/*.wav
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import audio_below, make_rows, stem
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF
from sourcetracing.settings.schema import Settings


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Bona fide rows, then those of each system. Raises `UserError`."""
    version = settings.detection.timit_version
    real = [path for path in audio_below(root, "VidTIMIT") if path.split("/")[-2] == "audio"]
    single, multi = audio_below(root, f"{version}/single_speaker"), audio_below(root, f"{version}/multi_speaker")
    paths = [*real, *single, *multi]
    return make_rows(
        {
            "id": [stem(path) for path in paths],
            "path": paths,
            "label": [BONAFIDE] * len(real) + [SPOOF] * (len(single) + len(multi)),
            "speaker": [path.split("/")[-3] for path in real] + [""] * len(single) + ["/".join(path.split("/")[2:-1]) for path in multi],
            "source": [""] * len(real) + [path.split("/")[2] for path in (*single, *multi)],
        }
    )
