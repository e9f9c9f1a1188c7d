"""A page to explore the embeddings of a run: one HTML file with its points and its script; it asks for nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import pandas as pd

from sourcetracing.drawing.colours import CATEGORIES
from sourcetracing.embeddings.colouring import NUM_MARKERS, Colouring
from sourcetracing.embeddings.pictures import NAMES_OF_LABELS
from sourcetracing.embeddings.projections import NAMES, Projection
from sourcetracing.runtime.files import write_text
from sourcetracing.runtime.seeding import rng

TEMPLATE = Path(__file__).with_name("templates") / "explore.html"
STEPS = 20000  # of the longer side of a picture; coordinates are whole numbers of them


def write_page(
    path: Path,
    utt_ids: pd.Series,
    projections: Sequence[Projection],
    colourings: Sequence[Colouring],
    *,
    title: str,
    text: str,
    table: str,
) -> None:
    """Writes the page. utt_ids: of the N points; table: HTML that stands below the picture."""
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
    # Within a script element only "</" could end it, and "<!--" could hide its end; "\u003c" is "<" to JSON.
    data = json.dumps(points, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = Template(TEMPLATE.read_text(encoding="utf-8"))
    write_text(path, page.substitute(title=escape(title), text=escape(text), table=table, data=data))


def _coordinates(points: np.ndarray) -> dict[str, list[int]]:
    """x to the right and y downwards, from 0 to STEPS, at one scale, centred."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = float((high - low).max()) or 1.0
    scaled = (points - (low + high) / 2) / span * STEPS + STEPS / 2
    x, y = np.rint(scaled).astype(int).T
    return {"x": x.tolist(), "y": (STEPS - y).tolist()}
