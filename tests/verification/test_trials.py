"""Lists of trials: what is read, written and refused."""

from __future__ import annotations

import pandas as pd

from sourcetracing.verification.trials import NOT_KNOWN, SAME, TrialList


def test_a_trial_list_knows_its_utterances():
    table = pd.DataFrame({"enrol": ["m", "b"], "test": ["c", "c"], "label": [SAME, NOT_KNOWN], "condition": ["", ""]})
    trials = TrialList({"m": ("b", "a"), "b": ("b",)}, table)
    assert len(trials) == 2
    assert trials.utt_ids == ["a", "b", "c"]
    assert trials.labels.tolist() == [1, -1]
