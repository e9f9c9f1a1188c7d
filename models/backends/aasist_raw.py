"""AASIST on the raw waveform, with fixed sinc filters in front: the network of the paper.

Shapes: B batch, N samples, R spectral and L temporal nodes, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sourcetracing.models.backends.aasist import ResidualBlock, residual_widths
from sourcetracing.models.backends.graph_attention import SpectroTemporalGraph

NUM_FILTERS = 70
NUM_TAPS = 129
POOLED_FRAMES = 3**7  # samples behind one temporal node: a 3x3 pool of the filter outputs, then a (1, 3) pool in each of six blocks


def sinc_edges_hz(num_filters: int = NUM_FILTERS, sample_rate: int = 16000) -> np.ndarray:
    """(num_filters + 1,) band edges in Hz, equidistant on the mel scale from 0 to half the sample rate."""
    top_mel = 2595 * np.log10(1 + sample_rate / 2 / 700)
    return 700 * (10 ** (np.linspace(0, top_mel, num_filters + 1) / 2595) - 1)


def sinc_filters(num_filters: int = NUM_FILTERS, num_taps: int = NUM_TAPS, sample_rate: int = 16000) -> Tensor:
    """(num_filters, num_taps) Hamming-windowed band-pass filters between neighbouring edges: differences of two ideal low-passes."""
    edges_hz = sinc_edges_hz(num_filters, sample_rate)[:, None]
    # The arguments of sinc are float32, as in the published network: its weights were trained with these very filters (1e-5 of a peak off).
    taps = (np.arange(num_taps) - num_taps // 2).astype(np.float32)
    arguments = (2 * edges_hz).astype(np.float32) * taps / np.float32(sample_rate)
    low_passes = 2 * edges_hz / sample_rate * np.sinc(arguments)
    return torch.from_numpy(np.diff(low_passes, axis=0).astype(np.float32) * np.hamming(num_taps).astype(np.float32))


class AasistRaw(nn.Module):
    """Waveform (B, samples) at 16 kHz -> (embedding (B, 5 * gat_dims[1]), logits (B, num_classes)).

    Differs from `Aasist`: sinc filters in front (fixed, nothing learned), a (1, 3) max-pool in each residual block, nodes are
    the largest magnitudes instead of attention-weighted sums, 70 % of the temporal nodes are kept. Any number of samples from
    2,315 on. Raises ValueError for another rank or fewer samples.
    Source: Jung et al. 2022 (arXiv:2110.01200), AASIST.conf of clovaai/aasist.
    """

    def __init__(self, num_classes: int, *, channels: tuple[int, int] = (32, 64), gat_dims: tuple[int, int] = (64, 32)):
        super().__init__()
        width = channels[1]
        self.register_buffer("filters", sinc_filters().unsqueeze(1), persistent=False)
        self.input_norm = nn.BatchNorm2d(1)
        self.encoder = nn.Sequential(*(nn.Sequential(ResidualBlock(*pair), nn.MaxPool2d((1, 3))) for pair in residual_widths(channels)))
        self.pos_s = nn.Parameter(torch.randn(1, NUM_FILTERS // 3, width))
        self.graph = SpectroTemporalGraph(width, gat_dims, temporal_ratio=0.7)
        self.embedding_dim = self.graph.embedding_dim
        self.classifier = nn.Linear(self.embedding_dim, num_classes)

    def forward(self, waveform_BN: Tensor) -> tuple[Tensor, Tensor]:
        shortest = NUM_TAPS - 1 + POOLED_FRAMES
        if waveform_BN.ndim != 2 or waveform_BN.shape[1] < shortest:
            raise ValueError(f"expected (batch, at least {shortest} samples), got {tuple(waveform_BN.shape)}")
        bands_BFN = F.conv1d(waveform_BN.unsqueeze(1), self.filters).abs()
        image_B1RL = F.max_pool2d(bands_BFN.unsqueeze(1), 3)
        # max, not amax: of equal magnitudes one alone gets the gradient, as published.
        magnitude_BCRL = self.encoder(F.selu(self.input_norm(image_B1RL), inplace=True)).abs()
        spectral_BRC = magnitude_BCRL.max(dim=3).values.transpose(1, 2) + self.pos_s
        temporal_BLC = magnitude_BCRL.max(dim=2).values.transpose(1, 2)
        embedding = self.graph(spectral_BRC, temporal_BLC)
        return embedding, self.classifier(embedding)
