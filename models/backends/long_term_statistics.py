"""Long-term statistics of features: what a row is like over its whole length, in a few numbers per coefficient.

What the fitted back-ends (`statistics`, `neighbours`) compute before anything is learned. Deviations are of the population; moments
and correlations are of coefficients without their mean. Before each logarithm and each division stands a floor, so that a constant
coefficient gives finite numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

LAGS, LAGS_BETWEEN = (1, 3, 8), (2, 5)  # of the autocorrelations, in frames
FLOOR = 1e-3  # of standard deviations, before a logarithm or a division: what is less is the rounding of a float16 store
SMALLEST_SPREAD = 1e-6  # of a statistic, relative to its largest value: what varies less is rounding, and is not blown up


@dataclass(frozen=True)
class Rows:
    """values (B, D, T): the coefficients in use; centred and delta: without their mean, and their first differences without theirs.

    loudness (B, 1, T): coefficient 0 of the row, in use or not.
    """

    values: Tensor
    centred: Tensor
    delta: Tensor
    loudness: Tensor

    @classmethod
    def of(cls, values: Tensor, loudness: Tensor) -> Rows:
        """The rows with what several statistics share."""
        return cls(values, _centred(values), _centred(_differences(values)), loudness)


def _over_time(values: Tensor) -> Tensor:
    """The mean over frames; 0 where there are none."""
    return values.sum(dim=-1) / max(values.shape[-1], 1)


def _centred(values: Tensor) -> Tensor:
    """Without the mean; twice, so that a constant of any size becomes 0 and not its rounding error."""
    values = values - _over_time(values).unsqueeze(-1)
    return values - _over_time(values).unsqueeze(-1)


def _differences(values: Tensor) -> Tensor:
    return values[..., 1:] - values[..., :-1]


def _deviation(centred: Tensor) -> Tensor:
    return _over_time(centred.square()).sqrt()


def _log(deviation: Tensor) -> Tensor:
    return deviation.clamp(min=FLOOR).log()


def _normal(centred: Tensor) -> Tensor:
    """In units of the standard deviation."""
    return centred / _deviation(centred).clamp(min=FLOOR).unsqueeze(-1)


def _neighbour_correlation(centred: Tensor, distance: int = 1) -> Tensor:
    normal = _normal(centred)
    num_pairs = max(normal.shape[1] - distance, 0)
    return _over_time(normal[:, normal.shape[1] - num_pairs :] * normal[:, :num_pairs])


def _autocorrelations(centred: Tensor, lags: Sequence[int]) -> Tensor:
    normal = _normal(centred)
    num_frames = normal.shape[-1]
    return torch.cat([_over_time(normal[..., lag:] * normal[..., : num_frames - min(lag, num_frames)]) for lag in lags], dim=1)


def mean(rows: Rows) -> Tensor:
    """(B, D)."""
    return _over_time(rows.values)


def std(rows: Rows) -> Tensor:
    """(B, D)."""
    return _deviation(rows.centred)


def log_std(rows: Rows) -> Tensor:
    """(B, D), natural."""
    return _log(std(rows))


def delta_std(rows: Rows) -> Tensor:
    """(B, D), of first differences over time."""
    return _deviation(rows.delta)


def log_delta_std(rows: Rows) -> Tensor:
    """(B, D)."""
    return _log(delta_std(rows))


def log_delta2_std(rows: Rows) -> Tensor:
    """(B, D), of second differences."""
    return _log(_deviation(_centred(_differences(rows.delta))))


def autocorrelation(rows: Rows) -> Tensor:
    """(B, 3 D), lag by lag: the mean product of frames so far apart, over the variance; 0 for a lag that a row is too short for."""
    return _autocorrelations(rows.centred, LAGS)


def autocorrelation_between(rows: Rows) -> Tensor:
    """(B, 2 D): the same for the lags between."""
    return _autocorrelations(rows.centred, LAGS_BETWEEN)


def skewness(rows: Rows) -> Tensor:
    """(B, D)."""
    return _over_time(_normal(rows.centred) ** 3)


def kurtosis(rows: Rows) -> Tensor:
    """(B, D), above that of a normal distribution."""
    return _over_time(_normal(rows.centred) ** 4) - 3


def delta_kurtosis(rows: Rows) -> Tensor:
    """(B, D), of first differences: whether it changes all the time or by jumps."""
    return _over_time(_normal(rows.delta) ** 4) - 3


def neighbour_correlation(rows: Rows) -> Tensor:
    """(B, D - 1): of each coefficient with the next."""
    return _neighbour_correlation(rows.centred)


def second_neighbour_correlation(rows: Rows) -> Tensor:
    """(B, D - 2): of each coefficient with the one after the next."""
    return _neighbour_correlation(rows.centred, distance=2)


def delta_neighbour_correlation(rows: Rows) -> Tensor:
    """(B, D - 1): the same of first differences."""
    return _neighbour_correlation(rows.delta)


def loudness_correlation(rows: Rows) -> Tensor:
    """(B, D): of each coefficient with coefficient 0."""
    return _over_time(_normal(rows.centred) * _normal(_centred(rows.loudness)))


def loud_mean(rows: Rows) -> Tensor:
    """(B, D): the mean over frames whose coefficient 0 is above its median, minus the mean over all."""
    num_frames = rows.loudness.shape[-1]
    upper = rows.loudness.topk(num_frames // 2 + 1, dim=-1).values
    median = upper[..., -1:] if num_frames % 2 else (upper[..., -1:] + upper[..., -2:-1]) / 2
    loud = (rows.loudness > median).to(rows.centred.dtype)
    return (rows.centred * loud).sum(dim=-1) / loud.sum(dim=-1).clamp(min=1)


# Name -> the statistic, how many numbers it has per coefficient, and how many fewer in all. The names are those of the settings.
STATISTICS: dict[str, tuple[Callable[[Rows], Tensor], int, int]] = {
    "mean": (mean, 1, 0),
    "std": (std, 1, 0),
    "log_std": (log_std, 1, 0),
    "delta_std": (delta_std, 1, 0),
    "log_delta_std": (log_delta_std, 1, 0),
    "log_delta2_std": (log_delta2_std, 1, 0),
    "autocorrelation": (autocorrelation, len(LAGS), 0),
    "autocorrelation_between": (autocorrelation_between, len(LAGS_BETWEEN), 0),
    "skewness": (skewness, 1, 0),
    "kurtosis": (kurtosis, 1, 0),
    "delta_kurtosis": (delta_kurtosis, 1, 0),
    "neighbour_correlation": (neighbour_correlation, 1, 1),
    "second_neighbour_correlation": (second_neighbour_correlation, 1, 2),
    "delta_neighbour_correlation": (delta_neighbour_correlation, 1, 1),
    "loudness_correlation": (loudness_correlation, 1, 0),
    "loud_mean": (loud_mean, 1, 0),
}


class LongTermStatistics(nn.Module):
    """Features (B, D, T) -> (B, width) float32, statistic by statistic in the order named, under autocast too.

    coefficients: the first and the last in use, from 0; a last of -1 = all there are. Raises ValueError for coefficients that the features
    do not have, for an unknown statistic, and for rows of another shape.
    """

    def __init__(self, num_features: int, statistics: Sequence[str], coefficients: Sequence[int]):
        super().__init__()
        first, last = coefficients
        last = num_features - 1 if last == -1 else last
        if not 0 <= first <= last < num_features:
            raise ValueError(f"coefficients=[{first}, {last}], but the features have 0 to {num_features - 1}")
        if unknown := [name for name in statistics if name not in STATISTICS]:
            raise ValueError(f"unknown statistic {unknown[0]!r}; there are: {', '.join(STATISTICS)}")
        self.num_features, self.statistics, self.used = num_features, tuple(statistics), slice(first, last + 1)
        num_used = last + 1 - first
        shapes = [STATISTICS[name][1:] for name in statistics]
        self.width = sum(max(per_coefficient * num_used - fewer, 0) for per_coefficient, fewer in shapes)
        if not self.width:
            raise ValueError(f"statistics={list(statistics)} of a single coefficient are no numbers at all; take more coefficients")

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim != 3 or features.shape[1] != self.num_features:
            raise ValueError(f"expected (batch, {self.num_features}, frames), got {tuple(features.shape)}")
        with full_precision(features):
            features = features.float()
            rows = Rows.of(features[:, self.used], features[:, :1])
            return torch.cat([STATISTICS[name][0](rows) for name in self.statistics], dim=1)


def full_precision(tensor: Tensor) -> AbstractContextManager:
    """Within: no autocast. Squares and sums over hundreds of frames are nothing for 8 or 11 bits."""
    kind = tensor.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()


def standardization(statistics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation), (S,) float64 each, of statistics (N, S); 1 in place of the deviation of what does not vary."""
    statistics = statistics.astype(np.float64)
    deviation = statistics.std(axis=0)
    return statistics.mean(axis=0), np.where(deviation > SMALLEST_SPREAD * np.abs(statistics).max(axis=0), deviation, 1.0)
