"""Trials that are drawn, by what pandas finds in them again; lists of one's own, read, written and refused."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.reading import load_settings
from sourcetracing.verification import lists
from sourcetracing.verification.audit import faults
from sourcetracing.verification.formats import read_trial_list
from sourcetracing.verification.lists import draw_trials, models_path, write_trials


def settings(*words: str):
    return load_settings(["corpus.sources=[a,b]", "corpus.unknown_sources=[c,d]", "verification.trials_per_condition=20", *words])


@pytest.fixture
def table() -> pd.DataFrame:
    """Four sources, two speakers and languages, four utterances of each; the sources say the same sentences."""
    rows = [
        (f"{source}/{language}/{speaker}/{number}", source, language, speaker, f"{language} {speaker} {number}")
        for source, language, speaker, number in product("abcd", ("en", "de"), ("x", "y"), range(4))
    ]
    return pd.DataFrame(rows, columns=["utt_id", "source", "language", "speaker", "transcript"])


def looked_up(trials, table) -> pd.DataFrame:
    facts = table.set_index("utt_id")
    leader = [trials.models[name][0] for name in trials.table["enrol"]]
    left, right = facts.loc[leader].reset_index(), facts.loc[trials.table["test"]].reset_index()
    return trials.table.join(left.add_prefix("enrol_")).join(right.add_prefix("test_"))


@pytest.mark.parametrize("size", [1, 3])
def test_conditions_say_what_both_sides_share_and_are_balanced(table, size):
    trials = draw_trials(table, settings(f"verification.enrol_utterances={size}"), "eval")
    found = looked_up(trials, table)
    assert (found["label"] == (found["enrol_source"] == found["test_source"])).all()
    seen = found["enrol_source"].isin(["a", "b"])
    assert (seen == found["test_source"].isin(["a", "b"])).all()
    speaker = (found["enrol_speaker"] == found["test_speaker"]).map({True: "same speaker", False: "different speakers"})
    language = (found["enrol_language"] == found["test_language"]).map({True: "same language", False: "different languages"})
    assert (found["condition"] == seen.map({True: "seen", False: "unseen"}) + ", " + speaker + ", " + language).all()
    counts = found.groupby(["condition", "label"]).size().unstack()
    assert len(counts) == 8 and (counts[0] == counts[1]).all() and counts.max().max() == 20
    assert not trials.table.duplicated(["enrol", "test"]).any()
    assert size > 1 or faults(trials, table) == []


@pytest.mark.parametrize("size", [1, 3])
def test_no_model_holds_its_test_or_says_the_same_and_a_model_is_of_one_voice(table, size):
    trials = draw_trials(table, settings(f"verification.enrol_utterances={size}"), "eval")
    facts = table.set_index("utt_id")
    for members in trials.models.values():
        assert len(set(members)) == size
        assert len(facts.loc[list(members), ["source", "speaker", "language"]].drop_duplicates()) == 1
    for row in trials.table.itertuples():
        assert row.test not in trials.models[row.enrol]
        assert facts.loc[row.test, "transcript"] not in set(facts.loc[list(trials.models[row.enrol]), "transcript"])
    free = draw_trials(table, settings(f"verification.enrol_utterances={size}", "verification.same_transcript=any"), "eval")
    said = looked_up(free, table)
    assert (said["enrol_transcript"] == said["test_transcript"]).any()


def test_no_two_models_are_of_the_same_utterances(table):
    free = settings("verification.enrol_utterances=3", "verification.same_transcript=any", "verification.trials_per_condition=100000")
    models = draw_trials(table, free, "eval").models
    assert len({frozenset(members) for members in models.values()}) == len(models) > 16  # of groups of four


def test_they_hang_on_the_seed_and_not_on_the_order_of_rows(table):
    first = draw_trials(table, settings(), "eval")
    again = draw_trials(table.sample(frac=1, random_state=1), settings(), "eval")
    pd.testing.assert_frame_equal(first.table, again.table)
    assert not first.table.equals(draw_trials(table, settings("seed=1"), "eval").table)


def test_of_many_utterances_pairs_are_drawn_and_not_all_looked_at(table, monkeypatch):
    monkeypatch.setattr(lists, "ALL_PAIRS", 2000)
    found = looked_up(draw_trials(table, settings(), "eval"), table)
    counts = found.groupby(["condition", "label"]).size().unstack()
    assert len(counts) == 8 and (counts[0] == counts[1]).all() and counts.min().min() > 5
    assert not found.duplicated(["enrol", "test"]).any()


def test_speakers_and_sentences_that_nobody_knows(table):
    found = draw_trials(table.assign(speaker="", transcript=""), settings(), "eval").table
    assert set(found["condition"]) == {
        f"{a}, speaker not known, {b}" for a in ("seen", "unseen") for b in ("same language", "different languages")
    }


def test_a_split_with_one_source_is_refused(table):
    with pytest.raises(UserError, match="eval of demo has no condition with trials of one source and of two"):
        draw_trials(table[table["source"] == "a"], settings(), "eval")
    with pytest.raises(UserError, match="has no condition"):
        draw_trials(table.iloc[:0], settings(), "dev")


@pytest.mark.parametrize("size", [1, 3])
def test_what_is_written_is_read_again(table, size, tmp_path):
    trials, path = draw_trials(table, settings(f"verification.enrol_utterances={size}"), "eval"), tmp_path / "eval.csv"
    write_trials(trials, path)
    assert models_path(path).is_file() == (size > 1)
    before = path.stat().st_mtime_ns
    write_trials(trials, path)
    assert path.stat().st_mtime_ns == before
    again = read_trial_list(path, set(table["utt_id"]))
    pd.testing.assert_frame_equal(again.table, trials.table, check_dtype=False)
    assert again.models == {name: trials.models[name] for name in again.models} and len(again.models) == len(trials.models)
