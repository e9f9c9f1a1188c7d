"""Corpora with a CSV file of theirs beside the audio, and the demo's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import make_rows, read_table, to_labels
from sourcetracing.settings.schema import Settings

DEMO_COLUMNS = ("path", "label", "speaker", "recording", "source")
SEGMENTS_LIST = "segments.csv"


def read_in_the_wild(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """In-the-Wild: meta.csv; the speaker is the person who is heard or imitated (N. M. Mueller et al. 2022, arXiv:2203.16263)."""
    return _read(root / "meta.csv", "file", "speaker")


def read_ai4trust(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """AI4T: segments of recordings from the web and their list, as scripts/detection/segment_recordings.py leaves them."""
    return _read(root / SEGMENTS_LIST, "path", "speaker", "recording")


def read_demo(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """The demo's stand-in for any subset: `source` says what made a file, also where its label is wrong on purpose. Nobody's real voice."""
    rows = _read(demo_list(root, subset), "path", *DEMO_COLUMNS[2:])
    return rows.assign(id=[Path(name).stem for name in rows["path"]])


def demo_list(root: Path, subset: str) -> Path:
    """Where the demo's list of a subset lies (`DEMO_COLUMNS`)."""
    return root / f"{subset}.csv"


def _read(path: Path, file_column: str, *known: str) -> pd.DataFrame:
    table = read_table(path, (file_column, "label", *known))
    return make_rows(table[file_column], to_labels(table["label"], path), **{name: table[name] for name in known})
