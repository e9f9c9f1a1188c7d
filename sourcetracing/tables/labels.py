"""What each head of a run gets right (`train.labels`), beside the constant answer: tables/labels.{csv,md}.

A row is a run, a label, known or unknown sources, languages that were trained on or others. Counted are rows whose label is known and one
of the head's classes; `unlabelled` and `other_labels` say how many are not. The constant answer is the class that had most training rows:
where half of a corpus is of one vocoder, it is right as often. Intervals are over utterances, drawn within language x class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.features.rows import UNKNOWN_LABEL, label_ids
from sourcetracing.layout import Layout
from sourcetracing.metrics import bootstrap
from sourcetracing.metrics.classification import accuracy, confusion_matrix, macro_f1, num_present
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.runtime.seeding import rng
from sourcetracing.scoring.scores import is_scored, read_label_scores, read_scores
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import further_labels
from sourcetracing.tables.scored_runs import REPORTED_SPLIT
from sourcetracing.training.label_classes import recorded_counts
from sourcetracing.training.recorded import protocol_of_run
from sourcetracing.training.runs import TrainingRun

FIGURES = {"macro_f1": macro_f1, "accuracy": accuracy}
COUNTS = ["classes", "rows", "utterances", "unlabelled", "other_labels", "seed"]
TEXTS = ("system", "train", "label", "sources", "languages", "answer", "protocol")
COLUMNS = ["system", "train", "seed", "label", "sources", "languages", "answer"]
COLUMNS += [f"{name}{end}" for name in FIGURES for end in ("", "_ci_low", "_ci_high")] + [*COUNTS[:-1], "protocol"]
TRAINED = "the head"  # in `answer`; else the class that is always said
LEGEND = (
    "In %, with 95 % intervals over utterances; all scored variants together. Macro-F1 is over the classes with rows. always ...: the "
    "figures of saying the most frequent class of training every time. Rows without a label, and those of a label that training did not "
    "have, are not counted."
)


@dataclass(frozen=True)
class _Answers:
    """Rows (N,) of a run that a head is tested on: utt_id, language, is_known, is_trained, and texts of label and prediction."""

    rows: pd.DataFrame
    classes: list[str]
    constant: str


def label_table(trained: Sequence[TrainingRun], settings: Settings) -> pd.DataFrame:
    """COLUMNS, for each scored run that has further heads; no rows without any."""
    rows = []
    for run in trained:
        if not further_labels(run.settings) or not is_scored(run, REPORTED_SPLIT):
            continue
        key = {"system": run.system, "train": run.train_set, "seed": run.seed}
        key["protocol"] = protocol_of_run(run)["digest"][:8]
        for label, answers in _answers(run).items():
            rows += [{**key, "label": label, **row} for row in _rows_of(label, answers, settings)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _answers(run: TrainingRun) -> dict[str, _Answers]:
    scores, said = read_scores(run, REPORTED_SPLIT, unknown=True), read_label_scores(run, REPORTED_SPLIT)
    sources = np.array(run.settings.corpus.sources, dtype=object)
    facts = scores[["utt_id", "language"]].assign(
        is_known=scores["label"] != UNKNOWN_LABEL, is_trained=scores["language"].isin(run.train_set.split("+"))
    )
    found = {}
    for label, counts in recorded_counts(run.files, run.settings).items():
        if label == run.settings.corpus.label:
            rows = facts.assign(text=scores["source"], prediction=sources[scores["prediction"]])
        else:
            rows = facts.assign(text=said[f"label_{label}"], prediction=said[f"prediction_{label}"])
        found[label] = _Answers(rows, list(counts), max(counts, key=lambda name: counts[name]))
    return found


def _rows_of(label: str, answers: _Answers, settings: Settings) -> Iterator[dict]:
    for sources, is_known in (("known", True), ("unknown", False)):
        for languages, is_trained in (("trained on", True), ("others", False)):
            rows = answers.rows[(answers.rows["is_known"] == is_known) & (answers.rows["is_trained"] == is_trained)]
            counted = rows[rows["text"].isin(answers.classes)]
            if counted.empty:
                continue
            facts = {"sources": sources, "languages": languages, "rows": len(counted), "utterances": counted["utt_id"].nunique()}
            facts |= {"unlabelled": (rows["text"] == "").sum(), "other_labels": len(rows) - len(counted) - (rows["text"] == "").sum()}
            constant = pd.Series(answers.constant, index=counted.index)
            for number, (answer, predictions) in enumerate(((TRAINED, counted["prediction"]), (answers.constant, constant))):
                figures = _figures(label, counted, predictions, answers, settings)
                yield {**facts, "answer": f"always {answer}" if number else answer, **figures}


def _figures(label: str, rows: pd.DataFrame, predictions: pd.Series, answers: _Answers, settings: Settings) -> dict[str, float]:
    labels, said = label_ids(rows["text"], answers.classes), label_ids(predictions, answers.classes)
    confusion = confusion_matrix(labels, said, range(len(answers.classes)))
    units = rows[["utt_id", "language"]].assign(label=labels).drop_duplicates("utt_id").sort_values("utt_id")
    strata, names = pd.factorize(pd.MultiIndex.from_frame(units[["language", "label"]]))

    def generator_of(stratum: int) -> np.random.Generator:
        language, number = names[stratum]
        return rng(settings.seed, "bootstrap", label, language, int(number))

    draws = bootstrap.Draws(strata, settings.evaluation.bootstrap_samples, generator_of)
    drawn = draws.confusions(pd.Index(units["utt_id"]).get_indexer(rows["utt_id"]), labels, said, len(answers.classes))
    found: dict[str, float] = {"classes": int(num_present(confusion))}
    for name, figure in FIGURES.items():
        value = float(figure(confusion))
        low, high = bootstrap.percentile_interval(np.asarray(figure(drawn)), value)
        found |= {name: value, f"{name}_ci_low": low, f"{name}_ci_high": high}
    return found


def for_people(table: pd.DataFrame) -> pd.DataFrame:
    """The table with figures as text, in %: macro-F1 and accuracy with their intervals."""
    shown = {name: table[name].astype(str) for name in ("system", "train", "seed", "label", "sources", "languages", "answer")}
    for name, heading in (("macro_f1", "macro-F1"), ("accuracy", "accuracy")):
        ends = zip(table[name], table[f"{name}_ci_low"], table[f"{name}_ci_high"], strict=True)
        shown[heading] = [_with_interval(*figures) for figures in ends]
    return pd.DataFrame({**shown, **{name: table[name].astype(int) for name in COUNTS[:-1]}})


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f}" + ("" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]")


def write_label_table(trained: Sequence[TrainingRun], settings: Settings) -> str:
    """Writes tables/labels.{csv,md}; returns the text for a terminal, "" where no run has further heads: then earlier ones do not stay."""
    table, layout = label_table(trained, settings), Layout.of(settings)
    if table.empty:
        for path in (layout.label_table, layout.label_text):
            path.unlink(missing_ok=True)
        return ""
    shown = for_people(table)
    write_frame(table, layout.label_table)
    cells = [
        [text.replace("|", "\\|") for text in map(str, row)] for row in [shown.columns, ["---"] * len(shown.columns), *shown.to_numpy()]
    ]
    write_text(layout.label_text, "\n".join([*("| " + " | ".join(row) + " |" for row in cells), "", LEGEND, ""]))
    few = shown[["system", "train", "seed", "label", "sources", "languages", "answer", "macro-F1", "accuracy"]]
    return f"each head, beside the constant answer:\n{few.to_string(index=False)}\ntables: {layout.label_table}, {layout.label_text.name}"
