"""A page to explore the embeddings of a run: one HTML file with its points and its script; it asks for nothing from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.drawing.colours import CATEGORIES
from sourcetracing.drawing.templates import render
from sourcetracing.drawing.text import ABSENT, percent
from sourcetracing.embeddings.colouring import NUM_MARKERS, Colouring
from sourcetracing.embeddings.pictures import NAMES_OF_LABELS
from sourcetracing.embeddings.projections import NAMES, Projection
from sourcetracing.runtime.files import write_text
from sourcetracing.runtime.seeding import rng

STEPS = 20000  # of the longer side of a picture; coordinates are whole numbers of them


def write_page(
    path: Path,
    utt_ids: pd.Series,
    projections: Sequence[Projection],
    colourings: Sequence[Colouring],
    *,
    title: str,
    text: str,
    numbers: pd.DataFrame,
) -> None:
    """Writes the page. utt_ids: of the N points; numbers: of the run."""
    order = rng("drawing order").permutation(len(utt_ids))  # so that no value covers the others
    points = {
        "ids": utt_ids.iloc[order].tolist(),
        "colours": CATEGORIES,
        "numMarkers": NUM_MARKERS,
        "projections": [
            {"name": NAMES[each.name], "note": each.note, **_coordinates(each.points[order]), "steps": STEPS} for each in projections
        ],
        "labels": [
            {
                "name": NAMES_OF_LABELS.get(each.label, each.label),
                "values": each.values,
                "styles": each.styles,
                "codes": each.codes[order].tolist(),
                "tells": each.tells,
            }
            for each in colourings
        ],
    }
    values = {"title": title, "text": text, "numbers": shown_numbers(numbers), "points": points}
    write_text(path, render(__file__, "explore.html", **values))


def shown_numbers(numbers: pd.DataFrame) -> pd.DataFrame:
    """The numbers of one or several runs as texts for a page."""
    shown = pd.DataFrame({"label": numbers["label"].str.replace("_", "-"), "of": numbers["rows_of"]})
    if len(numbers.drop_duplicates(["system", "train", "seed"])) > 1:
        shown.insert(0, "run", [f"{row.system}, {row.train}, seed {row.seed}" for row in numbers.itertuples()])
    shown["values"], shown["rows"] = numbers["values"], numbers["rows"]
    shown["silhouette"] = [ABSENT if math.isnan(value) else f"{value:+.2f}" for value in numbers["silhouette"]]
    for name, column in (("purity, %", "knn_purity"), ("chance, %", "chance_purity")):
        shown[name] = [percent(value) for value in numbers[column]]
    return shown


def _coordinates(points: np.ndarray) -> dict[str, list[int]]:
    """x to the right and y downwards, from 0 to STEPS, at one scale, centred."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = float((high - low).max()) or 1.0
    scaled = (points - (low + high) / 2) / span * STEPS + STEPS / 2
    x, y = np.rint(scaled).astype(int).T
    return {"x": x.tolist(), "y": (STEPS - y).tolist()}
