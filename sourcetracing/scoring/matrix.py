"""The scores of every trained run of an experiment, several at a time, skipping what is done (script 06)."""

from __future__ import annotations

from collections.abc import Sequence

from sourcetracing.features.rows import open_store
from sourcetracing.runtime.compute import prepare_device
from sourcetracing.runtime.progress import bar
from sourcetracing.scoring.scores import is_made, score_run
from sourcetracing.training.matrix import each_run
from sourcetracing.training.runs import TrainingRun


def unscored(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Those whose scores of `evaluation.splits` are missing or older than their weights."""
    return [run for run in runs if not all(is_made(run, split) for split in run.settings.evaluation.splits)]


def score_runs(runs: Sequence[TrainingRun]) -> None:
    """Scores the runs whose scores are missing or older than their weights; a progress bar counts runs."""
    if not (to_do := unscored(runs)):
        return
    with bar(total=len(to_do), desc="score", unit="run") as progress:
        for _ in each_run(_score_one, to_do):
            progress.update(1)


def _score_one(run: TrainingRun) -> None:
    score_run(run, open_store(run.settings), prepare_device(run.settings.compute))
