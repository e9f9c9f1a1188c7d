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


def note_on_lost_classes(lost: Sequence[str]) -> str:
    """That a resample may hold none of a class's few utterances. Its F1 is then missing from that resample's mean.

    Simulated (docs/tables.md), such intervals hold the truth more often than those that put the class's own F1 there or draw within the
    group: of so few utterances a bootstrap says too little, and a class that comes and goes makes up for some of it.
    """
    where = f"in {len(lost)} places (first: {lost[0]})"
    return f"Some resamples hold none of the few utterances of a class, {where}: they average over the other classes."


def notes_on_means(means: pd.DataFrame) -> Iterator[str]:
    """Where a mean is over cells with different classes, and where two means are, so that they do not compare as they stand."""
    pooled = means[means["variant"] == POOLED]
    for kind, rows in pooled.groupby("kind", sort=False):
        for (numbers, common), own in rows.groupby(["num_classes", "common_classes"], sort=False):
            if numbers != str(common):
                yield (
                    f"The cells of the {kind} mean{_of_systems(own, rows)} have different classes ({numbers}, {common} in all of them): "
                    "each cell counts over its own; macro_f1_common of the means is over those in all."
                )
        if rows["num_classes"].nunique() > 1:
            parts = ", ".join(f"{row.system} {row.num_classes}" for row in rows.itertuples())
            yield f"The {kind} means of the systems are over different classes ({parts}): they do not compare as they stand."
    sides = pooled[pooled["kind"].isin([MONO, CROSS])].pivot(index="system", columns="kind", values="num_classes")
    sides = sides.reindex(pooled["system"].unique()).dropna().reset_index()
    if not {MONO, CROSS} <= set(sides.columns):
        return
    for (mono, cross), own in sides.groupby([MONO, CROSS], sort=False):
        if mono != cross:
            yield (
                f"Mono and cross cells{_of_systems(own, sides)} have different classes ({MONO} {mono} and {CROSS} {cross}): "
                "their means do not compare; claims.csv compares them on common ones."
            )


def _of_systems(own: pd.DataFrame, rows: pd.DataFrame) -> str:
    """` of A, B`, or nothing where it is all of them."""
    return "" if len(own) == len(rows) else f" of {', '.join(own['system'])}"
