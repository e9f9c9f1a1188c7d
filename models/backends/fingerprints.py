"""One fingerprint for each source, the mean of its training rows over time; rows are given to the source whose fingerprint fits best.

With the front-end `residual`: residual fingerprints (arXiv:2411.14013). Nothing is trained; a fingerprint can be plotted as a spectrum.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.models.backends.long_term_statistics import LongTermStatistics, full_precision
from sourcetracing.models.backends.statistics import ABSENT_MARGIN

CORRELATION_LOGIT = 100.0  # the logit of a correlation of 1: they differ in the third digit, more than a temperature makes up for
RANK_TOLERANCE = 1e-7  # of a source's largest variance: directions that vary less are left out; of spectra they are rounding (0.01 dB)


class FingerprintBackEnd(nn.Module):
    """Features (B, D, T) -> (embedding (B, D), logits (B, C): how well each fingerprint fits).

    The embedding is the row's mean over time, less that of all training rows. score: "mahalanobis", minus the distance of the row from the
    fingerprint by the pseudo-inverse of the covariance of that source's training rows; or "correlation" of row and fingerprint over the D
    features, times 100. A class without training rows always has the lowest logit. Until it is fitted the fingerprints are random.
    """

    def __init__(self, num_features: int, num_classes: int, *, score: str = "mahalanobis"):
        super().__init__()
        if score not in ("mahalanobis", "correlation"):
            raise ValueError(f"score {score!r} is neither mahalanobis nor correlation")
        self.score = score
        self.statistics = LongTermStatistics(num_features, ("mean",), (0, -1))
        self.embedding_dim = num_features
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("fingerprints", torch.randn(num_classes, num_features))
        self.register_buffer("is_present", torch.ones(num_classes, dtype=torch.bool))
        if score == "mahalanobis":
            self.register_buffer("whitening", torch.eye(num_features).repeat(num_classes, 1, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.classify(self.statistics(features))

    def classify(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics (B, D) as they are -> (embedding, logits)."""
        with full_precision(statistics):
            if self.score == "correlation":
                logits = CORRELATION_LOGIT * _without_mean(statistics) @ _without_mean(self.fingerprints).T
            else:
                apart = (statistics.unsqueeze(1) - self.fingerprints).transpose(0, 1)  # (C, B, D)
                logits = -torch.bmm(apart, self.whitening).square().sum(dim=-1).sqrt().T
            lowest = logits.masked_fill(~self.is_present, torch.inf).amin(dim=1, keepdim=True)
            return statistics - self.mean, torch.where(self.is_present, logits, lowest - ABSENT_MARGIN)

    @torch.no_grad()
    def fit(self, statistics: np.ndarray, labels: np.ndarray) -> None:
        """statistics (N, D) of training rows, labels (N,) class ids. Raises ValueError where a source has too few for a covariance.

        Too few as published: twice as many as there are samples in the spectrum's transform, which has 2 (D - 1).
        """
        rows, (present, counts) = statistics.astype(np.float64), np.unique(labels, return_counts=True)
        least = rows.shape[1] - 1
        if self.score == "mahalanobis" and counts.min() < least:
            raise ValueError(
                f"fingerprints.score=mahalanobis: a covariance of {rows.shape[1]} features needs at least {least} training rows of each "
                f"source, and one has {counts.min()}; take fingerprints.score=correlation"
            )
        self.mean.copy_(torch.from_numpy(rows.mean(axis=0)).float())
        self.fingerprints.zero_()
        for number in present:
            of_source = rows[labels == number]
            self.fingerprints[number] = torch.from_numpy(of_source.mean(axis=0)).float()
            if self.score == "mahalanobis":
                self.whitening[number] = torch.from_numpy(_whitening(np.cov(of_source, rowvar=False))).float()
        self.is_present.copy_(torch.from_numpy(np.isin(np.arange(len(self.fingerprints)), present)))


def _without_mean(rows: Tensor) -> Tensor:
    """Rows (B, D) less their mean over the features, of length 1: their inner products are correlations."""
    return functional.normalize(rows - rows.mean(dim=1, keepdim=True), dim=1)


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """(D, D) W with W W^T the pseudo-inverse of the covariance (D, D)."""
    from scipy.linalg import eigh

    variances, directions = eigh(np.atleast_2d(covariance))
    in_use = variances > max(RANK_TOLERANCE * variances[-1], np.finfo(np.float32).tiny)
    return directions * np.where(in_use, np.where(in_use, variances, 1.0) ** -0.5, 0.0)
