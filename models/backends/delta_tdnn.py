"""A small TDNN that hears change only: features without their mean over time, beside their differences, each at a scale of its own.

Channel, level and the average spectrum of a language lie in the mean over time; what sources do differently lies in how features move.
With `statistics` a linear classifier of long-term statistics stands beside the network, and both speak.
Shapes: B batch, F features, T frames, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.models.backends.long_term_statistics import LongTermStatistics

DILATIONS = (1, 2, 4)
SCALE_MOMENTUM = 0.05  # of the running scales of input and statistics: a batch is few rows
VARIANCE_FLOOR = 1e-4
STATISTICS_DROPOUT = 0.3


class DeltaTdnn(nn.Module):
    """Features (B, F, T) -> (embedding (B, 8 C + S), logits (B, num_classes)); needs two frames.

    Embedding: mean and standard deviation over time of four layers of C channels; then S statistics, standardized.
    dropout: of the pooled channels before the classifier. statistics: names of long-term statistics of all features; empty = none, S = 0.
    With them logits are log-probabilities of the linear classifier plus network_weight times those of the network; a training row hears one
    of the two, drawn from torch's generator, so that each learns on its own. Raises ValueError for another rank or number of features.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        channels: int = 32,
        dropout: float = 0.0,
        statistics: Sequence[str] = (),
        network_weight: float = 0.2,
    ):
        super().__init__()
        self.num_features, self.network_weight = num_features, network_weight
        pooled = 2 * (1 + len(DILATIONS)) * channels
        self.input_scale = nn.BatchNorm1d(2 * num_features, affine=False, momentum=SCALE_MOMENTUM)
        self.stem = _layer(2 * num_features, channels, kernel=5, dilation=1)
        self.blocks = nn.ModuleList(_layer(channels, channels, kernel=3, dilation=dilation) for dilation in DILATIONS)
        self.pooled_norm = nn.BatchNorm1d(pooled)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(pooled, num_classes)
        self.statistics = LongTermStatistics(num_features, statistics, (0, -1)) if statistics else None
        self.embedding_dim = pooled
        if self.statistics:
            self.embedding_dim += self.statistics.width
            self.statistics_scale = nn.BatchNorm1d(self.statistics.width, affine=False, momentum=SCALE_MOMENTUM)
            self.statistics_classifier = nn.Linear(self.statistics.width, num_classes)
            nn.init.zeros_(self.statistics_classifier.weight)

    def forward(self, x_BFT: Tensor) -> tuple[Tensor, Tensor]:
        if x_BFT.ndim != 3 or x_BFT.shape[1] != self.num_features:
            raise ValueError(f"expected (batch, {self.num_features}, frames), got {tuple(x_BFT.shape)}")
        pooled = self._pooled(x_BFT)
        logits = self.classifier(self.dropout(self.pooled_norm(pooled)))
        if not self.statistics:
            return pooled, logits
        standardized = self.statistics_scale(self.statistics(x_BFT))
        from_statistics = self.statistics_classifier(functional.dropout(standardized, STATISTICS_DROPOUT, self.training))
        return torch.cat([pooled, standardized], dim=1), self._spoken(logits, from_statistics)

    def _pooled(self, x_BFT: Tensor) -> Tensor:
        centred = x_BFT - x_BFT.mean(dim=2, keepdim=True)
        deltas = functional.pad(centred[..., 1:] - centred[..., :-1], (0, 1))
        layers = [self.stem(self.input_scale(torch.cat([centred, deltas], dim=1)))]
        total = layers[0]
        for block in self.blocks:
            total = total + block(total)
            layers.append(total)
        x_BMT = torch.cat(layers, dim=1)
        mean_BM1 = x_BMT.mean(dim=2, keepdim=True)
        return torch.cat([mean_BM1[..., 0], (x_BMT - mean_BM1).square().mean(dim=2).add(VARIANCE_FLOOR).sqrt()], dim=1)

    def _spoken(self, from_network: Tensor, from_statistics: Tensor) -> Tensor:
        if self.training:
            hears_network = torch.rand(len(from_network), 1, device=from_network.device) < 0.5
            return torch.where(hears_network, from_network, from_statistics)
        return functional.log_softmax(from_statistics, dim=1) + self.network_weight * functional.log_softmax(from_network, dim=1)


def _layer(in_channels: int, out_channels: int, kernel: int, dilation: int) -> nn.Sequential:
    """(B, in, T) -> (B, out, T): convolution, BatchNorm, ReLU."""
    convolution = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation, padding=kernel // 2 * dilation)
    return nn.Sequential(convolution, nn.BatchNorm1d(out_channels), nn.ReLU())
