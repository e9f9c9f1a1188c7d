"""The report's tab on embeddings: their pictures and their numbers. Text, no files, but for `read_runs`."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from sourcetracing.embeddings.stored import read_pictures_record
from sourcetracing.layout import RunLayout
from sourcetracing.report import charts
from sourcetracing.runtime.files import digest_of_file

SHOWN_LABELS = ("source", "language", "known")  # in the report; the others' pictures stay beside their run


def embeddings_tab(numbers: pd.DataFrame | None, pictures: Mapping[str, Mapping[str, bytes]]) -> str:
    """Numbers: of one or several runs, or nothing yet; pictures: heading -> label -> PNG file of what is shown."""
    if numbers is None:
        return ""
    text = (
        "How utterances lie by what a system makes of them (scripts 08 and 09). Silhouette: from −1 to 1, above 0 where a value keeps to "
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


def read_runs(runs: Sequence[tuple[str, str, int, Path]]) -> tuple[pd.DataFrame | None, dict[str, dict[str, bytes]]]:
    """What `embeddings_tab` takes: the numbers of all runs whose pictures belong to their weights, the pictures of each system's first.

    runs: (system, train set, seed, run folder).
    """
    there = [(run, files.embeddings) for run in runs if _is_fresh(files := RunLayout(run[-1]))]
    if not there:
        return None, {}
    first_of_system = {run[0]: (run, files) for run, files in reversed(there)}
    pictures = {
        f"{system} trained on {run[1]}, seed {run[2]}": {
            label: path.read_bytes() for label in SHOWN_LABELS if (path := files.picture(label)).is_file()
        }
        for system, (run, files) in reversed(first_of_system.items())
    }
    return pd.concat([pd.read_csv(files.numbers) for _, files in there], ignore_index=True), pictures


def _is_fresh(run: RunLayout) -> bool:
    record = read_pictures_record(run.embeddings)
    return bool(record) and run.weights.is_file() and record["weights"] == digest_of_file(run.weights)
