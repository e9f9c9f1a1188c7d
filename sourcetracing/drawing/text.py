"""Numbers and names as people read them."""

from __future__ import annotations

import math

import numpy as np

ABSENT = "–"
SAME = 1e-9  # a standard deviation below it is rounding: what is fitted draws nothing, so its seeds are one result
WITHOUT_SPREAD = "without ±: the same with every seed, as what is fitted is"


def percent(value: float, digits: int = 1) -> str:
    """A fraction as percent, the sign left out; – for nan."""
    return ABSENT if math.isnan(value) else f"{100 * value:.{digits}f}"


def points(value: float, digits: int = 1) -> str:
    """A difference of fractions in points, such as `+1.2`; – for nan."""
    return ABSENT if math.isnan(value) else f"{round(100 * value, digits) + 0.0:+.{digits}f}"  # + 0.0: no -0.0


def spread_text(sd: float) -> str:
    """` ± 1.2` for a standard deviation (fraction) over seeds; nothing for nan, nor where all seeds gave the same."""
    return "" if math.isnan(sd) or sd < SAME else f" ± {percent(sd)}"


def readable(name: object) -> str:
    """A name with blanks for underscores, so that it can wrap."""
    return str(name).replace("_", " ")


def plain(value: object) -> str:
    """An entry of a table: integers with thousands apart, other numbers with two decimals, – for nan, everything else as it is."""
    if isinstance(value, (float, np.floating)):
        if math.isnan(value):
            return ABSENT
        return f"{int(value):,}" if float(value).is_integer() and abs(value) >= 1 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, (int, np.integer)) else str(value)
