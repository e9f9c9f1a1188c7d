"""Further heads on a back-end's embedding: one linear layer for each further label of a row, such as its vocoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LabelHeads(nn.Module):
    """Input of `network` -> (embedding (B, E), logits (B, C + all further classes)): those of the network, then those of each head."""

    def __init__(self, network: nn.Module, head_sizes: Sequence[int]):
        """network: gives (embedding (B, E), logits (B, C)) and has `embedding_dim`. head_sizes: classes of each further label."""
        super().__init__()
        self.network, self.embedding_dim = network, network.embedding_dim
        self.heads = nn.ModuleList(nn.Linear(self.embedding_dim, size) for size in head_sizes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        embedding, logits = self.network(features)
        return embedding, torch.cat([logits, *(head(embedding) for head in self.heads)], dim=1)
