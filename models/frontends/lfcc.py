"""LFCC front-end: linear-frequency cepstral coefficients, through torchaudio's transform."""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

CPU_ROWS_AT_A_TIME = 8  # spectra of more rows outgrow the processor's cache and cost fresh memory: 2.5 times slower on 320 rows


class PowerSpectrogram(nn.Module):
    """torchaudio's complex spectrogram, squared as re^2 + im^2. Its own power=2 takes a root only to square it: a third of the time."""

    def __init__(self, **options: int | bool):
        super().__init__()
        self.spectrogram = torchaudio.transforms.Spectrogram(power=None, **options)

    def forward(self, waveform: Tensor) -> Tensor:
        spectrum = self.spectrogram(waveform)
        return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)


class LfccFrontEnd(nn.Module):
    """Waveform (B, samples) -> (B, n_lfcc, frames): power spectrum, n_filter linear triangles, dB, orthonormal DCT.

    64,000 samples give (80, 399) with the defaults, which are the only ones that do with a 20 ms window and 10 ms hop. The floor,
    80 dB below the maximum, is each utterance's own: a row never depends on its neighbours. `log_lf=True` takes log(S + 1e-6)
    instead of dB, without a floor. `pad` zeros are added on both sides. Raises ValueError for another rank, for less than
    one window of samples, or for n_lfcc > n_filter. NaN in, NaN out.
    Source: torchaudio.transforms.LFCC.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_lfcc: int = 80,
        n_filter: int = 128,
        n_fft: int = 320,
        win_length: int = 320,
        hop_length: int = 160,
        pad: int = 0,
        center: bool = False,
        log_lf: bool = False,
    ):
        super().__init__()
        if n_lfcc > n_filter:
            raise ValueError(f"n_lfcc = {n_lfcc} coefficients need at least as many filters, not n_filter = {n_filter}")
        self.shortest = 1 if center else n_fft - 2 * pad
        speckwargs = {"n_fft": n_fft, "win_length": win_length, "hop_length": hop_length, "pad": pad, "center": center}
        self.transform = torchaudio.transforms.LFCC(
            sample_rate=sample_rate, n_lfcc=n_lfcc, n_filter=n_filter, log_lf=log_lf, speckwargs=speckwargs
        )
        self.transform.Spectrogram = PowerSpectrogram(**speckwargs)

    def forward(self, waveform_BN: Tensor) -> Tensor:
        if waveform_BN.ndim != 2 or waveform_BN.shape[1] < self.shortest:
            raise ValueError(f"expected (batch, at least {self.shortest} samples), got {tuple(waveform_BN.shape)}")
        # torchaudio takes the maximum over all of a 2-d tensor, but over each item of a 3-d one.
        rows_at_a_time = CPU_ROWS_AT_A_TIME if waveform_BN.device.type == "cpu" else max(len(waveform_BN), 1)
        return torch.cat([self.transform(rows.unsqueeze(1)).squeeze(1) for rows in waveform_BN.split(rows_at_a_time)])
