"""Graph layers shared by the AASIST back-ends: attention over nodes, attention over two kinds of nodes, pooling, read-out.

Shapes: B batch, N nodes (T temporal, S spectral), I input width, D width of a layer's output. Source: AASIST (Jung et al. 2022,
arXiv:2110.01200) and the variants of it that published source tracing uses.

The score of a pair of nodes depends on the product x_i * x_j, hence is the same for (i, j) and (j, i): each pair is computed once
(`symmetric_pair_scores`), which halves the time and memory of what otherwise is the largest tensor of the network, (B, N, N, I).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS_AT_A_TIME = 16  # rows of the pair matrix computed together: the working set then stays near the processor's cache


def pair_scores(x_BMI: Tensor, y_BNI: Tensor, projection: nn.Linear, vector_D1: Tensor) -> Tensor:
    """(B, M, N) scores vector . tanh(projection(x_i * y_j)) of each pair of nodes."""
    products_BMNI = x_BMI.unsqueeze(2) * y_BNI.unsqueeze(1)
    return (torch.tanh(projection(products_BMNI)) @ vector_D1).squeeze(-1)


def symmetric_pair_scores(x_BNI: Tensor, projection: nn.Linear, vector_D1: Tensor) -> Tensor:
    """(B, N, N) `pair_scores` of nodes with themselves, from the upper triangle alone."""
    num_nodes = x_BNI.shape[1]
    blocks = []
    for start in range(0, num_nodes, ROWS_AT_A_TIME):
        rows = x_BNI[:, start : start + ROWS_AT_A_TIME]
        blocks.append(F.pad(pair_scores(rows, x_BNI[:, start:], projection, vector_D1), (start, 0)))
    upper_BNN = torch.cat(blocks, dim=1)
    return upper_BNN.triu() + upper_BNN.triu(1).transpose(1, 2)


def batch_norm_nodes(norm: nn.BatchNorm1d, x_BND: Tensor) -> Tensor:
    """BatchNorm whose statistics run over batch and nodes."""
    return norm(x_BND.flatten(0, 1)).view_as(x_BND)


def attention_vector(width: int) -> nn.Parameter:
    """A learned (width, 1) vector, Xavier-normal."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(width, 1)))


class GraphAttention(nn.Module):
    """(B, N, I) -> (B, N, D): each node becomes W1 (attention-weighted sum of all nodes) + W2 itself, then BatchNorm, SELU."""

    def __init__(self, in_width: int, out_width: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.drop = nn.Dropout(0.2)
        self.pair_projection = nn.Linear(in_width, out_width)
        self.pair_vector = attention_vector(out_width)
        self.neighbour_projection = nn.Linear(in_width, out_width)
        self.self_projection = nn.Linear(in_width, out_width)
        self.norm = nn.BatchNorm1d(out_width)

    def forward(self, x_BNI: Tensor) -> Tensor:
        x_BNI = self.drop(x_BNI)
        scores_BNN = symmetric_pair_scores(x_BNI, self.pair_projection, self.pair_vector)
        weights_BNN = torch.softmax(scores_BNN / self.temperature, dim=-1)
        out_BND = self.neighbour_projection(weights_BNN @ x_BNI) + self.self_projection(x_BNI)
        return F.selu(batch_norm_nodes(self.norm, out_BND))


class HeterogeneousGraphAttention(nn.Module):
    """Attention over temporal and spectral nodes together, with a master node that listens to all of them.

    (B, T, I), (B, S, I), master (B, 1, I) -> (B, T, D), (B, S, D), (B, 1, D). Pairs T-T, S-S and T-S have a vector each.
    """

    def __init__(self, in_width: int, out_width: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.drop = nn.Dropout(0.2)
        self.temporal_projection = nn.Linear(in_width, in_width)
        self.spectral_projection = nn.Linear(in_width, in_width)
        self.pair_projection = nn.Linear(in_width, out_width)
        self.vector_tt = attention_vector(out_width)
        self.vector_ss = attention_vector(out_width)
        self.vector_ts = attention_vector(out_width)
        self.neighbour_projection = nn.Linear(in_width, out_width)
        self.self_projection = nn.Linear(in_width, out_width)
        self.master_pair_projection = nn.Linear(in_width, out_width)
        self.master_vector = attention_vector(out_width)
        self.master_neighbour_projection = nn.Linear(in_width, out_width)
        self.master_self_projection = nn.Linear(in_width, out_width)
        self.norm = nn.BatchNorm1d(out_width)

    def forward(self, temporal_BTI: Tensor, spectral_BSI: Tensor, master_B1I: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        num_temporal = temporal_BTI.shape[1]
        x_BNI = torch.cat([self.temporal_projection(temporal_BTI), self.spectral_projection(spectral_BSI)], dim=1)
        x_BNI = self.drop(x_BNI)
        weights_BNN = torch.softmax(self._scores(x_BNI, num_temporal) / self.temperature, dim=-1)
        master_B1D = self._listen(x_BNI, master_B1I)
        out_BND = self.neighbour_projection(weights_BNN @ x_BNI) + self.self_projection(x_BNI)
        out_BND = F.selu(batch_norm_nodes(self.norm, out_BND))
        return out_BND[:, :num_temporal], out_BND[:, num_temporal:], master_B1D

    def _scores(self, x_BNI: Tensor, num_temporal: int) -> Tensor:
        temporal, spectral = x_BNI[:, :num_temporal], x_BNI[:, num_temporal:]
        tt = symmetric_pair_scores(temporal, self.pair_projection, self.vector_tt)
        ss = symmetric_pair_scores(spectral, self.pair_projection, self.vector_ss)
        ts = pair_scores(temporal, spectral, self.pair_projection, self.vector_ts)
        return torch.cat([torch.cat([tt, ts], dim=2), torch.cat([ts.transpose(1, 2), ss], dim=2)], dim=1)

    def _listen(self, x_BNI: Tensor, master_B1I: Tensor) -> Tensor:
        """The next master, from the projected nodes as they are before their own update; no BatchNorm, no SELU."""
        scores_B1N = pair_scores(master_B1I, x_BNI, self.master_pair_projection, self.master_vector)
        weights_B1N = torch.softmax(scores_B1N / self.temperature, dim=-1)
        return self.master_neighbour_projection(weights_B1N @ x_BNI) + self.master_self_projection(master_B1I)


class GraphPool(nn.Module):
    """(B, N, I) -> (B, max(int(N * ratio), 1), I): the nodes of highest score, multiplied by it, in descending order of it.

    The order matters: the two branches are later merged node by node.
    """

    def __init__(self, width: int, ratio: float):
        super().__init__()
        self.ratio = ratio
        self.drop = nn.Dropout(0.3)
        self.score = nn.Linear(width, 1)

    def forward(self, x_BNI: Tensor) -> Tensor:
        scores_BN1 = torch.sigmoid(self.score(self.drop(x_BNI)))
        num_kept = max(int(x_BNI.shape[1] * self.ratio), 1)
        top_BK1, index_BK1 = torch.topk(scores_BN1, num_kept, dim=1)
        return x_BNI.gather(1, index_BK1.expand(-1, -1, x_BNI.shape[2])) * top_BK1


class GraphBranch(nn.Module):
    """Two heterogeneous attentions with a pool of each node type in between; the second one is residual."""

    def __init__(self, in_width: int, out_width: int, temperature: float):
        super().__init__()
        self.master = nn.Parameter(torch.randn(1, 1, in_width))
        self.first = HeterogeneousGraphAttention(in_width, out_width, temperature)
        self.temporal_pool = GraphPool(out_width, 0.5)
        self.spectral_pool = GraphPool(out_width, 0.5)
        self.second = HeterogeneousGraphAttention(out_width, out_width, temperature)

    def forward(self, temporal_BTI: Tensor, spectral_BSI: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        master = self.master.expand(temporal_BTI.shape[0], -1, -1)
        temporal, spectral, master = self.first(temporal_BTI, spectral_BSI, master)
        temporal, spectral = self.temporal_pool(temporal), self.spectral_pool(spectral)
        more_temporal, more_spectral, more_master = self.second(temporal, spectral, master)
        return temporal + more_temporal, spectral + more_spectral, master + more_master


class SpectroTemporalGraph(nn.Module):
    """Spectral nodes (B, S, I) and temporal nodes (B, T, I) -> embedding (B, 5 * widths[1]): [max|T|, mean T, max|S|, mean S, master]."""

    def __init__(self, in_width: int, widths: tuple[int, int], temporal_ratio: float = 0.5):
        super().__init__()
        node_width, out_width = widths
        self.embedding_dim = 5 * out_width
        self.spectral_attention = GraphAttention(in_width, node_width, temperature=2.0)
        self.temporal_attention = GraphAttention(in_width, node_width, temperature=2.0)
        self.spectral_pool = GraphPool(node_width, 0.5)
        self.temporal_pool = GraphPool(node_width, temporal_ratio)
        self.branch1 = GraphBranch(node_width, out_width, temperature=100.0)
        self.branch2 = GraphBranch(node_width, out_width, temperature=100.0)
        self.drop_branch = nn.Dropout(0.2)
        self.drop_embedding = nn.Dropout(0.5)

    def forward(self, spectral_BSI: Tensor, temporal_BTI: Tensor) -> Tensor:
        spectral = self.spectral_pool(self.spectral_attention(spectral_BSI))
        temporal = self.temporal_pool(self.temporal_attention(temporal_BTI))
        branches = zip(self.branch1(temporal, spectral), self.branch2(temporal, spectral), strict=True)
        temporal, spectral, master = (torch.maximum(self.drop_branch(a), self.drop_branch(b)) for a, b in branches)
        parts = [temporal.abs().max(1).values, temporal.mean(1), spectral.abs().max(1).values, spectral.mean(1), master.squeeze(1)]
        return self.drop_embedding(torch.cat(parts, dim=1))
