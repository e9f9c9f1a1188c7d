"""Which classes the cells of a table have test items of: figures over different classes are never put together without saying so.

A corpus may lack a source in a language; a group of speakers may lack one too. Each cell's figure is over the classes that it has. A mean
over cells says over how many, and beside it stands the mean on the classes that all its cells have; a comparison of cells with different
classes is made on those that all have, or refused (`significance.contrast`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd

from sourcetracing.drawing.text import percent
from sourcetracing.metrics.classification import f1_of_present
from sourcetracing.tables.axes import CROSS, MONO, POOLED

SHOWN_NAMES = 6


@dataclass(frozen=True)
class ClassLists:
    """Of some cells: how many classes they have (`4`, or `3 to 4`), how many all of them have, and each cell's mean F1 on those."""

    text: str
    num_common: int
    common_f1: list[float]


def of_cells(confusions: Sequence[np.ndarray]) -> ClassLists:
    """The class lists of cells, from their confusion matrices (C, C)."""
    common = common_classes(confusions)
    on_common = [float(f1_of_present(confusion)[common].mean()) if common.any() else float("nan") for confusion in confusions]
    return ClassLists(range_text([int(present(confusion).sum()) for confusion in confusions]), int(common.sum()), on_common)


def present(confusion: np.ndarray) -> np.ndarray:
    """Which classes (C,) of a confusion matrix (C, C) have items."""
    return confusion.sum(axis=1) > 0


def common_classes(confusions: Iterable[np.ndarray]) -> np.ndarray:
    """Which classes (C,) have items in every one of the confusion matrices."""
    return np.logical_and.reduce([present(confusion) for confusion in confusions])


def are_alike(first: Iterable[np.ndarray], second: Iterable[np.ndarray]) -> bool:
    """Whether two sets of cells have the same class lists, each as often: only then do the means of their figures compare as they are."""
    return _shares(first) == _shares(second)


def _shares(confusions: Iterable[np.ndarray]) -> dict[bytes, Fraction]:
    counts = Counter(present(confusion).tobytes() for confusion in confusions)
    return {classes: Fraction(count, counts.total()) for classes, count in counts.items()}


def range_text(numbers: Iterable[int]) -> str:
    """`4`, or `3 to 4` where the numbers differ."""
    smallest, largest = min(found := list(numbers)), max(found)
    return str(smallest) if smallest == largest else f"{smallest} to {largest}"


def classes_text(cells: pd.DataFrame) -> str:
    """How many classes the figures of rows with a column num_classes are over: `4`, `3 to 4`."""
    return range_text(map(int, cells["num_classes"])) if len(cells) else "0"


def chance_text(cells: pd.DataFrame, digits: int = 0) -> str:
    """Chance of such rows in percent: `25`, `5 to 25`."""
    texts = dict.fromkeys(percent(value, digits) for value in sorted(cells["chance"]))
    return " to ".join([next(iter(texts)), list(texts)[-1]]) if len(texts) > 1 else "".join(texts)


def note_on_test_set(name: str, absent: Sequence[str], num_declared: int) -> str:
    """That a test set lacks some classes, and what that means for its figures."""
    shown = ", ".join(absent[:SHOWN_NAMES]) + (f" and {len(absent) - SHOWN_NAMES} more" if len(absent) > SHOWN_NAMES else "")
    found = num_declared - len(absent)
    return f"Test set {name} has items of {found} of {num_declared} classes (none of {shown}): its macro-F1 is over those {found}."


def notes_on_means(means: pd.DataFrame) -> Iterator[str]:
    """Where a mean is over cells with different classes, and where mono and cross are, so that they do not compare as they stand."""
    pooled = means[means["variant"] == POOLED]
    for kind, rows in pooled.groupby("kind", sort=False):
        row = rows.iloc[0]
        if row.num_classes != str(row.common_classes):
            yield (
                f"The cells of the {kind} mean have different classes ({row.num_classes}, {row.common_classes} in all of them): "
                "each cell counts over its own; macro_f1_common of the means is over those in all."
            )
    numbers = pooled[pooled["kind"].isin([MONO, CROSS])].groupby("kind")["num_classes"].first()
    if numbers.nunique() > 1:
        parts = " and ".join(f"{kind} {numbers[kind]}" for kind in (MONO, CROSS))
        yield f"Mono and cross cells have different classes ({parts}): their means do not compare; claims.csv compares them on common ones."
