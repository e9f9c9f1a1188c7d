"""Training rows changed at random, afresh in every round: another channel, gaps in time and frequency, another stretch of the row.

An LFCC row is the DCT of dB spectra. So a channel is a vector added to every frame, and bands of the spectrum are a projection of a frame.
How a row is changed depends on (train.seed, round, row) alone: never on its batch, its process, or an interruption.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torchaudio
from torch import Tensor

from sourcetracing.features.rows import FeatureRows
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import Train, perturbations_in_use

LONGEST_TIME_MASK, WIDEST_BAND_MASK = 0.1, 0.2  # shares of a row's frames, and of the filters between 0 Hz and half the sample rate
RIPPLE_ORDER = 4.0  # an equaliser's ripple of this order has half the strength of the slowest one
DB_OF_NATURAL_LOG = 10 / math.log(10)


class Perturbation:
    """What `train.channel_db`, `train.band_masks`, `train.time_masks` and `train.crop_share` do to one row (F, T)."""

    def __init__(self, rules: Train, num_features: int, num_filters: int):
        """num_filters: of the dB spectra whose DCT the rows are."""
        self.rules, self.num_filters = rules, num_filters
        self.cosines = torchaudio.functional.create_dct(num_features, num_filters, norm="ortho").T  # (F, filters), orthonormal rows
        order = torch.arange(num_features)
        # A ripple of 1 dB rms over the filters has a coefficient of sqrt(filters); so has a level of 1 dB.
        self.offset_scale = rules.channel_db * math.sqrt(num_filters) / (1 + order / RIPPLE_ORDER)

    def __call__(self, row_FT: Tensor, generator: np.random.Generator) -> Tensor:
        """A changed copy, (F, crop_share * T)."""
        row_FT = self._stretch(row_FT, generator)
        mean_F1 = row_FT.mean(dim=1, keepdim=True)
        if self.rules.band_masks:
            row_FT = row_FT - self._masked_bands(row_FT - mean_F1, generator)
        if self.rules.time_masks:
            row_FT = row_FT.clone()
            for start, end in self._spans(self.rules.time_masks, row_FT.shape[1], LONGEST_TIME_MASK, generator):
                row_FT[:, start:end] = mean_F1
        if self.rules.channel_db:
            ripples = torch.from_numpy(generator.standard_normal(len(row_FT))).to(row_FT)
            row_FT = row_FT + (ripples * self.offset_scale.to(row_FT))[:, None]
        return row_FT

    def _stretch(self, row_FT: Tensor, generator: np.random.Generator) -> Tensor:
        num_frames = row_FT.shape[1]
        kept = max(2, round(self.rules.crop_share * num_frames))
        if kept >= num_frames:
            return row_FT
        start = int(generator.integers(num_frames - kept + 1))
        return row_FT[:, start : start + kept]

    def _masked_bands(self, deviation_FT: Tensor, generator: np.random.Generator) -> Tensor:
        """The share of masked bands in a row less its mean: without it, these bands stay at their mean all the time."""
        masked = torch.zeros(self.num_filters, dtype=torch.bool)
        for start, end in self._spans(self.rules.band_masks, self.num_filters, WIDEST_BAND_MASK, generator):
            masked[start:end] = True
        cosines = self.cosines[:, masked].to(deviation_FT)
        return cosines @ (cosines.T @ deviation_FT)

    @staticmethod
    def _spans(count: int, length: int, longest_share: float, generator: np.random.Generator) -> list[tuple[int, int]]:
        spans = []
        for _ in range(count):
            width = int(generator.integers(round(longest_share * length) + 1))
            start = int(generator.integers(length - width + 1))
            spans.append((start, start + width))
        return spans


class PerturbedRows:
    """Training rows of one round, each changed in its own way; read like `FeatureRows`."""

    def __init__(self, rows: FeatureRows, perturbation: Perturbation, seed: int, epoch: int):
        self.rows, self.perturbation, self.seed, self.epoch = rows, perturbation, seed, epoch
        self.further_ids = rows.further_ids

    def batch(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features (B, F, T) float32 and labels (B,) of some positions, on the device."""
        features, labels = self.rows.batch(positions)
        generators = [rng(self.seed, "perturbation", self.epoch, int(position)) for position in positions]
        return torch.stack([self.perturbation(row, each) for row, each in zip(features, generators, strict=True)]), labels


def perturbed(rows: FeatureRows, settings: Settings, epoch: int) -> FeatureRows | PerturbedRows:
    """The rows as a round (from 0) trains on them; `rows` themselves where no setting changes any."""
    if not perturbations_in_use(settings.train):
        return rows
    num_features = rows.store.shape[1]
    num_filters = settings.lfcc.n_filter if settings.frontend == "lfcc" else num_features
    return PerturbedRows(rows, Perturbation(settings.train, num_features, num_filters), settings.train.seed, epoch)
