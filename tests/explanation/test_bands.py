"""Third octaves against the standard's figures; what is absent and what is a hole."""

from __future__ import annotations

import numpy as np
import pytest

from sourcetracing.explanation.bands import Band, absent_bands, bins_of, ranges_text, third_octaves

RATE = 16000


def test_middles_and_edges_are_the_standards():
    bands = third_octaves(50, RATE)
    nominal = [50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000]
    assert len(bands) == len(nominal)
    for band, middle in zip(bands[:-1], nominal, strict=False):
        assert np.sqrt(band.low * band.high) == pytest.approx(middle, rel=0.02)  # nominal ones are rounded
        assert band.high / band.low == pytest.approx(10**0.1)
    assert bands[-1].high == RATE / 2
    assert [one.high for one in bands[:-1]] == pytest.approx([other.low for other in bands[1:]])


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_the_last_band_ends_at_half_of_the_rate(rate):
    bands = third_octaves(50, rate)
    assert bands[-1].high == rate / 2 and bands[-1].low < rate / 2


@pytest.mark.parametrize("num_samples", [1600, 1601, 16000, 64000])
def test_every_bin_above_the_lowest_edge_is_in_one_band(num_samples):
    bands = third_octaves(50, RATE)
    bins, hz = bins_of(bands, num_samples, RATE), np.fft.rfftfreq(num_samples, 1 / RATE)
    np.testing.assert_array_equal(bins.sum(axis=0), hz >= bands[0].low)


def test_the_top_is_absent_where_it_is_empty_but_a_hole_is_not():
    bands = third_octaves(50, RATE)
    bins = bins_of(bands, 16000, RATE)
    power, hz = np.ones(8001), np.fft.rfftfreq(16000, 1 / RATE)
    power[(hz > 2700) & (hz < 3700)] = 0
    assert not absent_bands(bands, power, bins, 8000).any()
    power[hz > 5600] = 1e-12
    assert [bands[n].low for n in np.flatnonzero(absent_bands(bands, power, bins, 8000))] == pytest.approx([5623.4, 7079.5], abs=0.1)
    power[hz > 5600] = 1e-6  # -60 dB: quiet, not absent
    assert not absent_bands(bands, power, bins, 8000).any()


def test_what_lies_above_the_files_own_rate_is_absent_whatever_is_in_it():
    bands = third_octaves(50, RATE)
    absent = absent_bands(bands, np.ones(8001), bins_of(bands, 16000, RATE), 4000)
    assert [band.low for band, is_so in zip(bands, absent, strict=True) if is_so] == pytest.approx([4466.8, 5623.4, 7079.5], abs=0.1)


def test_a_band_that_a_short_window_has_no_bin_in_is_absent():
    bands = third_octaves(50, RATE)
    absent = absent_bands(bands, np.ones(801), bins_of(bands, 1600, RATE), 8000)  # bins of 10 Hz
    assert not absent[:4].any()  # 44.7 to 56.2 holds 50
    bins = bins_of(bands, 400, RATE)  # of 40 Hz
    assert absent_bands(bands, np.ones(201), bins, 8000)[:2].tolist() == [True, True]


def test_bands_in_words():
    bands = third_octaves(50, RATE)
    assert bands[18].text == "2,800–3,500 Hz"
    assert Band(44.7, 56.2).text == "45–56 Hz"
    meant = np.zeros(len(bands), dtype=bool)
    assert ranges_text(bands, meant) == ""
    meant[[4, 5, 18]] = True
    assert ranges_text(bands, meant) == "110–180 Hz, 2,800–3,500 Hz"
