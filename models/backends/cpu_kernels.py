"""Pieces of ECAPA-TDNN with gradients written down, for training in float32 on a CPU. Elsewhere the plain layers compute the same.

Shapes: B batch, K and M channels, T frames, S length of a kernel.
Autograd's own way through attentive pooling reads and writes some thirty tensors of (B, M, T), each larger than a processor's cache;
written down, the gradients need one pass in blocks that stay in it. Matrix products are up to twice as fast as oneDNN's convolutions
where the kernel is one frame long or there are few channels. What each is worth: docs/scaling.md, *What was tried*.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

BLOCK_ROWS = 128  # rows of (B * M, T) at a time: 0.2 MB for 4 s of sound


def applies(*tensors: Tensor) -> bool:
    """Whether these kernels are for such tensors: float32 on a CPU with MKL's matrix products, and a gradient is wanted."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return wanted and torch.backends.mkl.is_available() and all(one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors)


class ProductConv(nn.Conv1d):
    """`nn.Conv1d` that keeps the number of frames (odd kernel), by matrix products; the same weights under the same names."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1):
        super().__init__(in_channels, out_channels, kernel, dilation=dilation, padding=kernel // 2 * dilation)

    def forward(self, x_BKT: Tensor) -> Tensor:
        return conv_by_products(x_BKT, self.weight, self.bias, self.dilation[0])


def conv_by_products(x_BKT: Tensor, weight_MKS: Tensor, bias_M: Tensor | None = None, dilation: int = 1) -> Tensor:
    """(B, M, T): `conv1d` that keeps the number of frames; S, the length of the kernel, is odd."""
    if torch.is_autocast_enabled("cpu") or not applies(x_BKT, weight_MKS):
        return F.conv1d(x_BKT, weight_MKS, bias_M, padding=weight_MKS.shape[2] // 2 * dilation, dilation=dilation)
    return _ConvByProducts.apply(x_BKT, weight_MKS, bias_M, dilation)


def with_moments(x_BMT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x itself, its mean and its unbiased variance over time, (B, M, 1) each. Who goes on with the x returned saves adding up gradients."""
    if applies(x_BMT):
        return _WithMoments.apply(x_BMT)
    # Four times as fast as torch.var_mean, which adds up one frame after the other.
    mean_BM1 = x_BMT.mean(dim=2, keepdim=True)
    return x_BMT, mean_BM1, (x_BMT - mean_BM1).square().sum(dim=2, keepdim=True) / (x_BMT.shape[2] - 1)


def attended_moments(x_BMT: Tensor, scores_BMT: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over time of x and of x^2, (B, M) each, weighted by the softmax over time of the scores."""
    if applies(x_BMT, scores_BMT):
        return _AttendedMoments.apply(x_BMT, scores_BMT)
    weighted_BMT = x_BMT * torch.softmax(scores_BMT, dim=2)
    return weighted_BMT.sum(dim=2), (weighted_BMT * x_BMT).sum(dim=2)


class _ConvByProducts(Function):
    @staticmethod
    def forward(ctx: Any, x_BKT: Tensor, weight_MKS: Tensor, bias_M: Tensor | None, dilation: int) -> Tensor:
        ctx.kernel, ctx.dilation = weight_MKS.shape[2], dilation
        seen = _seen(x_BKT, ctx.kernel, dilation)
        ctx.save_for_backward(seen, weight_MKS)
        weight = _for_each(len(x_BKT), weight_MKS.transpose(1, 2).flatten(1))
        return torch.bmm(weight, seen) if bias_M is None else torch.baddbmm(bias_M[:, None], weight, seen)

    @staticmethod
    def backward(ctx: Any, gradient_BMT: Tensor) -> tuple[Tensor | None, ...]:
        seen, weight_MKS = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:  # a convolution of the gradient, the kernel backwards
            weight = weight_MKS.flip(2).permute(1, 2, 0).flatten(1)
            of_x = torch.bmm(_for_each(len(seen), weight), _seen(gradient_BMT, ctx.kernel, ctx.dilation))
        if ctx.needs_input_grad[1]:
            products = torch.bmm(gradient_BMT, seen.transpose(1, 2)).sum(dim=0)
            of_weight = products.unflatten(1, (ctx.kernel, -1)).transpose(1, 2)
        if ctx.needs_input_grad[2]:
            of_bias = gradient_BMT.sum(dim=(0, 2))
        return of_x, of_weight, of_bias, None


def _seen(x_BKT: Tensor, kernel: int, dilation: int) -> Tensor:
    """(B, S * K, T): what a kernel sees at each frame, zeros beyond the ends."""
    if kernel == 1:
        return x_BKT
    num_frames = x_BKT.shape[2]
    padded = F.pad(x_BKT, (kernel // 2 * dilation,) * 2)
    return torch.cat([padded[:, :, tap * dilation : tap * dilation + num_frames] for tap in range(kernel)], dim=1)


def _for_each(num_rows: int, weight: Tensor) -> Tensor:
    return weight.expand(num_rows, -1, -1)


class _WithMoments(Function):
    @staticmethod
    def forward(ctx: Any, x_BMT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = x_BMT.flatten(0, 1)
        mean, variance = rows.new_empty(len(rows), 1), rows.new_empty(len(rows), 1)
        for block in _blocks(rows):
            torch.mean(rows[block], dim=1, keepdim=True, out=mean[block])
            torch.sum((rows[block] - mean[block]).square_(), dim=1, keepdim=True, out=variance[block])
        ctx.save_for_backward(x_BMT, mean)
        shape = (*x_BMT.shape[:2], 1)
        return x_BMT.view_as(x_BMT), mean.view(shape), (variance / (rows.shape[1] - 1)).view(shape)

    @staticmethod
    def backward(ctx: Any, of_x_BMT: Tensor, of_mean_BM1: Tensor, of_variance_BM1: Tensor) -> Tensor:
        x_BMT, mean = ctx.saved_tensors
        rows, of_rows, num_frames = x_BMT.flatten(0, 1), of_x_BMT.flatten(0, 1), x_BMT.shape[2]
        slope = of_variance_BM1.reshape(-1, 1) * (2 / (num_frames - 1))
        offset = of_mean_BM1.reshape(-1, 1) / num_frames - slope * mean
        total = torch.empty_like(rows)
        for block in _blocks(rows):
            torch.mul(rows[block], slope[block], out=total[block])
            total[block].add_(offset[block]).add_(of_rows[block])
        return total.view_as(x_BMT)


class _AttendedMoments(Function):
    @staticmethod
    def forward(ctx: Any, x_BMT: Tensor, scores_BMT: Tensor) -> tuple[Tensor, Tensor]:
        rows, scores = x_BMT.flatten(0, 1), scores_BMT.flatten(0, 1)
        weights = torch.empty_like(scores)
        first, second = rows.new_empty(len(rows), 1), rows.new_empty(len(rows), 1)
        for block in _blocks(rows):
            x, weight = rows[block], weights[block]
            # torch.softmax takes twice as long as these four.
            torch.sub(scores[block], scores[block].amax(dim=1, keepdim=True), out=weight)
            weight.exp_()
            weight.div_(weight.sum(dim=1, keepdim=True))
            weighted = x * weight
            torch.sum(weighted, dim=1, keepdim=True, out=first[block])
            torch.sum(weighted.mul_(x), dim=1, keepdim=True, out=second[block])
        ctx.save_for_backward(x_BMT, weights, first, second)
        return first.view(x_BMT.shape[:2]), second.view(x_BMT.shape[:2])

    @staticmethod
    def backward(ctx: Any, of_first_BM: Tensor, of_second_BM: Tensor) -> tuple[Tensor, Tensor]:
        """With a and c the gradients of the two sums: w (a + 2 c x) for x, w (a x + c x^2 - its mean under w) for the scores."""
        x_BMT, weights, first, second = ctx.saved_tensors
        rows, a, c = x_BMT.flatten(0, 1), of_first_BM.reshape(-1, 1), of_second_BM.reshape(-1, 1)
        mean, twice_c = a * first + c * second, 2 * c
        of_x, of_scores = torch.empty_like(rows), torch.empty_like(rows)
        for block in _blocks(rows):
            x, weight = rows[block], weights[block]
            torch.mul(x, c[block], out=of_scores[block])
            of_scores[block].add_(a[block]).mul_(x).sub_(mean[block]).mul_(weight)
            torch.mul(x, twice_c[block], out=of_x[block])
            of_x[block].add_(a[block]).mul_(weight)
        return of_x.view_as(x_BMT), of_scores.view_as(x_BMT)


def _blocks(rows: Tensor) -> list[slice]:
    return [slice(start, start + BLOCK_ROWS) for start in range(0, len(rows), BLOCK_ROWS)]
