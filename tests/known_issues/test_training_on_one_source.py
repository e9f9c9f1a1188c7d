"""A language with one source was trained on without a word: 100.0 %, chance 100, and answers of classes that it never learnt."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.training.joint import train_in_turn
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.runs import require_two_classes, run_of
from tests.support.small_experiment import SmallExperiment


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Of two languages: en with two sources in train, de with one there and both elsewhere."""
    made = SmallExperiment.write(tmp_path_factory.mktemp("one_source"), 24)
    german = made.utterances.assign(utt_id="de/" + made.utterances["utt_id"], language="de")
    protocol = made.protocol.assign(utt_id="de/" + made.protocol["utt_id"])
    protocol.loc[((german["source"] == "source1") & (protocol["split"] == "train")).to_numpy(), "split"] = "dev"
    made.utterances = pd.concat([made.utterances, german], ignore_index=True)
    made.protocol = pd.concat([made.protocol, protocol], ignore_index=True)
    settings = made.settings("one")
    settings.corpus.languages = ["en", "de"]
    made.write_lists(settings)
    found = []
    for languages in (["en"], ["de"], ["en", "de"]):
        settings.train.languages = languages
        found.append(run_of(settings, "a-store"))
    return found


def test_every_door_that_trains_refuses_it_before_anything_is_trained(runs):
    for train in (train_runs, train_in_turn):
        with pytest.raises(UserError, match=r"^lfcc_ecapa_tdnn on de: train has one source only, source0: nothing to tell apart; name"):
            train(runs)
    assert not any(Path(run.folder).exists() for run in runs)


def test_two_sources_are_trained_on(runs):
    require_two_classes([runs[0], runs[2]])
