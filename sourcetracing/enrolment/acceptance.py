"""From which score on the best of M enrolled sources is accepted: a threshold that rises with M, so that false alarms stay as set.

A file of no enrolled source is compared with all M models, and the luckiest of them decides: with a threshold for one model, false alarms
would grow almost as M does. Higher score = more alike. Dev alone decides; its sources stand for those that nobody enrolled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from sourcetracing.runtime.seeding import rng
from sourcetracing.verification.verifier import Verifier

MAXIMA, TRIALS, TAIL, NONE = "maxima", "trials", "tail", "none"  # regimes: what a threshold rests on, from the firmest to nothing
FEW_SOURCES = 20  # of dev: below, false alarms of simulated worlds came to two or three times the level
LEAST_SCORES = 40  # fewer say nothing of a tail
LEAST_TAIL, TAIL_SHARE = 20, 0.1  # scores that a tail is fitted on: this share of them, this many at least
MOST_FILES = 2000  # of dev, tested against its models: more take time and say little more
REPEATS = 10  # draws of the models of each file, fewer of many files: the largest scores of a few files hang on which models they met
BLOCK_ELEMENTS = 1 << 22  # numbers at a time: 32 MB


@dataclass(frozen=True)
class Acceptance:
    """threshold: of the best score, which has to lie above it. regime: MAXIMA, TRIALS, TAIL or NONE (threshold infinite).

    num_sources: enrolled ones. false_alarms: the level that was asked for. files, sources, scores: of dev, behind it; sources are 0 where
    nobody knows.
    """

    threshold: float
    regime: str
    num_sources: int
    false_alarms: float
    files: int
    sources: int
    scores: int

    def accepts(self, best: np.ndarray) -> np.ndarray:
        """Whether the best of the enrolled sources is given, for best scores of any shape."""
        return np.asarray(best) > self.threshold

    @property
    def sentence(self) -> str:
        """What it rests on, for people."""
        level = f"false alarms of {100 * self.false_alarms:g} % with {self.num_sources} enrolled sources"
        behind = {
            MAXIMA: f"counted: the best of so many models of dev for each of {self.files} files of other sources",
            TRIALS: f"from {self.scores} scores of two sources on dev, taken as independent",
            TAIL: f"beyond what {self.scores} scores of two sources on dev show: their tail is extrapolated",
            NONE: f"not to be had from {self.scores} scores of two sources on dev ({LEAST_SCORES} at least): no source is ever given",
        }
        if self.num_sources == 0:
            return "nothing is enrolled"
        few = f"; dev has {self.sources} sources only, so they may be several times as many" if self.is_of_few_sources else ""
        return f"{level}: {behind[self.regime]}{few}"

    @property
    def is_of_few_sources(self) -> bool:
        """Whether dev has too few sources to know how alike two may be, so that the level is a guess."""
        return self.regime != NONE and 0 < self.sources < FEW_SOURCES


def acceptance_threshold(nontarget_scores: np.ndarray, num_sources: int, false_alarms: float) -> Acceptance:
    """The threshold at which `false_alarms` of files of no enrolled source are given one of `num_sources` enrolled sources.

    nontarget_scores: of dev, files against models of other sources: (R, F, S), R draws of the models, or (F, S), one (`dev_scores`), nan
    where there is no score; or (T,), scores of single trials. Higher = more alike. Draws repeat a file and are worth no more than it. Three
    ways, the first that the data can support:

    * MAXIMA, rows with at least num_sources scores: the best of so many of a file's models, averaged over all choices of them, counted over
      files. Nothing is assumed of how the scores of a file hang together. One file more counts as a false alarm, as in conformal
      prediction, so of files that are exchangeable with dev's at most the set share is accepted on average. Needs 1 / false_alarms files.
    * TRIALS: each single score may exceed it with 1 - (1 - false_alarms)^(1 / num_sources). Exact where scores of a file are
      independent; they rise and fall together, and then the best of them exceeds it more rarely: it errs on the safe side.
    * TAIL: that level lies beyond the largest score. A generalised Pareto tail over the largest tenth extrapolates, never a shorter one
      than an exponential's (cosines end at 1, so theirs is shorter, and it errs on the safe side again).

    What does not hold in any of them: dev files of one source are alike, so they are worth less than their number; with a handful of dev
    sources nothing is known of pairs as alike as twins, and false alarms of one world may lie well above the level
    (benchmarks/enrolment_growth.py measures it). It never falls with num_sources.
    """
    scores = np.asarray(nontarget_scores, dtype=np.float64)
    repeats = scores.shape[0] if scores.ndim == 3 else 1
    rows = scores[:, None] if scores.ndim == 1 else scores.reshape(-1, scores.shape[-1])
    pooled = np.sort(rows[~np.isnan(rows)])
    threshold, regime = _threshold(rows, pooled, repeats, num_sources, false_alarms)
    files, sources = int((~np.isnan(rows)).any(axis=1).sum()) // repeats, 0 if scores.ndim == 1 else scores.shape[-1]
    return Acceptance(threshold, regime, num_sources, false_alarms, files, sources, len(pooled) // repeats)


def _threshold(rows: np.ndarray, pooled: np.ndarray, repeats: int, num_sources: int, false_alarms: float) -> tuple[float, str]:
    if num_sources == 0 or len(pooled) < LEAST_SCORES * repeats:
        return np.inf, NONE
    most = int((~np.isnan(rows)).sum(axis=1).max())
    counted = _of_maxima(rows, repeats, min(num_sources, most), false_alarms)
    if counted is not None and num_sources <= most:
        return counted, MAXIMA
    least = -np.inf if counted is None else counted  # with fewer sources: it must not fall
    level = -np.expm1(np.log1p(-false_alarms) / num_sources)
    if (allowed := _allowed(level, len(pooled), repeats)) >= 0:
        return max(least, float(pooled[-1 - int(allowed)])), TRIALS
    return max(least, _extrapolated(pooled, repeats, level)), TAIL


def _allowed(level: float, count: int, repeats: int) -> float:
    """How many of `count` may exceed a threshold so that, with one of them added that does, a share `level` does; below 0: no threshold."""
    return (level * (count / repeats + 1) - 1) * repeats


def _of_maxima(rows: np.ndarray, repeats: int, size: int, false_alarms: float) -> float | None:
    """Counted over the files with at least `size` scores; None where there are too few of them for the level."""
    rows = rows[(~np.isnan(rows)).sum(axis=1) >= size]
    allowed = _allowed(false_alarms, len(rows), repeats)
    if allowed < 0:
        return None
    ordered = np.sort(rows, axis=1)  # nan last
    there = ~np.isnan(ordered)
    # How likely the best of `size` of a row's scores is its j-th lowest one.
    weights = np.exp(_log_choose(np.arange(ordered.shape[1]), size - 1)[None, :] - _log_choose(there.sum(axis=1), size)[:, None])
    values, weights = ordered[there], weights[there]
    order = np.argsort(-values, kind="stable")
    values, above = values[order], np.cumsum(weights[order])
    beyond = np.flatnonzero(above > allowed + 1e-9 * (1 + allowed))
    return float(values[beyond[0]]) if len(beyond) else float(values[-1])


def _log_choose(n: np.ndarray, k: int) -> np.ndarray:
    """Logarithm of n over k; -inf where k > n."""
    n = np.asarray(n, dtype=np.float64)
    found = gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)
    return np.where(n >= k, found, -np.inf)


def _extrapolated(pooled: np.ndarray, repeats: int, level: float) -> float:
    """The score (sorted ones are given) that a share `level` exceeds, beyond all of them."""
    from scipy.stats import genpareto  # a second to import

    size = max(LEAST_TAIL * repeats, int(TAIL_SHARE * len(pooled)))
    start, excess = pooled[-size - 1], pooled[-size:] - pooled[-size - 1]
    if not excess.mean() > 0:  # one and the same score
        return float(pooled[-1])
    shape, _, scale = genpareto.fit(excess, floc=0)
    share = level * len(pooled) / size
    exponential = -np.log(share) * excess.mean()
    heavier = genpareto.isf(share, shape, scale=scale) if shape > 0 else 0.0
    return max(float(pooled[-1]), float(start + max(exponential, heavier)))


def dev_scores(verifier: Verifier, enrol_size: int) -> np.ndarray:
    """Scores (R, F, S) of clean dev files against models of dev's sources, each of enrol_size files drawn for each test anew, R times.

    nan against a file's own source. Smaller models, and fewer sources, where dev has no such (`Verifier.dev_trials`). F at most MOST_FILES,
    R at most REPEATS.
    """
    size, dev = verifier.dev_trials(enrol_size, 1).sizes[0], verifier.dev
    random = rng(verifier.seed, "dev scores", size)
    units = verifier.space.unit(dev.embeddings)
    files = np.sort(random.permutation(len(units))[:MOST_FILES])
    repeats = min(REPEATS, max(1, MOST_FILES // len(files)))
    tests = np.tile(files, repeats)
    members = {source: np.flatnonzero(dev.sources == source) for source in np.unique(dev.sources)}
    columns = [_against(units, tests, dev.sources[tests] != name, own, size, random) for name, own in members.items() if len(own) >= size]
    return np.stack(columns, axis=1).reshape(repeats, len(files), -1)


def _against(
    units: np.ndarray, tests: np.ndarray, wanted: np.ndarray, members: np.ndarray, size: int, random: np.random.Generator
) -> np.ndarray:
    """Scores (T,) of tests, rows of the directions `units`, each against a model of `size` of the rows `members`; nan where not wanted."""
    scores, places = np.full(len(tests), np.nan), np.flatnonzero(wanted)
    width = max(size * units.shape[1], len(members))
    for block in np.array_split(places, max(1, len(places) * width // BLOCK_ELEMENTS)):
        order = np.argpartition(random.random((len(block), len(members))), size - 1, axis=1)
        models = units[members[order[:, :size]]].mean(axis=1, dtype=np.float64)
        lengths = np.maximum(np.linalg.norm(models, axis=1), np.finfo(np.float64).tiny)
        scores[block] = np.einsum("td,td->t", models, units[tests[block]].astype(np.float64)) / lengths
    return scores
