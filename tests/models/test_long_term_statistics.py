"""Every long-term statistic, computed again by numpy, scipy and pandas; constant and short rows; half precision."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from sourcetracing.models.backends.long_term_statistics import LAGS, LAGS_BETWEEN, STATISTICS, LongTermStatistics, standardization
from sourcetracing.settings import backends


def rows(num_frames: int = 61, num_rows: int = 3) -> np.ndarray:
    """(num_rows, 7, num_frames) float32: a walk, skewed, with an offset of another size for each coefficient."""
    generator = np.random.default_rng(3)
    walk = np.cumsum(generator.gamma(2.0, size=(num_rows, 7, num_frames)) - 2, axis=-1)
    return (walk + 40 * generator.normal(size=(1, 7, 1))).astype(np.float32)


def correlations(frames: np.ndarray, distance: int = 1) -> list[float]:
    table = pd.DataFrame(frames.T).corr().to_numpy()
    return [table[number, number + distance] for number in range(len(frames) - distance)]


def lagged(x: np.ndarray, lag: int) -> float:
    centred = x - x.mean()
    return np.mean([centred[t] * centred[t + lag] for t in range(len(x) - lag)]) / x.var()


BY_HAND = {
    "mean": lambda x, loud: [one.mean() for one in x],
    "std": lambda x, loud: [np.std(one) for one in x],
    "log_std": lambda x, loud: [np.log(np.std(one)) for one in x],
    "delta_std": lambda x, loud: [np.std(np.diff(one)) for one in x],
    "log_delta_std": lambda x, loud: [np.log(np.std(np.diff(one))) for one in x],
    "log_delta2_std": lambda x, loud: [np.log(np.std(np.diff(one, n=2))) for one in x],
    "autocorrelation": lambda x, loud: [lagged(one, lag) for lag in LAGS for one in x],
    "autocorrelation_between": lambda x, loud: [lagged(one, lag) for lag in LAGS_BETWEEN for one in x],
    "skewness": lambda x, loud: scipy.stats.skew(x, axis=1),
    "kurtosis": lambda x, loud: scipy.stats.kurtosis(x, axis=1),
    "delta_kurtosis": lambda x, loud: scipy.stats.kurtosis(np.diff(x), axis=1),
    "neighbour_correlation": lambda x, loud: correlations(x),
    "second_neighbour_correlation": lambda x, loud: correlations(x, distance=2),
    "delta_neighbour_correlation": lambda x, loud: correlations(np.diff(x)),
    "loudness_correlation": lambda x, loud: [np.corrcoef(one, loud)[0, 1] for one in x],
    "loud_mean": lambda x, loud: [one[loud > np.median(loud)].mean() - one.mean() for one in x],
}


def test_the_names_are_those_of_the_settings():
    assert list(backends.STATISTICS) == list(STATISTICS) == list(BY_HAND)


@pytest.mark.parametrize("coefficients", [[0, -1], [2, 5]])
@pytest.mark.parametrize("num_frames", [61, 40])
@pytest.mark.parametrize("name", STATISTICS)
def test_each_statistic_is_what_its_name_says(name, num_frames, coefficients):
    x = rows(num_frames)
    found = LongTermStatistics(7, [name], coefficients)(torch.from_numpy(x)).numpy()
    used = x.astype(np.float64)[:, coefficients[0] : coefficients[1] + 1 or None]
    expected = np.array([BY_HAND[name](frames, row[0]) for frames, row in zip(used, x, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_they_stand_in_the_order_that_is_asked_for():
    x = torch.from_numpy(rows())
    names = ["loud_mean", "neighbour_correlation", "autocorrelation", "mean"]
    module = LongTermStatistics(7, names, [0, -1])
    assert module.width == 7 + 6 + 21 + 7
    torch.testing.assert_close(module(x), torch.cat([LongTermStatistics(7, [name], [0, -1])(x) for name in names], dim=1))


@pytest.mark.parametrize("value", [0.0, 1000.0, -0.1])
def test_constant_rows_give_finite_numbers_that_mean_nothing_happens(value):
    constant = torch.full((2, 7, 399), value)
    found = dict(zip(STATISTICS, (LongTermStatistics(7, [name], [0, -1])(constant) for name in STATISTICS), strict=True))
    torch.testing.assert_close(found.pop("mean"), torch.full((2, 7), value))
    for name in ("log_std", "log_delta_std", "log_delta2_std"):
        torch.testing.assert_close(found.pop(name), torch.full((2, 7), float(np.log(1e-3))))
    for name in ("kurtosis", "delta_kurtosis"):
        torch.testing.assert_close(found.pop(name), torch.full((2, 7), -3.0))
    assert all((values.abs() < 1e-6).all() for values in found.values())


@pytest.mark.parametrize("num_frames", [1, 2, 4, 8])
def test_rows_shorter_than_a_lag_give_finite_numbers(num_frames):
    found = LongTermStatistics(7, list(STATISTICS), [0, -1])(torch.from_numpy(rows(num_frames)))
    assert found.isfinite().all()


def test_not_a_number_in_a_row_stays_there():
    x = torch.from_numpy(rows())
    x[1, 3, 5] = torch.nan
    found = LongTermStatistics(7, ["mean", "std"], [0, -1])(x)
    assert found.isnan().nonzero().tolist() == [[1, 3], [1, 10]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_they_are_computed_in_full_precision(dtype):
    x, module = torch.from_numpy(rows()), LongTermStatistics(7, list(STATISTICS), [0, -1])
    with torch.autocast("cpu", dtype):
        found = module(x)
    assert found.dtype == torch.float32 and torch.equal(found, module(x))
    assert module(x.half()).dtype == torch.float32


@pytest.mark.parametrize("coefficients", [[0, 7], [3, 2], [-1, 2], [7, -1]])
def test_coefficients_that_are_not_there_are_refused(coefficients):
    with pytest.raises(ValueError, match="the features have 0 to 6"):
        LongTermStatistics(7, ["mean"], coefficients)


def test_two_coefficients_have_no_second_neighbours_and_one_has_none_at_all():
    for coefficients in ([2, 2], [2, 3]):
        module = LongTermStatistics(7, ["mean", "second_neighbour_correlation"], coefficients)
        assert module(torch.from_numpy(rows())).shape == (3, module.width) == (3, coefficients[1] - 1)


def test_no_numbers_at_all_are_refused():
    with pytest.raises(ValueError, match="take more coefficients"):
        LongTermStatistics(7, ["neighbour_correlation"], [2, 2])


def test_standardization_leaves_alone_what_varies_by_rounding_only():
    statistics = np.random.default_rng(1).normal(3, 2, size=(50, 4)).astype(np.float32)
    statistics[:, 1] = 0.0
    statistics[:, 2] = 7.7 + np.float32(1e-6) * (np.arange(50) % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, deviation = standardization(statistics)
    np.testing.assert_allclose(deviation[[0, 3]], statistics[:, [0, 3]].astype(np.float64).std(axis=0))
    assert deviation[1] == deviation[2] == 1.0
    np.testing.assert_allclose(mean, statistics.astype(np.float64).mean(axis=0))
