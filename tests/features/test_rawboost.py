"""RawBoost: the stored outputs of the published code from the same draws, and seeds of one's own for each file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sourcetracing.errors import UserError
from sourcetracing.features.rawboost import convolutive, filter_sum, impulsive, limited, notch_filter, rawboost, stationary
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.frontends import Rawboost
from tests.support.places import GOLDEN

FACTS = json.loads((GOLDEN / "rawboost.json").read_text())
RATE, OPTIONS, State = FACTS["fs"], Rawboost(), np.random.RandomState
EXACT, FROM_FLOAT32 = 1e-9, 1e-6


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "rawboost.npz") as stored:
        return dict(stored)


def assert_near(ours: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert ours.dtype == expected.dtype
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance)


def test_defaults_are_the_published_ones():
    published = FACTS["defaults"]
    ours = {
        "nBands": OPTIONS.bands,
        "N_f": OPTIONS.orders,
        "P": OPTIONS.impulse_percent,
        "g_sd": OPTIONS.impulse_gain,
    }
    ranges = {"F": OPTIONS.center_hz, "BW": OPTIONS.width_hz, "Coeff": OPTIONS.taps, "G": OPTIONS.gain_db}
    ranges |= {"BiasLinNonLin": OPTIONS.bias_db}
    ours |= {f"{end}{name}": value[at] for name, value in ranges.items() for at, end in enumerate(("min", "max"))}
    ours |= {"SNRmin": OPTIONS.snr_db[0], "SNRmax": OPTIONS.snr_db[1]}
    assert ours == published and OPTIONS.algorithm == 5


@pytest.mark.parametrize("number", range(len(FACTS["filters"])))
def test_filters(arrays, number):
    facts = FACTS["filters"][number]
    bands = [(band["fc"], band["bw"], int(band["c_drawn"])) for band in facts["bands"]]
    taps = notch_filter(bands, facts["gain_db"], RATE)
    assert len(taps) == facts["taps"]
    assert_near(taps, arrays[f"filter{number}/b"], EXACT)
    expected = arrays[f"filter{number}/y"]
    assert_near(filter_sum(arrays["wave_f32"][None, : len(expected)].astype(np.float64), [taps]), expected, EXACT)


@pytest.mark.parametrize("name, dtype, tolerance", [("f64", np.float64, EXACT), ("f32", np.float32, FROM_FLOAT32)])
def test_convolutive_and_impulsive_noise(arrays, name, dtype, tolerance):
    wave = arrays["wave_f32"].astype(dtype)
    assert_near(convolutive(wave, RATE, OPTIONS, State(FACTS["lnl"]["np_seed"])), arrays[f"lnl/y_from_{name}"], tolerance)
    assert_near(impulsive(wave, OPTIONS, State(FACTS["isd"]["np_seed"])), arrays[f"isd/y_from_{name}"], tolerance)


def test_impulses_in_loud_and_in_quiet_sound(arrays):
    loud = impulsive(arrays["isd/loud_x"], OPTIONS, State(FACTS["isd_loud"]["np_seed"]))
    assert_near(loud, arrays["isd/loud_y_from_f64"], EXACT)
    before = arrays["isd/quiet_x_f32"]
    quiet = impulsive(before, OPTIONS, State(FACTS["isd_quiet"]["np_seed"]))
    assert_near(quiet, arrays["isd/quiet_y_from_f32"], FROM_FLOAT32)
    assert (quiet != before).sum() == FACTS["isd_quiet"]["changed_samples"]


def test_stationary_noise(arrays):
    boosted = stationary(arrays["wave_f32"], RATE, OPTIONS, State(FACTS["ssi"]["np_seed"]))
    assert_near(boosted, arrays["ssi/y_from_f32"], FROM_FLOAT32)


@pytest.mark.parametrize("case", FACTS["end_to_end"], ids=lambda case: f"algorithm{case['algo']}")
def test_every_algorithm_end_to_end(arrays, case):
    boosted = rawboost(arrays["wave_f32"], RATE, replace(OPTIONS, algorithm=case["algo"]), State(case["np_seed"]))
    assert_near(boosted, arrays[f"algo{case['algo']}/y"], FROM_FLOAT32)


def test_files_have_draws_of_their_own(arrays):
    wave = arrays["wave_f32"]
    first, again, other = (rawboost(wave, RATE, OPTIONS, rng(1, name, "rawboost")) for name in ("for/1", "for/1", "for/2"))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-3)
    assert np.abs(first).max() <= 1 and not np.array_equal(first, wave)


@pytest.mark.parametrize("algorithm", range(1, 9))
def test_silence_and_a_few_samples_come_out_finite(algorithm):
    for wave in (np.zeros(1000, np.float32), np.full(3, 0.1, np.float32), np.zeros(1, np.float32)):
        boosted = rawboost(wave, RATE, replace(OPTIONS, algorithm=algorithm), rng(1))
        assert boosted.shape == wave.shape and np.isfinite(boosted).all()


def test_only_a_peak_above_one_is_lowered():
    np.testing.assert_array_equal(limited(np.array([0.5, -0.9])), [0.5, -0.9])
    np.testing.assert_array_equal(limited(np.array([1.0, -2.0])), [0.5, -1.0])


@pytest.mark.parametrize("change", [{"center_hz": [8000.0, 20.0]}, {"taps": [10]}, {"snr_db": []}])
def test_a_range_that_is_none_is_refused(change):
    with pytest.raises(UserError, match=f"rawboost.{next(iter(change))}=.*the lower one first"):
        rawboost(np.zeros(100, np.float32), RATE, replace(OPTIONS, **change), rng(1))


def test_notches_above_half_the_sample_rate_take_nothing_away():
    """At 8 kHz some drawn notches lie wholly above 4 kHz; they once ended a run in scipy's words."""
    lies_above, lies_within = (6000.0, 500.0, 31), (1000.0, 300.0, 31)
    np.testing.assert_allclose(notch_filter([lies_above], -6.0, 8000), [10 ** (-6 / 20)])
    np.testing.assert_allclose(notch_filter([lies_within, lies_above], 0, 8000), notch_filter([lies_within], 0, 8000))
    assert np.isfinite(rawboost(np.ones(800, np.float32), 8000, OPTIONS, np.random.default_rng(0))).all()
