"""Which split suits a corpus: ways to draw it are tried in order, and the first one is taken that leaves each cell something to test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.protocols.coverage import count_cells
from sourcetracing.protocols.table import split_utterances
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.training import SPLITS

FRACTIONS = ((0.6, 0.2, 0.2), (0.5, 0.2, 0.3), (0.4, 0.2, 0.4))  # the paper's first; the fewer files there are, the more are tested
WANTED_EVAL = 3  # utterances to test in the median cell
_LEAST_IN_CELL = 3  # fewer cannot fill three splits
_LEAST_IN_GROUPED_CELL = 10  # of fewer, groups may leave a split empty
_MOST_OFF = 0.15  # of all utterances in train, from the fraction asked for
_LEAST_REPEATED = 0.05  # of utterances, for a column to be worth grouping by
_GROUPS = ("transcript", "speaker", "recording")


@dataclass(frozen=True)
class ChosenSplit:
    """split: its settings. counts: `count_cells` of the draw. unknown_sources: those without a training utterance. reasons: lines."""

    split: Split
    counts: pd.DataFrame
    unknown_sources: list[str]
    reasons: list[str]


def choose_split(utterances: pd.DataFrame, seed: int) -> ChosenSplit:
    """utterances: columns utt_id, language, source, speaker, transcript, recording, split ("" = not known)."""
    reasons: list[str] = []
    if (utterances["split"] != "").all() and (chosen := _published(utterances, reasons)) is not None:
        return chosen
    for column in _GROUPS:
        share = _repeated(utterances[column])
        if share < _LEAST_REPEATED:
            continue
        if (found := _first_fitting(utterances, column, seed)) is not None:
            what = f"{100 * share:.0f} % of the utterances share their {column} with another one: it stays in one split"
            return ChosenSplit(*found, [], [*reasons, what])
        reasons.append(f"group_by={column} would leave a language and source without train, dev or eval")
    reasons = reasons or ["nothing is known that utterances share"]
    if (found := _first_fitting(utterances, "none", seed)) is not None:
        return ChosenSplit(*found, [], reasons)
    split = _with(FRACTIONS[-1], "none")
    in_train = count_cells(utterances, split_utterances(utterances, split, seed))["train"].groupby(level="source").sum()
    lost = sorted(in_train.index[in_train == 0])  # of so few utterances that train gets none
    return ChosenSplit(split, count_cells(utterances, split_utterances(utterances, split, seed, lost)), lost, reasons)


def _published(utterances: pd.DataFrame, reasons: list[str]) -> ChosenSplit | None:
    """The splits that come with the corpus, unless they leave nothing to train or to test."""
    split = Split(assignment="published")
    in_train = set(utterances["source"][utterances["split"] == "train"])
    unknown = sorted(set(utterances["source"]) - in_train)
    known = utterances[utterances["source"].isin(in_train)]
    if len(in_train) < 2 or not (known["split"] == "eval").any():
        reasons.append("its own splits leave fewer than two sources to train, or nothing to test: drawn anew")
        return None
    counts = count_cells(utterances, utterances[["utt_id", "split"]])
    return ChosenSplit(split, counts, unknown, ["the splits that come with the corpus"])


def _repeated(column: pd.Series) -> float:
    """The part of all utterances whose value another one has too."""
    return float(((column != "") & column.duplicated(keep=False)).mean())


def _first_fitting(utterances: pd.DataFrame, column: str, seed: int) -> tuple[Split, pd.DataFrame] | None:
    for fractions in FRACTIONS:
        found = _draw(utterances, _with(fractions, column), seed)
        if found is not None and _fits(found[1], fractions, column):
            return found
    return None


def _with(fractions: Sequence[float], column: str) -> Split:
    return replace(Split(), **dict(zip(SPLITS, fractions, strict=True)), group_by=column)


def _draw(utterances: pd.DataFrame, split: Split, seed: int) -> tuple[Split, pd.DataFrame] | None:
    try:
        return split, count_cells(utterances, split_utterances(utterances, split, seed))
    except UserError:
        return None


def _fits(counts: pd.DataFrame, fractions: Sequence[float], column: str) -> bool:
    sizes = counts.sum(axis=1)
    large = counts[sizes >= (_LEAST_IN_CELL if column == "none" else _LEAST_IN_GROUPED_CELL)]
    off = abs(counts["train"].sum() / sizes.sum() - fractions[0])
    has_enough = counts["eval"].median() >= WANTED_EVAL or tuple(fractions) == FRACTIONS[-1]
    every_source = (counts.groupby(level="source")["train"].sum() > 0).all()
    return bool((large > 0).all(axis=None)) and off <= _MOST_OFF and has_enough and bool(every_source)
