"""The tables as CSV files: <table>.csv (a row for each system, train set, test set, variant, seed), their means, and with details
those by class and the confusion matrices. Numbers have six digits, so the same scores give the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.layout import TablesLayout
from sourcetracing.runtime.files import write_frame
from sourcetracing.tables.making import KEY, Tables, ordered


def write_csv(tables: Tables, out_folder: Path) -> None:
    """Writes <table>.csv, <prefix>means.csv and, for a plan with details, <prefix>per_class.csv and <prefix>confusion.csv."""
    prefix = tables.plan.file_prefix
    frames = {tables.plan.name: tables.cells, f"{prefix}means": tables.means}
    if tables.plan.has_details:
        frames |= {f"{prefix}per_class": tables.per_class, f"{prefix}confusion": _confusion_frame(tables)}
    for name, frame in frames.items():
        write_frame(frame, TablesLayout(out_folder).csv(name))


def _confusion_frame(tables: Tables) -> pd.DataFrame:
    """A row for each entry of each confusion matrix: columns KEY, true, predicted, count."""
    classes = tables.axes.classes
    rows = [
        [*key, classes[row], classes[column], count]
        for key, matrix in tables.confusions.items()
        for (row, column), count in np.ndenumerate(matrix)
    ]
    return ordered(pd.DataFrame(rows, columns=[*KEY, "true", "predicted", "count"]), tables.axes)
