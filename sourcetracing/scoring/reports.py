"""Per-class reports of scored runs, one text file for each test set, in the layout of the published result files (D49, D52)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sourcetracing.metrics.classification import (
    accuracy,
    confusion_matrix,
    macro_f1,
    macro_f1_declared,
    macro_f1_harmonic,
    num_present,
    report_text,
)
from sourcetracing.protocols.table import select
from sourcetracing.runtime.files import write_text
from sourcetracing.scoring.scores import read_scores
from sourcetracing.settings.training import shown_system
from sourcetracing.training.runs import TrainingRun, test_sets


def write_reports(runs: Sequence[TrainingRun]) -> str:
    """Writes <split>_<test set>.txt beside the scores of every run; returns a line per run and split: macro-F1 on each test set, percent.

    Macro-F1 is over the classes that have rows. Where a test set lacks some of the declared classes its line says so, and has the figure
    over all declared classes too, in which those count 0 (or `evaluation.zero_division`).
    """
    names = {run.system: shown_system(run.system, run.settings.experiment.floor) for run in runs}
    lines, width = [], max([18, *map(len, names.values())])
    for run in runs:
        for split in run.settings.evaluation.splits:
            scores = read_scores(run, split)
            shown = "  ".join(_write_report(run, split, name, scores) for name in test_sets(run.settings, run.train_set))
            lines.append(f"{names[run.system]:<{width}} {run.train_set:<8} seed {run.seed}  {split}: {shown}")
    return "\n".join(["macro-F1 in percent, the scored variants pooled:", *lines])


def _write_report(run: TrainingRun, split: str, test_set: str, scores: pd.DataFrame) -> str:
    """Writes one report; returns its name and figures in a few words."""
    part = scores[select(scores, languages=test_set.split("+"))]
    if part.empty:
        return f"{test_set} no rows"
    classes = run.settings.corpus.sources
    confusion = confusion_matrix(part["label"].to_numpy(), part["prediction"].to_numpy(), range(len(classes)))
    zero_division = run.settings.evaluation.zero_division
    headline, declared, found = float(macro_f1(confusion)), float(macro_f1_declared(confusion, zero_division)), int(num_present(confusion))
    figures = {
        f"Macro F1 (mean of per-class F1) over the {found} classes with rows": headline,
        f"Macro F1 over all {len(classes)} declared classes": declared,
        "Macro F1 (harmonic mean of mean precision and mean recall)": macro_f1_harmonic(confusion, zero_division),
        "Accuracy": accuracy(confusion),
    }
    what = f"{run.system} trained on {run.train_set} (seed {run.seed}), tested on {test_set}"
    variants = ", ".join(dict.fromkeys(part["variant"]))
    head = f"{what}: {split}, {len(part)} rows of {found} of {len(classes)} known classes, variants pooled: {variants}\n"
    tail = "".join(f"{name}: {float(figure):.6f}\n" for name, figure in figures.items())
    path = run.files.class_report(split, test_set)
    write_text(path, f"{head}{_absent(confusion, classes)}\n{_by_class(confusion, classes, zero_division)}\n{tail}")
    text = f"{test_set} {100 * headline:5.1f}"
    return text if found == len(classes) else f"{text} over {found} of {len(classes)} classes ({100 * declared:.1f} over all declared)"


def _by_class(confusion: np.ndarray, classes: Sequence[str], zero_division: float) -> str:
    """The report over the classes that have rows; what is taken for another class is outside them, and an error."""
    there = confusion.sum(axis=1) > 0
    others = confusion[there][:, ~there].sum(axis=1, keepdims=True)
    kept = np.concatenate([confusion[there][:, there], others], axis=1)
    return report_text(
        kept if others.any() else kept[:, :-1], [name for name, is_there in zip(classes, there, strict=True) if is_there], zero_division
    )


def _absent(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """A line that names the classes without rows and how often each was predicted; nothing where there are none."""
    absent = np.flatnonzero(confusion.sum(axis=1) == 0)
    predicted = confusion.sum(axis=0)
    names = ", ".join(f"{classes[place]} (predicted {predicted[place]} times)" for place in absent)
    return f"Without rows, and not in the figures below but as errors: {names}\n" if len(absent) else ""
