"""ECAPA-TDNN speaker encoder on the raw waveform: log-mel front-end, C = 1024, 192-d embedding.

Source: TaoRuijie/ECAPA-TDNN (Desplanques et al. 2020, arXiv:2005.07143). Its AAM speaker head is replaced by a Linear on the embedding.
"""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

from sourcetracing.models.backends.ecapa_tdnn import EcapaBody

PRE_EMPHASIS = 0.97


class LogMelFrontEnd(nn.Module):
    """Waveform (B, samples) at 16 kHz -> (B, 80, 1 + samples // 160) log-mel with the mean over time removed; no gradient passes."""

    def __init__(self):
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=16000, n_fft=512, win_length=400, hop_length=160, f_min=20, f_max=7600, n_mels=80, window_fn=torch.hamming_window
        )

    @torch.no_grad()
    def forward(self, waveform_BN: Tensor) -> Tensor:
        padded = F.pad(waveform_BN.unsqueeze(1), (1, 0), mode="reflect").squeeze(1)
        emphasised = padded[:, 1:] - PRE_EMPHASIS * padded[:, :-1]
        log_mel = (self.mel(emphasised) + 1e-6).log()
        return log_mel - log_mel.mean(dim=2, keepdim=True)


class EcapaRaw(nn.Module):
    """Waveform (B, samples) at 16 kHz -> (embedding (B, 192), logits (B, num_classes)). Raises ValueError for another rank.

    SpecAugment of the source's training is not part of the network.
    """

    embedding_dim = 192

    def __init__(self, num_classes: int, *, channels: int = 1024):
        super().__init__()
        self.frontend = LogMelFrontEnd()
        self.body = EcapaBody(80, channels)
        self.statistics_norm = nn.BatchNorm1d(self.body.out_dim)
        self.embedding = nn.Linear(self.body.out_dim, self.embedding_dim)
        self.embedding_norm = nn.BatchNorm1d(self.embedding_dim)
        self.classifier = nn.Linear(self.embedding_dim, num_classes)

    def forward(self, waveform_BN: Tensor) -> tuple[Tensor, Tensor]:
        if waveform_BN.ndim != 2:
            raise ValueError(f"expected (batch, samples), got {tuple(waveform_BN.shape)}")
        statistics = self.body(self.frontend(waveform_BN))
        embedding = self.embedding_norm(self.embedding(self.statistics_norm(statistics)))
        return embedding, self.classifier(embedding)
