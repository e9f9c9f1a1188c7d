"""Figures of verification with 95 % intervals: over all trials, and for each condition.

Trials share utterances, and utterances sources, so trials are not drawn: a resample draws the sources, and within each its utterances (a
model of several is one), and a trial weighs what its sources and utterances were drawn (the pigeonhole bootstrap of Owen 2007, which errs
on the wide side). All scorings see the same resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from sourcetracing.metrics.bootstrap import percentile_interval
from sourcetracing.metrics.verification import actual_dcf, cllr, curve_of, min_cllr, min_dcf
from sourcetracing.runtime.seeding import rng
from sourcetracing.verification.trials import OTHER, SAME, TrialList

ALL = "all"  # every condition together
BLOCK_ELEMENTS = 1 << 21  # weights of trials at a time: 16 MB in each of several arrays


def min_dcf_name(prior: float) -> str:
    """The column of minDCF at a prior."""
    return f"min_dcf_{prior:g}"


def act_dcf_name(prior: float) -> str:
    """The column of actDCF at a prior."""
    return f"act_dcf_{prior:g}"


class TrialDraws:
    """Resamples of the sources and utterances behind trials. source_of: utt_id -> source."""

    def __init__(self, trials: TrialList, source_of: Mapping[str, str], num_samples: int, seed: int):
        names = {name: members[0] if len(members) == 1 else f"model\n{name}" for name, members in trials.models.items()}
        of_unit = {names[name]: source_of[members[0]] for name, members in trials.models.items()}
        of_unit |= {utt_id: source_of[utt_id] for utt_id in trials.table["test"].unique()}
        units, sources = pd.Index(sorted(of_unit)), pd.Index(sorted(set(of_unit.values())))
        source_of_unit = sources.get_indexer([of_unit[unit] for unit in units])
        self.sides = [units.get_indexer(side) for side in (trials.table["enrol"].map(names), trials.table["test"])]
        self.sources = [source_of_unit[side] for side in self.sides]
        self.of_sources = _draws(len(sources), num_samples, rng(seed, "sources of trials"))
        self.of_units = np.empty((num_samples, len(units)), np.uint16)
        for number, source in enumerate(sources):
            own = np.flatnonzero(source_of_unit == number)
            self.of_units[:, own] = _draws(len(own), num_samples, rng(seed, "utterances of trials", source))

    def weights(self, trials: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """(which samples, their weights (S, T)) of some trials (T,), by number, a block at a time."""
        num_samples = len(self.of_units)
        size = max(1, BLOCK_ELEMENTS // max(1, len(trials)))
        for start in range(0, num_samples, size):
            block = slice(start, min(start + size, num_samples))
            yield block, self._of(self.of_sources, self.sources, trials, block) * self._of(self.of_units, self.sides, trials, block)

    @staticmethod
    def _of(counts: np.ndarray, sides: Sequence[np.ndarray], trials: np.ndarray, block: slice) -> np.ndarray:
        """What is on both sides was drawn once."""
        first, second = (side[trials] for side in sides)
        weights = counts[block].astype(np.float64)
        return weights[:, first] * np.where(first == second, 1.0, weights[:, second])


def _draws(size: int, num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of `size` members is drawn in `size` draws, (num_samples, size)."""
    return generator.multinomial(size, np.full(size, 1 / size), num_samples).astype(np.uint16)


def evaluate(
    trials: TrialList,
    source_of: Mapping[str, str],
    scores: Mapping[str, np.ndarray],
    llrs: Mapping[str, np.ndarray],
    *,
    priors: Sequence[float],
    num_samples: int,
    seed: int,
) -> pd.DataFrame:
    """One row for each condition (first ALL) and scoring: columns condition, scoring, targets, nontargets, then figures, _low and _high.

    scores, llrs: (T,) by scoring. Trials with an unknown label are left out; a condition with one kind of trials has nan for its figures.
    """
    draws, rows = TrialDraws(trials, source_of, num_samples, seed), []
    for condition, chosen in _conditions(trials):
        is_target = trials.labels[chosen] == SAME
        counts = {"targets": int(is_target.sum()), "nontargets": int((~is_target).sum())}
        figures = _with_intervals({name: (scores[name][chosen], llrs[name][chosen]) for name in scores}, is_target, draws, chosen, priors)
        rows += [{"condition": condition, "scoring": name, **counts, **found} for name, found in figures.items()]
    return pd.DataFrame(rows)


def _conditions(trials: TrialList) -> Iterator[tuple[str, np.ndarray]]:
    """(name, numbers of its labelled trials)."""
    labelled, names = np.isin(trials.labels, (SAME, OTHER)), trials.table["condition"].to_numpy()
    yield ALL, np.flatnonzero(labelled)
    for name in sorted(set(names[labelled]) - {""}):
        yield name, np.flatnonzero(labelled & (names == name))


def _with_intervals(
    scored: Mapping[str, tuple[np.ndarray, np.ndarray]],
    is_target: np.ndarray,
    draws: TrialDraws,
    chosen: np.ndarray,
    priors: Sequence[float],
) -> dict[str, dict[str, float]]:
    """scoring -> figure, figure_low, figure_high; nan where there is one kind of trials only, or none."""
    if is_target.all() or not is_target.any():
        names = figures_of(np.arange(2.0), np.arange(2.0), np.array([False, True]), priors, np.ones((1, 2)))
        return {name: {f"{figure}{end}": np.nan for figure in names for end in ("", "_low", "_high")} for name in scored}
    values = {name: figures_of(*pair, is_target, priors, np.ones((1, len(chosen)))) for name, pair in scored.items()}
    samples: dict[str, dict[str, list[np.ndarray]]] = {name: {figure: [] for figure in found} for name, found in values.items()}
    for _, weights in draws.weights(chosen):
        for name, pair in scored.items():
            for figure, part in figures_of(*pair, is_target, priors, weights).items():
                samples[name][figure].append(part)
    return {
        name: {key: number for figure in found for key, number in _shown(figure, found, samples[name])} for name, found in values.items()
    }


def _shown(figure: str, values: Mapping[str, np.ndarray], samples: Mapping[str, list[np.ndarray]]) -> Iterator[tuple[str, float]]:
    value = float(values[figure][0])
    low, high = percentile_interval(np.concatenate([*samples[figure], []]), value)
    # Of few sources each resample lacks some, and with them the pairs that were hard: an interval never leaves out its figure.
    yield from ((figure, value), (f"{figure}_low", min(low, value)), (f"{figure}_high", max(high, value)))


def figures_of(
    scores: np.ndarray, llrs: np.ndarray, is_target: np.ndarray, priors: Sequence[float], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Every figure (S,) of trials (T,) for weights (S, T); nan where these leave one kind of trials only."""
    curve = curve_of(scores, is_target, weights)
    figures = {"eer": curve.eer}
    for prior in priors:
        figures |= {min_dcf_name(prior): min_dcf(curve, prior), act_dcf_name(prior): actual_dcf(llrs, is_target, prior, weights)}
    return {**figures, "cllr": cllr(llrs, is_target, weights), "min_cllr": min_cllr(scores, is_target, weights)}
