"""Long-term statistics and a linear classifier that is fitted to its optimum: the floor that every network has to beat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.models.backends.long_term_statistics import LongTermStatistics, full_precision, standardization

MAX_ITERATIONS, TOLERANCE = 10_000, 1e-6  # of the solver, whose loss is a mean over rows: decision functions to a few 1e-4
ABSENT_MARGIN = 10.0  # how far below all others the logit of a class without training rows lies


class StatisticsBackEnd(nn.Module):
    """Features (B, D, T) -> (embedding (B, S): the statistics, each with mean 0 and deviation 1 over training rows; logits (B, C): linear).

    Nothing here learns by gradients: `fit` puts everything into buffers; until then the classifier is random. The logits of two classes are
    half the decision function and its negative, so that their softmax is the probability that was fitted. A class without training rows
    always has the lowest logit. head: "logistic", with 1 / c as penalty, or "lda" (covariances shrunk by Ledoit-Wolf).
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        statistics: Sequence[str] = ("mean", "std", "delta_std"),
        coefficients: Sequence[int] = (0, -1),
        head: str = "logistic",
        c: float = 1.0,
    ):
        super().__init__()
        if head not in ("logistic", "lda"):
            raise ValueError(f"head {head!r} is neither logistic nor lda")
        self.head, self.c = head, c
        self.statistics = LongTermStatistics(num_features, statistics, coefficients)
        self.embedding_dim = self.statistics.width
        self.register_buffer("mean", torch.zeros(self.embedding_dim))
        self.register_buffer("deviation", torch.ones(self.embedding_dim))
        self.register_buffer("weight", torch.randn(num_classes, self.embedding_dim) / self.embedding_dim**0.5)
        self.register_buffer("bias", torch.zeros(num_classes))
        self.register_buffer("is_present", torch.ones(num_classes, dtype=torch.bool))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.classify(self.statistics(features))

    def classify(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics (B, S) as they are -> (embedding, logits)."""
        with full_precision(statistics):
            embedding = (statistics - self.mean) / self.deviation
            logits = functional.linear(embedding, self.weight, self.bias)
            lowest = logits.masked_fill(~self.is_present, torch.inf).amin(dim=1, keepdim=True)
            return embedding, torch.where(self.is_present, logits, lowest - ABSENT_MARGIN)

    @torch.no_grad()
    def fit(self, statistics: np.ndarray, labels: np.ndarray) -> None:
        """statistics (N, S) of training rows, labels (N,) class ids, at least two of them. Raises ValueError where the solver fails."""
        mean, deviation = standardization(statistics)
        weight, bias = self._solve((statistics - mean) / deviation, labels)
        present = np.unique(labels)
        if len(present) == 2:
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        for buffer, fitted in ((self.mean, mean), (self.deviation, deviation)):
            buffer.copy_(torch.from_numpy(fitted).float())
        for buffer, fitted in ((self.weight, weight), (self.bias, bias)):
            buffer.zero_()
            buffer[torch.from_numpy(present).to(buffer.device)] = torch.from_numpy(fitted).float().to(buffer.device)
        self.is_present.copy_(torch.from_numpy(np.isin(np.arange(len(self.bias)), present)))

    def _solve(self, embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (C, S) and intercepts (C,) of the classes that there are; of two classes only the second one's."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # a second to import
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            if self.head == "lda":
                warnings.filterwarnings("ignore", message="Only one sample available")  # of a class: its covariance is 0
                fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(embeddings, labels)
                return fitted.coef_, fitted.intercept_
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                fitted = LogisticRegression(C=self.c, max_iter=MAX_ITERATIONS, tol=TOLERANCE).fit(embeddings, labels)
            except ConvergenceWarning:
                raise ValueError(f"logistic regression did not get to its optimum in {MAX_ITERATIONS} steps; take a smaller c") from None
            return fitted.coef_, fitted.intercept_
