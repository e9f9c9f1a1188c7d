"""How strongly an answer speaks for one of the sources that a system knows, against its others: likelihood ratios within bounds from dev.

Shapes: N rows, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sourcetracing.casework.wording import Evidence
from sourcetracing.errors import UserError
from sourcetracing.metrics.calibration import Calibration, class_llrs
from sourcetracing.metrics.empirical_bounds import empirical_bounds
from sourcetracing.metrics.verification import cllr
from sourcetracing.scoring.scores import read_scores
from sourcetracing.tracing.calibration import logits_of, train_languages
from sourcetracing.training.runs import TrainingRun


@dataclass(frozen=True)
class ClosedSet:
    """low, high: the bounds of LLRs (natural logarithm) that dev supports; utterances: of dev, behind them; cllr: of dev's LLRs, bits."""

    low: float
    high: float
    utterances: int
    cllr: float

    @classmethod
    def of(cls, run: TrainingRun, calibration: Calibration) -> ClosedSet:
        """From dev's rows of known sources in the run's languages, each judged for each class. Raises `UserError` without scores."""
        scores = read_scores(run, "dev")
        scores = scores[scores["language"].isin(train_languages(run))]
        if scores.empty:
            raise UserError(f"{run.folder}: dev has no rows of known sources in the run's languages")
        return cls.fitted(calibration.log_probabilities(logits_of(scores)), scores["label"].to_numpy(), scores["utt_id"].nunique())

    @classmethod
    def fitted(cls, log_p_NC: np.ndarray, labels_N: np.ndarray, utterances: int) -> ClosedSet:
        """From calibrated log-probabilities of dev, and how many utterances these rows are variants of."""
        if log_p_NC.shape[1] < 2:
            raise UserError("of a single source there is no alternative, and no likelihood ratio")
        llrs = class_llrs(log_p_NC).ravel()
        is_target = (labels_N[:, None] == np.arange(log_p_NC.shape[1])).ravel()
        low, high = empirical_bounds(llrs, is_target)
        most = math.log(utterances)
        low, high = max(low, -most), min(high, most)
        lost = cllr(np.clip(llrs, low, high), is_target, np.ones((1, len(llrs))))
        return cls(low, high, utterances, float(lost[0]))

    def evidence(self, probabilities_C: np.ndarray) -> list[Evidence]:
        """For each class against the others, of a file's calibrated probabilities."""
        with np.errstate(divide="ignore"):
            llrs = class_llrs(np.log(probabilities_C)[None])[0]
        return [Evidence.within(float(llr), self.low, self.high, self.utterances) for llr in llrs]
