"""The report's tab on embeddings: their pictures and their numbers. Text, no files, but for `read_pictures`."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from sourcetracing import report_charts as charts
from sourcetracing.embeddings.colouring import LABELS
from sourcetracing.embeddings.stored import EmbeddingFolder

SHOWN_LABELS = ("source", "language", "known")  # in the report; the others' pictures stay beside their run


def embeddings_tab(numbers: pd.DataFrame | None, pictures: Mapping[str, Mapping[str, bytes]]) -> str:
    """Numbers: tables/embeddings.csv, or nothing yet; pictures: heading -> label -> PNG file of what is shown."""
    if numbers is None:
        return ""
    text = (
        "How utterances lie by what a system makes of them (scripts 10 and 11). Silhouette: from −1 to 1, above 0 where a value keeps to "
        "itself. Purity: the share of a row's nearest neighbours, other utterances' rows, that have its value; chance: of rows drawn at "
        "random. Both are computed in all dimensions of the embedding. A system that traces sources gathers by source, on eval too, and "
        "not by language or speaker. Pictures of every run, and a page to explore it, lie in its folder embeddings/."
    )
    figures = "".join(_figures(heading, images) for heading, images in pictures.items())
    return f"<h2>Embeddings</h2><p>{text}</p>{numbers_table(numbers)}{figures}"


def _figures(heading: str, images: Mapping[str, bytes]) -> str:
    shown = "".join(
        f'<figure><img alt="Embeddings of {escape(heading)}, coloured by {escape(label)}" '
        f'src="data:image/png;base64,{base64.b64encode(image).decode()}"></figure>'
        for label, image in images.items()
    )
    return f"<h3>{escape(heading)}</h3>{shown}"


def numbers_table(numbers: pd.DataFrame) -> str:
    """The numbers of one or several runs as an HTML table."""
    shown = pd.DataFrame({"label": numbers["label"].str.replace("_", "-"), "of": numbers["rows_of"]})
    if len(numbers.drop_duplicates(["system", "train", "seed"])) > 1:
        shown.insert(0, "run", [f"{row.system}, {row.train}, seed {row.seed}" for row in numbers.itertuples()])
    shown["values"], shown["rows"] = numbers["values"], numbers["rows"]
    shown["silhouette"] = [_signed(value) for value in numbers["silhouette"]]
    for name, column in (("purity, %", "knn_purity"), ("chance, %", "chance_purity")):
        shown[name] = [_percent(value) for value in numbers[column]]
    return charts.plain_table(shown, text_columns=["label", "of"], sortable=True)


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.2f}"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def read_pictures(runs: Sequence[tuple[str, str, int, Path]]) -> dict[str, dict[str, bytes]]:
    """heading -> label -> PNG, of the first run of each system that has pictures; runs: (system, train set, seed, run folder)."""
    found: dict[str, dict[str, bytes]] = {}
    seen = set()
    for system, train_set, seed, path in runs:
        folder = EmbeddingFolder(path)
        if system in seen or not folder.read_pictures_record():
            continue
        seen.add(system)
        labels = [label for label in LABELS if label in SHOWN_LABELS and folder.picture(label).is_file()]
        found[f"{system} trained on {train_set}, seed {seed}"] = {label: folder.picture(label).read_bytes() for label in labels}
    return found
