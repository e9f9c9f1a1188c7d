"""A learned weighted sum over the layers of an SSL encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    """(B, layers, width, frames) -> (B, width, frames): the layers' mean under softmax weights that are learned, equal at first.

    Source: SUPERB, Yang et al. 2021 (arXiv:2105.01051), section 2.
    """

    def __init__(self, num_layers: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_layers))

    def forward(self, layers: Tensor) -> Tensor:
        return torch.einsum("l,bldt->bdt", self.logits.softmax(dim=0).to(layers.dtype), layers)
