"""What the paper concludes, held against our scores: each claim as a difference with its interval (`significance`).

The claims that can be tested are one family: their p-values are corrected for how many they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.metrics.bootstrap import holm
from sourcetracing.tables.axes import CROSS, MONO
from sourcetracing.tables.comparison import paper_table, published_variant
from sourcetracing.tables.making import Tables
from sourcetracing.tables.significance import FIGURE_COLUMNS, Contrast, cells_of_kind, contrast, verdict_of

CLAIM_COLUMNS = ["claim", "about", "table", "first", "second", *FIGURE_COLUMNS, "outcome", "reason"]
NOT_TESTED, NOT_COMPARABLE = "not tested", "not comparable"
EACH = "each system"


@dataclass(frozen=True)
class Claim:
    """`first` scores more (or `expected` otherwise) than `second` in `table` of the paper. A side is (system or EACH, kind of cell).

    expected: more, less, or open (no difference is claimed). about: where the paper says so, and what is known of it.
    """

    text: str
    table: str
    first: tuple[str, str]
    second: tuple[str, str]
    about: str = ""
    expected: str = "more"


CLAIMS = (
    Claim("a known language is easier than another one", "table4", (EACH, MONO), (EACH, CROSS), "section 4"),
    Claim("ECAPA-TDNN is better across languages than AASIST", "table4", ("lfcc_ecapa_tdnn", CROSS), ("lfcc_aasist", CROSS), "4.1; D82"),
    Claim(
        "ECAPA-TDNN is better within a language than AASIST", "table4", ("lfcc_ecapa_tdnn", MONO), ("lfcc_aasist", MONO), "4.1; D72, D82"
    ),
    Claim(
        "fine-tuning for the training language helps within it",
        "table4",
        ("w2v2_language_aasist", MONO),
        ("w2v2_en_self_aasist", MONO),
        "RQ5; confounded by D4, D21",
    ),
    Claim(
        "and helps less than English pre-training across languages",
        "table4",
        ("w2v2_en_self_aasist", CROSS),
        ("w2v2_language_aasist", CROSS),
        "RQ5; rests on an addition error (D71)",
    ),
    Claim("a known family is easier than another one", "figure4", (EACH, MONO), (EACH, CROSS), "section 4.3; D80"),
    Claim("seen languages are easier than an unseen one", "table5", (EACH, MONO), (EACH, CROSS), "leave one language out"),
    Claim("it makes no difference whether a speaker was seen", "table6", (EACH, "seen"), (EACH, "unseen"), "RQ7; D10, D11", "open"),
    Claim("nor, strictly, whether one was never seen", "table6", (EACH, "frequent"), (EACH, "never_seen"), "RQ7 without D11", "open"),
)


def check_claims(made: Sequence[Tables]) -> pd.DataFrame:
    """CLAIM_COLUMNS; `outcome`: holds, does not hold, undecided, no difference found, not tested (a table or system is missing), or not
    comparable (`reason`: the sides have no class in common).

    A claim about a table of the paper is held against each table of its shape. Where a system is one of the paper's SSL systems, clean
    speech is compared, as there; else all variants pooled. `scope` says what the outcome speaks of.
    """
    found = [comparison for claim in CLAIMS for comparison in _comparisons(claim, made)]
    corrected = holm([math.nan if one is None else one.p for *_, one in found])
    number = int(np.isfinite(corrected).sum())
    rows = [_row(*comparison, p_holm, number) for comparison, p_holm in zip(found, corrected, strict=True)]
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def _comparisons(claim: Claim, made: Sequence[Tables]) -> list[tuple[Claim, str, str, str, Contrast | None]]:
    """(claim, table, first system, second system, what was found)."""
    found = [one for tables in made if paper_table(tables.plan) == claim.table for one in _of_table(claim, tables)]
    return found or [(claim, claim.table, claim.first[0], claim.second[0], None)]


def _of_table(claim: Claim, tables: Tables) -> list[tuple[Claim, str, str, str, Contrast | None]]:
    names, found = (claim.first[0], claim.second[0]), []
    for system in _judged(tables) if EACH in names else [""]:
        first, second = (system if name == EACH else name for name in names)
        sides = [(one, cells_of_kind(tables, kind)) for one, kind in ((first, claim.first[1]), (second, claim.second[1]))]
        found.append((claim, tables.plan.name, first, second, contrast(tables, *sides, published_variant(first))))
    return found


def _judged(tables: Tables) -> list[str]:
    """The systems that a claim about each is about: the paper has no floor."""
    return [system for system in tables.axes.systems if system not in tables.axes.floor]


def _row(claim: Claim, table: str, first: str, second: str, found: Contrast | None, p_holm: float, comparisons: int) -> list:
    names = [f"{first} {claim.first[1]}", f"{second} {claim.second[1]}"]
    if found is None:
        nothing = [math.nan] * 5 + ["", math.nan, math.nan, comparisons, 0, ""]
        return [claim.text, claim.about, table, *names, *nothing, NOT_TESTED, "a table or a system is missing"]
    outcome, reason = NOT_COMPARABLE if found.reason else _outcome(claim.expected, verdict_of(found.difference, p_holm)), found.reason
    if not reason and math.isnan(found.p):
        outcome, reason = NOT_TESTED, "nothing was resampled (evaluation.bootstrap_samples)"
    return [claim.text, claim.about, table, *names, *found.figures(p_holm, comparisons), outcome, reason]


def _outcome(expected: str, verdict: str) -> str:
    if expected == "open":  # that none is found does not prove that there is none
        return "no difference found" if verdict == "open" else "does not hold"
    if expected == verdict:
        return "holds"
    return "undecided" if verdict == "open" else "does not hold"
