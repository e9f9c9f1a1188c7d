"""Figures of merit of detectors, with 95 % intervals: pooled, for each variant, for each language.

Positive class: the unknown source; a score above the threshold calls a row unknown. The threshold comes from dev and is as it is: the
intervals say what other utterances of the same kind would change, drawn with all their variants within their class (the unknown sources
together are one more class; `sourcetracing.bootstrap`). All detectors see the same resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from sourcetracing.bootstrap import Resampler, percentile_interval
from sourcetracing.metrics import class_figures
from sourcetracing.openset.ranking import Ranking
from sourcetracing.seeding import rng

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
)
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
        units, names = pd.factorize(table["unit"].to_numpy()[own])
        classes = _as_classes(table["label"].to_numpy()[own], num_classes)
        first_row = np.full(len(names), len(own))
        np.minimum.at(first_row, units, np.arange(len(own)))
        resampler = Resampler(classes[first_row], num_classes + 1, num_samples, rng(seed, "open set", language))
        for variant, inside in _variants(table["variant"].to_numpy()[own], split_up=language == ALL_LANGUAGES):
            part = Part(table.iloc[own[inside]], units[inside], resampler, num_classes)
            for name, values in scores.items():
                what = {"detector": name, "language": language, "variant": variant, **part.counts}
                rows.append(what | part.figures(values[own[inside]], thresholds[name]))
    return pd.DataFrame(rows)


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

    def figures(self, scores: np.ndarray, threshold: float) -> dict[str, float]:
        """FIGURES of the rows, each with its interval; nan without known or without unknown rows."""
        if not self.counts["known"] or not self.counts["unknown"]:
            return {f"{name}{end}": np.nan for name in FIGURES for end in ("", "_low", "_high")}
        ranking = Ranking(scores, self.is_unknown, self.predictions == self.classes)
        decisions = np.where(scores > threshold, self.num_classes, self.predictions)
        size = self.num_classes + 1
        confusion = np.bincount(self.classes * size + decisions, minlength=size**2).reshape(size, size)
        figures = _ranked(ranking, np.ones((1, len(scores)))) | decided(confusion[None])
        samples = self._resampled(ranking) | decided(self.resampler.confusions(self.units, self.classes, decisions))
        found = {}
        for name in FIGURES:
            low, high = percentile_interval(samples[name][~np.isnan(samples[name])])
            found |= {name: float(figures[name][0]), f"{name}_low": low, f"{name}_high": high}
        return found

    def _resampled(self, ranking: Ranking) -> dict[str, np.ndarray]:
        scale, num_samples = self.resampler.row_scale[self.classes, 0], len(self.resampler)
        size = max(1, BLOCK_ELEMENTS // len(self.units))
        blocks = [
            _ranked(ranking, self.resampler.weights[start : start + size][:, self.units] * scale) for start in range(0, num_samples, size)
        ]
        return {name: np.concatenate([block[name] for block in blocks] or [np.zeros(0)]) for name in FIGURES[:3] + FIGURES[-1:]}


def _ranked(ranking: Ranking, weights: np.ndarray) -> dict[str, np.ndarray]:
    curve = ranking.curve(weights)
    return {"eer": curve.eer, "auroc": curve.auroc, "fpr_at_95_tpr": curve.fpr_at_95_tpr, "oscr": curve.oscr_area}


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
