"""The scored runs that tables are made of, and what made them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sourcetracing.layout import RunLayout
from sourcetracing.scoring.scores import is_scored, read_scores
from sourcetracing.settings.training import trained_variants
from sourcetracing.speakers.records import labels_of
from sourcetracing.training.recorded import overlays_of_run, protocol_of_run
from sourcetracing.training.runs import TrainingRun

REPORTED_SPLIT = "eval"  # dev chooses, eval only reports


@dataclass
class ScoredRun:
    """One trained system and its score table (columns utt_id, variant, split, language, source, label, prediction, logit_i).

    A column `unit` says which rows the bootstrap draws together, of one class each; without it those of an utterance.
    """

    system: str
    train_set: str
    seed: int
    folder: Path
    scores: pd.DataFrame
    chosen_by: str = "dev_macro_f1"
    as_published: str = ""  # the overlays of published behaviour that it was made with; column `compat` of the tables
    protocol: str = ""  # 8 hex digits of the protocol that it was trained and is tested on
    labels: str = ""  # of the speakers that groups of speakers are made of (`labels_of`)
    trained_on: tuple[str, ...] = ()  # the acoustic variants that it heard


def scored_runs(trained: Sequence[TrainingRun]) -> list[ScoredRun]:
    """The runs that are finished and whose scores belong to their weights."""
    return [
        ScoredRun(
            run.system,
            run.train_set,
            run.seed,
            run.folder,
            read_scores(run, REPORTED_SPLIT),
            run.files.read_outcome().get("selected_by", run.settings.train.select),
            overlays_of_run(run),
            protocol_of_run(run)["digest"][:8],
            labels_of(run.settings),
            trained_variants(run.settings),
        )
        for run in trained
        if run.files.is_finished and is_scored(run, REPORTED_SPLIT)
    ]


def environment_of(runs: Sequence[ScoredRun]) -> dict[str, Any]:
    """environment.json of the runs: each entry that all share, and every value of an entry in which they differ."""
    found = [json.loads(path.read_text(encoding="utf-8")) for run in runs if (path := RunLayout(Path(run.folder)).environment).is_file()]
    keys = list(dict.fromkeys(key for one in found for key in one))
    values = {key: list({json.dumps(one.get(key)): one.get(key) for one in found}.values()) for key in keys}
    return {key: several[0] if len(several) == 1 else " | ".join(map(str, several)) for key, several in values.items()}
