"""The line from scores to LLRs once more, as if dev had other sources: how far a calibration hangs on the few that it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sourcetracing.runtime.seeding import rng
from sourcetracing.verification.calibrating import LlrLine, fit_llrs
from sourcetracing.verification.trials import OTHER, SAME
from sourcetracing.verification.verifier import Verifier


def redrawn_lines(verifier: Verifier, num_draws: int) -> Iterator[LlrLine]:
    """Lines for single files, each from dev's sources drawn with replacement; draws without two different sources are drawn again.

    A trial counts as often as its source was drawn, one of two sources as often as both were together (Owen 2007): a source never meets its
    own copy. The utterances of a source are not drawn anew. What a line says at most is bounded as that of `Verifier.line`.
    """
    trials = verifier.dev_trials(1, 1)
    most = float(np.log(len(verifier.dev.utt_ids)))
    names, numbers = np.unique(trials.sources, return_inverse=True)
    first, second = numbers.reshape(-1, 2).T
    random = rng(verifier.seed, "redrawn dev")
    for _ in range(num_draws):
        counts = _counts(random, len(names), trials.labels, first, second)
        line = fit_llrs(np.repeat(trials.scores, counts), np.repeat(trials.labels, counts))
        yield replace(line, low=max(line.low, -most), high=min(line.high, most))


def _counts(random: np.random.Generator, num_sources: int, labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T,): how often each trial counts; some of both kinds do."""
    while True:
        drawn = random.multinomial(num_sources, np.full(num_sources, 1 / num_sources))
        counts = np.where(labels == SAME, drawn[first], drawn[first] * drawn[second])
        if all(counts[labels == kind].any() for kind in (SAME, OTHER)):
            return counts
