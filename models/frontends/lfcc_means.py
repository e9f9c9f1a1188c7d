"""LFCC means: what `sourcetracing.models.frontends.layer_means` makes of an SSL encoder, without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sourcetracing.models.frontends.lfcc import LfccFrontEnd


@dataclass(frozen=True)
class Sound:
    """What a front-end gets of one sound: (time, ...) float32, and the samples it stands for."""

    entering: Tensor
    num_samples: int


class LfccMeans(nn.Module):
    """Sounds of one length -> (B, 1, width) float32: the mean over time of their LFCCs, and their standard deviation if wanted."""

    layers, pads, device, longest = [0], False, torch.device("cpu"), None

    def __init__(self, lfcc: LfccFrontEnd, num_coefficients: int, *, deviation: bool = False):
        super().__init__()
        self.lfcc, self.deviation = lfcc, deviation
        self.width, self.shortest = num_coefficients * (1 + deviation), lfcc.shortest

    def sound(self, waveform: Tensor) -> Sound:
        """One waveform (samples,) float32."""
        return Sound(waveform, len(waveform))

    def forward(self, sounds: Sequence[Sound]) -> Tensor:
        features = self.lfcc(torch.stack([sound.entering for sound in sounds]))
        statistics = [features.mean(dim=2)] + ([features.std(dim=2, correction=0)] if self.deviation else [])
        return torch.cat(statistics, dim=1).unsqueeze(1)
