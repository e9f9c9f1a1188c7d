"""Figures of merit of detectors, with 95 % intervals: pooled, for each variant, for each language.

Positive class: the unknown source; a score above the threshold calls a row unknown. The threshold comes from dev and is as it is: the
intervals say what other utterances of the same kind would change, drawn with all their variants within their class (the unknown sources
together are one more class; `sourcetracing.metrics.bootstrap`). All detectors see the same resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from sourcetracing.metrics.bootstrap import Resampler, percentile_interval
from sourcetracing.metrics.classification import class_figures
from sourcetracing.metrics.ranking import Ranking, is_above
from sourcetracing.runtime.seeding import rng

POOLED, ALL_LANGUAGES = "pooled", "all"
FIGURES = (
    "eer",
    "auroc",
    "fpr_at_95_tpr",
    "detection_f1",
    "unknown_found",
    "known_rejected",
    "open_macro_f1",
    "open_macro_f1_present",
    "oscr",
    "unknown_accepted_at_95",
)
RANKED = ("eer", "auroc", "fpr_at_95_tpr", "oscr", "unknown_accepted_at_95")  # those that need no threshold
BLOCK_ELEMENTS = 1 << 21  # row weights at a time: 16 MB in each of several arrays


def evaluate(
    table: pd.DataFrame, scores: Mapping[str, np.ndarray], thresholds: Mapping[str, float], num_classes: int, num_samples: int, seed: int
) -> pd.DataFrame:
    """One row for each detector and part: columns detector, language, variant, known, unknown, classes, then FIGURES with _low and _high.

    table: rows (N,) with unit (what the bootstrap draws together), variant, language, label (-1 = unknown), prediction; scores: (N,) by
    detector. A part with only known or only unknown rows has nan for its figures.
    """
    rows = []
    for language, own in _languages(table):
        units, resampler = _units_of(table.iloc[own], num_classes, num_samples, rng(seed, "open set", language))
        for variant, inside in _variants(table["variant"].to_numpy()[own], split_up=language == ALL_LANGUAGES):
            part = Part(table.iloc[own[inside]], units[inside], resampler, num_classes)
            own_scores = {name: values[own[inside]] for name, values in scores.items()}
            for name, figures in part.figures(own_scores, thresholds).items():
                rows.append({"detector": name, "language": language, "variant": variant, **part.counts, **figures})
    return pd.DataFrame(rows)


def evaluate_pooled(
    table: pd.DataFrame, scores: Mapping[str, np.ndarray], thresholds: Mapping[str, float], num_classes: int, num_samples: int, seed: int
) -> pd.DataFrame:
    """The pooled rows of `evaluate` alone, of all languages and variants: the same figures and intervals."""
    units, resampler = _units_of(table, num_classes, num_samples, rng(seed, "open set", ALL_LANGUAGES))
    part = Part(table, units, resampler, num_classes)
    found = part.figures(scores, thresholds)
    return pd.DataFrame([{"detector": name, **part.counts, **figures} for name, figures in found.items()])


def _units_of(table: pd.DataFrame, num_classes: int, num_samples: int, generator: np.random.Generator) -> tuple[np.ndarray, Resampler]:
    """(the number of the unit of each row (N,), what draws the units within their class)."""
    units, names = pd.factorize(table["unit"].to_numpy())
    classes = _as_classes(table["label"].to_numpy(), num_classes)
    first_row = np.full(len(names), len(table))
    np.minimum.at(first_row, units, np.arange(len(table)))
    return units, Resampler(classes[first_row], num_classes + 1, num_samples, generator)


def _languages(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    yield ALL_LANGUAGES, np.arange(len(table))
    names = table["language"].to_numpy()
    for name in sorted(set(names) - {""}):  # published padding has no language
        yield name, np.flatnonzero(names == name)


def _variants(names: np.ndarray, split_up: bool) -> Iterator[tuple[str, np.ndarray]]:
    yield POOLED, np.arange(len(names))
    different = list(dict.fromkeys(name for name in names if name))
    if split_up and len(different) > 1:
        for name in different:
            yield name, np.flatnonzero(names == name)


def _as_classes(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Class ids with the unknown sources as one more class behind the others."""
    return np.where(labels < 0, num_classes, labels)


class Part:
    """Some rows of a split that get figures of their own. units (N,): which utterance of the resampler a row belongs to."""

    def __init__(self, table: pd.DataFrame, units: np.ndarray, resampler: Resampler, num_classes: int):
        self.units, self.resampler, self.num_classes = units, resampler, num_classes
        self.classes = _as_classes(table["label"].to_numpy(), num_classes)
        self.predictions = table["prediction"].to_numpy()
        self.is_unknown = self.classes == num_classes
        known = self.classes[~self.is_unknown]
        self.counts = {"known": len(known), "unknown": int(self.is_unknown.sum()), "classes": len(np.unique(known))}

    def figures(self, scores: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """detector -> FIGURES of the rows, each with its interval; nan without known or without unknown rows."""
        if not self.counts["known"] or not self.counts["unknown"]:
            return {name: {f"{figure}{end}": np.nan for figure in FIGURES for end in ("", "_low", "_high")} for name in scores}
        is_right = self.predictions == self.classes
        rankings = {name: Ranking(values, self.is_unknown, is_right) for name, values in scores.items()}
        resampled = self._resampled(rankings)
        found = {}
        for name, values in scores.items():
            decisions = np.where(is_above(values, thresholds[name]), self.num_classes, self.predictions)
            figures = _ranked(rankings[name], np.ones((1, len(values)))) | decided(self._confusion(decisions)[None])
            samples = resampled[name] | decided(self._resampled_confusions(decisions))
            found[name] = _with_intervals(figures, samples)
        return found

    def _confusion(self, decisions: np.ndarray) -> np.ndarray:
        size = self.num_classes + 1
        return np.bincount(self.classes * size + decisions, minlength=size**2).reshape(size, size)

    def _resampled_confusions(self, decisions: np.ndarray) -> np.ndarray:
        """As `Resampler.confusions`, (num_samples, C + 1, C + 1), for many classes: an utterance's rows fall into few cells."""
        size, (num_samples, num_units) = self.num_classes + 1, self.resampler.weights.shape
        places = (self.classes * size + decisions, self.units)
        cells = csr_array((np.ones(len(decisions), np.float32), places), shape=(size**2, num_units))
        counts = np.empty((num_samples, size**2), np.float32)
        for block in _blocks(num_samples, num_units):
            counts[block] = (cells @ np.ascontiguousarray(self.resampler.weights[block].T, np.float32)).T
        return counts.reshape(num_samples, size, size) * self.resampler.row_scale

    def _resampled(self, rankings: Mapping[str, Ranking]) -> dict[str, dict[str, np.ndarray]]:
        """detector -> RANKED figure -> its resamples."""
        scale, num_samples = self.resampler.row_scale[self.classes, 0], len(self.resampler)
        samples = {name: {figure: np.empty(num_samples) for figure in RANKED} for name in rankings}
        for block in _blocks(num_samples, len(self.units)):
            weights = self.resampler.weights[block][:, self.units] * scale
            for name, ranking in rankings.items():
                for figure, values in _ranked(ranking, weights).items():
                    samples[name][figure][block] = values
        return samples


def _blocks(num_samples: int, num_columns: int) -> Iterator[slice]:
    size = max(1, BLOCK_ELEMENTS // num_columns)
    return (slice(start, start + size) for start in range(0, num_samples, size))


def _with_intervals(figures: Mapping[str, np.ndarray], samples: Mapping[str, np.ndarray]) -> dict[str, float]:
    found = {}
    for name in FIGURES:
        value = float(figures[name][0])
        low, high = percentile_interval(samples[name], value)
        found |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return found


def _ranked(ranking: Ranking, weights: np.ndarray) -> dict[str, np.ndarray]:
    curve = ranking.curve(weights)
    figures = {"eer": curve.eer, "auroc": curve.auroc, "fpr_at_95_tpr": curve.fpr_at_95_tpr, "oscr": curve.oscr_area}
    return {**figures, "unknown_accepted_at_95": curve.unknown_accepted_at_95}


def decided(confusions: np.ndarray) -> dict[str, np.ndarray]:
    """Figures at a threshold from confusion matrices (..., C + 1, C + 1) whose last class is "unknown".

    detection_f1: F1 of "unknown" against "known". unknown_found, known_rejected: the shares called unknown. open_macro_f1: mean F1 over the
    declared classes and "unknown" (a class without rows counts 0 as soon as it is predicted, and 0 otherwise too, as zero_division=0 has
    it); open_macro_f1_present: over the classes that have rows.
    """
    hits, unknown = confusions[..., -1, -1], confusions[..., -1, :].sum(axis=-1)
    known, rejected = confusions[..., :-1, :].sum(axis=(-2, -1)), confusions[..., :-1, -1].sum(axis=-1)
    figures = class_figures(confusions)
    present = figures.support > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "detection_f1": 2 * hits / (hits + rejected + unknown),
            "unknown_found": hits / unknown,
            "known_rejected": rejected / known,
            "open_macro_f1": figures.f1.mean(axis=-1),
            "open_macro_f1_present": (figures.f1 * present).sum(axis=-1) / present.sum(axis=-1),
        }
