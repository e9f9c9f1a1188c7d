"""The same networks written the obvious way, for comparison: same parameters, same mathematics, no care for memory.

`straightforward(model)` returns a copy of one of our networks whose layers compute as a first draft would: full pair tensors in graph
attention, the residual block's dead BatchNorm branch (D15), the attention context of ECAPA-TDNN concatenated for each frame, and the
default memory layout in ResNet18.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.models.backends import aasist, ecapa_tdnn, graph_attention, resnet18


def all_pairs(x_BNI: Tensor) -> Tensor:
    """(B, N, N, I) products of all pairs of nodes."""
    repeated = x_BNI.unsqueeze(2).expand(-1, -1, x_BNI.shape[1], -1)
    return repeated * repeated.transpose(1, 2)


class FullGraphAttention(graph_attention.GraphAttention):
    """Scores every ordered pair."""

    def forward(self, x_BNI: Tensor) -> Tensor:
        x_BNI = self.drop(x_BNI)
        pairs = torch.tanh(self.pair_projection(all_pairs(x_BNI)))
        weights = torch.softmax((pairs @ self.pair_vector).squeeze(-1) / self.temperature, dim=-1)
        out = self.neighbour_projection(weights @ x_BNI) + self.self_projection(x_BNI)
        return F.selu(graph_attention.batch_norm_nodes(self.norm, out))


class FullHeterogeneousGraphAttention(graph_attention.HeterogeneousGraphAttention):
    """Projects every ordered pair, then fills the four blocks of the score matrix."""

    def _scores(self, x_BNI: Tensor, num_temporal: int) -> Tensor:
        pairs, t = torch.tanh(self.pair_projection(all_pairs(x_BNI))), num_temporal
        scores = torch.zeros_like(pairs[..., :1])
        scores[:, :t, :t], scores[:, t:, t:] = pairs[:, :t, :t] @ self.vector_tt, pairs[:, t:, t:] @ self.vector_ss
        scores[:, :t, t:], scores[:, t:, :t] = pairs[:, :t, t:] @ self.vector_ts, pairs[:, t:, :t] @ self.vector_ts
        return scores.squeeze(-1)


class FullResidualBlock(aasist.ResidualBlock):
    """Computes the normalised input that nobody reads."""

    def forward(self, x: Tensor) -> Tensor:
        F.selu(F.batch_norm(x, None, None, training=True))
        return super().forward(x)


class FullAttentiveStatistics(ecapa_tdnn.AttentiveStatistics):
    """Repeats mean and standard deviation at every frame."""

    def _context(self, x_BMT: Tensor) -> Tensor:
        deviation = x_BMT.var(dim=2, keepdim=True).clamp(min=ecapa_tdnn.VARIANCE_FLOOR).sqrt()
        repeated = [statistic.expand_as(x_BMT) for statistic in (x_BMT.mean(dim=2, keepdim=True), deviation)]
        return self.context(torch.cat([x_BMT, *repeated], dim=1))


class DefaultLayoutResNet18(resnet18.ResNet18):
    """Leaves the image in the layout it comes in."""

    def forward(self, x_BFT: Tensor) -> tuple[Tensor, Tensor]:
        image = self.stem(x_BFT.transpose(1, 2).unsqueeze(1))
        embedding = self.layer4(self.layer3(self.layer2(self.layer1(image)))).mean(dim=(2, 3))
        return embedding, self.classifier(embedding)


REPLACED = {
    graph_attention.GraphAttention: FullGraphAttention,
    graph_attention.HeterogeneousGraphAttention: FullHeterogeneousGraphAttention,
    aasist.ResidualBlock: FullResidualBlock,
    ecapa_tdnn.AttentiveStatistics: FullAttentiveStatistics,
    resnet18.ResNet18: DefaultLayoutResNet18,
}


def straightforward(model: nn.Module) -> nn.Module:
    """A copy of one of our networks that computes the same thing the obvious way."""
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    for module in plain.modules():
        module.__class__ = REPLACED.get(type(module), type(module))
    return plain
