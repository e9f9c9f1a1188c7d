"""Which runs script 06 scores: those that lack scores, and no others."""

from __future__ import annotations

from dataclasses import replace

from sourcetracing.scoring import matrix
from sourcetracing.scoring.scores import score_run
from sourcetracing.training.loop import train_run
from tests.support.interrupted_training import CPU


def test_only_runs_without_scores_are_scored(run, store, monkeypatch):
    run.settings.train.epochs, run.settings.evaluation.splits = 1, ["eval"]
    train_run(run, store, CPU)
    asked = []
    monkeypatch.setattr(matrix, "each_run", lambda work, runs: asked.append([one.train_set for one in runs]) or [])
    matrix.score_runs([run])
    score_run(run, store, CPU)
    matrix.score_runs([run])
    other = replace(run, train_set="de", folder=run.folder.with_name("de"))
    matrix.score_runs([run, other])
    assert asked == [["en"], ["de"]]
