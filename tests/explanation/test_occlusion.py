"""What is taken away is gone, the rest is as it was, and noise is as loud as what is beside it: against spectra by hand and by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import welch

from sourcetracing.explanation.bands import third_octaves
from sourcetracing.explanation.drops import disagree, fillings_that_matter, importance
from sourcetracing.explanation.occlusion import Bands, Stretches

RATE = 16000
BANDS = third_octaves(50, RATE)
AT_3_KHZ = next(number for number, band in enumerate(BANDS) if band.low <= 3000 < band.high)


def bands_of(window: np.ndarray, seed: int = 0) -> Bands:
    return Bands(window, BANDS, RATE, np.random.default_rng(seed))


def level_db(sound: np.ndarray, hz: float) -> float:
    """Of a tone, by its projection onto sine and cosine under a Hann window."""
    seconds = np.arange(len(sound)) / RATE
    window = np.hanning(len(sound))
    return 20 * np.log10(abs(np.sum(window * sound * np.exp(-2j * np.pi * hz * seconds))) / window.sum() * 2 + 1e-12)


@pytest.mark.parametrize("number", [0, 5, 12, AT_3_KHZ, len(BANDS) - 1])
def test_a_tone_in_the_band_falls_by_more_than_40_db_and_others_stay(number):
    middles = [round(np.sqrt(band.low * band.high) * 2) / 2 for band in BANDS]
    seconds = np.arange(4 * RATE) / RATE
    sound = sum(0.03 * np.sin(2 * np.pi * hz * seconds + place) for place, hz in enumerate(middles))
    changed = bands_of(sound).without([number], ["removed"])
    for place, hz in enumerate(middles):
        fallen = level_db(sound, hz) - level_db(changed, hz)
        assert fallen > 40 if place == number else abs(fallen) < 0.1, (place, hz, fallen)


def test_noise_falls_in_the_band_alone():
    sound = np.random.default_rng(1).normal(0, 0.1, 4 * RATE)
    changed = bands_of(sound).without([AT_3_KHZ], ["removed"])
    hz, before = welch(sound, RATE, window="blackmanharris", nperseg=4096)
    _, after = welch(changed, RATE, window="blackmanharris", nperseg=4096)
    fallen, band = 10 * np.log10(before / after), BANDS[AT_3_KHZ]
    assert fallen[(hz > band.low + 20) & (hz < band.high - 20)].min() > 40
    assert np.abs(fallen[(hz < band.low - 20) | (hz > band.high + 20)]).max() < 0.1


def test_bands_add_up_to_the_sound_above_the_lowest_edge():
    sound = np.random.default_rng(2).normal(0, 0.1, RATE)
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(RATE, 1 / RATE) < BANDS[0].low] = 0
    np.testing.assert_allclose(bands_of(sound).parts.sum(axis=0), np.fft.irfft(spectrum, n=RATE), atol=1e-12)


def test_noise_fills_a_hole_up_to_the_level_beside_it():
    spectrum, hz = np.fft.rfft(np.random.default_rng(3).normal(0, 0.1, 4 * RATE)), np.fft.rfftfreq(4 * RATE, 1 / RATE)
    band = BANDS[AT_3_KHZ]
    spectrum[(hz >= band.low) & (hz < band.high)] = 0
    sound = np.fft.irfft(spectrum, n=4 * RATE)
    changed = bands_of(sound).without([AT_3_KHZ], ["noise"])
    at, density = welch(changed, RATE, nperseg=2048)
    inside, beside = (at > band.low + 50) & (at < band.high - 50), (at > 1000) & (at < band.low - 50)
    assert 10 * np.log10(density[inside].mean() / density[beside].mean()) == pytest.approx(0, abs=1)


def test_noise_is_no_copy_of_a_tone_and_is_drawn_by_the_generator():
    seconds = np.arange(4 * RATE) / RATE
    sound = np.random.default_rng(4).normal(0, 0.01, 4 * RATE) + 0.3 * np.sin(2 * np.pi * 3000 * seconds)
    first, again, other = (bands_of(sound, seed).without([AT_3_KHZ], ["noise"]) for seed in (0, 0, 1))
    assert level_db(sound, 3000) - level_db(first, 3000) > 25
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_noise_follows_the_level_over_time():
    sound = np.random.default_rng(5).normal(0, 0.1, 4 * RATE) * np.repeat([1, 0.01], 2 * RATE)
    noise = bands_of(sound).noises[AT_3_KHZ]
    loud, quiet = noise[RATE // 2 : 3 * RATE // 2], noise[5 * RATE // 2 : 7 * RATE // 2]
    assert 20 * np.log10(loud.std() / quiet.std()) == pytest.approx(40, abs=5)  # the edges of a band ring


def test_several_bands_go_together():
    sound = np.random.default_rng(6).normal(0, 0.1, RATE)
    bands = bands_of(sound)
    both = bands.without([3, 9], ["removed", "noise"])
    one, other = (bands.without([number], [how]) for number, how in ((3, "removed"), (9, "noise")))
    np.testing.assert_allclose(both - sound, (one - sound) + (other - sound), atol=1e-6)


def test_silence_stays_silence():
    bands = bands_of(np.zeros(RATE))
    assert not bands.without([3], ["noise"]).any()
    stretches = Stretches(np.zeros(RATE), RATE, 0.5, RATE, np.random.default_rng(0))
    assert not stretches.without(0, "noise").any()


@pytest.mark.parametrize("seconds, expected", [(4.0, 15), (0.9, 7)])
def test_stretches_cover_the_sound(seconds, expected):
    size = round(seconds * RATE)
    stretches = Stretches(np.ones(size), size, 0.5, RATE, np.random.default_rng(0))
    assert len(stretches.starts) == expected
    assert stretches.starts[0] == 0 and stretches.starts[-1] + stretches.size == size
    covered = np.zeros(size)
    for start in stretches.starts:
        covered[start : start + stretches.size] += 1
    assert covered.min() >= 1


def test_a_stretch_is_50_db_down_and_the_rest_as_it_was():
    sound = np.random.default_rng(7).normal(0, 0.1, 4 * RATE)
    stretches = Stretches(sound, len(sound), 0.5, RATE, np.random.default_rng(0))
    start, size, ramp = stretches.starts[4], stretches.size, RATE // 100
    changed = stretches.without(4, "removed")
    inside = slice(start + ramp, start + size - ramp)
    np.testing.assert_allclose(changed[inside], sound[inside] * 10**-2.5, atol=1e-7)
    np.testing.assert_array_equal(changed[:start], sound[:start].astype(np.float32))
    np.testing.assert_array_equal(changed[start + size :], sound[start + size :].astype(np.float32))
    filled = stretches.without(4, "noise")
    assert filled[inside].std() == pytest.approx(sound.std(), rel=0.1)
    assert abs(np.corrcoef(filled[inside], sound[inside])[0, 1]) < 0.1


def test_a_stretch_of_a_repeated_file_goes_wherever_it_comes_again():
    once = np.random.default_rng(8).normal(0, 0.1, RATE)
    stretches = Stretches(np.resize(once, 4 * RATE), RATE, 0.5, RATE, np.random.default_rng(0))
    assert stretches.size == RATE // 4
    changed = stretches.without(2, "removed").reshape(4, RATE)
    for row in changed[1:]:
        np.testing.assert_array_equal(row, changed[0])
    assert (np.abs(changed[0] - once) > 1e-3).mean() == pytest.approx(0.25, abs=0.03)


def test_importance_is_the_deeper_fall_and_fillings_disagree_by_hand():
    drops = np.array([[3.0, -4.0, 0.1, -1.0, np.nan, 2.0], [0.5, 1.0, 0.4, -2.0, np.nan, 1.5]])
    np.testing.assert_array_equal(importance(drops), [3.0, 1.0, 0.4, -1.0, np.nan, 2.0])
    assert disagree(drops).tolist() == [True, True, False, False, False, False]
    assert fillings_that_matter(drops[:, :4]) == ["removed", "noise", "noise", "removed"]
