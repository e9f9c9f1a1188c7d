"""Per-class reports of scored runs, one text file for each test set, in the layout of the published result files (D49, D52)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sourcetracing.metrics.classification import accuracy, class_figures, confusion_matrix, macro_f1, macro_f1_harmonic, report_text
from sourcetracing.protocols.table import select
from sourcetracing.runtime.files import write_text
from sourcetracing.scoring.scores import read_scores
from sourcetracing.training.runs import TrainingRun, test_sets


def write_reports(runs: Sequence[TrainingRun]) -> str:
    """Writes <split>_<test set>.txt beside the scores of every run; returns a line per run and split: macro-F1 on each test set, percent.

    Where a test set lacks some of the declared classes, its line has two figures: over all declared classes, in which those count 0 (or
    `evaluation.zero_division`), and over the classes present.
    """
    lines = []
    for run in runs:
        for split in run.settings.evaluation.splits:
            scores = read_scores(run, split)
            shown = "  ".join(_write_report(run, split, name, scores) for name in test_sets(run.settings, run.train_set))
            lines.append(f"{run.system:<18} {run.train_set:<8} seed {run.seed}  {split}: {shown}")
    return "\n".join(["macro-F1 in percent, the scored variants pooled:", *lines])


def _write_report(run: TrainingRun, split: str, test_set: str, scores: pd.DataFrame) -> str:
    """Writes one report; returns its name and figures in a few words."""
    part = scores[select(scores, languages=test_set.split("+"))]
    if part.empty:
        return f"{test_set} no rows"
    classes = run.settings.corpus.sources
    confusion = confusion_matrix(part["label"].to_numpy(), part["prediction"].to_numpy(), range(len(classes)))
    zero_division = run.settings.evaluation.zero_division
    declared, (present, num_present) = float(macro_f1(confusion, zero_division)), macro_f1_present(confusion)
    figures = {
        "Macro F1 (mean of per-class F1)": declared,
        f"Macro F1 over the {num_present} classes present": present,
        "Macro F1 (harmonic mean of mean precision and mean recall)": macro_f1_harmonic(confusion, zero_division),
        "Accuracy": accuracy(confusion),
    }
    what = f"{run.system} trained on {run.train_set} (seed {run.seed}), tested on {test_set}"
    variants = ", ".join(dict.fromkeys(part["variant"]))
    head = f"{what}: {split}, {len(part)} rows of {num_present} of {len(classes)} known classes, variants pooled: {variants}\n"
    tail = "".join(f"{name}: {float(figure):.6f}\n" for name, figure in figures.items())
    path = run.files.class_report(split, test_set)
    write_text(path, f"{head}\n{report_text(confusion, classes, zero_division)}\n{tail}")
    text = f"{test_set} {100 * declared:5.1f}"
    if num_present == len(classes):
        return text
    return f"{text} over {len(classes)} classes declared, {100 * present:.1f} over {num_present} present"


def macro_f1_present(confusion: np.ndarray) -> tuple[float, int]:
    """Mean F1 over the classes of a confusion matrix (C, C) that have items, as the published reports take it, and how many these are."""
    figures = class_figures(confusion)
    present = figures.support > 0
    return float(figures.f1[present].mean()) if present.any() else float("nan"), int(present.sum())
