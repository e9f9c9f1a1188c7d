"""Source verification for the trained runs of an experiment: spaces from train, likelihood ratios from dev, figures of eval (script 10).

Below exp/<name>/verification/<system>/<run>/ lie scores_dev.parquet and scores_eval.parquet (score and log-likelihood ratio of every
scoring for each trial), figures.csv, det.png and, written last, verification.json: the fitted lines and what all of it was made from.
While that is unchanged, nothing is made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import atomic_path, digest_of_json, is_whole, read_csv, write_frame, write_json, written_together
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.parallel import map_unordered, resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.settings.reading import to_dict
from sourcetracing.settings.schema import Settings
from sourcetracing.training.matrix import those_trained
from sourcetracing.training.runs import TrainingRun
from sourcetracing.verification.calibrating import LlrLine, fit_llrs
from sourcetracing.verification.evaluation import evaluate
from sourcetracing.verification.lists import JUDGED, Lists, trial_lists
from sourcetracing.verification.pictures import draw_det
from sourcetracing.verification.representations import OF_SPEAKERS, Embedded, on_all_splits, why_no_speakers
from sourcetracing.verification.scoring import SPACES, scored
from sourcetracing.verification.subjects import LEFT_OUT_FOR_SPEAKERS, Subject, subject_of_run, subject_of_speakers
from sourcetracing.verification.tables import TEXTS, write_tables
from sourcetracing.verification.trials import OTHER, SAME

WORTH_A_PROCESS = 3_000_000  # weights of trials in all resamples of a list: some seconds, about what it takes to start one
METHOD_VERSION = 1  # goes up when the same embeddings and trials give other figures


def verify_runs(runs: Sequence[TrainingRun]) -> str:
    """Makes what is missing for trained runs, then the tables over all of them; returns what a terminal shows. Raises `UserError`.

    runs: of one experiment, some of which may not be trained yet; they are left out and counted.
    """
    if not runs:
        raise UserError("experiment.systems and experiment.train_sets name no run")
    trained, lack = those_trained(runs)
    settings = trained[0].settings
    lists = trial_lists(settings)
    trained = [on_all_splits(run) for run in trained]
    score_runs(trained)
    subjects = [subject_of_run(run) for run in trained]
    if not (absent := why_no_speakers(settings) or _no_scoring_of_voices(settings)):
        subjects.append(subject_of_speakers(settings))
    to_do = [subject for subject in subjects if not is_up_to_date(subject, lists, settings)]
    _judge_all(to_do, lists, settings)
    notes = [*lists.notes, *_notes_of(subjects)]
    notes += [f"no row of {OF_SPEAKERS}: {absent}"] if absent else []
    notes += [f"{lack}; they stand in no table"] if lack else []
    draw_det(_lines(subjects, settings), f"{settings.name}, eval: {settings.verification.scoring[0]}", Layout.of(settings).verification_det)
    return write_tables([_figures_of(subject, lists) for subject in subjects], settings, notes)


def _judge_all(subjects: Sequence[Subject], lists: Lists, settings: Settings) -> None:
    """One after the other where that is quick, else in processes."""
    weighed = max(map(len, lists.trials.values())) * settings.evaluation.bootstrap_samples
    num_workers = min(resolve_workers(settings.compute.workers), len(subjects)) if weighed >= WORTH_A_PROCESS else 1
    work = partial(judge, lists=lists, settings=settings)
    done = map_unordered(work, subjects, num_workers=num_workers) if num_workers > 1 else map(work, subjects)
    for _ in bar(done, total=len(subjects), desc="trials", unit="system", disable=not subjects):
        pass


def _no_scoring_of_voices(settings: Settings) -> str:
    left = [name for name in settings.verification.scoring if name not in LEFT_OUT_FOR_SPEAKERS]
    return "" if left else f"verification.scoring={','.join(settings.verification.scoring)} learns sources; add cosine"


def recipe_of(subject: Subject, lists: Lists, settings: Settings) -> str:
    """A digest of everything that decides the figures: stored embeddings, trials, and the settings that read them."""
    parts = {
        "method": METHOD_VERSION,
        "inputs": subject.inputs,
        "trials": lists.digest,
        "verification": to_dict(settings.verification),
        "bootstrap_samples": settings.evaluation.bootstrap_samples,
        "seed": settings.seed,
    }
    return digest_of_json(parts)


def is_up_to_date(subject: Subject, lists: Lists, settings: Settings) -> bool:
    """Whether the files are whole and were made from the embeddings, trials and settings at hand."""
    record = subject.files.record
    try:
        return is_whole(record) and _read_record(subject)["recipe"] == recipe_of(subject, lists, settings)
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return False


def _read_record(subject: Subject) -> dict:
    return json.loads(subject.files.record.read_text(encoding="utf-8"))


def judge(subject: Subject, lists: Lists, settings: Settings) -> None:
    """Scores the trials of dev and eval, fits log-likelihood ratios on dev, writes scores, figures and a picture.

    Another process that does so is waited for.
    """
    with held(subject.files.lock, f"another process is writing {subject.files.root}", wait=True):
        if not is_up_to_date(subject, lists, settings):
            _judge(subject, lists, settings)


def _judge(subject: Subject, lists: Lists, settings: Settings) -> None:
    files, embedded = subject.files, subject.load()
    scores, left_out = scores_of(embedded, lists, settings, subject.without)
    lines = {name: fit_llrs(values, lists.trials["dev"].labels) for name, values in scores["dev"].items()}
    figures = [_figures(lists, split, scores[split], lines, settings) for split in JUDGED]
    with written_together(files.record):
        for split in JUDGED:
            with atomic_path(files.scores(split)) as partial:
                _score_table(lists, split, scores[split], lines).to_parquet(partial, index=False)
        write_frame(pd.concat(figures, ignore_index=True), files.figures)
        draw_det({name: _kinds(lists.trials["eval"].labels, values) for name, values in scores["eval"].items()}, subject.name, files.det)
        facts = {"recipe": recipe_of(subject, lists, settings), "trials": lists.digest, "positive": "one source", "llrs_from": "dev"}
        write_json(files.record, {**facts, "llrs": {name: asdict(line) for name, line in lines.items()}, "left_out": left_out})


def scores_of(
    embedded: Mapping[str, Embedded], lists: Lists, settings: Settings, without: Mapping[str, str]
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, str]]:
    """split -> scoring -> scores (T,) of its trials, in spaces learnt on train; and scoring -> why it is left out."""
    verification, found = settings.verification, {split: {} for split in JUDGED}
    left_out = {name: reason for name, reason in without.items() if name in verification.scoring}
    how = {"score_norm": verification.score_norm, "cohort_size": verification.cohort_size, "seed": settings.seed}
    for name in verification.scoring:
        if name in left_out:
            continue
        if (space := SPACES[name](embedded["train"])) is None:
            left_out[name] = "train has fewer than three sources"
            continue
        for split in JUDGED:
            found[split][name] = scored(lists.trials[split], embedded[split], embedded["train"], space, **how)
    if not found["dev"]:
        raise UserError(f"verification.scoring={','.join(verification.scoring)}: {next(iter(left_out.values()))}; add cosine")
    return found, left_out


def _figures(lists: Lists, split: str, scores: Mapping[str, np.ndarray], lines: Mapping[str, LlrLine], settings: Settings) -> pd.DataFrame:
    llrs = {name: lines[name].llrs(values) for name, values in scores.items()}
    how = {"priors": settings.verification.priors, "num_samples": settings.evaluation.bootstrap_samples, "seed": settings.seed}
    table = evaluate(lists.trials[split], lists.sources, scores, llrs, **how)
    return table.assign(score_norm=settings.verification.score_norm, split=split)


def _score_table(lists: Lists, split: str, scores: Mapping[str, np.ndarray], lines: Mapping[str, LlrLine]) -> pd.DataFrame:
    columns = {}
    for name, values in scores.items():
        columns |= {name: values, f"{name}_llr": lines[name].llrs(values)}
    return lists.trials[split].table.assign(**columns)


def _kinds(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scores[labels == SAME], scores[labels == OTHER]


def _figures_of(subject: Subject, lists: Lists) -> pd.DataFrame:
    return read_csv(subject.files.figures, texts=TEXTS).assign(**subject.keys, trials=lists.digest[:8])


def _lines(subjects: Sequence[Subject], settings: Settings) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each system the eval scores of the first scoring that it has."""
    found = {}
    for subject in subjects:
        table = pd.read_parquet(subject.files.scores("eval"))
        first = next(name for name in settings.verification.scoring if name in table)
        name = f"{subject.name} (floor)" if subject.keys["system"] in settings.experiment.floor else subject.name
        found[name] = _kinds(table["label"].to_numpy(), table[first].to_numpy())
    return found


def _notes_of(subjects: Sequence[Subject]) -> list[str]:
    """What the records say that a reader has to know."""
    notes = []
    for subject in subjects:
        record = _read_record(subject)
        notes += [f"{subject.name}: {name} is left out: {reason}" for name, reason in record["left_out"].items()]
        useless = [name for name, line in record["llrs"].items() if not line["slope"] > 0]
        notes += [f"{subject.name}: {name} falls with same-source trials of dev, so its LLRs are all 0" for name in useless]
    return notes
