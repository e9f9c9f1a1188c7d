"""Percentile bootstrap, corrected for bias, over utterances, and over training seeds where there are enough.

The variants of an utterance are the same words in the same voice: their errors go together, so they are resampled together. A
resample is a vector of weights (how often each utterance was drawn); its confusion matrix is the weighted sum of the utterances'
own matrices, which makes a thousand resamples one matrix product.

`Draws` are the weights of *all* eval utterances of a corpus, drawn once. Every test set takes its slice: two test sets that share
utterances share their weights, so means over cells and differences between systems, variants and test sets are computed inside each
resample, with what goes together left together. Drawn for each test set anew, overlapping sets would count as independent evidence.

Utterances are drawn within language x class, as the corpora are composed; n - 1 of n, weighted n / (n - 1), for drawing n of n
gives intervals too narrow by that factor (McCarthy and Snowden 1985). With a few utterances for each class this matters. How often
the intervals hold the truth is simulated in benchmarks/bootstrap_coverage.py; docs/tables.md has its table.

An interval over utterances says how much the figure of *these trained networks* would move with other utterances of the same kind.
From LEAST_SEEDS seeds on, `over_seeds` resamples these too, and it speaks of the way of training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.stats import norm, t

LEAST_SEEDS = 3  # fewer say next to nothing of the spread between training runs
COARSE = 0.1  # share of the resamples that have one and the same value
LIMITS_OF_BIAS = (0.25, 0.75)  # share of resamples below the figure: beyond, what moved it is no mere bias
BLOCK_ELEMENTS = 1 << 22  # weights handled at a time: 32 MB of draws


class Draws:
    """Resamples of units (utterances, or what else is drawn together): `counts` (num_samples, U) times `scale` (U,) is their weight.

    strata (U,): the number of the stratum of each unit, which is drawn within its members; generator_of: stratum -> its random state,
    so that a stratum is drawn the same whatever other strata there are.
    """

    def __init__(self, strata: np.ndarray, num_samples: int, generator_of: Callable[[int], np.random.Generator]):
        strata = np.asarray(strata)
        self.counts = np.empty((num_samples, len(strata)), dtype=np.uint16)
        self.scale = np.ones(len(strata))
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            self.counts[:, members] = _draw_counts(len(members), num_samples, generator_of(int(stratum)))
            if len(members) > 1:
                self.scale[members] = len(members) / (len(members) - 1)

    def __len__(self) -> int:
        return len(self.counts)

    def confusions(self, units: np.ndarray, labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
        """Confusion matrices (num_samples, C, C) of the resamples, from scored rows (N,) of any units: unit number, label, prediction."""
        members, inside = np.unique(units, return_inverse=True)
        own = utterance_confusions(inside, labels, predictions, len(members), num_classes).reshape(len(members), -1)
        total = np.zeros((len(self), own.shape[1]))
        for scale in np.unique(self.scale[members]):  # units of one scale at once: their product is exact, whatever the order of summation
            chosen = np.flatnonzero(self.scale[members] == scale)
            total += scale * _product(self.counts, members[chosen], own[chosen])
        return total.reshape(len(self), num_classes, num_classes)


class Resampler:
    """Resamples of one set of utterances, drawn within their class; `classes` (U,) is that of each, 0 to num_classes - 1."""

    def __init__(self, classes: np.ndarray, num_classes: int, num_samples: int, generator: np.random.Generator):
        self.num_classes = num_classes
        self.draws = Draws(classes, num_samples, lambda stratum: generator)
        self.row_scale = np.ones((num_classes, 1))  # a class is a row of the confusion matrix
        self.row_scale[np.asarray(classes), 0] = self.draws.scale

    @property
    def weights(self) -> np.ndarray:
        """How often each utterance was drawn, (num_samples, U); times `row_scale` of its class it is its weight."""
        return self.draws.counts

    def __len__(self) -> int:
        return len(self.draws)

    def confusions(self, utterances: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """Confusion matrices (num_samples, C, C) of the resamples, from scored rows (N,): utterance index, label, prediction."""
        return self.draws.confusions(utterances, labels, predictions, self.num_classes)


def over_seeds(samples: Mapping[int, np.ndarray], generator_of: Callable[[Sequence[int]], np.random.Generator]) -> np.ndarray:
    """Resamples (num_samples,) of a mean over training seeds, from those of each seed, which share the draws of utterances.

    From LEAST_SEEDS on the seeds are drawn too: each resample of utterances is shifted by one of the seeds' own means. A bootstrap of a
    few numbers says too little of their spread, so n - 1 of n are drawn and their deviation is stretched by Student's over the normal
    quantile, as in the interval of a mean of n numbers. (Weighting each seed's resamples instead would count twice what differs between
    seeds by chance of the utterances: intervals a quarter wider.) generator_of: the seeds -> random state; the same seeds are drawn alike
    everywhere, so differences stay paired.
    """
    seeds = sorted(samples)
    stacked = np.stack([samples[seed] for seed in seeds], axis=1)
    if len(seeds) < LEAST_SEEDS:
        return stacked.mean(axis=1)
    counts = _draw_counts(len(seeds), len(stacked), generator_of(seeds))
    shift = _stretch(len(seeds)) * (counts / (len(seeds) - 1) - 1 / len(seeds)) @ np.nanmean(stacked, axis=0)
    return stacked.mean(axis=1) + shift


def _stretch(num_seeds: int) -> float:
    """Student's over the normal quantile of a 95 % interval."""
    return float(t.ppf(0.975, num_seeds - 1) / norm.ppf(0.975))


def two_sided_p(difference: float, samples: np.ndarray, num_seeds: int = 1) -> float:
    """How often a difference as large would be seen if there were none: normal with the resamples' standard deviation.

    Where seeds were drawn too (`over_seeds`), Student's t with the seeds' degrees of freedom: at Holm's small levels its tail is much
    fatter than the normal one, which the stretched spread meets at the 5 % level alone.

    A thousand resamples end at p = 0.002, which Holm's correction of a table of comparisons multiplies by their number; hence the normal
    tail. nan without resamples; 1 where neither differs in any resample.
    """
    samples = samples[~np.isnan(samples)]
    if len(samples) < 2 or np.isnan(difference):
        return float("nan")
    sd = samples.std(ddof=1)
    if sd == 0:
        return 1.0 if difference == 0 else 0.0
    if num_seeds < LEAST_SEEDS:
        return float(2 * norm.sf(abs(difference) / sd))
    return float(2 * t.sf(abs(difference) / sd * _stretch(num_seeds), num_seeds - 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's corrected p-values: held against a level as they are, the chance of any false one stays below it. nan stays nan."""
    values = np.asarray(p_values, dtype=float)
    corrected = np.full(len(values), np.nan)
    order = [place for place in np.argsort(values, kind="stable") if not np.isnan(values[place])]
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[place]))
        corrected[place] = largest
    return corrected


def utterance_confusions(
    utterances: np.ndarray, labels: np.ndarray, predictions: np.ndarray, num_utterances: int, num_classes: int
) -> np.ndarray:
    """Each utterance's own confusion matrix (num_utterances, C, C) float32, from rows (N,): utterance index, label, prediction."""
    cells = (utterances * num_classes + labels) * num_classes + predictions
    counts = np.bincount(cells, minlength=num_utterances * num_classes**2)
    return counts.reshape(num_utterances, num_classes, num_classes).astype(np.float32)


def percentile_interval(samples: np.ndarray, value: float, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper end of the central `level` of resampled figures (num_samples,), corrected for bias; nan left out, nan for no samples.

    value: the figure itself. Macro-F1 of few utterances comes out too low, and lower still in their resamples: where the value is not
    their median, the percentiles that are read move by twice its distance from it (bias-corrected, Efron 1981).
    """
    samples = samples[~np.isnan(samples)]
    if len(samples) == 0 or np.isnan(value):
        return float("nan"), float("nan")
    # The figure and its resamples are summed with other weights: what is equal may differ in the last digit.
    ties = np.isclose(samples, value, rtol=1e-9, atol=1e-12)
    below = np.mean((samples < value) & ~ties) + np.mean(ties) / 2
    # Of a handful of utterances the resamples have a handful of values: there a shift would leave out the lowest of them, or the highest.
    is_coarse = np.unique(np.round(samples, 9), return_counts=True)[1].max() > COARSE * len(samples)
    bias = 0.0 if is_coarse else norm.ppf(np.clip(below, *LIMITS_OF_BIAS))
    tail = norm.ppf((1 - level) / 2)
    low, high = np.quantile(samples, norm.cdf(2 * bias + np.array([tail, -tail])))
    return float(low), float(high)


def _draw_counts(size: int, num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of `size` members is drawn in size - 1 draws: (num_samples, size). A lone member is always drawn."""
    if size < 2:
        return np.ones((num_samples, size), dtype=np.uint16)
    counts = np.empty((num_samples, size), dtype=np.uint16)
    for block in _blocks(num_samples, size):
        rows = block.stop - block.start
        draws = generator.integers(0, size, (rows, size - 1)) + np.arange(rows)[:, None] * size
        counts[block] = np.bincount(draws.ravel(), minlength=rows * size).reshape(rows, size)
    return counts


def _product(counts: np.ndarray, members: np.ndarray, own: np.ndarray) -> np.ndarray:
    """counts[:, members] @ own, (num_samples, cells) float32: whole numbers below 2**24, hence exact."""
    product = np.empty((len(counts), own.shape[1]), dtype=np.float32)
    for block in _blocks(len(counts), len(members)):
        np.matmul(counts[block][:, members].astype(np.float32), own, out=product[block])
    return product


def _blocks(num_samples: int, num_columns: int) -> list[slice]:
    rows = max(1, BLOCK_ELEMENTS // max(1, num_columns))
    return [slice(start, min(start + rows, num_samples)) for start in range(0, num_samples, rows)]
