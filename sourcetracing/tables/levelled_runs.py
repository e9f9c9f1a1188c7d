"""The scored rows of runs, unknown sources included, with the probabilities that levels are read off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sourcetracing.metrics.calibration import fit_temperature
from sourcetracing.protocols.relatives import COARSE_LEVELS
from sourcetracing.protocols.table import load_protocol
from sourcetracing.scoring.scores import is_scored, read_label_scores, read_scores, with_transcripts_as_units
from sourcetracing.tables.hierarchy import LevelledRun, probabilities_of
from sourcetracing.tables.scored_runs import REPORTED_SPLIT
from sourcetracing.training.label_classes import recorded_classes
from sourcetracing.training.recorded import protocol_of_run
from sourcetracing.training.runs import TrainingRun
from sourcetracing.training.table_plans import languages_of


def levelled_runs(trained: Sequence[TrainingRun]) -> list[LevelledRun]:
    """The runs that are finished and whose scores belong to their weights."""
    return [levelled_run(run) for run in trained if run.files.is_finished and is_scored(run, REPORTED_SPLIT)]


def levelled_run(run: TrainingRun) -> LevelledRun:
    """A scored run. Raises `UserError` where scores are missing."""
    scores, languages = read_scores(run, REPORTED_SPLIT, unknown=True), languages_of(run.train_set)
    scores = scores.assign(unit=scores["utt_id"])
    if run.settings.evaluation.bootstrap_by == "transcript":
        scores = with_transcripts_as_units(scores, load_protocol(run.settings, unknown=True)[0])
    temperature = temperature_of(run, languages)
    return LevelledRun(
        run.system,
        run.train_set,
        run.seed,
        languages,
        scores[["unit", "language", "source"]],
        probabilities_of(_logits(scores, run), temperature),
        temperature,
        protocol_of_run(run)["digest"][:8],
        levels_of_heads(run),
    )


def levels_of_heads(run: TrainingRun) -> dict[str, tuple[list[str], np.ndarray]]:
    """Level -> its labels and their softmax (N, L), of the levels that further heads of the network say (`train.labels`)."""
    classes = recorded_classes(run.files, run.settings)
    said = {level: names for level, names in classes.items() if level in COARSE_LEVELS}
    if not said:
        return {}
    scores = read_label_scores(run, REPORTED_SPLIT)
    logits = {level: scores[[f"logit_{level}_{number}" for number in range(len(names))]].to_numpy() for level, names in said.items()}
    return {level: (names, probabilities_of(logits[level], float("nan"))) for level, names in said.items()}


def temperature_of(run: TrainingRun, languages: Sequence[str]) -> float:
    """That of dev's known rows in the languages of training, as in `tracing.calibration`; nan where dev is not scored or has none."""
    if not is_scored(run, "dev"):
        return float("nan")
    dev = read_scores(run, "dev")
    dev = dev[dev["language"].isin(languages)]
    return fit_temperature(_logits(dev, run), dev["label"].to_numpy()) if len(dev) else float("nan")


def _logits(scores: pd.DataFrame, run: TrainingRun) -> np.ndarray:
    return scores[[f"logit_{number}" for number in range(len(run.settings.corpus.sources))]].to_numpy()
