"""Probabilities that mean what they say: one temperature for the logits, fitted on dev, and how far they are off before and after.

Shapes: N rows, C classes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file, write_json
from sourcetracing.scoring.scores import read_scores
from sourcetracing.tracing.pictures import draw_reliability
from sourcetracing.tracing.system import score_splits
from sourcetracing.training.runs import TrainingRun

LOG_RANGE = (np.log(0.01), np.log(100.0))  # where the temperature is sought


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from what they claim, on some rows."""

    rows: int
    accuracy: float
    nll: float  # mean negative log-likelihood of the true class, nats
    ece: float  # expected calibration error


@dataclass(frozen=True)
class Calibration:
    """The temperature of a run, and its `Reliability` by set: dev, eval, and eval_other_languages where there are such."""

    weights: str
    temperature: float
    languages: list[str]
    bins: int
    before: dict[str, Reliability]
    after: dict[str, Reliability]

    def log_probabilities(self, logits_NC: np.ndarray) -> np.ndarray:
        """(N, C) calibrated log-probabilities."""
        return log_softmax(logits_NC.astype(np.float64) / self.temperature, axis=1)


def fit_temperature(logits_NC: np.ndarray, labels_N: np.ndarray) -> float:
    """The T that makes softmax(logits / T) likeliest (Guo et al. 2017, arXiv:1706.04599, section 4.2).

    The true class is taken to be right with (N + 1) / (N + 2) only (Platt 1999), so that rows that are all right do not end in certainty.
    Raises `UserError` without rows.
    """
    if not len(labels_N):
        raise UserError("there are no rows to fit a temperature on")
    logits_NC = logits_NC.astype(np.float64)
    num_rows, num_classes = logits_NC.shape
    doubt = 1 / (num_rows + 2)

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(logits_NC / np.exp(log_temperature), axis=1)
        right = log_p[np.arange(num_rows), labels_N]
        wrong = (log_p.sum(axis=1) - right) / max(num_classes - 1, 1)
        return -float(np.mean((1 - doubt) * right + doubt * wrong))

    return float(np.exp(minimize_scalar(loss, bounds=LOG_RANGE, method="bounded", options={"xatol": 1e-6}).x))


def calibration_error(probabilities_NC: np.ndarray, labels_N: np.ndarray, num_bins: int) -> float:
    """ECE: mean distance of confidence and accuracy over equal bins of confidence, weighted by their rows (arXiv:1706.04599, eq. 3)."""
    bins = confidence_bins(probabilities_NC, labels_N, num_bins)
    return float((bins["rows"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / len(labels_N))


def confidence_bins(probabilities_NC: np.ndarray, labels_N: np.ndarray, num_bins: int) -> pd.DataFrame:
    """One row for each bin that is not empty: low (its lower edge), rows, confidence (mean), accuracy."""
    confidence = probabilities_NC.max(axis=1)
    table = pd.DataFrame({"confidence": confidence, "accuracy": probabilities_NC.argmax(axis=1) == labels_N})
    table["bin"] = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    bins = table.groupby("bin").agg(rows=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean"))
    return bins.reset_index().assign(low=lambda frame: frame["bin"] / num_bins).drop(columns="bin")


def logits_of(scores: pd.DataFrame) -> np.ndarray:
    """(N, C) logits of a score table."""
    return scores[[name for name in scores.columns if name.startswith("logit_")]].to_numpy()


def reliability(log_probabilities_NC: np.ndarray, labels_N: np.ndarray, num_bins: int) -> Reliability:
    """The figures of some rows."""
    probabilities = np.exp(log_probabilities_NC)
    right = probabilities.argmax(axis=1) == labels_N
    nll = -float(log_probabilities_NC[np.arange(len(labels_N)), labels_N].mean())
    return Reliability(len(labels_N), float(right.mean()), nll, calibration_error(probabilities, labels_N, num_bins))


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
    draw_reliability({name: _bins_of(rows, made) for name, rows in sets.items()}, made, files.calibration_picture)
    write_json(files.calibration, asdict(made))
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
        raise UserError(f"{run.folder}: there are no dev scores of known sources in {', '.join(train_languages(run))} to calibrate on")
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
