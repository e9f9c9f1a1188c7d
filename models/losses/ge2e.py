"""The generalized end-to-end loss (Wan et al. 2018, arXiv:1710.10467), for all utterances of a batch at once.

A batch is N classes x M utterances. Shapes: e embeddings (N, M, E), s similarities (N, M, N).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_SCALE = 1e-6
PUBLISHED_SMALLEST_COSINE = 1e-6


def cosines_to_centroids(embeddings: Tensor) -> Tensor:
    """(N, M, E) -> (N, M, N): cosine of each utterance to the mean of each class, of its own class without itself (eq. 1, 8, 9).

    M must be at least 2: alone in its class, an utterance has nothing to be compared with.
    """
    num_classes, num_utterances, _ = embeddings.shape
    if num_utterances < 2:
        raise ValueError("a class of one utterance has no centroid without that utterance")
    sums = embeddings.sum(dim=1)
    directions = functional.normalize(embeddings, dim=-1)
    others = directions @ functional.normalize(sums, dim=-1).T  # a mean has the direction of its sum
    own = (directions * functional.normalize(sums[:, None] - embeddings, dim=-1)).sum(dim=-1)
    is_own = torch.eye(num_classes, dtype=torch.bool, device=embeddings.device)[:, None, :]
    return torch.where(is_own, own[:, :, None], others)


def softmax_loss(similarities: Tensor) -> Tensor:
    """Mean over utterances of eq. 6: the cross-entropy of their own class; (N, M, N) -> scalar."""
    num_classes, num_utterances, _ = similarities.shape
    own = torch.arange(num_classes, device=similarities.device).repeat_interleave(num_utterances)
    return functional.cross_entropy(similarities.flatten(0, 1), own)


def contrast_loss(similarities: Tensor) -> Tensor:
    """Mean over utterances of eq. 7: 1 - sigmoid(own class) + sigmoid(nearest other class); (N, M, N) -> scalar."""
    is_own = torch.eye(len(similarities), dtype=torch.bool, device=similarities.device)[:, None, :].expand_as(similarities)
    own = similarities[is_own]
    nearest = similarities.masked_fill(is_own, -torch.inf).amax(dim=-1)
    return (1 - own.sigmoid()).mean() + nearest.sigmoid().mean()


class Ge2eLoss(nn.Module):
    """Similarities s = scale * cosine + offset (eq. 5) with a learned positive scale, and one of the two losses; (N, M, E) -> scalar.

    variant: softmax or contrast. normalize: embeddings have length 1 before they are averaged, as in the paper (eq. 4). The published
    baseline: fixed_scale, normalize=False, and clamp_cosines, which lifts cosines to 1e-6, without gradient below (D42).
    """

    def __init__(
        self,
        variant: str = "softmax",
        *,
        scale: float = 10.0,
        offset: float = -5.0,
        normalize: bool = True,
        fixed_scale: bool = False,
        clamp_cosines: bool = False,
    ):
        super().__init__()
        if variant not in ("softmax", "contrast"):
            raise ValueError(f"variant {variant!r}: must be softmax or contrast")
        self.variant, self.normalize, self.clamp_cosines = variant, normalize, clamp_cosines
        self.scale = nn.Parameter(torch.tensor(float(scale)), requires_grad=not fixed_scale)
        self.offset = nn.Parameter(torch.tensor(float(offset)), requires_grad=not fixed_scale)

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        """labels (N,): the ids of the classes, which this loss does not need."""
        cosines = cosines_to_centroids(functional.normalize(embeddings, dim=-1) if self.normalize else embeddings)
        if self.clamp_cosines:
            cosines = cosines.clamp(min=PUBLISHED_SMALLEST_COSINE)
        similarities = self.scale * cosines + self.offset
        return softmax_loss(similarities) if self.variant == "softmax" else contrast_loss(similarities)

    @torch.no_grad()
    def after_step(self) -> None:
        """Keeps the scale positive; to be called when an optimizer has moved it."""
        self.scale.clamp_(min=SMALLEST_SCALE)

    @property
    def logit_scale(self) -> float:
        """By which cosines to the centroids become logits; the offset is the same for all classes."""
        return self.scale.item()
