"""The nearest training rows by their long-term statistics, which vote: the second floor, without any model at all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.models.backends.long_term_statistics import LongTermStatistics, full_precision, standardization

ROWS_PER_CLASS_BEFORE = 16  # random ones, until it is fitted
SMOOTHING = 0.5  # votes that each class has in advance
SMALLEST_SPAN = 1e-6  # of the cosines of a row's neighbours; below it they are all as near


class NeighboursBackEnd(nn.Module):
    """Features (B, D, T) -> (embedding (B, S) of length 1: the standardized statistics; logits (B, C): log of the neighbours' votes).

    The k nearest training rows by cosine vote, each with a weight that falls linearly from 1 for the nearest to 0 for what would be
    neighbour k + 1 (Dudani 1976). So ties are settled by nearness, and votes do not jump where two rows change places, as they would by
    rounding. The softmax of the logits is each class's share of the votes, 0.5 votes in advance included. k is at most the square root of
    the number of training rows. A training row is its own nearest neighbour. A class without training rows gets no vote and never wins.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        statistics: Sequence[str] = ("mean", "std", "delta_std"),
        coefficients: Sequence[int] = (0, -1),
        k: int = 5,
    ):
        super().__init__()
        self.num_classes, self.k = num_classes, k
        self.statistics = LongTermStatistics(num_features, statistics, coefficients)
        self.embedding_dim = self.statistics.width
        self.register_buffer("mean", torch.zeros(self.embedding_dim))
        self.register_buffer("deviation", torch.ones(self.embedding_dim))
        num_rows = ROWS_PER_CLASS_BEFORE * num_classes
        self.register_buffer("memory", functional.normalize(torch.randn(num_rows, self.embedding_dim), dim=1))
        self.register_buffer("labels", torch.arange(num_rows) % num_classes)

    @property
    def num_neighbours(self) -> int:
        """How many vote: k, or fewer where there are few training rows."""
        return min(self.k, math.isqrt(len(self.memory)), len(self.memory) - 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.classify(self.statistics(features))

    def classify(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics (B, S) as they are -> (embedding, logits)."""
        with full_precision(statistics):
            embedding = functional.normalize((statistics - self.mean) / self.deviation, dim=1)
            nearest = (embedding @ self.memory.T).topk(self.num_neighbours + 1, dim=1)
            cosines, last = nearest.values[:, :-1], nearest.values[:, -1:]
            span = cosines[:, :1] - last
            weights = torch.where(span > SMALLEST_SPAN, (cosines - last) / span.clamp(min=SMALLEST_SPAN), torch.ones_like(cosines))
            is_of_class = self.labels[nearest.indices[:, :-1]].unsqueeze(-1) == torch.arange(self.num_classes, device=weights.device)
            votes = (weights.unsqueeze(-1) * is_of_class).sum(dim=1)
            return embedding, ((votes + SMOOTHING) / (votes + SMOOTHING).sum(dim=1, keepdim=True)).log()

    @torch.no_grad()
    def fit(self, statistics: np.ndarray, labels: np.ndarray) -> None:
        """Remembers statistics (N, S) of training rows, N > 1, and their class ids (N,)."""
        mean, deviation = standardization(statistics)
        self.make_room(len(statistics))
        self.mean.copy_(torch.from_numpy(mean).float())
        self.deviation.copy_(torch.from_numpy(deviation).float())
        self.memory.copy_(functional.normalize(torch.from_numpy((statistics - mean) / deviation), dim=1).float())
        self.labels.copy_(torch.from_numpy(labels))

    def make_room(self, num_rows: int) -> None:
        """Makes the memory as long as what is about to be put into it."""
        self.memory = self.memory.new_zeros(num_rows, self.embedding_dim)
        self.labels = self.labels.new_zeros(num_rows)
