"""BatchNorm over the rows of all processes that train together. Torch's own SyncBatchNorm knows GPUs only; this one runs on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


def synced(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with every BatchNorm replaced by one that shares its statistics; names of weights stay. Needs a process group."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, child in network.named_children():
        setattr(network, name, SyncedBatchNorm(child) if isinstance(child, _BatchNorm) else synced(child, device))
    return network


class SyncedBatchNorm(nn.Module):
    """Takes over a BatchNorm's weights and buffers; (B, C, ...) -> the same shape.

    In training mean and variance are those of all processes' rows together, as if one process had them all, and so are the gradients.
    """

    def __init__(self, norm: _BatchNorm):
        super().__init__()
        if norm.momentum is None or not norm.track_running_stats:
            raise ValueError("a BatchNorm without running statistics cannot be synced")
        self.eps, self.momentum = norm.eps, norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        shape = [1, -1, *[1] * (x.ndim - 2)]
        others = [0, *range(2, x.ndim)]
        values = x.double()  # as torch sums on CPUs: a channel of small variance would multiply the error of a float32 mean
        count = torch.tensor([values.numel() / values.shape[1]], device=x.device, dtype=torch.float64)
        distributed.all_reduce(count)
        mean = all_reduce(values.sum(others)) / count
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(others)) / count
        self._remember(mean.detach(), variance.detach(), count)
        normal = (centred * (variance + self.eps).rsqrt().view(shape)).to(x.dtype)
        return normal if self.weight is None else normal * self.weight.view(shape) + self.bias.view(shape)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), self.momentum)
