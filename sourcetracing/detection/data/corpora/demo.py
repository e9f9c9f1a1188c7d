"""The demo corpora (detection/demo.py): a list of path, label, speaker, recording, source for each subset. Nobody's real voice."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import make_rows, read_table, to_labels
from sourcetracing.detection.data.demo import LIST_COLUMNS, list_path
from sourcetracing.settings.schema import Settings


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """All rows, repeated ones too. `source` says what made a file, also where its label is wrong on purpose. Raises `UserError`."""
    path = list_path(settings, subset)
    table = read_table(path, LIST_COLUMNS)
    return make_rows(
        {
            "id": [Path(name).stem for name in table["path"]],
            "path": table["path"],
            "label": to_labels(table["label"], path),
            **{name: table[name] for name in ("speaker", "recording", "source")},
        }
    )
