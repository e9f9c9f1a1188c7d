"""One run's answer to "one source or two?" for files and sets of files of any sizes: a space, and LLRs from sets of dev of the same sizes.

Script 10 judges lists of trials; this is for single cases. A set is compared by its model: the mean of the directions of its files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sourcetracing.errors import UserError
from sourcetracing.metrics.verification import cllr
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.openset import BEST_ON_DEV
from sourcetracing.settings.verification import SCORINGS
from sourcetracing.training.runs import TrainingRun
from sourcetracing.verification.calibrating import LlrLine, fit_llrs
from sourcetracing.verification.representations import Embedded, embedded_by, on_all_splits
from sourcetracing.verification.scoring import SPACES, Space, models_of
from sourcetracing.verification.trials import OTHER, SAME

LEAST_UNSEEN = 3  # unseen sources of dev that LLRs are fitted on alone: of two, one pair of sources would be all that is known
MOST_IN_VAIN = 300  # draws without a new trial, after which a small corpus is taken to have no more


@dataclass(frozen=True)
class DevTrials:
    """Trials over sets of dev: scores (T,), labels (T,) SAME or OTHER, sizes of the sets (enrol, test), and their sources (T, 2)."""

    scores: np.ndarray
    labels: np.ndarray
    sizes: tuple[int, int]
    sources: np.ndarray

    @property
    def nontargets(self) -> np.ndarray:
        """Scores of the trials of two sources."""
        return self.scores[self.labels == OTHER]


@dataclass(frozen=True)
class Verifier:
    """scoring: what files are compared by (`trace.compare_by`); space: the one that it learnt on train.

    dev: the clean dev utterances that LLRs are calibrated on; are_unseen: training saw none of their sources.
    """

    scoring: str
    space: Space
    dev: Embedded
    are_unseen: bool
    num_trials: int
    seed: int
    _fitted: dict = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, run: TrainingRun) -> Verifier:
        """run: its train and dev are scored with embeddings. Raises `UserError` where they are not, or dev cannot calibrate anything."""
        run = on_all_splits(run)
        train, dev = (embedded_by(run, split) for split in ("train", "dev"))
        settings = run.settings
        how = {"compare_by": settings.trace.compare_by, "num_trials": settings.verification.trials_per_condition, "seed": settings.seed}
        return cls.fitted(train, dev, settings.corpus.sources, **how)

    @classmethod
    def fitted(cls, train: Embedded, dev: Embedded, seen: Sequence[str], *, compare_by: str, num_trials: int, seed: int) -> Verifier:
        """seen: the sources of training. num_trials: of each kind, behind each line; fewer where dev has not so many."""
        unseen = ~np.isin(dev.sources, list(seen))
        are_unseen = len(np.unique(dev.sources[unseen])) >= LEAST_UNSEEN
        judged = _where(dev, unseen) if are_unseen else dev
        wanted = SCORINGS if compare_by == BEST_ON_DEV else (compare_by,)
        spaces = {name: space for name in wanted if (space := SPACES[name](train)) is not None}
        if not spaces:
            raise UserError(f"trace.compare_by={compare_by}: train has fewer than three sources; take cosine")
        made = [cls(name, space, judged, are_unseen, num_trials, seed) for name, space in spaces.items()]
        return min(made, key=lambda verifier: verifier.cllr(1, 1)) if len(made) > 1 else made[0]

    @property
    def num_sources(self) -> int:
        """Of dev's utterances that LLRs are calibrated on."""
        return len(np.unique(self.dev.sources))

    def models(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        """Sets of embeddings, each (K, E) -> models (M, D) of length 1."""
        units = [self.space.unit(rows) for rows in sets]
        ends = np.cumsum([len(rows) for rows in units])
        return models_of(np.concatenate(units), [np.arange(end - len(rows), end) for end, rows in zip(ends, units, strict=True)])

    def scores(self, models: np.ndarray, tests: np.ndarray) -> np.ndarray:
        """Cosines (M, T) float64 of models (M, D) and tests (T, D)."""
        return models.astype(np.float64) @ tests.astype(np.float64).T

    def line(self, enrol_size: int, test_size: int) -> LlrLine:
        """From scores of a set of enrol_size files and one of test_size to LLRs (natural logarithm).

        Fitted on dev sets of these sizes, smaller ones where dev has no such (`dev_trials` says which). Bounded by what the trials support
        (`fit_llrs`) and by the logarithm of the number of utterances behind them: trials share these, and are worth no more.
        """
        return self._line_and_trials(enrol_size, test_size)[0]

    def dev_trials(self, enrol_size: int, test_size: int) -> DevTrials:
        """The trials over dev that `line` is fitted on."""
        return replace(self._line_and_trials(enrol_size, test_size)[1], sizes=self._sizes(enrol_size, test_size))

    def cllr(self, enrol_size: int, test_size: int) -> float:
        """Cllr in bits of `line` on the trials that it is fitted on: what it says at best."""
        line, trials = self._line_and_trials(enrol_size, test_size)
        return float(cllr(line.llrs(trials.scores), trials.labels == SAME, np.ones((1, len(trials.labels))))[0])

    def _line_and_trials(self, enrol_size: int, test_size: int) -> tuple[LlrLine, DevTrials]:
        """The same for both orders of the sizes: a score has no first side."""
        sizes = tuple(sorted(self._sizes(enrol_size, test_size), reverse=True))
        if sizes not in self._fitted:
            trials = self._draw(*sizes)
            line, most = fit_llrs(trials.scores, trials.labels), float(np.log(len(self.dev.utt_ids)))
            self._fitted[sizes] = replace(line, low=max(line.low, -most), high=min(line.high, most)), trials
        return self._fitted[sizes]

    def _sizes(self, enrol_size: int, test_size: int) -> tuple[int, int]:
        """The sizes that at least two sources of dev can fill together, as near to the wanted ones as may be."""
        if min(enrol_size, test_size) < 1:
            raise UserError("an empty set of files has no source")
        counts = np.sort(np.unique(self.dev.sources, return_counts=True)[1])[::-1]
        if len(counts) < 2 or counts[1] < 2:
            raise UserError("dev needs two sources of at least two clean utterances each, or nothing says how alike one source's are")
        most = int(counts[1])
        larger, smaller = max(enrol_size, test_size), min(enrol_size, test_size)
        smaller = min(smaller, most // 2)
        larger = min(larger, most - smaller)
        return (larger, smaller) if enrol_size >= test_size else (smaller, larger)

    def _draw(self, enrol_size: int, test_size: int) -> DevTrials:
        """num_trials of each kind at most, no two alike. A set is of one source and, where that has enough, of one language."""
        units, members, labels = self.space.unit(self.dev.embeddings), [], []
        for label in (SAME, OTHER):
            drawn = self._pairs(label, enrol_size, test_size)
            members += drawn
            labels += [label] * len(drawn)
        models = models_of(units, [rows for pair in members for rows in pair]).astype(np.float64)
        scores = np.einsum("td,td->t", models[::2], models[1::2])
        sources = np.array([[self.dev.sources[rows[0]] for rows in pair] for pair in members])
        return DevTrials(scores, np.array(labels), (enrol_size, test_size), sources)

    def _pairs(self, label: int, enrol_size: int, test_size: int) -> list[tuple[np.ndarray, np.ndarray]]:
        random, found = rng(self.seed, "verifier", label, enrol_size, test_size), {}
        rows = {source: np.flatnonzero(self.dev.sources == source) for source in np.unique(self.dev.sources)}
        enough = enrol_size + test_size if label == SAME else max(enrol_size, test_size)
        names = [source for source, own in rows.items() if len(own) >= enough]
        in_vain = 0
        while len(found) < self.num_trials and in_vain < MOST_IN_VAIN:
            first, second = (names[number] for number in random.choice(len(names), 2, replace=False))
            enrol = self._set(random, rows[first], enrol_size)
            left = rows[first][~np.isin(rows[first], enrol)] if label == SAME else rows[second]
            test = self._set(random, left, test_size)
            key = (enrol.tobytes(), test.tobytes())
            is_new = key not in found and not (enrol_size == test_size and key[::-1] in found)
            in_vain = 0 if is_new else in_vain + 1
            if is_new:
                found[key] = (enrol, test)
        return list(found.values())

    def _set(self, random: np.random.Generator, rows: np.ndarray, size: int) -> np.ndarray:
        """Sorted rows, of one language that has so many, else of all."""
        languages = self._languages[rows]
        if len(fitting := np.flatnonzero(np.bincount(languages) >= size)):
            rows = rows[languages == fitting[random.integers(len(fitting))]]
        return np.sort(random.choice(rows, size, replace=False, shuffle=False))

    @cached_property
    def _languages(self) -> np.ndarray:
        """(N,) numbers of dev's languages."""
        dev = self.dev
        return np.unique(dev.languages, return_inverse=True)[1] if dev.languages is not None else np.zeros(len(dev.utt_ids), int)


def _where(embedded: Embedded, chosen: np.ndarray) -> Embedded:
    languages = None if embedded.languages is None else embedded.languages[chosen]
    return Embedded(embedded.utt_ids[chosen], embedded.sources[chosen], embedded.embeddings[chosen], languages)
