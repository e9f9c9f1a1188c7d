"""Likelihood ratios in words: the steps of the scale, both sides, and what is cut at a bound."""

from __future__ import annotations

import math

import pytest

from sourcetracing.casework.wording import Evidence, Propositions, bound_sentence, ratio_sentence, scale_rows, strength_of, support_sentence

PAIR = Propositions("x made it", "y made it")


def evidence(ratio: float, most: float = 1e9, number: int = 10**9) -> Evidence:
    return Evidence.within(math.log(ratio), -math.log(most), math.log(most), number)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (1, "no support"),
        (1.99, "no support"),
        (2, "weak"),
        (9.99, "weak"),
        (10, "moderate"),
        (99.9, "moderate"),
        (100, "moderately strong"),
        (999, "moderately strong"),
        (1000, "strong"),
        (9999, "strong"),
        (10_000, "very strong"),
        (999_999, "very strong"),
        (1_000_000, "extremely strong"),
    ],
)
def test_steps_of_the_scale_on_both_sides(ratio, expected):
    assert strength_of(math.log10(ratio)) == strength_of(-math.log10(ratio)) == expected


@pytest.mark.parametrize("ratio", [2, 10, 100, 1000, 10_000, 1_000_000])
def test_a_limit_that_went_through_natural_logarithms_is_still_that_limit(ratio):
    assert strength_of(evidence(ratio).log10) != strength_of(evidence(ratio * 0.999).log10)


def test_the_table_of_the_scale_has_every_step_once():
    assert [words for _, words in scale_rows()] == [
        "no support",
        "weak support",
        "moderate support",
        "moderately strong support",
        "strong support",
        "very strong support",
        "extremely strong support",
    ]
    assert [span for span, _ in scale_rows()][:3] == ["below 2", "2 to 10", "10 to 100"]


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.5, "about 1.5 times"),
        (14.4, "about 14 times"),
        (146, "about 150 times"),
        (12_345, "about 12,000 times"),
        (9.96, "about 10 times"),
    ],
)
def test_ratios_are_given_with_two_digits_for_the_likelier_proposition(ratio, words):
    assert ratio_sentence(evidence(ratio), PAIR) == f"The observations are {words} more probable if x made it than if y made it."
    assert ratio_sentence(evidence(1 / ratio), PAIR) == f"The observations are {words} more probable if y made it than if x made it."


def test_support_names_the_proposition_that_it_is_for():
    assert (
        support_sentence(evidence(50), PAIR) == "In words: moderate support for the proposition that x made it, rather than that y made it."
    )
    assert (
        support_sentence(evidence(1 / 5), PAIR) == "In words: weak support for the proposition that y made it, rather than that x made it."
    )
    assert support_sentence(evidence(1.2), PAIR) == "In words: they support neither proposition over the other."
    assert ratio_sentence(evidence(1), PAIR) == "The observations are about as probable if x made it as if y made it."


def test_an_answer_at_its_bound_says_at_least_and_never_more_than_the_bound():
    cut = evidence(1e6, most=37.9, number=100)
    assert cut.is_cut and cut.llr == pytest.approx(math.log(37.9))
    assert "at least about 37 times more probable if x" in ratio_sentence(cut, PAIR)
    assert "lies at its bound" in bound_sentence(cut)
    below = evidence(1e-6, most=37.9, number=100)
    assert "at least about 37 times more probable if y" in ratio_sentence(below, PAIR)
    assert "bound:" not in bound_sentence(evidence(5, most=37.9, number=100))


def test_no_bound_exceeds_the_logarithm_of_the_number_behind_it():
    cut = Evidence.within(math.inf, -50, 50, 200)
    assert (cut.low, cut.high) == pytest.approx((-math.log(200), math.log(200)))
    assert cut.log10 == pytest.approx(math.log10(200))
    assert "±log10(200) = ±2.30" in bound_sentence(cut)
    assert Evidence.within(-math.inf, -50, 50, 200).log10 == pytest.approx(-math.log10(200))


def test_where_dev_supports_nothing_the_answer_is_nothing():
    nothing = Evidence.within(3.0, 0.0, 0.0, 50)
    assert nothing.llr == 0 and nothing.is_cut
    assert "about as probable" in ratio_sentence(nothing, PAIR)
    assert "neither" in support_sentence(nothing, PAIR)
