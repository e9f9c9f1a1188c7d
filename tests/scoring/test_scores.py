"""What script 06 stores, against the network asked row by row; when scores are those of the weights and variants at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.scoring.scores import is_scored, read_embeddings, read_scores, score_run, variants_of, with_transcripts_as_units
from sourcetracing.training.checkpoints import load_checkpoint
from sourcetracing.training.loop import train_run
from sourcetracing.training.networks import build_model
from tests.support.interrupted_training import CPU
from tests.support.small_store import small_settings


@pytest.fixture
def scored(run, store):
    train_run(replace(run, settings=quick(run.settings)), store, CPU)
    score_run(run, store, CPU)
    return run


def quick(settings):
    settings.train.epochs = 1
    return settings


def test_every_row_has_the_answer_of_the_network(scored, store):
    scores, embeddings = read_scores(scored, "eval"), read_embeddings(scored, "eval")
    index = store.index[store.index["split"] == "eval"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        scores[["utt_id", "variant", "split", "language", "source"]], index[["utt_id", "variant", "split", "language", "source"]]
    )
    network = build_model(scored.settings, store.shape[1:])
    network.load_state_dict(load_checkpoint(scored.files.weights)[0])
    network.eval()
    for number in (0, 1, len(index) - 1):
        features = torch.from_numpy(store.load(index["row"].to_numpy()[[number]])).float()
        with torch.inference_mode():
            embedding, logits = network(features)
        row = scores.iloc[number]
        np.testing.assert_allclose(row[["logit_0", "logit_1", "logit_2"]].astype(float), logits[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(embeddings[number], embedding[0], rtol=2e-3, atol=2e-3)  # stored as float16
        assert row["prediction"] == int(logits[0].argmax()) and row["label"] == ["a", "b", "c"].index(row["source"])


def test_scores_hold_for_the_variants_that_they_are_of(scored, store):
    settings = scored.settings
    assert is_scored(scored, "eval") and not is_scored(scored, "dev")
    settings.evaluation.variants = ["original"]
    assert is_scored(scored, "eval")  # all are there
    assert set(read_scores(scored, "eval")["variant"]) == {"original"}
    assert len(read_embeddings(scored, "eval")) == len(read_scores(scored, "eval")) == 12
    scored.files.scores("eval").unlink()
    score_run(scored, store, CPU)
    assert is_scored(scored, "eval")
    for more in (["original", "noise"], ["noise"], []):
        settings.evaluation.variants = more
        assert not is_scored(scored, "eval"), more
        with pytest.raises(UserError, match="06_get_classification_metrics"):
            read_scores(scored, "eval")


def test_without_weights_or_file_there_are_no_scores(scored):
    kept = scored.files.scores("eval").read_bytes()
    scored.files.scores("eval").write_bytes(b"not a table")
    assert not is_scored(scored, "eval")
    scored.files.scores("eval").write_bytes(kept)
    assert is_scored(scored, "eval")
    scored.files.weights.unlink()
    assert not is_scored(scored, "eval")


def test_a_split_that_is_scored_is_left_alone_and_one_without_rows_is_refused(scored, store):
    before = scored.files.scores("eval").stat().st_mtime_ns
    score_run(scored, store, CPU)
    assert scored.files.scores("eval").stat().st_mtime_ns == before
    scored.files.scores("eval").unlink()
    scored.settings.evaluation.variants = ["reverb"]
    with pytest.raises(UserError, match="there are no eval rows of the variants reverb in"):
        score_run(scored, store, CPU)


def test_train_is_scored_as_it_is_trained_the_others_as_they_are_evaluated(tmp_path):
    settings = small_settings(tmp_path, "train.variants=[original]", "evaluation.variants=[noise]")
    assert [variants_of(settings, split) for split in ("train", "dev", "eval")] == [["original"], ["noise"], ["noise"]]


def test_units_are_transcripts_of_one_source_or_the_utterance():
    scores = pd.DataFrame({"utt_id": ["u1", "u2", "u3", "u4", "u5"], "source": ["a", "a", "b", "b", "b"]})
    utterances = pd.DataFrame({"utt_id": ["u4", "u3", "u2", "u1"], "transcript": ["", "hello", "hello", "hello"]})
    units = with_transcripts_as_units(scores, utterances)["unit"]
    assert units[0] == units[1] != units[2] and "hello" in units[2]
    assert units[3:].tolist() == ["u4", "u5"]
