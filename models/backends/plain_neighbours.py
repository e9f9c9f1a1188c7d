"""The nearest training rows by plain distance, one vote each: what TADA (arXiv:2506.05802) does with a frozen encoder's layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.models.backends.long_term_statistics import LongTermStatistics, full_precision
from sourcetracing.models.backends.neighbours import ROWS_PER_CLASS_BEFORE, SMOOTHING

WINNERS_PART = 0.01  # of a vote, which the winner has more than it got: so the highest logit is one class, also where votes are tied


class PlainNeighboursBackEnd(nn.Module):
    """Features (B, D, T) -> (embedding (B, S): the statistics as they are; logits (B, C): log of the neighbours' votes).

    Nothing is scaled. The k nearest training rows (all, where there are fewer) have one vote each. metric: "euclidean" distance, or
    "cosine", which is that of rows of length 1. Where several classes have most votes, the one wins that the nearest of their neighbours
    is of. The softmax of the logits is each class's share of the votes, 0.5 votes in advance and 0.01 more for the winner included. A
    training row is its own nearest neighbour. A class without training rows gets no vote and never wins.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        statistics: Sequence[str] = ("mean",),
        coefficients: Sequence[int] = (0, -1),
        k: int = 21,
        metric: str = "euclidean",
    ):
        super().__init__()
        if metric not in ("euclidean", "cosine"):
            raise ValueError(f"metric {metric!r} is neither euclidean nor cosine")
        self.num_classes, self.k, self.metric = num_classes, k, metric
        self.statistics = LongTermStatistics(num_features, statistics, coefficients)
        self.embedding_dim = self.statistics.width
        num_rows = ROWS_PER_CLASS_BEFORE * num_classes  # random ones, until it is fitted
        self.register_buffer("centre", torch.zeros(self.embedding_dim))
        self.register_buffer("memory", torch.randn(num_rows, self.embedding_dim))
        self.register_buffer("labels", torch.arange(num_rows) % num_classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.classify(self.statistics(features))

    def classify(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics (B, S) as they are -> (embedding, logits)."""
        with full_precision(statistics):
            rows = self._compared(statistics) - self.centre
            squares = self.memory.square().sum(dim=1) - 2 * rows @ self.memory.T  # less the row's own square, the same for all
            num_neighbours = min(self.k, len(self.memory))
            nearest = squares.topk(num_neighbours, dim=1, largest=False).indices
            is_of_class = self.labels[nearest].unsqueeze(-1) == torch.arange(self.num_classes, device=rows.device)
            votes = is_of_class.sum(dim=1)
            nearness = (is_of_class * torch.arange(num_neighbours, 0, -1, device=rows.device).unsqueeze(-1)).amax(dim=1)
            winner = (votes * (num_neighbours + 1) + nearness).argmax(dim=1, keepdim=True)
            is_winner = winner == torch.arange(self.num_classes, device=rows.device)
            shares = votes + SMOOTHING + WINNERS_PART * is_winner
            return statistics, (shares / shares.sum(dim=1, keepdim=True)).log()

    def _compared(self, statistics: Tensor) -> Tensor:
        return functional.normalize(statistics, dim=1) if self.metric == "cosine" else statistics

    @torch.no_grad()
    def fit(self, statistics: np.ndarray, labels: np.ndarray) -> None:
        """Remembers statistics (N, S) of training rows and their class ids (N,).

        They are kept without their mean, which changes no distance: squares of small numbers lose fewer digits.
        """
        rows = self._compared(torch.from_numpy(statistics).double())
        centre = rows.mean(dim=0)
        self.make_room(len(rows))
        self.centre.copy_(centre.float())
        self.memory.copy_((rows - self.centre.cpu().double()).float())
        self.labels.copy_(torch.from_numpy(labels))

    def make_room(self, num_rows: int) -> None:
        """Makes the memory as long as what is about to be put into it."""
        self.memory = self.memory.new_zeros(num_rows, self.embedding_dim)
        self.labels = self.labels.new_zeros(num_rows)
