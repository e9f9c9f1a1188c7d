"""Script 06 was killed between two files: the scores stayed those of before, the embeddings beside them were already of other rows, and
scripts 07, 08 and trace_audio.py read both as if they belonged together."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.scoring import scores
from sourcetracing.scoring.scores import is_made, is_scored, read_embeddings, read_scores
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import TrainingRun

OLD, NEW = ["original", "noise"], ["noise", "original"]


@pytest.fixture
def run(tmp_path) -> TrainingRun:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    settings = Settings()
    settings.evaluation.variants = []
    return TrainingRun("system", "en", 1, settings, tmp_path)


def store(run: TrainingRun, variants: list[str], *, embeddings: bool = True) -> None:
    """Two rows of scores and embeddings, whose values are those of the variant."""
    run = replace(run, settings=replace(run.settings, evaluation=replace(run.settings.evaluation, embeddings=embeddings)))
    index = pd.DataFrame({"utt_id": ["u", "v"], "variant": variants, "split": "eval", "language": "en", "source": "a"})
    values = np.array([[float(variant == "noise")] * 3 for variant in variants], np.float32)
    rows = SimpleNamespace(labels=torch.zeros(2, dtype=torch.int64))
    scores._write(run, "eval", index, rows, values, values, {"weights": digest_of_file(run.files.weights)})


def test_a_kill_between_the_two_files_leaves_a_run_that_is_not_scored(run, monkeypatch):
    store(run, OLD)
    assert is_made(run, "eval") and read_embeddings(run, "eval")[:, 0].tolist() == [0, 1]

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scores.pq, "write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            store(run, NEW)
    assert np.load(run.files.scored_embeddings("eval"))[:, 0].tolist() == [1, 0]  # new embeddings, old scores
    assert not is_scored(run, "eval")
    with pytest.raises(UserError, match="06_get_classification_metrics"):
        read_scores(run, "eval")
    with pytest.raises(UserError, match=r"eval\.embeddings\.npy is not of eval\.parquet"):
        read_embeddings(run, "eval")
    store(run, NEW)
    assert is_made(run, "eval") and read_embeddings(run, "eval")[:, 0].tolist() == [1, 0]


def test_embeddings_of_earlier_weights_are_not_taken_for_those_of_scores_without(run):
    store(run, OLD)
    store(run, NEW, embeddings=False)
    assert is_scored(run, "eval") and not is_made(run, "eval")  # whoever wants embeddings has them made
    with pytest.raises(UserError, match="script 06 with evaluation.embeddings=true"):
        read_embeddings(run, "eval")


@pytest.mark.parametrize(("num_rows", "fits"), [(2, True), (3, False)])
def test_scores_from_before_they_told_their_partner_hold_where_the_rows_are_as_many(run, num_rows, fits):
    store(run, OLD)
    path = run.files.scores("eval")
    table = pq.read_table(path)
    facts = table.schema.metadata[scores._KEY].decode().split(', "embeddings"')[0] + "}"
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, scores._KEY: facts.encode()}), path)
    np.save(run.files.scored_embeddings("eval"), np.zeros((num_rows, 3), np.float16))
    assert is_scored(run, "eval") == fits
