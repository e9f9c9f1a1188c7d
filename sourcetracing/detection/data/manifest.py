"""The one table of all files: exp/<name>/detection/files.csv, a row per audio file, subset after subset."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.settings.schema import Settings

BONAFIDE, SPOOF = "bonafide", "spoof"
# file_id: "<subset>/<id>", unique. corpus: the subset (groups.SUBSETS). path: below the corpus' root. group: what the selection and the
# report part of a test set must not share. source: the system that made a file, where the corpus tells.
COLUMNS = ("file_id", "corpus", "path", "label", "speaker", "group", "source", "duration_s", "digest")
BUILD_COMMAND = "python scripts/detection/00_build_manifest.py CONFIG.yaml"


def detection_folder(settings: Settings) -> Path:
    """exp/<name>/detection: everything that the detection scripts write."""
    return Layout.of(settings).root / "detection"


def manifest_path(settings: Settings) -> Path:
    """Where the manifest lies."""
    return detection_folder(settings) / "files.csv"


def load_manifest(settings: Settings) -> pd.DataFrame:
    """All files (`COLUMNS`, text but for duration_s), rows of a subset in the published order. Raises `UserError` if it is not built."""
    path = manifest_path(settings)
    if not path.is_file():
        raise UserError(f"{path} is missing. Run: {BUILD_COMMAND}")
    return pd.read_csv(path, dtype={name: str for name in COLUMNS if name != "duration_s"}, keep_default_na=False)


def corpus_of(subset: str) -> str:
    """The corpus that a subset belongs to: asv19_train -> asv19."""
    return subset.removesuffix("_train").removesuffix("_dev").removesuffix("_eval")


def root_of(settings: Settings, subset: str) -> Path:
    """The folder that a subset's paths are relative to (detection.roots, or the demo's)."""
    if settings.detection.origin == "demo":
        return Path(settings.detection.demo_folder) / corpus_of(subset)
    return Path(settings.detection.roots[corpus_of(subset)])


def audio_path(settings: Settings, row) -> Path:
    """The file of one row of the manifest (anything with attributes corpus and path)."""
    return root_of(settings, row.corpus) / row.path
