"""The report's tab on embeddings: their pictures and their numbers. No files, but for `read_runs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.templates import macros
from sourcetracing.embeddings.page import shown_numbers
from sourcetracing.embeddings.quality import TEXTS
from sourcetracing.embeddings.stored import read_pictures_record
from sourcetracing.layout import RunLayout
from sourcetracing.runtime.files import digest_of_file, read_csv

TAB = macros(__file__, "embeddings.html")
SHOWN_LABELS = ("source", "language", "known")  # in the report; the others' pictures stay beside their run


def embeddings_tab(numbers: pd.DataFrame | None, pictures: Mapping[str, Mapping[str, bytes]]) -> Markup:
    """Numbers: of one or several runs, or nothing yet; pictures: heading -> label -> PNG file of what is shown."""
    return Markup() if numbers is None else TAB.embeddings(shown_numbers(numbers), pictures)


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
    return pd.concat([read_csv(files.numbers, texts=TEXTS) for _, files in there], ignore_index=True), pictures


def _is_fresh(run: RunLayout) -> bool:
    record = read_pictures_record(run.embeddings)
    return bool(record) and run.weights.is_file() and record["weights"] == digest_of_file(run.weights)
