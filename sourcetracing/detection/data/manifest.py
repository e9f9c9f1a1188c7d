"""The one table of all files: exp/<name>/detection/files.csv, a row per audio file, subset after subset."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import is_half_written, read_csv
from sourcetracing.settings.detection import CORPORA, corpus_of_subset
from sourcetracing.settings.schema import Settings

BONAFIDE, SPOOF = "bonafide", "spoof"
# file_id: "<subset>/<id>", unique. corpus: the subset. path: below the corpus' root. group: what the selection and the
# report part of a test set must not share. source: the system that made a file, where the corpus tells.
COLUMNS = ("file_id", "corpus", "path", "label", "speaker", "group", "source", "duration_s", "digest")
BUILD_COMMAND = "python scripts/detection/00_build_manifest.py CONFIG.yaml"


def load_manifest(settings: Settings) -> pd.DataFrame:
    """All files (`COLUMNS`, text but for duration_s), rows of a subset in the published order. Raises `UserError` if it is not built."""
    layout = DetectionLayout(settings)
    path = layout.manifest
    if is_half_written(layout.manifest_record):
        raise UserError(f"{path} was not written to its end. Run: {BUILD_COMMAND}")
    if not path.is_file():
        raise UserError(f"{path} is missing. Run: {BUILD_COMMAND}")
    return read_csv(path, numbers=["duration_s"])


def root_of(settings: Settings, subset: str) -> Path:
    """The folder that a subset's paths are relative to (detection.roots, or the demo's)."""
    corpus = corpus_of_subset()[subset]
    if settings.detection.origin == "demo":
        return Path(settings.detection.demo_folder) / corpus
    return Path(settings.detection.roots.get(corpus) or CORPORA[corpus].root)


def audio_path(settings: Settings, row) -> Path:
    """The file of one row of the manifest (anything with attributes corpus and path)."""
    return root_of(settings, row.corpus) / row.path
