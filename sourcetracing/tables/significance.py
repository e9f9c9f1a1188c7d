"""Is one system better than another, one kind of cell easier than another? Paired bootstrap over the utterances that both were tested on.

Systems tested on the same utterances see the same resamples (`bootstrap.Resampler`), so their difference is computed inside each resample
and what is hard for both drops out of it. Several seeds are averaged first. The intervals say what other utterances of the same kind would
change; that of another training run is in the spread over seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from sourcetracing.metrics.bootstrap import percentile_interval
from sourcetracing.tables.axes import CROSS, MONO, POOLED, kind_of_cell
from sourcetracing.tables.making import KEY, Tables

CONTRAST_COLUMNS = ["system", "other", "train", "test", "macro_f1", "other_macro_f1", "difference", "ci_low", "ci_high", "better"]
RANK_COLUMNS = ["kind", "seeds", "kendall_tau", "system", "mean_rank", "best_rank", "worst_rank"]


@dataclass(frozen=True)
class Contrast:
    """Macro-F1 of two sides, their difference (first minus second) and its 95 % interval; all fractions."""

    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        return self.first - self.second

    @property
    def verdict(self) -> str:
        """`more`, `less`, or `open` where the interval holds zero (or there is none)."""
        return "more" if self.low > 0 else "less" if self.high < 0 else "open"


def contrast(
    tables: Tables, first: tuple[str, list[tuple[str, str]]], second: tuple[str, list[tuple[str, str]]], variant: str = POOLED
) -> Contrast | None:
    """Mean over some cells of one system against that of another (or of the same on other cells); None where one has no score.

    first, second: (system, [(training set, test set), ...]).
    """
    sides = [_mean_of(tables, system, cells, variant) for system, cells in (first, second)]
    if any(side is None for side in sides):
        return None
    (value_1, samples_1), (value_2, samples_2) = sides
    low, high = percentile_interval(samples_1 - samples_2)
    return Contrast(value_1, value_2, low, high)


def cells_of_kind(tables: Tables, kind: str) -> list[tuple[str, str]]:
    """(training set, test set) of the mono or cross cells of a table, or those of a group of speakers."""
    return [cell for cell in tables.axes.place_of if kind_of_cell(*cell) == kind]


def _mean_of(tables: Tables, system: str, cells: list[tuple[str, str]], variant: str) -> tuple[float, np.ndarray] | None:
    wanted = {(system, *cell, variant) for cell in cells}
    keys = [key for key in tables.resampled if key[:4] in wanted]
    if not keys:
        return None
    figures = tables.cells.set_index(KEY)["macro_f1"]
    return float(figures.loc[keys].mean()), np.mean([tables.resampled[key] for key in keys], axis=0)


def compare_systems(tables: Tables, variant: str = POOLED) -> pd.DataFrame:
    """Every two systems in every cell of a table: columns CONTRAST_COLUMNS; `better` is the better one, "" where it is open."""
    rows = []
    for system, other in combinations(tables.axes.systems, 2):
        for cell in tables.axes.place_of:
            if found := contrast(tables, (system, [cell]), (other, [cell]), variant):
                better = {"more": system, "less": other, "open": ""}[found.verdict]
                figures = [found.first, found.second, found.difference, found.low, found.high]
                rows.append([system, other, *cell, *figures, better])
    return pd.DataFrame(rows, columns=CONTRAST_COLUMNS)


def rank_stability(tables: Tables, variant: str = POOLED) -> pd.DataFrame:
    """Do the systems keep their order from seed to seed? Kendall's tau, mean over pairs of seeds, and each system's ranks (1 = best).

    Columns RANK_COLUMNS, for mono and cross means; empty with one seed or one system.
    """
    rows = []
    for kind in (MONO, CROSS):
        pairs = zip(tables.cells["train"], tables.cells["test"], strict=True)
        of_kind = np.array([kind_of_cell(train, test) == kind for train, test in pairs], dtype=bool)
        cells = tables.cells[of_kind & (tables.cells["variant"] == variant)]
        means = cells.pivot_table(index="system", columns="seed", values="macro_f1", aggfunc="mean").dropna()
        if min(means.shape, default=0) < 2:
            continue
        ranks = means.rank(ascending=False)
        tau = float(np.mean([kendalltau(means[one], means[other]).statistic for one, other in combinations(means.columns, 2)]))
        rows += [
            [kind, means.shape[1], tau, system, float(own.mean()), float(own.min()), float(own.max())] for system, own in ranks.iterrows()
        ]
    return pd.DataFrame(rows, columns=RANK_COLUMNS)
