"""Parquet files that say what they were made from, so that a changed setting or corpus makes them anew."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sourcetracing.runtime.files import atomic_path

_KEY = b"made_from"


def write_stamped(table: pd.DataFrame, path: Path, made_from: dict) -> None:
    """Writes a table and, in its metadata, what it was made from (JSON-able)."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    with atomic_path(path) as partial:
        pq.write_table(arrow.replace_schema_metadata({**arrow.schema.metadata, _KEY: json.dumps(made_from).encode()}), partial)


def read_stamp(path: Path) -> dict | None:
    """What a file was made from; None when it is missing, damaged or without a stamp."""
    try:
        return json.loads((pq.read_schema(path).metadata or {})[_KEY])
    except (OSError, pa.ArrowInvalid, KeyError, json.JSONDecodeError):
        return None
