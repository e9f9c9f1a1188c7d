"""AASIST with attention pooling: the graph back-end of published source tracing, for SSL features and for LFCC.

Shapes: B batch, F features, T frames, R = rows // 3 spectral nodes, L = T // 3 temporal nodes, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sourcetracing.models.backends.graph_attention import SpectroTemporalGraph


class ResidualBlock(nn.Module):
    """(B, I, R, L) -> (B, C, R, L): conv 2x3, BatchNorm, SELU, conv 2x3, plus the input (through a 1x3 conv where the width changes).

    The published block also has a BatchNorm and SELU before its first convolution, whose result it discards; they are left out.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, (2, 3), padding=(1, 1))
        self.norm = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, (2, 3), padding=(0, 1))
        self.shortcut = nn.Conv2d(in_channels, out_channels, (1, 3), padding=(0, 1)) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.selu(self.norm(self.conv1(x)), inplace=True)
        return self.conv2(hidden) + self.shortcut(x)


def residual_widths(channels: tuple[int, int]) -> list[tuple[int, int]]:
    """Input and output channels of the six residual blocks."""
    narrow, wide = channels
    return [(1, narrow), (narrow, narrow), (narrow, wide), (wide, wide), (wide, wide), (wide, wide)]


class Aasist(nn.Module):
    """Features (B, num_features, frames) -> (embedding (B, 5 * gat_dims[1]), logits (B, num_classes)).

    Features wider than `project_to` (SSL: 768, 1024) are first projected to it by a Linear; narrower ones (LFCC: 80), or
    project_to=None, enter as they are. `channels` are the widths of the first two and of the other residual blocks, `gat_dims`
    those of the graph layers. The position embedding of the spectral nodes is learned; `random_pos_s=True` draws it from N(0, 1)
    at every forward, evaluation included, as the published LFCC network does. Any number of frames from 3 on is accepted.
    Raises ValueError for fewer than 3 rows or frames. Source: Jung et al. 2022 (arXiv:2110.01200), in the variant
    of SSL_Anti-spoofing (Tak et al. 2022, arXiv:2202.12233).
    """

    def __init__(
        self,
        num_features: int,
        num_frames: int,
        num_classes: int,
        *,
        project_to: int | None = 128,
        channels: tuple[int, int] = (32, 64),
        gat_dims: tuple[int, int] = (64, 32),
        random_pos_s: bool = False,
    ):
        super().__init__()
        num_rows = num_features if project_to is None else min(num_features, project_to)
        if num_rows < 3 or num_frames < 3:
            raise ValueError(f"AASIST needs at least 3 rows and 3 frames, not {num_rows} and {num_frames}")
        width = channels[1]
        self.num_features = num_features
        self.projection = nn.Linear(num_features, num_rows) if num_rows < num_features else None
        self.input_norm = nn.BatchNorm2d(1)
        self.encoder = nn.Sequential(*(ResidualBlock(*pair) for pair in residual_widths(channels)))
        self.encoder_norm = nn.BatchNorm2d(width)
        self.node_attention = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1), nn.SELU(inplace=True), nn.BatchNorm2d(2 * width), nn.Conv2d(2 * width, width, 1)
        )
        self.node_shape = (1, num_rows // 3, width)
        self.register_parameter("pos_s", None if random_pos_s else nn.Parameter(torch.randn(self.node_shape)))
        self.graph = SpectroTemporalGraph(width, gat_dims)
        self.embedding_dim = self.graph.embedding_dim
        self.classifier = nn.Linear(self.embedding_dim, num_classes)

    def forward(self, x_BFT: Tensor) -> tuple[Tensor, Tensor]:
        if x_BFT.ndim != 3 or x_BFT.shape[1] != self.num_features:
            raise ValueError(f"expected (batch, {self.num_features}, frames), got {tuple(x_BFT.shape)}")
        encoded_BCRL = self._encode(x_BFT)
        weights_BCRL = self.node_attention(encoded_BCRL)
        spectral_BRC = (encoded_BCRL * weights_BCRL.softmax(dim=3)).sum(dim=3).transpose(1, 2) + self._position(x_BFT)
        temporal_BLC = (encoded_BCRL * weights_BCRL.softmax(dim=2)).sum(dim=2).transpose(1, 2)
        embedding = self.graph(spectral_BRC, temporal_BLC)
        return embedding, self.classifier(embedding)

    def _encode(self, x_BFT: Tensor) -> Tensor:
        if self.projection is not None:
            x_BFT = self.projection(x_BFT.transpose(1, 2)).transpose(1, 2)
        image_B1RL = F.max_pool2d(x_BFT.unsqueeze(1), 3)
        encoded = self.encoder(F.selu(self.input_norm(image_B1RL), inplace=True))
        return F.selu(self.encoder_norm(encoded), inplace=True)

    def _position(self, like: Tensor) -> Tensor:
        return self.pos_s if self.pos_s is not None else torch.randn(self.node_shape, device=like.device, dtype=like.dtype)
