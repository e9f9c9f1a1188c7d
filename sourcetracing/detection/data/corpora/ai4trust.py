"""AI4T: segments of recordings from the web, as scripts/detection/segment_recordings.py cuts them, and their list segments.csv."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import make_rows, read_table, stem, to_labels
from sourcetracing.detection.data.segments import LIST_NAME
from sourcetracing.settings.schema import Settings


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """All segments, in the order of segments.csv; the group is the recording they were cut from. Raises `UserError`."""
    path = root / LIST_NAME
    table = read_table(path, ("path", "label", "speaker", "recording"))
    return make_rows(
        {
            "id": [stem(name) for name in table["path"]],
            "path": table["path"],
            "label": to_labels(table["label"], path),
            "speaker": table["speaker"],
            "recording": table["recording"],
        }
    )
