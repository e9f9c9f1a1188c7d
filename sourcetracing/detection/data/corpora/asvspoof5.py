"""ASVspoof 5, train and dev of track 1: ASVspoof5.*.tsv, flac_T and flac_D (X. Wang et al. 2025, arXiv:2502.08857)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import make_rows, read_columns, to_labels
from sourcetracing.settings.schema import Settings

PARTS = {"asv5_train": ("ASVspoof5.train.tsv", "flac_T"), "asv5_dev": ("ASVspoof5.dev.track_1.tsv", "flac_D")}
COLUMNS = ("speaker", "id", "gender", "codec", "codec_q", "codec_seed", "attack_tag", "attack", "key", "unused")


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Rows of one part, in the protocol's order (its columns stand between spaces, in spite of the name). Raises `UserError`."""
    name, folder = PARTS[subset]
    # The archive of protocols unpacks into a folder of its own; many copies have its files beside the audio.
    path = next((place for place in (root / "ASVspoof5_protocols" / name, root / name) if place.is_file()), root / name)
    table = read_columns(path, COLUMNS, len(COLUMNS) - 1)
    return make_rows(
        {
            "id": table["id"],
            "path": [f"{folder}/{name}.flac" for name in table["id"]],
            "label": to_labels(table["key"], path),
            "speaker": table["speaker"],
            "source": table["attack"].where(table["key"] == "spoof", ""),
        }
    )
