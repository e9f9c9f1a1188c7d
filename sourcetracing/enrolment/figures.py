"""Figures of enrolment against K, with 95 % intervals of one enrolment: of other sources, other test files and other enrolment files.

Every figure is a mean over sources, so that large ones count no more than small ones. A figure is the mean over draws. A resample takes one
draw, its sources and the test files of each (Owen 2007), so an interval says what a user who enrols once may find; the mean of many draws
is known better than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sourcetracing.enrolment.acceptance import Acceptance
from sourcetracing.enrolment.protocol import Draw, Outcome
from sourcetracing.metrics.bootstrap import Draws, percentile_interval
from sourcetracing.metrics.verification import cllr, curve_of, min_cllr
from sourcetracing.runtime.seeding import rng
from sourcetracing.verification.calibrating import LlrLine

FIGURES = (
    *("accuracy", "found", "false_alarms_unseen", "false_alarms_seen"),
    *("auroc_unseen", "auroc_seen", "cllr", "min_cllr"),
)
BLOCK_ELEMENTS = 1 << 22  # weights of trials at a time: 32 MB


@dataclass(frozen=True)
class Rule:
    """What dev says: the line from scores to LLRs, the threshold of all enrolled sources, and that of one less."""

    line: LlrLine
    of_all: Acceptance
    of_others: Acceptance


@dataclass(frozen=True)
class Weights:
    """Of R resamples: tests (R, T), strangers (R, U), the same sum for each source of a resample and draw; sources (R, S)."""

    tests: np.ndarray
    strangers: np.ndarray
    sources: np.ndarray

    def blocks(self, size: int) -> Iterator[Weights]:
        """`size` resamples at a time."""
        for start in range(0, len(self.tests), size):
            own = slice(start, start + size)
            yield Weights(self.tests[own], self.strangers[own], self.sources[own])


def even_weights(draw: Draw) -> Weights:
    """One weighting (R = 1) with the same for all sources."""
    return _weights(draw, *(np.ones((1, len(strata))) for strata in _strata(draw).values()))


def drawn_weights(draw: Draw, num_samples: int, *keys: str | int) -> Weights:
    """Resamples (num_samples) of the sources and, within each, of its test files. keys: of the random state."""
    drawn = []
    for name, strata in _strata(draw).items():
        generators = rng(*keys, name).spawn(strata.max(initial=0) + 1)
        drawn.append(Draws(strata, num_samples, generators.__getitem__).counts)
    return _weights(draw, *drawn)


def _strata(draw: Draw) -> dict[str, np.ndarray]:
    """What is drawn, and within what: sources among all, files among those of their source."""
    num_seen = draw.strangers_of.max(initial=-1) + 1
    sources = {"sources": np.zeros(len(draw.names), int), "seen sources": np.zeros(num_seen, int)}
    return {**sources, "tests": draw.owners, "strangers": draw.strangers_of}


def _weights(draw: Draw, sources: np.ndarray, seen_sources: np.ndarray, tests: np.ndarray, strangers: np.ndarray) -> Weights:
    return Weights(_macro(sources, tests, draw.owners), _macro(seen_sources, strangers, draw.strangers_of), sources.astype(np.float64))


def _macro(of_sources: np.ndarray, of_files: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Weights of files whose sum over a source is that source's; 0 where none of its files was drawn."""
    weights = of_files.astype(np.float64)
    for number in range(of_sources.shape[1]):
        own = owners == number
        total = weights[:, own].sum(axis=1, keepdims=True)
        weights[:, own] *= np.divide(of_sources[:, number : number + 1], total, out=np.zeros_like(total), where=total > 0)
    return weights


def figures_of(outcome: Outcome, rule: Rule, weights: Weights) -> dict[str, np.ndarray]:
    """Every one of FIGURES (R,); nan where nothing is there to tell of it.

    accuracy: files most like their own source, of the enrolled ones. found: of these, accepted too. false_alarms_unseen: of the same files,
    judged as if their source alone were not enrolled, those that are given one of the others; false_alarms_seen: of files of the sources
    that training saw. auroc: how surely the best score is higher for a file of an enrolled source than for one of these. cllr, min_cllr:
    bits, each test against each enrolled source.
    """
    parts = [_of_block(outcome, rule, block) for block in weights.blocks(max(1, BLOCK_ELEMENTS // max(1, outcome.scores.size)))]
    return {name: np.concatenate([part[name] for part in parts]) for name in FIGURES}


def _of_block(outcome: Outcome, rule: Rule, weights: Weights) -> dict[str, np.ndarray]:
    best, others, strangers = outcome.scores.max(axis=0), outcome.best_without_own, outcome.of_strangers.max(axis=0)
    right, has_others = outcome.right, len(outcome.draw.names) > 1
    nothing = np.full(len(weights.tests), np.nan)
    return {
        "accuracy": _mean(right, weights.tests) if has_others else nothing,
        "found": _mean(right * rule.of_all.accepts(best), weights.tests),
        "false_alarms_unseen": _mean(rule.of_others.accepts(others), weights.tests) if has_others else nothing,
        "false_alarms_seen": _mean(rule.of_all.accepts(strangers), weights.strangers),
        "auroc_unseen": _auroc(best, others, weights.tests, weights.tests) if has_others else nothing,
        "auroc_seen": _auroc(best, strangers, weights.tests, weights.strangers),
        **(_of_llrs(outcome, rule.line, weights) if has_others else {"cllr": nothing, "min_cllr": nothing}),
    }


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights @ values.astype(np.float64) / weights.sum(axis=1)


def _auroc(enrolled: np.ndarray, others: np.ndarray, of_enrolled: np.ndarray, of_others: np.ndarray) -> np.ndarray:
    scores = np.concatenate([enrolled, others])
    is_enrolled = np.arange(len(scores)) < len(enrolled)
    return curve_of(scores, is_enrolled, np.concatenate([of_enrolled, of_others], axis=1)).auroc


def _of_llrs(outcome: Outcome, line: LlrLine, weights: Weights) -> dict[str, np.ndarray]:
    is_own = np.arange(len(outcome.draw.names))[:, None] == outcome.draw.owners
    of_models = np.where(is_own[None], 1.0, weights.sources[:, :, None])  # what is on both sides was drawn once
    of_trials = (of_models * weights.tests[:, None, :]).reshape(len(weights.tests), -1)
    scores, is_own = outcome.scores.ravel(), is_own.ravel()
    return {"cllr": cllr(line.llrs(scores), is_own, of_trials), "min_cllr": min_cllr(scores, is_own, of_trials)}


def with_intervals(outcomes: Sequence[Outcome], rule: Rule, *, num_samples: int, seed: int) -> dict[str, float]:
    """figure, figure_low, figure_high for each of FIGURES; outcomes: one for each draw."""
    values, samples = [], []
    for number, outcome in enumerate(outcomes):
        values.append(figures_of(outcome, rule, even_weights(outcome.draw)))
        if share := len(range(number, num_samples, len(outcomes))):
            samples.append(figures_of(outcome, rule, drawn_weights(outcome.draw, share, seed, "enrolment", number)))
    shown = {}
    for name in FIGURES:
        found = np.concatenate([value[name] for value in values])
        value = float(np.nanmean(found)) if not np.isnan(found).all() else np.nan
        low, high = percentile_interval(np.concatenate([np.empty(0), *(part[name] for part in samples)]), value)
        # Of few sources each resample lacks some, and with them what was hard: an interval never leaves out its figure.
        shown |= {name: value, f"{name}_low": min(low, value), f"{name}_high": max(high, value)}
    return shown
