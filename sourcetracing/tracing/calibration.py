"""Probabilities that mean what they say: one temperature for the logits, fitted on dev, and how far they are off before and after.

Shapes: N rows, C classes.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax

from sourcetracing.errors import UserError
from sourcetracing.metrics.calibration import Calibration, Reliability, confidence_bins, fit_temperature, reliability
from sourcetracing.runtime.files import digest_of_file, write_json
from sourcetracing.scoring.scores import read_scores
from sourcetracing.tracing.pictures import draw_reliability
from sourcetracing.tracing.system import score_splits
from sourcetracing.training.runs import TrainingRun


def logits_of(scores: pd.DataFrame) -> np.ndarray:
    """(N, C) logits of a score table."""
    return scores[[name for name in scores.columns if name.startswith("logit_")]].to_numpy()


def calibrate(run: TrainingRun, device: torch.device) -> Calibration:
    """The calibration of a run: what calibration.json tells of these weights, else fitted on dev, looked at on eval, and written down.

    Only rows in the languages of training are used; those in others are a set of their own. Raises `UserError`.
    """
    files, num_bins = run.files, run.settings.trace.calibration_bins
    if known := _read(files.calibration, digest_of_file(files.weights), num_bins):
        return known
    score_splits(run, ["dev", "eval"], device)
    sets = calibration_sets(run)
    temperature = fit_temperature(logits_of(sets["dev"]), sets["dev"]["label"].to_numpy())
    before, after = (
        {name: reliability(log_softmax(logits_of(rows) / t, axis=1), rows["label"].to_numpy(), num_bins) for name, rows in sets.items()}
        for t in (1.0, temperature)
    )
    made = Calibration(digest_of_file(files.weights), temperature, train_languages(run), num_bins, before, after)
    try:
        draw_reliability({name: _bins_of(rows, made) for name, rows in sets.items()}, made, files.calibration_picture)
        write_json(files.calibration, asdict(made))
    except OSError as error:  # somebody else's run, or one on a disk that is read-only or full
        print(f"note: {files.calibration} cannot be written ({error.strerror or error}); the calibration is fitted anew each time")
    return made


def _bins_of(rows: pd.DataFrame, made: Calibration) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`confidence_bins` before and after."""
    logits, labels = logits_of(rows), rows["label"].to_numpy()
    before, after = (np.exp(log_softmax(logits / t, axis=1)) for t in (1.0, made.temperature))
    return confidence_bins(before, labels, made.bins), confidence_bins(after, labels, made.bins)


def train_languages(run: TrainingRun) -> list[str]:
    """What a run was trained on."""
    return run.settings.train.languages or run.settings.corpus.languages


def calibration_sets(run: TrainingRun) -> dict[str, pd.DataFrame]:
    """Scores of known sources: dev and eval in the languages of training, eval in others where there are such. Raises `UserError`."""
    sets = {split: read_scores(run, split) for split in ("dev", "eval")}
    trained = {split: rows["language"].isin(train_languages(run)) for split, rows in sets.items()}
    found = {split: rows[trained[split]] for split, rows in sets.items()}
    if found["dev"].empty:
        raise UserError(
            f"{run.folder}: there are no dev scores of known sources in {', '.join(train_languages(run))} to calibrate on. "
            "Take a run that was trained on languages with dev rows (script 02 counts them)"
        )
    others = sets["eval"][~trained["eval"]]
    return {name: rows for name, rows in {**found, "eval_other_languages": others}.items() if len(rows)}


def _read(path: Path, weights: str, num_bins: int) -> Calibration | None:
    """None where there is none, or one of other weights or bins."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before, after = ({name: Reliability(**row) for name, row in content.pop(key).items()} for key in ("before", "after"))
        known = Calibration(**content, before=before, after=after)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return known if (known.weights, known.bins) == (weights, num_bins) else None
