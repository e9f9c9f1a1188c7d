"""Does one system score more than another, one kind of cell more than another? Paired bootstrap, corrected for how many are compared.

Every test set takes its slice of one draw of all eval utterances (`bootstrap.Draws`), so a difference is computed inside each resample and
what is hard for both sides drops out of it, also where two test sets share utterances. With one seed the answer is about these two trained
networks and no more: another training run of either, or another processor, may turn it round. From `LEAST_SEEDS` seeds on these are
resampled too. The p-values of a table are corrected by Holm's method; `comparisons` says how many they were.

Sides whose cells have different classes are compared on the classes that all of them have, or not at all (`Contrast.reason`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from sourcetracing.metrics.bootstrap import LEAST_SEEDS, holm, percentile_interval, two_sided_p
from sourcetracing.metrics.classification import f1_of_present, mean_over_present
from sourcetracing.tables import class_lists
from sourcetracing.tables.axes import CROSS, MONO, POOLED, kind_of_cell
from sourcetracing.tables.making import KEY, Tables, resampled_mean

FIGURE_COLUMNS = [
    "macro_f1",
    "other_macro_f1",
    "difference",
    "ci_low",
    "ci_high",
    "num_classes",
    "p",
    "p_holm",
    "comparisons",
    "seeds",
    "scope",
]
CONTRAST_COLUMNS = ["system", "other", "train", "test", *FIGURE_COLUMNS, "better"]
RANK_COLUMNS = ["kind", "seeds", "kendall_tau", "system", "mean_rank", "best_rank", "worst_rank"]
LEVEL = 0.05


@dataclass(frozen=True)
class Contrast:
    """Macro-F1 of two sides and the 95 % interval of their difference (first minus second), all fractions; p of no difference.

    seeds: of the side that has fewer; 1 where all seeds of both gave the same, as fitted systems do. networks: how many trained ones both
    sides have. num_classes: over how many classes. reason: why the sides cannot be compared, else "".
    """

    first: float
    second: float
    low: float
    high: float
    p: float
    seeds: int
    networks: int
    num_classes: str
    reason: str = ""

    @property
    def difference(self) -> float:
        return self.first - self.second

    def figures(self, p_holm: float, comparisons: int) -> list:
        """The values of FIGURE_COLUMNS."""
        own = [self.first, self.second, self.difference, self.low, self.high, self.num_classes, self.p]
        return [*own, p_holm, comparisons, self.seeds, scope_of(self.seeds, self.networks)]


def verdict_of(difference: float, p_holm: float) -> str:
    """`more`, `less`, or `open` where the corrected p-value is not below LEVEL (or there is none)."""
    if not p_holm < LEVEL:
        return "open"
    return "more" if difference > 0 else "less"


def scope_of(seeds: int, networks: int) -> str:
    """What a comparison speaks of, by how many training seeds and trained systems it rests on."""
    if seeds >= LEAST_SEEDS:
        return f"{seeds} training seeds x utterances"
    if seeds > 1:
        return f"between the systems of these {seeds} seeds"
    number = {1: "this trained system", 2: "between these two trained systems"}
    return number.get(networks, f"between these {networks} trained systems")


def contrast(
    tables: Tables, first: tuple[str, list[tuple[str, str]]], second: tuple[str, list[tuple[str, str]]], variant: str = POOLED
) -> Contrast | None:
    """Mean over some cells of one system against that of another (or of the same on other cells); None where one has no score.

    first, second: (system, [(training set, test set), ...]). Two systems are compared on the cells and seeds that both have. Where cells
    have different classes, those that all have are compared.
    """
    sides = [_keys_of(tables, system, cells, variant) for system, cells in (first, second)]
    if set(first[1]) == set(second[1]):
        shared = {key[1:] for key in sides[0]} & {key[1:] for key in sides[1]}
        sides = [[key for key in keys if key[1:] in shared] for keys in sides]
    if not all(sides):
        return None
    sides = _without_equal_seeds(tables, sides)
    lists = [[tables.confusions[key] for key in keys] for keys in sides]
    seeds, common = min(len({key[4] for key in keys}) for keys in sides), None
    networks = len({(key[0], key[1], key[4]) for keys in sides for key in keys})
    num_classes = class_lists.range_text(int(class_lists.present(confusion).sum()) for confusion in [*lists[0], *lists[1]])
    if not class_lists.are_alike(*lists):
        common = class_lists.common_classes([*lists[0], *lists[1]])
        if not common.any():
            return _refused(seeds, networks, num_classes, f"its cells have {num_classes} classes each and none that all of them have")
        if not all(key in tables.resampled_f1 for keys in sides for key in keys):
            return _refused(
                seeds, networks, num_classes, f"its cells have different classes, which the variant {variant} is not compared by"
            )
        num_classes = f"{common.sum()} in common"
    (value_1, samples_1), (value_2, samples_2) = (_mean_of(tables, keys, common) for keys in sides)
    low, high = percentile_interval(samples_1 - samples_2, value_1 - value_2)
    p = two_sided_p(value_1 - value_2, samples_1 - samples_2, seeds)
    return Contrast(value_1, value_2, low, high, p, seeds, networks, num_classes)


def _without_equal_seeds(tables: Tables, sides: list[list[tuple]]) -> list[list[tuple]]:
    """One seed of each cell where no side differs from seed to seed: what is fitted is one result, however many seeds it was run with."""
    firsts = [{key[:4]: key for key in reversed(keys)} for keys in sides]
    for keys, first in zip(sides, firsts, strict=True):
        for key in keys:
            one = first[key[:4]]
            is_same = np.array_equal(tables.resampled[key], tables.resampled[one], equal_nan=True)
            if not (is_same and np.array_equal(tables.confusions[key], tables.confusions[one])):
                return sides
    return [list(first.values()) for first in firsts]


def _refused(seeds: int, networks: int, num_classes: str, reason: str) -> Contrast:
    nothing = float("nan")
    return Contrast(nothing, nothing, nothing, nothing, nothing, seeds, networks, num_classes, reason)


def cells_of_kind(tables: Tables, kind: str) -> list[tuple[str, str]]:
    """(training set, test set) of the mono or cross cells of a table, or those of a group of speakers."""
    return [cell for cell in tables.axes.place_of if kind_of_cell(*cell) == kind]


def _keys_of(tables: Tables, system: str, cells: list[tuple[str, str]], variant: str) -> list[tuple]:
    wanted = {(system, *cell, variant) for cell in cells}
    return [key for key in tables.resampled if key[:4] in wanted]


def _mean_of(tables: Tables, keys: list[tuple], common: np.ndarray | None) -> tuple[float, np.ndarray]:
    """Mean over cells, then over seeds, and its resamples: of the cells' own macro-F1, or on the `common` classes (C,)."""
    if common is None:
        values, samples = tables.cells.set_index(KEY)["macro_f1"], {key: tables.resampled[key] for key in keys}
    else:
        by_class = {key: f1_of_present(tables.confusions[key])[common].mean() for key in keys}
        values = pd.Series(by_class).rename_axis(KEY)
        samples = {key: mean_over_present(tables.resampled_f1[key][:, common]) for key in keys}
    return float(values.loc[keys].groupby(level="seed").mean().mean()), resampled_mean(samples, tables.seed)


def compare_systems(tables: Tables, variant: str = POOLED) -> pd.DataFrame:
    """Every two systems in every cell of a table: columns CONTRAST_COLUMNS; `better`: the one that scores more, "" where it is open."""
    found = [
        (system, other, cell, made)
        for system, other in combinations(tables.axes.systems, 2)
        for cell in tables.axes.place_of
        if (made := contrast(tables, (system, [cell]), (other, [cell]), variant))
    ]
    corrected, rows = holm([made.p for *_, made in found]), []
    for (system, other, cell, made), p_holm in zip(found, corrected, strict=True):
        better = {"more": system, "less": other, "open": ""}[verdict_of(made.difference, p_holm)]
        rows.append([system, other, *cell, *made.figures(p_holm, len(found)), better])
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
        if min(means.shape) < 2:
            continue
        ranks = means.rank(ascending=False)
        tau = float(np.mean([kendalltau(means[one], means[other]).statistic for one, other in combinations(means.columns, 2)]))
        rows += [
            [kind, means.shape[1], tau, system, float(own.mean()), float(own.min()), float(own.max())] for system, own in ranks.iterrows()
        ]
    return pd.DataFrame(rows, columns=RANK_COLUMNS)
