"""Systems that get cues instead of speech: logistic regression, trained, chosen and scored on the same rows as the networks.

`cues_<group>` gets one group, `cues_all` all of them, `cues_heard` those of the crop alone, which is what a network could have learned.
Their scores are runs like any other (`ScoredRun`), so every table can hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.features.rows import dev_languages, label_ids
from sourcetracing.layout import Layout
from sourcetracing.metrics import classification as metrics
from sourcetracing.protocols.records import protocol_facts
from sourcetracing.protocols.table import select
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.recorded import cures_of
from sourcetracing.settings.schema import Settings
from sourcetracing.shortcuts.cue_table import cue_table, cues_path
from sourcetracing.shortcuts.cues import ALL_CUES, GROUPS, HEARD_CUES
from sourcetracing.shortcuts.stamped_files import read_stamp, write_stamped
from sourcetracing.speakers.records import labels_of
from sourcetracing.tables.scored_runs import REPORTED_SPLIT, ScoredRun
from sourcetracing.training.table_plans import TablePlan, plans_of, read_plan

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

BASELINES_FORMAT = 1  # raise it when scores change for the same cues
PREFIX = "cues_"
ALL, HEARD = f"{PREFIX}all", f"{PREFIX}heard"
SYSTEMS = {**{f"{PREFIX}{group}": names for group, names in GROUPS.items()}, f"{PREFIX}heard": HEARD_CUES, f"{PREFIX}all": ALL_CUES}
NEUTRAL = 1.0  # the default of scikit-learn, for training languages without dev rows
INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0)  # C of scikit-learn, the strongest penalty first
LEAST_LOG_PROBABILITY = -100.0  # also of a class that has no training row
SCORE_COLUMNS = ["utt_id", "variant", "split", "language", "source", "label", "prediction"]


def shortcut_runs(settings: Settings, *, cured: bool = True) -> list[ScoredRun]:
    """A scored run for each of SYSTEMS, training set (of all tables of the experiment) and seed; computed where they are not stored yet.

    cured: on the audio as the settings have it; False: without their cures. There is no chance in them: the runs of all seeds are the same.
    Raises `UserError` when protocol or audio is missing.
    """
    cues = cue_table(settings, cured=cured)
    path, made_from = scores_path(settings, cured=cured), _made_from(settings, read_stamp(cues_path(settings, cured=cured)))
    if read_stamp(path) != made_from:
        write_stamped(_score_all(cues, settings), path, made_from)
    return _runs(settings, path)


def scores_path(settings: Settings, *, cured: bool = True) -> Path:
    """Where the scores of `shortcut_runs` lie."""
    layout = Layout.of(settings)
    return layout.cured_shortcut_scores if cured and cures_of(settings.audio) else layout.shortcut_scores


def audit_plan(settings: Settings) -> TablePlan:
    """The table that the audit shows: the experiment's first one that asks for no groups of speakers, else Table 4."""
    return next((plan for plan in plans_of(settings) if not plan.needs_speakers), None) or read_plan("table4", settings)


def train_cues(rows: pd.DataFrame, labels: np.ndarray, dev_rows: pd.DataFrame, dev_labels: np.ndarray) -> Pipeline:
    """Standardised on the training rows (N, cues); the penalty with the best dev macro-F1, of equals the strongest; without dev rows 1.

    Classes weigh the same, as they do in macro-F1. labels: (N,) class ids, of at least two classes.
    """
    # A second to import, which reading stored scores need not spend.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes, best, best_f1 = sorted({*labels.tolist(), *dev_labels.tolist()}), None, -1.0
    for penalty in INVERSE_PENALTIES if len(dev_rows) else (NEUTRAL,):
        # newton-cg: few steps of a few milliseconds; the default solver takes ten times as long for so few cues.
        regression = LogisticRegression(C=penalty, class_weight="balanced", solver="newton-cg")
        model = make_pipeline(StandardScaler(), regression).fit(rows.to_numpy(), labels)
        if not len(dev_rows):
            return model
        confusion = metrics.confusion_matrix(dev_labels, model.predict(dev_rows.to_numpy()), classes)
        if (f1 := float(metrics.macro_f1(confusion))) > best_f1:
            best, best_f1 = model, f1
    assert best is not None
    return best


def score_cues(model: Pipeline, rows: pd.DataFrame, num_classes: int) -> np.ndarray:
    """Log probabilities (N, num_classes) float32, at least -100."""
    scores = np.full((len(rows), num_classes), LEAST_LOG_PROBABILITY, dtype=np.float32)
    with np.errstate(divide="ignore"):  # the logarithm of 0 is floored
        scores[:, model.classes_] = np.maximum(model.predict_log_proba(rows.to_numpy()), LEAST_LOG_PROBABILITY)
    return scores


def _score_all(cues: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The score tables of all systems and training sets, one below the other, with columns system, train_set before SCORE_COLUMNS."""
    cues = rows_of_networks(cues, settings)
    cues = cues.assign(label=label_ids(cues["source"], settings.corpus.sources))
    jobs = [(system, train_set) for system in SYSTEMS for train_set in _train_sets(settings)]
    tables = [_score_one(cues, system, train_set, settings) for system, train_set in bar(jobs, desc="baselines", unit="run")]
    return pd.concat(tables, ignore_index=True)


def rows_of_networks(cues: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The rows that networks are trained, chosen and scored on: train in `train.variants`, dev and eval in theirs."""
    variants = variants_by_split(settings)
    kept = [select(cues, splits=[split], variants=names) for split, names in variants.items()]
    return cues[np.logical_or.reduce(kept)]


def variants_by_split(settings: Settings) -> dict[str, list[str]]:
    """split -> acoustic variants; empty = all."""
    rules = settings.train
    return {"train": rules.variants, "dev": rules.dev_variants or rules.variants, REPORTED_SPLIT: settings.evaluation.variants}


def _score_one(cues: pd.DataFrame, system: str, train_set: str, settings: Settings) -> pd.DataFrame:
    columns, languages = list(SYSTEMS[system]), train_set.split("+")
    train, dev = (_rows_of(cues, split, languages, settings) for split in ("train", "dev"))
    if train["label"].nunique() < 2:
        raise UserError(f"training set {train_set} has one source only; a classifier needs two")
    model = train_cues(train[columns], train["label"].to_numpy(), dev[columns], dev["label"].to_numpy())
    scored = cues[select(cues, languages=settings.corpus.languages, splits=[REPORTED_SPLIT])]
    if scored.empty:
        raise UserError(f"there are no {REPORTED_SPLIT} rows in {Layout.of(settings).protocol}")
    scores = score_cues(model, scored[columns], len(settings.corpus.sources))
    table = scored.assign(prediction=scores.argmax(axis=1))[SCORE_COLUMNS].reset_index(drop=True)
    table[[f"logit_{number}" for number in range(scores.shape[1])]] = scores
    table.insert(0, "system", system)
    table.insert(1, "train_set", train_set)
    return table


def _rows_of(cues: pd.DataFrame, split: str, languages: Sequence[str], settings: Settings) -> pd.DataFrame:
    languages = dev_languages(settings, languages) if split == "dev" else languages
    rows = cues[select(cues, languages=languages, splits=[split])]
    if rows.empty and split != "dev":
        raise UserError(f"no {split} rows for {'+'.join(languages)}. Look at the counts of scripts/02_build_protocols.py")
    return rows


def _runs(settings: Settings, path: Path) -> list[ScoredRun]:
    layout = Layout.of(settings)
    by_run = dict(iter(pd.read_parquet(path).groupby(["system", "train_set"], sort=False)))
    tables = {run: table.drop(columns=["system", "train_set"]).reset_index(drop=True) for run, table in by_run.items()}
    protocol = protocol_facts(settings) or {"digest": ""}
    made_from = {"protocol": protocol["digest"][:8], "labels": labels_of(settings)}
    return [
        ScoredRun(*run, seed, layout.shortcuts, table, **made_from) for run, table in tables.items() for seed in settings.experiment.seeds
    ]


def _made_from(settings: Settings, cues: dict | None) -> dict:
    evaluation = {"classes": settings.corpus.sources}
    if settings.train.dev_languages:
        evaluation["dev_languages"] = settings.train.dev_languages
    training = {"train_sets": _train_sets(settings), "variants": settings.train.variants, "languages": settings.corpus.languages}
    return {"format": BASELINES_FORMAT, "cues": cues, "by_split": variants_by_split(settings), **training, **evaluation}


def _train_sets(settings: Settings) -> list[str]:
    plans = [audit_plan(settings), *plans_of(settings)]
    return list(dict.fromkeys(train_set for plan in plans for train_set in plan.train_sets))
