"""How far down the tree an answer is sure: architecture, then acoustic model and vocoder, then the source.

The probability of a label is the sum of the calibrated probabilities of the known sources that have it. A label is *named* from
trace.level_confidence on, unless a coarser level is not sure. How often that was right is counted on dev: rows of known sources, and rows
of unknown sources that the rule calls unknown. Of a file that is called unknown the source is never named, and a coarser label only where
dev's unknown sources show that such answers hold (`Record.holds_for_unknown`).

Shapes: N rows, C classes, L labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sourcetracing.drawing.text import percent
from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.metrics.calibration import Calibration
from sourcetracing.metrics.hierarchy import label_groups, summed
from sourcetracing.metrics.ranking import is_above
from sourcetracing.protocols.relatives import COARSE_LEVELS, LEVELS, SOURCE_LEVEL, load_labels
from sourcetracing.runtime.files import write_json
from sourcetracing.scoring.scores import is_scored, read_embeddings, read_scores
from sourcetracing.tracing.calibration import logits_of, train_languages
from sourcetracing.tracing.unknown import UnknownRule
from sourcetracing.training.runs import TrainingRun

RANKS = (("architecture",), ("acoustic_model", "vocoder"), (SOURCE_LEVEL,))  # coarse to fine
LEAST_UTTERANCES, LEAST_SOURCES = 30, 2  # of dev's unknown sources, before they show anything


@dataclass(frozen=True)
class Count:
    """Confident dev rows of a level: how many, how many right, of how many utterances and sources; mean over sources of the share right."""

    rows: int
    right: int
    utterances: int
    sources: int
    mean_share: float

    def text(self) -> str:
        """`95.1 % of 312 dev rows`."""
        return f"{percent(self.right / self.rows)} % of {self.rows} dev rows" if self.rows else "no dev row was as sure"


@dataclass(frozen=True)
class Record:
    """A level of a system. labels (C,): of its classes. known, unknown: what dev says of confident answers."""

    level: str
    labels: Sequence[str]
    known: Count
    unknown: Count | None  # None without a rule, or without unknown sources on dev

    def holds_for_unknown(self, confidence: float) -> bool:
        """Whether dev's unknown sources show that a confident answer is right as often as it claims, source by source."""
        found = self.unknown
        if found is None or found.sources < LEAST_SOURCES or found.utterances < LEAST_UTTERANCES:
            return False
        return found.mean_share >= confidence


@dataclass(frozen=True)
class LevelAnswer:
    """The likeliest label of a level; "" = the likeliest is a source without one. why: how it is known, or why it is not named."""

    level: str
    label: str
    probability: float
    is_named: bool
    why: str

    def entry(self) -> dict[str, Any]:
        """For the JSON."""
        named = {"label": self.label, "probability": round(self.probability, 6), "named": self.is_named}
        return {"level": self.level, **named, "why": self.why}


@dataclass(frozen=True)
class Levels:
    """The levels that a system's sources have labels on, coarse to fine."""

    records: Sequence[Record]
    confidence: float

    def __call__(self, probabilities: np.ndarray, is_unknown: bool | None) -> list[LevelAnswer]:
        """The levels of a file from its calibrated probabilities (C,)."""
        by_level, found, stopped = {record.level: record for record in self.records}, list[LevelAnswer](), False
        for rank in RANKS:
            own = [self._answer(by_level[level], probabilities, is_unknown, stopped) for level in rank if level in by_level]
            stopped |= any(answer.label and answer.probability < self.confidence for answer in own)
            found += own
        return found

    def _answer(self, record: Record, probabilities: np.ndarray, is_unknown: bool | None, stopped: bool) -> LevelAnswer:
        names, groups = label_groups(list(record.labels))
        of_labels = summed(probabilities[None], groups)[0]
        best = int(of_labels.argmax())
        named, why = self._judged(record, names[best], float(of_labels[best]), is_unknown, stopped)
        return LevelAnswer(record.level, names[best], float(of_labels[best]), named, why)

    def _judged(self, record: Record, label: str, probability: float, is_unknown: bool | None, stopped: bool) -> tuple[bool, str]:
        """Whether a label is named, and why."""
        if not label:
            return False, "the likeliest source has no label there"
        if len(set(record.labels)) == 1:
            return False, "every known source has it, so this tells nothing"
        if record.level == SOURCE_LEVEL and is_unknown:
            return False, "unknown"
        if probability < self.confidence:
            return False, f"not sure: below {self.confidence:g}"
        if stopped:
            return False, "a coarser level is not sure"
        if not is_unknown:
            return True, f"right on dev's known sources: {record.known.text()}"
        if record.holds_for_unknown(self.confidence):
            return True, f"right on dev's unknown sources: {record.unknown.text()}"
        return False, f"the source is unknown, and {_doubt(record.unknown)}"

    def header(self) -> list[dict[str, Any]]:
        """For the JSON: labels by level, and what dev says."""
        return [
            {
                "level": record.level,
                "known_rows": record.known.rows,
                "known_right": record.known.right,
                "unknown_rows": record.unknown.rows if record.unknown else None,
                "unknown_right": record.unknown.right if record.unknown else None,
                "named_when_unknown": record.level != SOURCE_LEVEL and record.holds_for_unknown(self.confidence),
            }
            for record in self.records
        ]


def _doubt(found: Count | None) -> str:
    if found is None or not found.rows:
        return "dev has no labelled unknown sources that would show that this holds"
    if found.sources < LEAST_SOURCES or found.utterances < LEAST_UTTERANCES:
        return f"dev has too few unknown ones to show that this holds ({found.utterances} utterances of {found.sources} sources)"
    return f"of dev's unknown sources such an answer was right in {found.text()} only"


def fit_levels(run: TrainingRun, calibration: Calibration, rule: UnknownRule | None) -> Levels | None:
    """The levels of a run by its labels and its dev rows in the languages of training.

    None where no class has a label, or dev no scores.
    """
    labels, classes = labels_of_run(run), run.settings.corpus.sources
    own = labels.reindex(classes).fillna("")
    if not (own != "").any(axis=None) or not is_scored(run, "dev"):
        return None
    dev = read_scores(run, "dev", unknown=True)
    chosen = dev["language"].isin(train_languages(run)).to_numpy()
    rows, probabilities = dev[chosen], np.exp(calibration.log_probabilities(logits_of(dev)[chosen]))
    flagged = None
    if rule is not None:
        scores = rule.score(read_embeddings(run, "dev")[chosen], logits_of(rows))
        flagged = is_above(scores, rule.threshold)
    confidence = run.settings.trace.level_confidence
    records = [
        _record(level, list(classes) if level == SOURCE_LEVEL else list(own[level]), rows, probabilities, flagged, labels, confidence)
        for level in LEVELS
        if level == SOURCE_LEVEL or (own[level] != "").any()
    ]
    return Levels(records, confidence)


def _record(
    level: str,
    of_classes: list[str],
    rows: pd.DataFrame,
    probabilities: np.ndarray,
    flagged: np.ndarray | None,
    labels: pd.DataFrame,
    confidence: float,
) -> Record:
    names, groups = label_groups(of_classes)
    of_labels = summed(probabilities, groups)
    answers = np.array(names, dtype=object)[of_labels.argmax(axis=1)]
    true = rows["source"].to_numpy() if level == SOURCE_LEVEL else rows["source"].map(labels[level]).fillna("").to_numpy()
    sure = (of_labels.max(axis=1) >= confidence) & (answers != "") & (true != "")
    is_unknown = (rows["label"] == UNKNOWN_LABEL).to_numpy()
    known = ~is_unknown if flagged is None else ~is_unknown & ~flagged
    unknown = None if flagged is None or level == SOURCE_LEVEL or not is_unknown.any() else is_unknown & flagged
    counts = [None if members is None else _count(rows[sure & members], (answers == true)[sure & members]) for members in (known, unknown)]
    return Record(level, of_classes, *counts)


def _count(rows: pd.DataFrame, right: np.ndarray) -> Count:
    by_source = pd.Series(right, dtype=float).groupby(rows["source"].to_numpy()).mean()
    return Count(len(rows), int(right.sum()), rows["utt_id"].nunique(), len(by_source), float(by_source.mean()))


def labels_of_run(run: TrainingRun) -> pd.DataFrame:
    """`labels_of_sources` of a run's corpus: what stands in its folder, else what script 02 wrote.

    Raises `UserError` for a damaged file.
    """
    path = run.files.labels
    if not path.is_file():
        return load_labels(run.settings)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        table = pd.DataFrame.from_dict(found, orient="index", dtype=object).reindex(columns=list(COARSE_LEVELS)).fillna("")
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"{path} is damaged. Delete it: levels are not named then") from None
    return table.rename_axis("source")


def write_labels(run: TrainingRun, path: Path) -> bool:
    """Writes the labels of a run's sources, where there are any; whether it did."""
    labels = labels_of_run(run)
    if labels.empty or not (labels != "").any(axis=None):
        return False
    write_json(path, labels.T.to_dict())
    return True


def lines_of(answers: Sequence[LevelAnswer]) -> list[str]:
    """For the terminal: one line for each level."""
    return [f"{answer.level.replace('_', ' '):<14}  {_said(answer)}  {answer.probability:.3f}  ({answer.why})" for answer in answers]


def _said(answer: LevelAnswer) -> str:
    return answer.label if answer.is_named else f"– ({answer.label})" if answer.label else "–"
