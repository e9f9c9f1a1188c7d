"""What points are coloured by: the values of each label in the order of the legend, and a style for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.drawing.colours import CATEGORIES
from sourcetracing.settings.frontends import ALL_VARIANTS
from sourcetracing.settings.training import SPLITS

LABELS = ("source", "language", "speaker", "pseudo_speaker", "split", "known", "variant")
NUM_MARKERS = 7
# Colours and marks take turns, and 12 and 7 share no factor: so many values differ in colour or mark, and neighbours in both.
NUM_STYLES = len(CATEGORIES) * NUM_MARKERS
GREY = -1  # the style of a value that is not known, or of one too many


@dataclass(frozen=True)
class Colouring:
    """values: as the legend lists them; codes: (N,) position of each point's value, -1 where it is not known; styles: one per value.

    Style s has colour s % 12 and mark s % 7.
    """

    label: str
    values: list[str]
    codes: np.ndarray
    styles: list[int]

    @property
    def tells(self) -> bool:
        """Whether there is anything to see: at least two values."""
        return len(self.values) > 1

    def counts(self) -> np.ndarray:
        """Points of each value, (values,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))


def label_texts(index: pd.DataFrame, label: str) -> pd.Series:
    """What a label says of each row of an index; "" where it is not known."""
    return index["known"].map({True: "known", False: "unknown"}) if label == "known" else index[label]


def colouring_of(index: pd.DataFrame, label: str, sources: Sequence[str]) -> Colouring:
    """The colouring of the rows of an index; sources: the classes, in their order.

    Of more values than there are styles, those with the fewest rows stay grey.
    """
    texts = label_texts(index, label)
    counts = texts[texts != ""].value_counts()
    order = {"split": SPLITS, "known": ("known", "unknown"), "variant": ALL_VARIANTS, "source": tuple(sources)}.get(label, ())
    values = [value for value in order if value in counts] + sorted(set(counts.index) - set(order), key=_by_number)
    styled = set(counts.sort_index().sort_values(ascending=False, kind="stable").index[:NUM_STYLES])
    numbers = iter(range(NUM_STYLES))
    styles = [next(numbers) if value in styled else GREY for value in values]
    return Colouring(label, values, pd.Index(values).get_indexer(texts), styles)


def _by_number(value: str) -> tuple[int, str]:
    return (int(value), "") if value.isdecimal() else (-1, value)  # pseudo-speakers are numbers: 2 before 10
