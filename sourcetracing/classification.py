"""Per-class reports of scored cells, one text file for each test set, in the layout of the published result files (spec 2.9)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sourcetracing.experiments import Cell, test_sets
from sourcetracing.files import write_text
from sourcetracing.metrics import accuracy, confusion_matrix, macro_f1, macro_f1_harmonic, report_text
from sourcetracing.protocols import select
from sourcetracing.scoring import read_scores, scores_path


def write_reports(cells: Sequence[Cell]) -> str:
    """Writes <split>_<test set>.txt beside the scores of every cell; returns one line per cell: macro-F1 on each test set, percent."""
    lines = []
    for cell in cells:
        for split in cell.settings.evaluation.splits:
            scores = read_scores(cell, split)
            figures = {name: _write_report(cell, split, name, scores) for name in test_sets(cell.settings, cell.train_set)}
            shown = "  ".join(f"{name} {100 * figure:5.1f}" for name, figure in figures.items())
            lines.append(f"{cell.system:<18} {cell.train_set:<8} seed {cell.seed}  {split}: {shown}")
    return "\n".join(["macro-F1 in percent, all variants pooled:", *lines])


def _write_report(cell: Cell, split: str, test_set: str, scores: pd.DataFrame) -> float:
    part = scores[select(scores, languages=test_set.split("+"))]
    classes = cell.settings.corpus.sources
    confusion = confusion_matrix(part["label"].to_numpy(), part["prediction"].to_numpy(), range(len(classes)))
    zero_division = cell.settings.evaluation.zero_division
    figures = {
        "Macro F1 (mean of per-class F1)": macro_f1(confusion, zero_division),
        "Macro F1 (harmonic mean of mean precision and mean recall)": macro_f1_harmonic(confusion, zero_division),
        "Accuracy": accuracy(confusion),
    }
    what = f"{cell.system} trained on {cell.train_set} (seed {cell.seed}), tested on {test_set}"
    head = f"{what}: {split}, {len(part)} rows, all variants pooled\n"
    tail = "".join(f"{name}: {float(figure):.6f}\n" for name, figure in figures.items())
    path = scores_path(cell, split).with_name(f"{split}_{test_set}.txt")
    write_text(path, f"{head}\n{report_text(confusion, classes, zero_division)}\n{tail}")
    return float(figures["Macro F1 (mean of per-class F1)"])
