"""ASVspoof 2021 LA and DF: keys/<track>/CM/trial_metadata.txt and ASVspoof2021_<track>_eval/flac (X. Liu et al. 2023, arXiv:2210.02437)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import make_rows, read_columns, to_labels
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings

# The LA keys end here; those of DF go on with the vocoder's kind and four columns about the Voice Conversion Challenge.
COLUMNS = ("speaker", "id", "codec", "origin", "attack", "key", "trim", "phase")


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Rows of detection.asv21_tracks and detection.asv21_phases, in the order of the keys. Raises `UserError`."""
    tables = [_read_track(settings, root, track) for track in settings.detection.asv21_tracks]
    if not tables:
        raise UserError("detection.asv21_tracks is empty; it may hold DF and LA")
    return pd.concat(tables, ignore_index=True)


def _read_track(settings: Settings, root: Path, track: str) -> pd.DataFrame:
    path = root / "keys" / track / "CM" / "trial_metadata.txt"
    table = read_columns(path, COLUMNS, len(COLUMNS))
    if phases := settings.detection.asv21_phases:
        chosen = table["phase"].isin(phases)
        if not chosen.any():
            raise UserError(f"detection.asv21_phases={phases}: {path} has {', '.join(sorted(table['phase'].unique()))}")
        table = table[chosen].reset_index(drop=True)
    return make_rows(
        {
            "id": table["id"],
            "path": [f"ASVspoof2021_{track}_eval/flac/{name}.flac" for name in table["id"]],
            "label": to_labels(table["key"], path),
            "speaker": table["speaker"],
            "source": table["attack"].where(table["key"] == "spoof", ""),
        }
    )
