"""A seeded draw of rows that keeps the shares of splits, known and unknown, sources and languages."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sourcetracing.runtime.seeding import rng

STRATA = ("split", "known", "source", "language")


def stratified_rows(index: pd.DataFrame, count: int, seed: int, purpose: str) -> np.ndarray:
    """Positions of at most `count` rows, ascending. Every stratum gets its share of them, give or take one."""
    if len(index) <= count:
        return np.arange(len(index))
    ties = rng(seed, purpose).random(len(index))
    codes = [pd.factorize(index[column], sort=True)[0] for column in STRATA]
    order = np.lexsort([ties, *reversed(codes)])  # the last key sorts first
    return np.sort(order[((np.arange(count) + 0.5) * len(index) / count).astype(np.int64)])
