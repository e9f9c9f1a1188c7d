"""How often a system is right on data like a file: eval's clean utterances by language and by the source that it names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.metrics.calibration import Calibration
from sourcetracing.metrics.ranking import is_above
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.tracing.calibration import logits_of, train_languages
from sourcetracing.tracing.phrases import language_names
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.training.runs import TrainingRun
from sourcetracing.verification.representations import CLEAN


@dataclass(frozen=True)
class Share:
    """right of total utterances; low, high: 95 % interval of the share (Clopper and Pearson 1934), too narrow for alike utterances."""

    what: str
    right: int
    total: int
    low: float
    high: float

    @classmethod
    def of(cls, what: str, right: int, total: int) -> Share:
        """total: at least 1."""
        interval = binomtest(right, total).proportion_ci(confidence_level=0.95, method="exact")
        return cls(what, right, total, float(interval.low), float(interval.high))


def clean_eval(run: TrainingRun) -> pd.DataFrame | None:
    """Eval's scores of clean utterances of known sources; None where there are none."""
    try:
        scores = read_scores(run, "eval")
    except UserError:
        return None
    clean = scores[scores["variant"] == CLEAN]
    return clean if len(clean) else None


def shares(run: TrainingRun, scores: pd.DataFrame, source: str | None, language: str | None) -> list[Share]:
    """How often a named source is the right one: in the languages of training, in others, in `language`, and where `source` is named."""
    return list(_shares(run, scores, source, language))


def _shares(run: TrainingRun, scores: pd.DataFrame, source: str | None, language: str | None) -> Iterator[Share]:
    trained = scores["language"].isin(train_languages(run))
    groups = {f"languages of training ({language_names(train_languages(run))})": trained, "other languages": ~trained}
    if language is not None:
        groups[f"the file's language, {language_names([language])}"] = scores["language"] == language
    if source is not None:
        groups[f"utterances that it calls {source}"] = scores["prediction"] == run.settings.corpus.sources.index(source)
    for what, chosen in groups.items():
        if chosen.any():
            right = int((scores["prediction"] == scores["label"])[chosen].sum())
            yield Share.of(what, right, int(chosen.sum()))


def decision_shares(tracer: Tracer) -> list[Share]:
    """How often the rule is right on eval's clean utterances: unknown sources called unknown, known ones called known.

    [] without a rule, and where eval was not scored with embeddings.
    """
    run, rule = tracer.system.run, tracer.rule
    if rule is None:
        return []
    try:
        scores, embeddings = read_scores(run, "eval", unknown=True), read_embeddings(run, "eval")
    except UserError:
        return []
    clean = (scores["variant"] == CLEAN).to_numpy()
    scores, embeddings = scores[clean], embeddings[clean]
    if scores.empty:
        return []
    called_unknown = is_above(rule.score(embeddings, logits_of(scores)), rule.threshold)
    is_unknown = (scores["label"] == UNKNOWN_LABEL).to_numpy()
    kinds = {
        "of unknown sources: called unknown": (is_unknown, called_unknown),
        "of known sources: called known": (~is_unknown, ~called_unknown),
    }
    return [Share.of(what, int((right & own).sum()), int(own.sum())) for what, (own, right) in kinds.items() if own.any()]


def calibration_sentence(calibration: Calibration) -> str:
    """How far probabilities are off, on eval where it was looked at."""
    name = "eval" if "eval" in calibration.after else "dev"
    shown = calibration.after[name]
    return f"Its probabilities are off by {shown.ece:.1%} on average on {name} ({shown.rows} rows, noisy copies among them)."
