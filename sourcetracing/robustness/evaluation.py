"""Figures of a run after each operation, and how far they are from clean: the same utterances in the same resamples.

Shapes: N utterances, C classes, S resamples. LLRs are of "this class or another", for each utterance and class, by a line fitted on
clean dev; the threshold of unknown sources is clean dev's too. So what an operation does to either is seen, as it would be in a case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.metrics.bootstrap import Draws, percentile_interval
from sourcetracing.metrics.classification import macro_f1
from sourcetracing.metrics.ranking import RECALL, Ranking, is_above
from sourcetracing.openset.detectors import Detector
from sourcetracing.robustness.utterances import CLEAN
from sourcetracing.runtime.seeding import rng
from sourcetracing.verification.calibrating import LlrLine, fit_llrs
from sourcetracing.verification.trials import OTHER, SAME

FIGURES = ("macro_f1", "cllr", "known_kept", "fpr95", "auroc")
OPEN = ("known_kept", "fpr95", "auroc")  # need unknown sources
LEAST = 4  # utterances of a language and source
BLOCK_ELEMENTS = 1 << 21  # weights at a time: 16 MB
ENDS = ("", "_low", "_high", "_change", "_change_low", "_change_high")


@dataclass(frozen=True)
class Yardstick:
    """What clean dev gives: the line of LLRs, the detector of unknown sources (fitted on train) and its threshold."""

    line: LlrLine
    detector: Detector
    threshold: float

    @classmethod
    def of(cls, detector: Detector, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Yardstick:
        """embeddings (N, E), logits (N, C), labels (N,) of known sources of clean dev. The threshold accepts RECALL of them."""
        scores, own = support(logits), np.arange(logits.shape[1]) == labels[:, None]
        line = fit_llrs(scores.ravel(), np.where(own, SAME, OTHER).ravel())
        found = np.sort(detector.score(embeddings, logits))
        return cls(line, detector, float(found[int(np.ceil(RECALL * len(found))) - 1]))


def support(logits: np.ndarray) -> np.ndarray:
    """(N, C) of logits (N, C): the log of each class's odds against the mean of the others."""
    logits = logits.astype(np.float64)
    others = np.stack([logsumexp(np.delete(logits, c, axis=1), axis=1) for c in range(logits.shape[1])], axis=1)
    return logits - others + np.log(logits.shape[1] - 1)


def loss_of_llrs(llrs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) in bits of LLRs (N, C): half for the true class, half for the mean of the others. Its mean is Cllr."""
    own = np.arange(llrs.shape[1]) == labels[:, None]
    losses = np.logaddexp(0, np.where(own, -llrs, llrs)) / np.log(2)
    return (losses[own] + losses[~own].reshape(len(llrs), -1).mean(axis=1)) / 2


@dataclass(frozen=True)
class Judged:
    """The utterances of a run. table: utt_id, language, source, label (UNKNOWN_LABEL = no class), unit (drawn together)."""

    table: pd.DataFrame
    classes: Sequence[str]
    num_samples: int
    seed: int

    def draws(self) -> tuple[Draws, np.ndarray]:
        """Resamples of units, and the unit (N,) of each utterance.

        Drawn within language x source, as the utterances were; within source alone where that leaves a part with fewer than LEAST: a lone
        utterance is in every resample, and intervals would be too narrow.
        """
        units, first = np.unique(self.table["unit"].to_numpy(), return_index=True)[:2]
        units = pd.Index(units).get_indexer(self.table["unit"])
        parts = self.table["language"].str.cat(self.table["source"], sep="/")
        if parts.iloc[first].value_counts().min() < LEAST:
            parts = self.table["source"]
        strata, names = pd.factorize(parts.iloc[first])
        return Draws(strata, self.num_samples, lambda stratum: rng(self.seed, "robustness", names[stratum])), units


def figures_of(judged: Judged, answers: Mapping[str, tuple[np.ndarray, np.ndarray]], yardstick: Yardstick) -> pd.DataFrame:
    """One row for each operation, clean first: operation, known, unknown, classes, then FIGURES with ENDS; nan where there is nothing.

    answers: operation -> (embeddings, logits), CLEAN among them. _change: what the operation adds, from clean.
    """
    table, (draws, units) = judged.table, judged.draws()
    labels = table["label"].to_numpy()
    known = labels[labels != UNKNOWN_LABEL]
    counts = {"known": len(known), "unknown": int((labels == UNKNOWN_LABEL).sum()), "classes": len(np.unique(known))}
    found = {name: _Measured.of(*both, labels, yardstick) for name, both in answers.items()}
    values = {name: measured.figures(len(judged.classes)) for name, measured in found.items()}
    samples = {name: measured.resampled(len(judged.classes), draws, units) for name, measured in found.items()}
    rows = []
    for name in [CLEAN, *(name for name in answers if name != CLEAN)]:
        row = {"operation": name, **counts}
        for figure in FIGURES:
            row |= _with_change(
                figure, [each[name][figure] for each in (values, samples)], [each[CLEAN][figure] for each in (values, samples)]
            )
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Measured:
    """labels, predictions, losses (nan: unknown), scores of being unknown, whether that is below the threshold: (N,) each."""

    labels: np.ndarray
    predictions: np.ndarray
    losses: np.ndarray
    scores: np.ndarray
    is_accepted: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray, yardstick: Yardstick) -> _Measured:
        known = labels != UNKNOWN_LABEL
        losses = np.full(len(labels), np.nan)
        losses[known] = loss_of_llrs(yardstick.line.llrs(support(logits[known])), labels[known])
        scores = np.asarray(yardstick.detector.score(embeddings, logits), dtype=np.float64)
        return cls(labels, logits.argmax(axis=1), losses, scores, ~is_above(scores, yardstick.threshold))

    @property
    def is_known(self) -> np.ndarray:
        return self.labels != UNKNOWN_LABEL

    def figures(self, num_classes: int) -> dict[str, np.ndarray]:
        """FIGURES, each (1,)."""
        cells = self.labels[self.is_known] * num_classes + self.predictions[self.is_known]
        confusion = np.bincount(cells, minlength=num_classes**2).reshape(1, num_classes, num_classes)
        return {"macro_f1": macro_f1(confusion)} | self._weighted(np.ones((1, len(self.labels))))

    def resampled(self, num_classes: int, draws: Draws, units: np.ndarray) -> dict[str, np.ndarray]:
        """FIGURES, each (S,)."""
        known = self.is_known
        confusions = draws.confusions(units[known], self.labels[known], self.predictions[known], num_classes)
        parts = [self._weighted(draws.counts[block][:, units] * draws.scale[units]) for block in _blocks(len(draws), len(units))]
        others = {figure: np.concatenate([part[figure] for part in parts]) for figure in FIGURES[1:]} if parts else {}
        return {"macro_f1": macro_f1(confusions)} | (others or dict.fromkeys(FIGURES[1:], np.zeros(0)))

    def _weighted(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        known = self.is_known
        nothing = np.full(len(weights), np.nan)
        if known.all() or not known.any():
            return {"cllr": _mean(self.losses, known, weights), **dict.fromkeys(OPEN, nothing)}
        return {
            "cllr": _mean(self.losses, known, weights),
            "known_kept": _mean(self.is_accepted, known, weights),
            "fpr95": _mean(self.is_accepted, ~known, weights),
            "auroc": Ranking(self.scores, ~known, self.predictions == self.labels).curve(weights).auroc,
        }


def _blocks(num_samples: int, num_columns: int) -> Iterator[slice]:
    size = max(1, BLOCK_ELEMENTS // max(1, num_columns))
    return (slice(start, min(start + size, num_samples)) for start in range(0, num_samples, size))


def _mean(values: np.ndarray, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(S,) over the chosen ones; nan without any."""
    own = weights[:, chosen]
    with np.errstate(invalid="ignore", divide="ignore"):
        return own @ values[chosen].astype(np.float64) / own.sum(axis=1)


def _with_change(figure: str, own: list[np.ndarray], clean: list[np.ndarray]) -> dict[str, float]:
    """own, clean: value (1,) and resamples (S,)."""
    found = {}
    for end, (value, samples) in (("", own), ("_change", [one - other for one, other in zip(own, clean, strict=True)])):
        low, high = percentile_interval(samples, float(value[0]))
        found |= {f"{figure}{end}": float(value[0]), f"{figure}{end}_low": low, f"{figure}{end}_high": high}
    return {f"{figure}{end}": found[f"{figure}{end}"] for end in ENDS}


def recalls(judged: Judged, answers: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """operation, source, utterances, clean_recall, recall, fall, taken_for: each known source after each operation, greatest fall first.

    taken_for: the class that most of those are given that were right before and are wrong now.
    """
    rows, labels = [], judged.table["label"].to_numpy()
    predicted = {name: logits.argmax(axis=1) for name, (_, logits) in answers.items()}
    for label, source in enumerate(judged.classes):
        own = labels == label
        if not own.any():
            continue
        before = predicted[CLEAN][own] == label
        for name in answers:
            now = predicted[name][own]
            lost = now[before & (now != label)]
            taken = judged.classes[np.bincount(lost).argmax()] if len(lost) else ""
            both = {"clean_recall": before.mean(), "recall": (now == label).mean()}
            if name != CLEAN:
                rows.append({"operation": name, "source": source, "utterances": int(own.sum()), **both, "taken_for": taken})
    table = pd.DataFrame(rows, columns=["operation", "source", "utterances", "clean_recall", "recall", "taken_for"])
    table = table.assign(fall=table["clean_recall"] - table["recall"])
    return table.sort_values("fall", ascending=False, kind="stable").reset_index(drop=True)
