"""No front-end: the samples themselves, for back-ends that begin with filters of their own and for encoders that are fine-tuned."""

from __future__ import annotations

from torch import nn


class WaveformFrontEnd(nn.Identity):
    """Waveforms (B, samples) as they are."""

    def __init__(self, *, sample_rate: int = 16000):
        super().__init__()
        self.sample_rate = sample_rate
