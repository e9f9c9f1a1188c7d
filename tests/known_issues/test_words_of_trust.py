"""Probabilities were to be "taken at their word" after 8 utterances, and a figure above chance was "no better than chance"."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from scipy.stats import norm

from sourcetracing.metrics.calibration import Calibration, Reliability
from sourcetracing.settings.schema import Settings
from sourcetracing.shortcuts.audit import _beside_chance, _conclusion
from sourcetracing.tracing.phrases import LEAST_UTTERANCES, POOR_ECE, _on_calibration, language_names

RANKING, WORD = "read them as a ranking, not as odds", "can be taken at their word"


def phrase(rows: int, ece: float, variants: list[str]) -> str:
    settings = Settings()
    settings.evaluation.variants = variants
    found = Reliability(rows, 0.9, 0.3, ece)
    return _on_calibration(Calibration("x", 1.0, ["en"], 15, {}, {"dev": found, "eval": found}), settings)


def test_the_number_of_utterances_is_the_one_that_tells_a_share_to_within_five_points():
    assert math.ceil((norm.ppf(0.975) * 0.5 / POOR_ECE) ** 2) == LEAST_UTTERANCES


@pytest.mark.parametrize(
    ("rows", "ece", "variants", "there", "absent"),
    [
        (385, 0.02, ["original"], WORD, RANKING),
        (384, 0.02, ["original"], f"{RANKING}; 384 utterances are too few to trust that figure, 385 are needed", WORD),
        (8, 0.0, ["original"], "8 utterances are too few", WORD),
        (1000, 0.02, ["original", "noise", "music"], "333 utterances are too few", WORD),  # variants are no further utterances
        (1155, 0.02, ["original", "noise", "music"], WORD, RANKING),
        (5000, 0.06, ["original"], f"{RANKING}.", "too few"),
    ],
)
def test_probabilities_are_trusted_only_where_enough_utterances_say_so(rows, ece, variants, there, absent):
    said = phrase(rows, ece, variants)
    assert there in said and absent not in said


@pytest.mark.parametrize(
    ("figure", "low", "high", "said"),
    [
        (0.2, 0.1, 0.3, "no better than chance"),
        (0.25, 0.2, 0.3, "no better than chance"),
        (0.3, 0.2, 0.4, "which may be chance (95 % CI 20.0 to 40.0)"),
        (0.4, 0.3, 0.5, "20 % of the way from chance to 100"),
        (0.4, math.nan, math.nan, "20 % of the way from chance to 100 (nothing was resampled)"),
        (math.nan, math.nan, math.nan, "no better than chance"),
    ],
)
def test_what_is_said_of_chance_follows_from_the_interval(figure, low, high, said):
    assert _beside_chance(figure, 0.25, low, high) == said


@pytest.mark.parametrize(("low", "high", "said"), [(0.01, 0.2, "more"), (-0.2, -0.01, "less"), (-0.1, 0.1, "may"), (0.0, 0.1, "may")])
def test_what_is_said_of_a_difference_follows_from_its_interval(low, high, said):
    """Intervals of 17.1 (0.0 to 35.4) and 72.5 (70.8 to 75.0) were said to meet."""
    assert said in _conclusion(SimpleNamespace(low=low, high=high))


def test_languages_of_mlaad_have_names():
    assert language_names(["sv", "zh-cn", "xx"]) == "Swedish, Chinese and xx"
