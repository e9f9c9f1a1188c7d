"""From the runs of an experiment to its tables: which runs a table has, what the bootstrap draws together, groups of speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from sourcetracing.protocols.table import load_protocol
from sourcetracing.scoring.scores import with_transcripts_as_units
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers.groups import load_groups
from sourcetracing.tables.comparison import add_published
from sourcetracing.tables.floor import against_floor, terminal_block
from sourcetracing.tables.making import Tables, make_tables
from sourcetracing.tables.scored_runs import ScoredRun, scored_runs
from sourcetracing.training.runs import TrainingRun
from sourcetracing.training.table_plans import TablePlan, held_out_of, plans_of


def with_units(runs: Sequence[ScoredRun], settings: Settings) -> list[ScoredRun]:
    """The runs, their scores with a column `unit` where `evaluation.bootstrap_by` asks for another one than the utterance."""
    if settings.evaluation.bootstrap_by != "transcript":
        return list(runs)
    utterances, _ = load_protocol(settings)
    return [replace(run, scores=with_transcripts_as_units(run.scores, utterances)) for run in runs]


def table_of(plan: TablePlan, trained: Sequence[TrainingRun], runs: Sequence[ScoredRun], settings: Settings) -> Tables:
    """The figures of one table, the published ones beside them. Raises `UserError`."""
    expected = [(run.system, run.train_set, run.seed) for run in trained if run.train_set in plan.train_sets]
    own = [run for run in runs if run.train_set in plan.train_sets]
    tables = make_tables(own, settings, expected=expected, plan=plan, speakers=_speakers(plan, settings))
    add_published(tables)
    return tables


def _speakers(plan: TablePlan, settings: Settings) -> dict[str, pd.DataFrame]:
    """The groups of speakers for each training set, where the plan asks for them. Raises `UserError` naming script 03."""
    if not plan.needs_speakers:
        return {}
    utterances, protocol = load_protocol(settings)
    languages = settings.corpus.languages
    return {train: load_groups(settings, held_out_of(train, languages), utterances, protocol) for train in plan.train_sets}


def floor_text(trained: Sequence[TrainingRun], settings: Settings) -> str:
    """How the systems stand against the floor on eval, table by table, without those of groups of speakers (script 06).

    "" where nothing can be compared: there is no floor, nothing but the floor, or no score of eval.
    """
    experiment, runs = settings.experiment, with_units(scored_runs(trained), settings)
    if not experiment.floor or not runs or all(run.system in experiment.floor for run in runs):
        return ""
    plans = [plan for plan in plans_of(settings) if not plan.needs_speakers]
    made = [table_of(plan, trained, runs, settings) for plan in plans if any(run.train_set in plan.train_sets for run in runs)]
    against_floor(made)
    return "\n".join(f"{tables.plan.name} {terminal_block(tables)}" for tables in made)
