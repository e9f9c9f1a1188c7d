"""When the nearest enrolled source is the answer: a bar that rises with the number of sources, and who wins against a known class.

Shapes: N scores of files of dev against models of other sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sourcetracing.runtime.seeding import rng
from sourcetracing.verification.scoring import models_of
from sourcetracing.verification.verifier import Verifier

LEAST_SURE = 0.5  # a share of false alarms that no bar is worth
MOST_MODELS, MOST_FILES = 1000, 2000  # of dev behind a bar
ENROLLED, KNOWN, UNKNOWN, OPEN = "enrolled", "known", "unknown", "not decided"


@dataclass(frozen=True)
class Acceptance:
    """A score above `threshold` is accepted; false_alarms: the share of files of no enrolled source that get through, over all sources.

    asked: the share that was wanted, which fewer scores than needed cannot hold. threshold: infinite where they hold nothing at all.
    """

    threshold: float
    false_alarms: float
    asked: float
    num_scores: int
    num_sources: int

    @property
    def is_as_asked(self) -> bool:
        """Whether dev has scores enough for the share that was wanted."""
        return self.false_alarms <= self.asked * (1 + 1e-9)

    def __str__(self) -> str:
        behind = f"{self.num_scores} dev scores of files against models of other sources"
        among = f"{self.num_sources} enrolled source{'s' if self.num_sources > 1 else ''}"
        if not np.isfinite(self.threshold):
            return f"no enrolled source is named: {behind} cannot set a bar for {among}"
        held = f"above {self.threshold:.4f} at most {self.false_alarms:.2g} of files of none of {among} get one, by {behind}"
        return held if self.is_as_asked else f"{held}; too few for the {self.asked:g} that enrolment.false_alarms asks for"


def acceptance_threshold(nontarget_scores: np.ndarray, num_sources: int, false_alarms: float) -> Acceptance:
    """The bar for the highest of num_sources scores, from scores (N,) of files against models of other sources.

    If a further such score is as likely to stand at any place among these, it is above the k-th highest with probability k / (N + 1), and
    one of num_sources at most num_sources times as often, however they hang together (Boole). So k is the largest with
    num_sources * k / (N + 1) <= false_alarms; where that is 0, the bar is the highest score, and what that holds is said.
    """
    num_scores = len(nontarget_scores)
    place = int(np.floor(false_alarms * (num_scores + 1) / num_sources * (1 + 1e-12)))
    held = max(place, 1) * num_sources / (num_scores + 1)
    if not num_scores or held > max(LEAST_SURE, false_alarms):
        return Acceptance(np.inf, 0.0, false_alarms, num_scores, num_sources)
    place = min(max(place, 1), num_scores)
    threshold = float(np.partition(nontarget_scores, -place)[-place])
    return Acceptance(threshold, held, false_alarms, num_scores, num_sources)


def nontarget_scores(verifier: Verifier, size: int) -> np.ndarray:
    """Scores (N,) of dev files against models of `size` dev files of another source, as few as dev has there (`Verifier.dev_trials`).

    Each file is in one model at most; at most MOST_MODELS and MOST_FILES are drawn.
    """
    dev, size = verifier.dev, verifier.dev_trials(size, 1).sizes[0]
    random = rng(verifier.seed, "models of no source", size)
    order = random.permutation(len(dev.sources))
    members, owners = [], []
    for source in np.unique(dev.sources):
        own = order[dev.sources[order] == source]
        sets = [own[start : start + size] for start in range(0, len(own) - size + 1, size)]
        members += sets
        owners += [source] * len(sets)
    kept = random.permutation(len(members))[:MOST_MODELS]
    units = verifier.space.unit(dev.embeddings)
    models = models_of(units, [members[number] for number in kept])
    tests = order[:MOST_FILES]
    is_other = np.array(owners)[kept][:, None] != dev.sources[tests]
    return verifier.scores(models, units[tests])[is_other]


def decide(is_unknown: bool | None, is_accepted: bool) -> str:
    """ENROLLED for an accepted enrolled source, whatever the run says; else what the run says.

    Files of known classes are files of no enrolled source, too: the bar lets no more of them through than of others, while a run calls many
    a stranger known. is_unknown: None where the run does not decide.
    """
    if is_accepted:
        return ENROLLED
    return {True: UNKNOWN, False: KNOWN, None: OPEN}[is_unknown]
