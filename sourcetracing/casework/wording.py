"""Likelihood ratios in words: how much more probable the observations are under one proposition than under the other, never the reverse.

The words are those of the verbal scale in the ENFSI guideline for evaluative reporting in forensic science (2015); a ratio at the limit of
two steps has the higher one, and one below 2 supports nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SCALE_SOURCE = "ENFSI guideline for evaluative reporting in forensic science (2015)"
# From this likelihood ratio on -> the word for the support.
SCALE = (
    (2, "weak"),
    (10, "moderate"),
    (100, "moderately strong"),
    (1000, "strong"),
    (10_000, "very strong"),
    (1_000_000, "extremely strong"),
)
NO_SUPPORT = "no support"
LN_10 = math.log(10)
_SLACK = 1e-9  # of log10: 10 ** log10(100) is 100 but for rounding


@dataclass(frozen=True)
class Propositions:
    """Two that exclude each other, as clauses that can follow "if" and "that"."""

    first: str
    second: str


@dataclass(frozen=True)
class Evidence:
    """A log-likelihood ratio, natural logarithm, positive for the first proposition, kept within low and high.

    number: of independent observations (utterances) that the bounds rest on. is_cut: the score asked for more than the bounds let through.
    """

    llr: float
    low: float
    high: float
    is_cut: bool
    number: int

    @classmethod
    def within(cls, llr: float, low: float, high: float, number: int) -> Evidence:
        """Cuts an LLR, which may be infinite, at its bounds; neither of these may exceed the logarithm of the number."""
        most = math.log(max(number, 1))
        low, high = float(max(low, -most)), float(min(high, most))
        kept = float(min(max(llr, low), high))
        return cls(kept, low, high, kept != float(llr), number)

    @property
    def log10(self) -> float:
        """The logarithm with base 10."""
        return self.llr / LN_10


def strength_of(log10_ratio: float) -> str:
    """The step of the scale for a ratio on either side of 1, such as "moderate"; `NO_SUPPORT` below its first."""
    reached = [word for least, word in SCALE if abs(log10_ratio) >= math.log10(least) - _SLACK]
    return reached[-1] if reached else NO_SUPPORT


def ratio_sentence(evidence: Evidence, propositions: Propositions) -> str:
    """How many times more probable the observations are given one proposition than given the other."""
    given, other = _likelier_first(evidence, propositions)
    if math.isclose(evidence.llr, 0, abs_tol=5e-3):
        return f"The observations are about as probable if {given} as if {other}."
    how_often = f"at least about {_readable(evidence)}" if evidence.is_cut else f"about {_readable(evidence)}"
    return f"The observations are {how_often} times more probable if {given} than if {other}."


def support_sentence(evidence: Evidence, propositions: Propositions) -> str:
    """The same on the verbal scale."""
    given, other = _likelier_first(evidence, propositions)
    strength = strength_of(evidence.log10)
    if strength == NO_SUPPORT:
        return "In words: they support neither proposition over the other."
    return f"In words: {strength} support for the proposition that {given}, rather than that {other}."


def bound_sentence(evidence: Evidence) -> str:
    """Between which ratios the calibration data let an answer lie, and whether this one was cut there."""
    low, high = evidence.low / LN_10, evidence.high / LN_10
    cut = " This one lies at its bound: the score asks for more, the data do not support it." if evidence.is_cut else ""
    return (
        f"Bounds: log10 LR from {low:.2f} to {high:+.2f}, what {evidence.number} calibration utterances support "
        f"(never beyond ±log10({evidence.number}) = ±{math.log10(max(evidence.number, 1)):.2f}).{cut}"
    )


def scale_rows() -> list[tuple[str, str]]:
    """The whole scale: (range of the ratio, words), from none to the strongest."""
    ends = [f"{least:,}" for least, _ in SCALE]
    ranges = [f"{low} to {high}" for low, high in zip(ends, ends[1:], strict=False)]
    rows = [*zip(ranges, (word for _, word in SCALE), strict=False), (f"{ends[-1]} and above", SCALE[-1][1])]
    return [(f"below {ends[0]}", NO_SUPPORT), *((span, f"{word} support") for span, word in rows)]


def _likelier_first(evidence: Evidence, propositions: Propositions) -> tuple[str, str]:
    pair = (propositions.first, propositions.second)
    return pair if evidence.llr >= 0 else pair[::-1]


def _readable(evidence: Evidence) -> str:
    """The ratio on the side of 1 or above, with two digits that count."""
    ratio = 10 ** abs(evidence.log10)
    digits = 1 - math.floor(math.log10(ratio) + _SLACK)
    # "At least" must not promise more than the bound.
    rounded = math.floor(ratio * 10**digits + 1e-6) / 10**digits if evidence.is_cut else round(ratio, digits)
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.1f}"
