"""The convolutions of wav2vec2-like encoders as products of matrices of frames: the same numbers to about 1e-6, faster on a CPU.

Arrays are (T, channels), so the input frames of one output frame lie one behind the other and views of the input are the operands: nothing
is copied. The GroupNorm behind the first convolution scales and shifts each channel; both follow from the mean and the covariance of
the windows of the waveform (10 x 10 numbers), so they go into the weights, and the largest array is passed over once instead of four times.
The positional convolution takes channels-last arrays, of which oneDNN makes more than twice as many products per second.
Tried without gain: tiles that stay in the cache, and minimal filtering (Winograd's F(2,2)), which spares a sixth of the products.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_gelu_in_place = torch.ops.aten.gelu_


def arrange_for_cpu(network: nn.Module) -> nn.Module:
    """Replaces the convolutions of a frozen float32 encoder in place; returns it. Those of a kind that is not known stay as they are."""
    layers = getattr(getattr(network, "feature_extractor", None), "conv_layers", ())
    if layers and all(map(_is_known, layers)):
        network.feature_extractor = FrameConvolutions(network.feature_extractor)
    positional = getattr(getattr(network, "encoder", None), "pos_conv_embed", None)
    for part in getattr(positional, "layers", [positional]):  # data2vec stacks several
        if isinstance(getattr(part, "conv", None), nn.Conv1d):
            part.conv = _ChannelsLastConv(part.conv)
    return network


def _is_known(layer: nn.Module) -> bool:
    norm, probe = getattr(layer, "layer_norm", None), torch.linspace(-3, 3, 7)
    per_channel = isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels and layer.conv.in_channels == 1
    return (norm is None or per_channel or isinstance(norm, nn.LayerNorm)) and torch.equal(layer.activation(probe), F.gelu(probe))


class FrameConvolutions(nn.Module):
    """Waveforms (B, samples) -> (B, channels, T) float32, one by one. plain: the encoder's own, which exporters and compilers see."""

    def __init__(self, plain: nn.Module):
        super().__init__()
        self.plain, layers = plain, plain.conv_layers
        kinds = [_GroupNormConv if isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm) else _Conv for layer in layers]
        self.layers = [kind(layer) for kind, layer in zip(kinds, layers, strict=True)]

    def forward(self, waveforms: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return self.plain(waveforms)
        return torch.stack([self._frames(waveform) for waveform in waveforms]).transpose(1, 2)

    def _frames(self, waveform: Tensor) -> Tensor:
        frames = waveform.contiguous()[:, None]
        for layer in self.layers:
            frames = layer(frames)
        return frames


class _Conv:
    """Frames (T, channels) -> (T', width): a convolution without padding, its LayerNorm if it has one, GELU."""

    def __init__(self, layer: nn.Module):
        taps = layer.conv.weight.detach().permute(2, 1, 0)  # (kernel, channels, width)
        (self.kernel, self.channels, self.width), self.stride = taps.shape, layer.conv.stride[0]
        self.bias = taps.new_zeros(self.width) if layer.conv.bias is None else layer.conv.bias.detach()
        self.norm = getattr(layer, "layer_norm", None)
        # A view whose rows overlap in memory would be copied, so a product takes `stride` taps at most.
        self.products = [(tap, taps[tap : tap + self.stride].flatten(0, 1).contiguous()) for tap in range(0, self.kernel, self.stride)]

    def __call__(self, frames: Tensor) -> Tensor:
        made = None
        for tap, weight in self.products:
            operand = self._windows(frames[tap:], len(frames), len(weight))
            made = torch.addmm(self.bias, operand, weight) if made is None else made.addmm_(operand, weight)
        return _gelu_in_place(made if self.norm is None else self.norm(made))

    def _windows(self, frames: Tensor, num_inputs: int, width: int) -> Tensor:
        """(T', width): a view of `width` numbers for each output frame."""
        return frames.as_strided(((num_inputs - self.kernel) // self.stride + 1, width), (self.stride * self.channels, 1))


class _GroupNormConv(_Conv):
    """The first layer, whose GroupNorm takes each channel by itself: its statistics of a waveform become part of the weights."""

    def __init__(self, layer: nn.Module):
        super().__init__(layer)
        self.weight = layer.conv.weight.detach()[:, 0].double()  # (width, kernel)

    def __call__(self, frames: Tensor) -> Tensor:
        windows = self._windows(frames, len(frames), self.kernel)
        exact = windows.double()
        mean = exact.mean(0)
        exact -= mean
        variance = (self.weight @ (exact.T @ exact / len(exact)) * self.weight).sum(1)
        scale = self.norm.weight.double() / torch.sqrt(variance + self.norm.eps)
        shift = self.norm.bias.double() - self.weight @ mean * scale  # the convolution's own bias does not outlive the norm
        return _gelu_in_place(torch.addmm(shift.float(), windows, (self.weight * scale[:, None]).T.float()))


class _ChannelsLastConv(nn.Module):
    """(B, channels, T) -> (B, width, T'), with the channels of a frame together in memory; the weight norm is worked out once."""

    def __init__(self, conv: nn.Conv1d):
        super().__init__()
        weight = conv.weight.detach()[:, :, None].contiguous(memory_format=torch.channels_last)
        self.weight, self.bias = nn.Parameter(weight, requires_grad=False), conv.bias
        self.padding, self.groups = (0, conv.padding[0]), conv.groups

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden[:, :, None].contiguous(memory_format=torch.channels_last)
        return F.conv2d(hidden, self.weight, self.bias, padding=self.padding, groups=self.groups)[:, :, 0]
