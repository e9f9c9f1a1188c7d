"""The few colours that figures and the report share. Lightness alone orders the heat scale, so it survives any colour blindness."""

from __future__ import annotations

import math

# From paper white to night blue. Steps of lightness grow towards the top, where the results of a working system lie.
HEAT_STOPS = ("#fbfbf3", "#f4f6e3", "#e3efd4", "#c5e0cb", "#98cac5", "#64afc3", "#2f7db0", "#143a75")
MONO, CROSS, CHANCE = "#1b5e93", "#c05a13", "#7a7a7a"  # blue and orange: distinct in every common colour blindness
SERIES = (MONO, CROSS, "#2a8c74", "#8a5aa8", "#b08a1e", CHANCE)  # lines of one chart, which markers tell apart as well
# For values without an order; each can be seen on white and on black. A mark's shape tells apart what some eyes cannot.
CATEGORIES = (
    "#2f7db0",
    CROSS,
    "#2a9d6f",
    "#9a5cc0",
    "#c99a17",
    "#cf3f72",
    "#35a9cc",
    "#8f6540",
    "#7b9a2d",
    "#6473dd",
    "#e07f78",
    "#4f8074",
)


def heat(fraction: float) -> str:
    """The colour `#rrggbb` of a fraction on the fixed scale 0 to 1."""
    position = min(max(fraction, 0.0), 1.0) * (len(HEAT_STOPS) - 1)
    lower = min(int(position), len(HEAT_STOPS) - 2)
    share = position - lower
    mixed = [round((1 - share) * a + share * b) for a, b in zip(_rgb(HEAT_STOPS[lower]), _rgb(HEAT_STOPS[lower + 1]), strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def ink_on(background: str) -> str:
    """Black or white, whichever contrasts more with `#rrggbb` (WCAG relative luminance)."""
    luminance = relative_luminance(background)
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def heat_of(value: float) -> tuple[str, str]:
    """Background and ink of a cell; a missing value (nan) is transparent and inherits its ink."""
    if math.isnan(value):
        return "transparent", "inherit"
    background = heat(value)
    return background, ink_on(background)


def relative_luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` in [0, 1] (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (channel / 255 for channel in _rgb(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
