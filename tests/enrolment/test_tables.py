"""Figures of enrolment as people read them."""

from __future__ import annotations

import numpy as np
import pytest

from sourcetracing.enrolment.tables import INTERVALS, _number


@pytest.mark.parametrize("value", [-1e-17, -0.0, 0.0])
@pytest.mark.parametrize(("figure", "shown"), [("min_cllr", "0.000"), ("found", "0.0")])
def test_no_figure_is_below_zero(value, figure, shown):
    assert _number(np.float64(value), figure) == shown


def test_the_legend_says_what_an_interval_without_width_means():
    assert "3/N" in INTERVALS
