"""Mean over time, two linear layers: the embedding of the special session's GE2E baseline. Classes are centroids of training embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class EmbeddingHead(nn.Module):
    """Features (B, D, T) -> (embedding (B, E), logits (B, C) = scale * cosine to each class's centroid).

    A metric loss trains the embedding; `set_centroids` puts the classes in afterwards, until then they are random. normalize: embeddings
    have length 1.
    """

    def __init__(self, num_features: int, num_classes: int, *, hidden: int = 256, embedding: int = 256, normalize: bool = True):
        super().__init__()
        self.num_features, self.embedding_dim, self.normalize = num_features, embedding, normalize
        self.layers = nn.Sequential(nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, embedding))
        self.register_buffer("centroids", torch.randn(num_classes, embedding))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        if features.ndim != 3 or features.shape[1] != self.num_features:
            raise ValueError(f"expected (batch, {self.num_features}, frames), got {tuple(features.shape)}")
        embedding = self.layers(features.mean(dim=-1)).to(self.centroids.dtype)  # from here on in full precision, under autocast too
        if self.normalize:
            embedding = functional.normalize(embedding, dim=-1)
        cosines = functional.normalize(embedding, dim=-1)[:, None] * functional.normalize(self.centroids, dim=-1)
        return embedding, self.scale * cosines.sum(dim=-1)

    @torch.no_grad()
    def set_centroids(self, centroids: Tensor, scale: float) -> None:
        """centroids (C, E): the mean training embedding of each class."""
        self.centroids.copy_(centroids)
        self.scale.fill_(scale)
