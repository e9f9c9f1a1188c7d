"""The report's tab on what answers rest on, and the words that its tables share with tables/explanation.md. No files."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.templates import macros
from sourcetracing.drawing.text import percent

TAB = macros(__file__, "explanation.html")
SOURCE_TEXTS = ("system", "train_set", "protocol", "source", "band", "second_band", "best_cue")  # columns that are text
CHECK_TEXTS = ("system", "train_set", "protocol")
LEGEND = (
    "A band of a third of an octave is taken away from an utterance, once left empty (50 dB weaker), once filled with noise as loud as the "
    "bands beside it. Drop: how far the log-likelihood ratio of the decided source against all others falls (natural logarithm; 2.3 is a "
    "factor of ten), the deeper of both falls, a mean over utterances, in brackets its 95 % interval over utterances."
)
CHECKS = (
    "Deletion: the mean drop when 1, 2, 4, ... bands go, the most important ones first, less that when drawn ones go; above 0 the order "
    "means something. Shuffled: the rank correlation of a map with that of the same network with its last layer shuffled; near 1 the maps "
    "would not be of what was learned."
)
CUES = "Best cue: the group of trivial cues (script 11) that alone tells this source best, with its F1."


def explanation_tab(sources: pd.DataFrame | None, checks: pd.DataFrame | None, picture: bytes | None, protocols: Collection[str]) -> Markup:
    """Which bands carry the answers for each source, with the best trivial cue beside it, and whether the maps can be believed.

    Nothing without tables of these protocols. sources, checks: tables/explanation_sources.csv, explanation_checks.csv; picture: PNG.
    """
    if sources is None or checks is None or sources.empty or not set(sources["protocol"]) <= set(protocols):
        return Markup()
    shown = {
        f"{system}, trained on {train_set}, seed {seed:.0f}": _table(own, source_cells)
        for (system, train_set, seed), own in sources.groupby(["system", "train_set", "seed"], sort=False)
    }
    has_cues = bool((sources["best_cue"] != "").any())
    return TAB.explanation(LEGEND, CUES if has_cues else "", shown, picture, CHECKS, _table(checks, check_cells))


def _table(rows: pd.DataFrame, cells) -> pd.DataFrame:
    return pd.DataFrame([cells(row) for _, row in rows.iterrows()])


def source_cells(row: pd.Series) -> dict[str, str]:
    """Heading -> text of one source of a run."""
    cells = {
        "source": row["source"],
        "utterances": str(row["utterances"]),
        "right": percent(row["right"]),
        "LLR": f"{row['mean_llr']:.1f}",
        "rests most on": row["band"],
        "drop": drop_text(row["mean_drop"], row["ci_low"], row["ci_high"]),
        "then on": f"{row['second_band']} ({row['second_drop']:.1f})" if row["second_band"] else "",
    }
    return {**cells, "best cue": f"{row['best_cue']} ({percent(row['cue_f1'])})" if row["best_cue"] else "no audit"}


def check_cells(row: pd.Series) -> dict[str, str]:
    """Heading -> text of the checks of one run."""
    return {
        "system": f"{row['system']}, {row['train_set']}, seed {row['seed']}",
        "utterances": str(row["utterances"]),
        "most important first": f"{row['by_importance']:.1f}",
        "drawn": f"{row['drawn']:.1f}",
        "difference": drop_text(row["difference"], row["ci_low"], row["ci_high"]),
        "shuffled": drop_text(row["shuffled_correlation"], row["shuffled_low"], row["shuffled_high"], digits=2),
    }


def drop_text(value: float, low: float, high: float, digits: int = 1) -> str:
    """`3.1 (2.2 to 4.0)`; nothing for nan."""
    if value != value:
        return ""
    return f"{value:.{digits}f}" if low != low else f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
