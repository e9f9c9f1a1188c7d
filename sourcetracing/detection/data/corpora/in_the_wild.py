"""In-the-Wild: meta.csv (file, speaker, label) beside the audio (N. M. Mueller et al. 2022, arXiv:2203.16263)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import make_rows, read_table, stem, to_labels
from sourcetracing.settings.schema import Settings


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """All rows, in the order of meta.csv; the speaker is the person who is heard or imitated. Raises `UserError`."""
    path = root / "meta.csv"
    table = read_table(path, ("file", "speaker", "label"))
    return make_rows(
        {
            "id": [stem(name) for name in table["file"]],
            "path": table["file"],
            "label": to_labels(table["label"], path),
            "speaker": table["speaker"],
        }
    )
