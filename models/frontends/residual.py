"""Residual spectrum front-end: what a low-pass filter takes away from a waveform, as one average spectrum (arXiv:2411.14013)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.models.frontends.lfcc import PowerSpectrogram

ONE_OVER_FLOOR = 1e10  # 1e-10 is added to powers before the logarithm, as published


class ResidualFrontEnd(nn.Module):
    """Waveform (B, samples) -> (B, n_fft / 2 + 1, 1): the mean over time of 10 log10(power + 1e-10) of x, less that of x low-passed, dB.

    The low-pass F is a linear-phase filter of `taps` coefficients, which falls by half at `cutoff_hz` and `attenuation_db` behind it.
    Samples that F makes of less than all of its taps are left out, and the same ones of x; no frame holds padding. spectrum:
    "difference", as above and as published, or "residual": the spectrum of x - F(x) instead. Raises ValueError for another rank or for
    fewer than taps + n_fft - 1 samples.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        cutoff_hz: float = 1000.0,
        taps: int = 257,
        attenuation_db: float = 80.0,
        n_fft: int = 128,
        hop_length: int = 2,
        spectrum: str = "difference",
    ):
        from scipy.signal import firwin, kaiser_beta  # a second to import

        super().__init__()
        if spectrum not in ("difference", "residual"):
            raise ValueError(f"spectrum {spectrum!r} is neither difference nor residual")
        self.spectrum, self.edge, self.shortest = spectrum, taps // 2, taps + n_fft - 1
        filter_ = firwin(taps, cutoff_hz, window=("kaiser", kaiser_beta(attenuation_db)), fs=sample_rate)
        self.register_buffer("taps", torch.from_numpy(filter_).float()[None, None], persistent=False)
        self.power = PowerSpectrogram(n_fft=n_fft, win_length=n_fft, hop_length=hop_length, pad=0, center=False)

    def forward(self, waveform_BN: Tensor) -> Tensor:
        if waveform_BN.ndim != 2 or waveform_BN.shape[1] < self.shortest:
            raise ValueError(f"expected (batch, at least {self.shortest} samples), got {tuple(waveform_BN.shape)}")
        return torch.cat([self.of_rows(rows) for rows in waveform_BN.split(1)])  # spectra of one row: tens of megabytes

    def of_rows(self, waveform_BN: Tensor) -> Tensor:
        """The same of all rows at once."""
        x = waveform_BN.unsqueeze(1)
        low = functional.conv1d(x, self.taps)
        x = x[..., self.edge : x.shape[-1] - self.edge]
        if self.spectrum == "residual":
            ratio = self._above_floor(x - low) / ONE_OVER_FLOOR
        else:  # a ratio and not a difference of logarithms: where the filter changes little, that would leave the rounding of both
            ratio = self._above_floor(x) / self._above_floor(low)
        return 10 * ratio.log10().mean(dim=-1).transpose(1, 2)

    def _above_floor(self, x: Tensor) -> Tensor:
        """(B, 1, samples) -> (B, 1, bins, frames): (p + 1e-10) / 1e-10. The ONNX exporter takes 1e-10 for 0 and would leave it out."""
        return self.power(x) * ONE_OVER_FLOOR + 1
