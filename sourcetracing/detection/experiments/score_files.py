"""Scores of an experiment's classifiers on disk: dataset, file_id, label, score; a file says what it was made from.

Such a file is written whole, last of what belongs to a classifier, so it is also the mark that this classifier is finished.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from sourcetracing.detection.classifier.logistic import eer_of_scores
from sourcetracing.detection.data.manifest import detection_folder, load_manifest
from sourcetracing.detection.experiments.selection import part_masks
from sourcetracing.runtime.files import atomic_path, digest_of_json
from sourcetracing.settings.schema import Settings

MEAN, POOLED = "MEAN", "POOLED"
_RECIPE = b"recipe"


def scores_folder(settings: Settings, experiment: str) -> Path:
    """exp/<name>/detection/scores/<experiment>."""
    return detection_folder(settings) / "scores" / experiment


def write_scores(path: Path, scores: pd.DataFrame, recipe: dict) -> None:
    """Writes scores and the digest of what they depend on, whole or not at all."""
    table = pa.Table.from_pandas(scores, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _RECIPE: digest_of_json(recipe).encode()})
    with atomic_path(path) as partial:
        pa.parquet.write_table(table, partial, compression="zstd")


def read_scores(path: Path, recipe: dict | None = None) -> pd.DataFrame | None:
    """The scores, or None where there are none or (with `recipe`) they were made from something else."""
    if not path.is_file() or (recipe is not None and not is_made_from(path, recipe)):
        return None
    return pd.read_parquet(path)


def is_made_from(path: Path, recipe: dict) -> bool:
    """Whether a file of scores is there and was made from just this."""
    return path.is_file() and (pa.parquet.read_schema(path).metadata or {}).get(_RECIPE) == digest_of_json(recipe).encode()


def masks_of(settings: Settings, files: pd.DataFrame) -> dict[str, np.ndarray]:
    """Part (all, selection, report) -> (N,) of these files (column file_id) of real-life sets, by the manifest's groups."""
    rows = load_manifest(settings).set_index("file_id", drop=False).loc[files["file_id"]]
    return part_masks(settings, rows.reset_index(drop=True))


def eers_by_part(scores: pd.DataFrame, masks: dict[str, np.ndarray], settings: Settings) -> pd.DataFrame:
    """dataset, part, eer (fraction), threshold, files for each data set of the scores and each part; then MEAN over the data sets."""
    rows = []
    positions_of = scores.groupby("dataset", sort=False).indices
    labels, values = scores["label"].to_numpy(), scores["score"].to_numpy()
    for part, mask in masks.items():
        found = []
        for dataset, positions in positions_of.items():
            chosen = positions[mask[positions]]
            eer, threshold = eer_of_scores(labels[chosen], values[chosen], settings.logreg)
            found.append({"dataset": dataset, "part": part, "eer": eer, "threshold": threshold, "files": len(chosen)})
        mean = {"dataset": MEAN, "part": part, "eer": float(np.mean([row["eer"] for row in found])), "threshold": np.nan}
        rows += [*found, {**mean, "files": int(mask.sum())}]
    return pd.DataFrame(rows)


def markdown_table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table, the first column to the left, the others to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def text_table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table for the terminal, likewise."""
    widths = [max(len(line[place]) for line in [columns, *rows]) for place in range(len(columns))]
    return [
        "  "
        + "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width) for place, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [columns, *rows]
    ]


def percent(eer: float) -> str:
    """A fraction as percent with two decimals; – for nan."""
    return "–" if np.isnan(eer) else f"{100 * eer:.2f}"
