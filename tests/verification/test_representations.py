"""Embeddings of a run as verification sees them, and the baseline that knows voices alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.scoring.scores import read_embeddings, read_scores, score_run
from sourcetracing.verification import representations
from sourcetracing.verification.representations import embedded_by, on_all_splits, speaker_baseline, why_no_speakers
from tests.support.verified_run import CPU, verified_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return verified_run(tmp_path_factory.mktemp("verified"))


@pytest.fixture
def run(made):
    return made[0]


def test_clean_rows_alone_each_utterance_once(run):
    for split, sources in (("train", {"a", "b"}), ("dev", {"a", "b", "c"}), ("eval", {"a", "b", "c"})):
        found, scores = embedded_by(run, split), read_scores(run, split, unknown=True)
        assert set(found.sources) == sources
        assert len(set(found.utt_ids)) == len(found.utt_ids)
        stored = dict(zip(scores["utt_id"] + " " + scores["variant"], read_embeddings(run, split), strict=True))
        assert all((stored[f"{utt_id} original"] == row).all() for utt_id, row in zip(found.utt_ids, found.embeddings, strict=True))


def test_train_is_that_of_the_runs_languages(run):
    found = embedded_by(replace(run, train_set="de"), "train")
    assert {utt_id.split("/")[0] for utt_id in found.utt_ids} == {"de"}


def changed(run, **values):
    return replace(run, settings=replace(run.settings, evaluation=replace(run.settings.evaluation, **values)))


def test_a_run_without_clean_scores_is_refused(run):
    with pytest.raises(UserError, match="eval was scored on noise: put original into evaluation.variants"):
        embedded_by(changed(run, variants=["noise"]), "eval")


def test_an_embedding_that_is_not_finite_is_named(run, monkeypatch):
    rows = read_embeddings(run, "dev")
    rows[0] = np.nan
    monkeypatch.setattr(representations, "read_embeddings", lambda run, split: rows)
    with pytest.raises(UserError, match="en/a/6 has NaN"):
        embedded_by(run, "dev")


def test_embeddings_are_stored_on_every_split_whatever_the_settings_say(made, tmp_path):
    run, store = made
    without = on_all_splits(changed(run, splits=["eval"], embeddings=False))
    score_run(without, store, CPU)
    assert embedded_by(without, "train").embeddings.shape[0] == 24


def test_without_script_03_there_is_no_baseline_of_speakers_and_it_says_so(run):
    assert "03_label_speakers" in why_no_speakers(run.settings)


def test_the_baseline_takes_script_03s_rows_and_makes_those_of_unknown_sources(run, monkeypatch):
    layout, calls = Layout.of(run.settings), []
    first = layout.speaker_embeddings("resemblyzer")
    first.parent.mkdir(parents=True, exist_ok=True)
    np.save(first, np.zeros((0, 3)))
    first.with_suffix(".csv").write_text("utt_id,digest,embedder\n")

    def embed(settings, utterances, path):
        calls.append((path, set(utterances["source"])))
        return np.stack([np.full(3, len(utt_id) + 1.0) for utt_id in utterances["utt_id"]])

    monkeypatch.setattr(representations, "embed_utterances", embed)
    assert why_no_speakers(run.settings) == ""
    found = speaker_baseline(run.settings)
    assert calls == [(first, {"a", "b"}), (layout.unknown_speaker_embeddings, {"c"})]
    protocol = pd.read_csv(layout.protocol).set_index("utt_id")["split"]
    for split, part in found.items():
        assert set(protocol[part.utt_ids]) == {split}
        assert (part.embeddings[:, 0] == [len(utt_id) + 1 for utt_id in part.utt_ids]).all()
    assert set(found["eval"].sources) == {"a", "b", "c"}
