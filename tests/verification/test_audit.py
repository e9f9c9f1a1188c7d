"""Counts of trials by hand; each fault that a list can have is found, and a sound list has none."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.verification.audit import faults, trial_counts
from sourcetracing.verification.trials import COLUMNS, NOT_KNOWN, OTHER, SAME, TrialList

UTTERANCES = pd.DataFrame(
    [("a", "X", "d1", "one"), ("b", "X", "d2", "two"), ("c", "Y", "d3", "one"), ("d", "Y", "d2", ""), ("e", "Z", "d5", "")],
    columns=["utt_id", "source", "digest", "transcript"],
)


def trials_of(*rows: tuple, models: dict | None = None) -> TrialList:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return TrialList({**{name: (name,) for name in table["enrol"] if name not in (models or {})}, **(models or {})}, table)


def test_counts_by_condition():
    trials = trials_of(("a", "b", SAME, "p"), ("a", "d", OTHER, "p"), ("b", "e", OTHER, "q"), ("b", "c", NOT_KNOWN, "p"))
    assert trial_counts(trials, UTTERANCES).to_dict("records") == [
        {"condition": "p", "trials": 3, "same": 1, "other": 1, "not_known": 1, "models": 2, "tests": 3, "sources": 2},
        {"condition": "q", "trials": 1, "same": 0, "other": 1, "not_known": 0, "models": 1, "tests": 1, "sources": 2},
    ]


def test_a_sound_list_has_no_faults():
    assert faults(trials_of(("a", "b", SAME, ""), ("a", "d", OTHER, ""), ("a", "e", NOT_KNOWN, "")), UTTERANCES) == []
    assert faults(trials_of(("a", "c", OTHER, "")), UTTERANCES[["utt_id", "source"]]) == []  # nobody knows what they say


@pytest.mark.parametrize(
    ("rows", "models", "line"),
    [
        ([("m", "a", SAME, "")], {"m": ("a", "b")}, "1 of 1 trials test an utterance of their own model: m a"),
        ([("b", "d", OTHER, "")], {}, "1 of 1 trials hold one file on both sides: b d"),
        ([("a", "c", OTHER, ""), ("a", "b", SAME, "")], {}, "1 of 2 trials hold the same words on both sides: a c"),
        ([("a", "e", SAME, "")], {}, "1 of 1 trials have a label that the sources contradict: a e"),
        ([("a", "b", OTHER, "")], {}, "1 of 1 trials have a label that the sources contradict: a b"),
        ([("a", "b", SAME, ""), ("b", "a", SAME, "")], {}, "1 of 2 trials stand there the other way round, too: b a"),
        ([("m", "d", OTHER, "")], {"m": ("a", "e")}, "1 of 1 trials have a model of several sources: m d"),
    ],
)
def test_each_fault_is_found(rows, models, line):
    assert faults(trials_of(*rows, models=models), UTTERANCES) == [line]
