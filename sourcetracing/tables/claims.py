"""What the paper concludes, held against our scores: each claim as a difference with its interval (`significance`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sourcetracing.tables.axes import CROSS, MONO
from sourcetracing.tables.comparison import paper_table, published_variant
from sourcetracing.tables.making import Tables
from sourcetracing.tables.significance import cells_of_kind, contrast

CLAIM_COLUMNS = ["claim", "about", "table", "first", "second", "macro_f1", "other_macro_f1", "difference", "ci_low", "ci_high", "outcome"]
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
    """CLAIM_COLUMNS; `outcome`: holds, does not hold, undecided (the interval holds zero), no difference found, or not tested (a
    table or system is missing).

    A claim about a table of the paper is held against each table of its shape. Where a system is one of the paper's SSL systems, clean
    speech is compared, as there; else all variants pooled.
    """
    return pd.DataFrame([row for claim in CLAIMS for row in _rows(claim, made)], columns=CLAIM_COLUMNS)


def _rows(claim: Claim, made: Sequence[Tables]) -> list[list]:
    rows = [row for tables in made if paper_table(tables.plan) == claim.table for row in _rows_of_table(claim, tables)]
    return rows or [_untested(claim, claim.table, claim.first[0], claim.second[0])]


def _rows_of_table(claim: Claim, tables: Tables) -> list[list]:
    systems = tables.axes.systems if EACH in (claim.first[0], claim.second[0]) else [""]
    return [_row(claim, tables, *(system if name == EACH else name for name in (claim.first[0], claim.second[0]))) for system in systems]


def _row(claim: Claim, tables: Tables, first: str, second: str) -> list:
    variant = published_variant(first)
    sides = [(system, cells_of_kind(tables, kind)) for system, kind in ((first, claim.first[1]), (second, claim.second[1]))]
    found = contrast(tables, *sides, variant)
    if found is None:
        return _untested(claim, tables.plan.name, first, second)
    names = [f"{system} {kind}" for system, kind in ((first, claim.first[1]), (second, claim.second[1]))]
    figures = [found.first, found.second, found.difference, found.low, found.high]
    return [claim.text, claim.about, tables.plan.name, *names, *figures, _outcome(claim.expected, found.verdict)]


def _outcome(expected: str, verdict: str) -> str:
    if expected == "open":  # that none is found does not prove that there is none
        return "no difference found" if verdict == "open" else "does not hold"
    if expected == verdict:
        return "holds"
    return "undecided" if verdict == "open" else "does not hold"


def _untested(claim: Claim, table: str, first: str, second: str) -> list:
    names = [f"{first} {claim.first[1]}", f"{second} {claim.second[1]}"]
    return [claim.text, claim.about, table, *names, *[float("nan")] * 5, "not tested"]
