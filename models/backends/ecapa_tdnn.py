"""ECAPA-TDNN: squeeze-excitation Res2 blocks over time, attentive statistics pooling.

Shapes: B batch, F features, T frames, C channels of the blocks, M channels of the aggregated features.
Order everywhere: conv, ReLU, BatchNorm.
Source: Desplanques et al. 2020 (arXiv:2005.07143), as implemented by TaoRuijie/ECAPA-TDNN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_GROUPS = 8
SE_WIDTH = 128
ATTENTION_WIDTH = 256
VARIANCE_FLOOR = 1e-4


class SqueezeExcitation(nn.Module):
    """(B, C, T) -> (B, C, T): each channel times a gate in (0, 1) computed from all channels' means over time."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Conv1d(channels, SE_WIDTH, 1)
        self.excite = nn.Conv1d(SE_WIDTH, channels, 1)

    def forward(self, x_BCT: Tensor) -> Tensor:
        gate_BC1 = torch.sigmoid(self.excite(F.relu(self.squeeze(x_BCT.mean(dim=2, keepdim=True)))))
        return x_BCT * gate_BC1


class ConvReluNorm(nn.Module):
    """Conv1d that keeps the number of frames, ReLU, BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation, padding=kernel // 2 * dilation)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x_BCT: Tensor) -> Tensor:
        return self.norm(F.relu(self.conv(x_BCT), inplace=True))


class SERes2Block(nn.Module):
    """(B, C, T) -> (B, C, T). Of 8 groups of channels, each but the last is convolved, from the second on after adding the one before."""

    def __init__(self, channels: int, kernel: int, dilation: int):
        super().__init__()
        group = channels // NUM_GROUPS
        self.widen = ConvReluNorm(channels, channels)
        self.groups = nn.ModuleList(ConvReluNorm(group, group, kernel, dilation) for _ in range(NUM_GROUPS - 1))
        self.merge = ConvReluNorm(channels, channels)
        self.gate = SqueezeExcitation(channels)

    def forward(self, x_BCT: Tensor) -> Tensor:
        *groups, last = self.widen(x_BCT).chunk(NUM_GROUPS, dim=1)
        outputs = [self.groups[0](groups[0])]
        for layer, group in zip(self.groups[1:], groups[1:], strict=True):
            outputs.append(layer(outputs[-1] + group))
        return self.gate(self.merge(torch.cat([*outputs, last], dim=1))) + x_BCT


class AttentiveStatistics(nn.Module):
    """(B, M, T) -> (B, 2 M): mean and standard deviation over time, weighted by an attention of each channel's own.

    The attention sees [x, mean, std] of each frame. Mean and std are the same at every frame, so their share of its first layer is
    computed once for an utterance, not once for a frame.
    """

    def __init__(self, channels: int, attention_width: int = ATTENTION_WIDTH):
        super().__init__()
        self.context = nn.Conv1d(3 * channels, attention_width, 1)
        self.norm = nn.BatchNorm1d(attention_width)
        self.score = nn.Conv1d(attention_width, channels, 1)

    def forward(self, x_BMT: Tensor) -> Tensor:
        weights_BMT = torch.softmax(self.score(torch.tanh(self.norm(F.relu(self._context(x_BMT))))), dim=2)
        weighted_BMT = x_BMT * weights_BMT
        mean_BM = weighted_BMT.sum(dim=2)
        variance_BM = (weighted_BMT * x_BMT).sum(dim=2) - mean_BM**2
        return torch.cat([mean_BM, variance_BM.clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)

    def _context(self, x_BMT: Tensor) -> Tensor:
        """First layer on [x, mean, std]; this std is of the unbiased variance."""
        num_channels, num_frames = x_BMT.shape[1:]
        # Four times as fast as torch.var_mean, which adds up one frame after the other.
        mean_BM1 = x_BMT.mean(dim=2, keepdim=True)
        variance_BM1 = (x_BMT - mean_BM1).square().sum(dim=2, keepdim=True) / (num_frames - 1)
        statistics = torch.cat([mean_BM1, variance_BM1.clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)
        frame_weight, utterance_weight = self.context.weight.split([num_channels, 2 * num_channels], dim=1)
        return F.conv1d(x_BMT, frame_weight) + F.conv1d(statistics, utterance_weight, self.context.bias)


class EcapaBody(nn.Module):
    """(B, F, T) -> pooled statistics (B, 2 M): all layers up to and with the pooling.

    M = min(1536, 8 C): 1536 from C = 192 on; the attention is min(256, 4 C) wide: 256 from C = 64 on.
    """

    def __init__(self, num_features: int, channels: int):
        super().__init__()
        if channels % NUM_GROUPS:
            raise ValueError(f"channels must be a multiple of {NUM_GROUPS}, not {channels}")
        self.num_features = num_features
        aggregated = min(1536, 8 * channels)
        self.out_dim = 2 * aggregated
        self.stem = ConvReluNorm(num_features, channels, kernel=5)
        self.blocks = nn.ModuleList(SERes2Block(channels, kernel=3, dilation=dilation) for dilation in (2, 3, 4))
        self.aggregate = nn.Conv1d(3 * channels, aggregated, 1)
        self.pool = AttentiveStatistics(aggregated, min(ATTENTION_WIDTH, 4 * channels))

    def forward(self, x_BFT: Tensor) -> Tensor:
        if x_BFT.ndim != 3 or x_BFT.shape[1] != self.num_features:
            raise ValueError(f"expected (batch, {self.num_features}, frames), got {tuple(x_BFT.shape)}")
        total = self.stem(x_BFT)
        outputs = []
        for block in self.blocks:
            outputs.append(block(total))
            total = total + outputs[-1]
        return self.pool(F.relu(self.aggregate(torch.cat(outputs, dim=1)), inplace=True))


class EcapaTdnn(nn.Module):
    """Features (B, num_features, frames) -> (embedding (B, 2 * min(1536, 8 * channels)), logits (B, num_classes)).

    `channels` is C, a multiple of 8: 192 as published (3072-d embedding); SE keeps its width of 128.
    The embedding is the pooled mean | std before its BatchNorm. `logit_bn=True` adds the published BatchNorm on the logits.
    Raises ValueError for another rank, number of features or width. Needs at least 2 frames (unbiased variance).
    """

    def __init__(self, num_features: int, num_classes: int, *, channels: int = 192, logit_bn: bool = False):
        super().__init__()
        self.body = EcapaBody(num_features, channels)
        self.embedding_dim = self.body.out_dim
        self.embedding_norm = nn.BatchNorm1d(self.embedding_dim)
        self.classifier = nn.Linear(self.embedding_dim, num_classes)
        self.logit_norm = nn.BatchNorm1d(num_classes) if logit_bn else nn.Identity()

    def forward(self, x_BFT: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.body(x_BFT)
        return embedding, self.logit_norm(self.classifier(self.embedding_norm(embedding)))
