"""How far probabilities mean what they say, and the temperature that mends them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from sourcetracing.errors import UserError

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


def reliability(log_probabilities_NC: np.ndarray, labels_N: np.ndarray, num_bins: int) -> Reliability:
    """The figures of some rows."""
    probabilities = np.exp(log_probabilities_NC)
    right = probabilities.argmax(axis=1) == labels_N
    nll = -float(log_probabilities_NC[np.arange(len(labels_N)), labels_N].mean())
    return Reliability(len(labels_N), float(right.mean()), nll, calibration_error(probabilities, labels_N, num_bins))


def class_llrs(log_p_NC: np.ndarray) -> np.ndarray:
    """(N, C) log posterior odds of each class against all others, less its prior odds where all C are as probable, 1 : (C - 1).

    Infinite where a probability is 0 or 1.
    """
    num_classes = log_p_NC.shape[1]
    others = np.stack([logsumexp(np.delete(log_p_NC, number, axis=1), axis=1) for number in range(num_classes)], axis=1)
    return log_p_NC - others + math.log(num_classes - 1)
