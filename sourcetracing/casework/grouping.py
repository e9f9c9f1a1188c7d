"""From log-likelihood ratios of pairs of files to groups, and how stable these are.

Shapes: N files, G groups, D draws. LLRs are natural logarithms; people are shown log10. A grouping is labels (N,):
0 ... G-1, the largest group first; `NO_GROUP` for files that fit none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sourcetracing.casework.wording import LN_10
from sourcetracing.errors import UserError
from sourcetracing.runtime.progress import bar
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.grouping import Grouping
from sourcetracing.verification.calibrating import LlrLine

NO_GROUP, NOT_DRAWN = -1, -2
BLOCK_ROWS = 512
SAME_SOUND = 0.9999  # cosine above which two files are one recording, or nothing that the system hears tells them apart


def threshold_of(prior: float) -> float:
    """The LLR from which one source is the likelier explanation, with that share of pairs of one source: -logit(prior)."""
    return float(np.log1p(-prior) - np.log(prior))


def pair_llrs(directions: np.ndarray, line: LlrLine) -> np.ndarray:
    """LLRs (N, N) float32, symmetric, of directions (N, D) of length 1; a block of rows at a time. The diagonal means nothing."""
    llrs = np.empty((len(directions), len(directions)), dtype=np.float32)
    for start in range(0, len(directions), BLOCK_ROWS):
        llrs[start : start + BLOCK_ROWS] = line.llrs(directions[start : start + BLOCK_ROWS] @ directions.T)
    return llrs


def near_copies(*spaces: np.ndarray) -> list[np.ndarray]:
    """Sets of files, two or more each, joined by pairs whose cosine is above `SAME_SOUND` in each of the spaces (N, D), rows of length 1.

    Several spaces: in one of few dimensions, such as that of LDA, other recordings are as near, too.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    num_files = len(spaces[0])
    files = first = own = np.arange(num_files)  # first: of each set joined so far, by the set of each file, `own`
    for start in range(0, num_files, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        one, other = np.nonzero(np.logical_and.reduce([space[rows] @ space.T > SAME_SOUND for space in spaces]))
        pairs = np.concatenate([one + start, files]), np.concatenate([other, first[own]])
        joined = coo_array((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(num_files, num_files))
        _, first, own = np.unique(connected_components(joined, directed=False)[1], return_index=True, return_inverse=True)
    return [rows for rows in members_of(own) if len(rows) > 1]


def group_files(llrs: np.ndarray, settings: Grouping) -> np.ndarray:
    """A grouping of files by their LLRs (N, N), N >= 2.

    agglomerative: average linkage; groups are joined while the mean LLR of their pairs is at least `threshold_of` the prior.
    hdbscan: its tree cut at the same LLR. Files are of one group that are joined by a chain of files, each at least that near to its next
    and to `least_files` - 1 others; no mean has a say.
    """
    found = (_agglomerative if settings.method == "agglomerative" else _by_density)(llrs, settings)
    return _largest_first(found)


def _agglomerative(llrs: np.ndarray, settings: Grouping) -> np.ndarray:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    highest = float(llrs.max())  # distances are what an LLR lacks to it: none is negative, and means of them are means of LLRs
    tree = linkage(squareform(highest - llrs, checks=False), "average")
    return fcluster(tree, highest - threshold_of(settings.prior), "distance") - 1


def _by_density(llrs: np.ndarray, settings: Grouping) -> np.ndarray:
    from sklearn.cluster import HDBSCAN

    if len(llrs) < settings.least_files:
        return np.full(len(llrs), NO_GROUP)
    # Its own choice of clusters knows no LLR that is enough, and finds no single one. (cluster_selection_epsilon, which is there for that,
    # ends in a TypeError where it joins anything: scikit-learn 1.9 with numpy 2.4.)
    distances = (llrs.max() - llrs).astype(np.float64)
    np.fill_diagonal(distances, 0)
    fitted = HDBSCAN(min_cluster_size=settings.least_files, metric="precomputed", copy=False).fit(distances)
    found = fitted.dbscan_clustering(float(llrs.max()) - threshold_of(settings.prior), min_cluster_size=settings.least_files)
    return np.where(found < 0, NO_GROUP, found)


def _largest_first(labels: np.ndarray) -> np.ndarray:
    """Numbers groups anew: by size, then by their first file."""
    is_grouped = labels != NO_GROUP
    _, first, own, sizes = np.unique(labels[is_grouped], return_index=True, return_inverse=True, return_counts=True)
    place = np.empty(len(sizes), dtype=int)
    place[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    numbered = np.full(len(labels), NO_GROUP)
    numbered[is_grouped] = place[own]
    return numbered


def num_groups(labels: np.ndarray) -> int:
    """Of a grouping; files without a group are not counted."""
    return int(labels.max()) + 1


def each_alone(labels: np.ndarray) -> np.ndarray:
    """The same grouping with files without a group as groups of one, for figures that know no other kind."""
    alone = labels == NO_GROUP
    return np.where(alone, num_groups(labels) + np.cumsum(alone) - 1, labels)


@dataclass(frozen=True)
class Draws:
    """What comes out when dev's sources, and the files, are drawn anew.

    numbers (D,): of groups of all files; labels (D, N): of a share of them, NOT_DRAWN for the others, each file without a group with a
    label of its own. num_silent: draws of dev whose LLRs cannot
    decide anything; they are in neither.
    """

    numbers: np.ndarray
    labels: np.ndarray
    num_silent: int

    @property
    def range(self) -> tuple[int, int] | None:
        """What 95 % of the draws of dev lie within; None without any."""
        if not len(self.numbers):
            return None
        low, high = np.quantile(self.numbers, [0.025, 0.975], method="inverted_cdf")
        return int(low), int(high)

    def together(self, rows: np.ndarray) -> np.ndarray:
        """(n, n): in what share of the draws that have both are two files of `rows` (n,) in one group; nan where none has."""
        same, both = np.zeros((2, len(rows), len(rows)), dtype=np.float32)
        for labels in self.labels[:, rows]:
            is_drawn = labels != NOT_DRAWN
            pairs = is_drawn[:, None] & is_drawn
            both += pairs
            same += pairs & (labels[:, None] == labels)
        return np.divide(same, both, out=np.full_like(same, np.nan), where=both > 0)

    def alone(self, row: int) -> float:
        """In what share of the draws that have a file no other one is in its group; nan where none has."""
        own = self.labels[self.labels[:, row] != NOT_DRAWN]
        return float(np.mean((own == own[:, [row]]).sum(axis=1) == 1)) if len(own) else np.nan


def draw_again(directions: np.ndarray, lines: Iterable[LlrLine], settings: Grouping, seed: int) -> Draws:
    """Groups directions (N, D) by each of `lines`: all files for their number, and a share of them for who is with whom."""
    numbers, labels, num_silent = [], [], 0
    random, num_drawn = rng(seed, "grouping"), max(2, round(settings.share * len(directions)))
    for line in bar(lines, total=settings.draws, desc="draws", unit="draw"):
        drawn = np.sort(random.choice(len(directions), num_drawn, replace=False))
        if not _decides(line, settings):
            num_silent += 1
            continue
        llrs = pair_llrs(directions, line)
        numbers.append(num_groups(group_files(llrs, settings)))
        labels.append(np.full(len(directions), NOT_DRAWN, dtype=np.int32))
        labels[-1][drawn] = each_alone(group_files(llrs[np.ix_(drawn, drawn)], settings))
    return Draws(np.array(numbers, dtype=int), np.array(labels, dtype=np.int32).reshape(len(labels), len(directions)), num_silent)


def stability_of(draws: Draws, labels: np.ndarray) -> np.ndarray:
    """(N,): in what share of the draws a file is with another one of its group, on average; of a file that is alone: with nobody."""
    found = np.full(len(labels), np.nan)
    for rows in members_of(each_alone(labels)):
        if len(rows) == 1:
            found[rows] = draws.alone(int(rows[0]))
            continue
        shares = draws.together(rows)
        np.fill_diagonal(shares, np.nan)
        has_any = ~np.isnan(shares).all(axis=1)
        found[rows[has_any]] = np.nanmean(shares[has_any], axis=1)
    return found


def members_of(labels: np.ndarray) -> list[np.ndarray]:
    """The files of each group, by its number; those without a group are in none."""
    order = np.argsort(labels, kind="stable")
    order = order[np.searchsorted(labels[order], 0) :]
    return np.split(order, np.searchsorted(labels[order], np.arange(1, num_groups(labels)))) if len(order) else []


@dataclass(frozen=True)
class Neighbours:
    """Of each file (N,): mean LLR to the others of its group (nan without any), the nearest other group (-1: none), mean LLR to that."""

    within: np.ndarray
    nearest: np.ndarray
    to_nearest: np.ndarray


def neighbours_of(llrs: np.ndarray, labels: np.ndarray) -> Neighbours:
    """Means over the LLRs (N, N) of a grouping."""
    members = members_of(labels)
    if not members:
        return Neighbours(np.full(len(labels), np.nan), np.full(len(labels), -1), np.full(len(labels), np.nan))
    sizes = np.array([len(rows) for rows in members])
    means, within = np.empty((len(labels), len(members)), dtype=np.float32), np.full(len(labels), np.nan)
    for number, rows in enumerate(members):
        means[:, number] = llrs[:, rows].mean(axis=1, dtype=np.float64)
    rows = np.flatnonzero(labels >= 0)
    own = labels[rows]
    others = sizes[own] - 1
    total = means[rows, own] * sizes[own] - llrs[rows, rows]
    within[rows] = np.divide(total, others, out=np.full(len(rows), np.nan), where=others > 0)
    means[rows, own] = -np.inf
    nearest = means.argmax(axis=1)
    to_nearest = means[np.arange(len(labels)), nearest]
    has_any = np.isfinite(to_nearest)
    return Neighbours(within, np.where(has_any, nearest, -1), np.where(has_any, to_nearest, np.nan))


def require_decisive(line: LlrLine, settings: Grouping, run: object) -> None:
    """Raises `UserError` where the line says nothing, or its bounds lie on one side of the threshold: the answer would be no finding."""
    if _decides(line, settings):
        return
    if not line.says_something or line.low == line.high:
        raise UserError(
            f"the LLRs of {run} say nothing: on its dev, files of one source are not alike enough to tell them from files of two. "
            "Take another run, or another trace.compare_by"
        )
    threshold = threshold_of(settings.prior)
    what, so = ("above", "each would be alone") if threshold > line.high else ("not above", "all would be one group")
    least, most = (1 / (1 + np.exp(bound)) for bound in (line.high, line.low))
    raise UserError(
        f"grouping.prior={settings.prior:g} joins groups from a log10 LR of {threshold / LN_10:.2f} on, {what} what dev of {run} supports "
        f"({line.low / LN_10:.2f} to {line.high / LN_10:+.2f}): whatever the files are, {so}. "
        f"Take a prior between {least:.3g} and {most:.3g}"
    )


def _decides(line: LlrLine, settings: Grouping) -> bool:
    return line.says_something and line.low < threshold_of(settings.prior) <= line.high
