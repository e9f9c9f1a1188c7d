"""Sources that are no class: in the store and in the scores of dev and eval, never in what is learned or in a closed-set table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL, label_ids, open_store, select_rows
from sourcetracing.scoring.scores import read_embeddings, read_scores, score_run
from sourcetracing.settings.schema import Settings
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, load_run
from tests.support.small_experiment import SmallExperiment

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two sources as ever, and a third one, unknown, that has utterances in dev and eval."""
    experiment = SmallExperiment.write(tmp_path_factory.mktemp("open"), num_utterances=48)
    later = (experiment.protocol["split"] != "train") & (experiment.protocol.index % 4 == 3)
    experiment.utterances.loc[later, "source"] = "stranger"
    settings = experiment.settings("open")
    settings.corpus.unknown_sources = ["stranger"]
    settings.evaluation.splits = ["train", "dev", "eval"]
    settings.train.epochs = 1
    experiment.prepare(settings)
    return settings


@pytest.fixture(scope="module")
def run(settings: Settings) -> TrainingRun:
    run = load_run(settings)
    train_run(run, open_store(settings), CPU)
    score_run(run, open_store(settings), CPU)
    return run


def test_they_have_a_label_of_their_own():
    assert label_ids(pd.Series(["b", "new", "a"]), ["a", "b"]).tolist() == [1, UNKNOWN_LABEL, 0]


def test_the_store_holds_them_and_nothing_learns_from_them(settings):
    store = open_store(settings)
    assert "stranger" in set(store.index["source"])
    for split in ("train", "dev"):
        rows = select_rows(store, settings, split, ["en"], CPU)
        assert set(store.index.set_index("row").loc[rows.rows, "source"]) == {"source0", "source1"}
        assert (rows.labels >= 0).all()


@pytest.mark.parametrize("split", ["dev", "eval"])
def test_scores_have_them_and_tables_do_not_see_them(run, split):
    known, everything = read_scores(run, split), read_scores(run, split, unknown=True)
    strangers = everything["source"] == "stranger"
    assert strangers.any() and not strangers.all()
    assert (everything["label"] == UNKNOWN_LABEL).equals(strangers)
    pd.testing.assert_frame_equal(known, everything[~strangers].reset_index(drop=True))
    assert len(read_embeddings(run, split)) == len(everything)
    assert np.isfinite(everything[["logit_0", "logit_1"]]).all(axis=None)


def test_a_missing_embeddings_file_is_named(run, settings):
    path = run.files.scored_embeddings("eval")
    hidden = path.rename(path.with_suffix(".gone"))
    try:
        with pytest.raises(UserError, match=r"eval\.embeddings\.npy is missing.*script 06"):
            read_embeddings(run, "eval")
    finally:
        hidden.rename(path)
