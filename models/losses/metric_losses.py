"""Losses on embeddings of a class-balanced batch: GE2E and the prototypical one are ours, the others pytorch-metric-learning's.

Each is called with embeddings (N, M, E) and the ids (N,) of their classes and returns a scalar. `logit_scale` says by which cosines to a
class's centroid become logits that fit the loss; `after_step` keeps its own weights admissible.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.models.losses.ge2e import SMALLEST_SCALE, Ge2eLoss


class LibraryLoss(nn.Module):
    """A loss of pytorch-metric-learning, which takes rows (N * M, E) and a label for each."""

    def __init__(self, loss: nn.Module, logit_scale: float):
        super().__init__()
        self.loss, self.logit_scale = loss, logit_scale

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return self.loss(embeddings.flatten(0, 1), labels.repeat_interleave(embeddings.shape[1]))

    def after_step(self) -> None:
        """Nothing to keep."""


class PrototypicalLoss(nn.Module):
    """Half of a class are queries, the mean of its others a prototype; softmax over -scale * squared distance (Snell et al. 2017, eq. 2).

    The embeddings have length 1, so the scale is learned, as Chung et al. 2020 (arXiv:2003.11982) do for their angular variant.
    """

    def __init__(self, *, scale: float = 10.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        num_classes, num_utterances, width = embeddings.shape
        directions = functional.normalize(embeddings, dim=-1)
        queries, support = directions.split([num_utterances // 2, num_utterances - num_utterances // 2], dim=1)
        distances = (queries.reshape(-1, 1, width) - support.mean(dim=1)).square().sum(dim=-1)
        own = torch.arange(num_classes, device=embeddings.device).repeat_interleave(num_utterances // 2)
        return functional.cross_entropy(-self.scale * distances, own)

    @torch.no_grad()
    def after_step(self) -> None:
        """Keeps the scale positive."""
        self.scale.clamp_(min=SMALLEST_SCALE)

    @property
    def logit_scale(self) -> float:
        """The squared distance of vectors of length 1 is 2 - 2 cosine."""
        return 2 * self.scale.item()


def ge2e(**options: Any) -> Ge2eLoss:
    """Wan et al. 2018 (arXiv:1710.10467), the softmax variant; options: those of `Ge2eLoss`."""
    return Ge2eLoss("softmax", **options)


def ge2e_contrast(**options: Any) -> Ge2eLoss:
    """The contrast variant."""
    return Ge2eLoss("contrast", **options)


def supcon(*, temperature: float = 0.1) -> LibraryLoss:
    """Supervised contrastive loss (Khosla et al. 2020, arXiv:2004.11362)."""
    from pytorch_metric_learning import losses  # takes seconds

    return LibraryLoss(losses.SupConLoss(temperature=temperature), 1 / temperature)


def aam_softmax(*, num_classes: int, embedding_dim: int, margin: float = 0.2, aam_scale: float = 30.0) -> LibraryLoss:
    """Additive angular margin (Deng et al. 2019, arXiv:1801.07698). num_classes: of the training data; margin: radians."""
    from pytorch_metric_learning import losses  # takes seconds

    angle_degrees = margin * 180 / torch.pi
    return LibraryLoss(losses.ArcFaceLoss(num_classes, embedding_dim, margin=angle_degrees, scale=aam_scale), aam_scale)
