"""What the embeddings of a trained system are good for: tracing, verification, retrieval and unknown sources on eval, by language.

The baseline reports its loss alone (D43). Everything comes from stored scores and embeddings: centroids and neighbours are those of train.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.features.store import FeatureStore
from sourcetracing.layout import Layout
from sourcetracing.metrics.classification import accuracy, class_figures, confusion_matrix
from sourcetracing.metrics.ranking import Ranking
from sourcetracing.metrics.retrieval import mean_average_precision, nearest_neighbour_classes, unit_rows, verification_eer
from sourcetracing.runtime.files import read_csv, write_csv
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.progress import bar
from sourcetracing.scoring.scores import read_embeddings, read_scores, score_run
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import TrainingRun

POOLED = "pooled"
KEYS = ("system", "train_set", "seed", "run", "loss")
TEXTS = (*(key for key in KEYS if key != "seed"), "language")  # columns that are no numbers
PERCENT = ("centroid_accuracy", "centroid_macro_f1", "knn_accuracy", "knn_macro_f1", "verification_eer", "retrieval_map")
PERCENT_UNKNOWN = ("unknown_auroc", "unknown_eer")


@dataclass(frozen=True)
class Rows:
    """Scored rows (N) of a split: unit embeddings (N, E) float32, and predictions by nearest centroid, and by nearest neighbours."""

    scores: pd.DataFrame
    embeddings: np.ndarray
    by_neighbours: np.ndarray

    def where(self, mask: np.ndarray) -> Rows:
        return Rows(self.scores[mask].reset_index(drop=True), self.embeddings[mask], self.by_neighbours[mask])

    @property
    def labels(self) -> np.ndarray:
        return self.scores["label"].to_numpy()


def evaluate_embeddings(run: TrainingRun, store: FeatureStore, device: torch.device) -> pd.DataFrame:
    """One row for all eval rows together and one for each language; adds them to tables/metric_learning.csv. Raises `UserError`."""
    settings = run.settings
    rules = replace(settings.evaluation, splits=["train", "eval"], embeddings=True)
    score_run(replace(run, settings=replace(settings, evaluation=rules)), store, device)
    rows = eval_rows(run)
    parts = [POOLED, *(language for language in settings.corpus.languages if (rows.scores["language"] == language).any())]
    masks = [np.ones(len(rows.scores), bool), *((rows.scores["language"] == language).to_numpy() for language in parts[1:])]
    shown = bar(zip(parts, masks, strict=True), total=len(parts), desc="evaluate", unit="set")
    table = pd.DataFrame([{"language": part, **figures(rows.where(mask), settings)} for part, mask in shown])
    keys = dict(zip(KEYS, (run.system, run.train_set, run.seed, run.folder.name, settings.metric_learning.loss), strict=True))
    table = pd.DataFrame([keys] * len(table)).join(table)
    _add(table, settings)
    return table


def eval_rows(run: TrainingRun) -> Rows:
    """The scored eval rows of a run, beside their classes by the nearest rows that the run was trained on."""
    settings = run.settings
    train, train_embeddings = read_scores(run, "train", unknown=True), unit_rows(read_embeddings(run, "train"))
    variants = settings.train.variants or settings.augment.variants
    learned = train["language"].isin(run.train_set.split("+")) & train["variant"].isin(variants) & (train["label"] != UNKNOWN_LABEL)
    scores, embeddings = read_scores(run, "eval", unknown=True), unit_rows(read_embeddings(run, "eval"))
    by_neighbours = nearest_neighbour_classes(
        train_embeddings[learned],
        train.loc[learned, "label"].to_numpy(),
        embeddings,
        settings.metric_learning.neighbours,
        len(settings.corpus.sources),
    )
    return Rows(scores, embeddings, by_neighbours)


def figures(rows: Rows, settings: Settings) -> dict[str, float]:
    """Fractions. Tracing, verification and retrieval are over known sources; macro-F1 is the mean over those that have rows.

    unknown_auroc, unknown_eer: the distance to the nearest centroid as the sign of an unknown source; nan without unknown rows.
    """
    known = rows.where(rows.labels != UNKNOWN_LABEL)
    utterances = known.scores["utt_id"].to_numpy()
    tracing = {
        f"{name}_{figure}": value
        for name, predictions in (("centroid", known.scores["prediction"].to_numpy()), ("knn", known.by_neighbours))
        for figure, value in _tracing(known.labels, predictions, len(settings.corpus.sources)).items()
    }
    return {
        "num_rows": len(known.labels),
        "num_classes": len(np.unique(known.labels)),
        **tracing,
        "verification_eer": verification_eer(known.embeddings, known.labels, utterances),
        "retrieval_map": mean_average_precision(known.embeddings, known.labels, utterances),
        "num_unknown_rows": len(rows.labels) - len(known.labels),
        **_unknown_detection(rows),
    }


def _tracing(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> dict[str, float]:
    confusion = confusion_matrix(labels, predictions, range(num_classes))
    found = class_figures(confusion)
    present = found.support > 0
    return {"accuracy": float(accuracy(confusion)), "macro_f1": float(found.f1[present].mean()) if present.any() else float("nan")}


def _unknown_detection(rows: Rows) -> dict[str, float]:
    is_unknown = rows.labels == UNKNOWN_LABEL
    if not is_unknown.any() or is_unknown.all():
        return dict.fromkeys(PERCENT_UNKNOWN, float("nan"))
    logits = rows.scores.filter(regex=r"^logit_\d+$").to_numpy()
    is_right = rows.scores["prediction"].to_numpy() == rows.labels
    curve = Ranking(-logits.max(axis=1), is_unknown, is_right).curve(np.ones(len(rows.labels)))
    return {"unknown_auroc": float(curve.auroc), "unknown_eer": float(curve.eer)}


def _add(table: pd.DataFrame, settings: Settings) -> None:
    """Puts the rows of a run behind those of the other runs."""
    layout = Layout.of(settings)
    path = layout.metric_learning
    with held(layout.metric_learning_lock, f"another process is adding to {path}", wait=True):
        others = read_csv(path, texts=TEXTS) if path.is_file() else pd.DataFrame(columns=table.columns)
        others = others[others["run"] != table["run"].iloc[0]]
        write_csv(pd.concat([others, table] if len(others) else [table]), path, float_format="%.6g")


def describe(table: pd.DataFrame) -> str:
    """The figures in percent as text, a line for each language."""
    columns = [*PERCENT, *(PERCENT_UNKNOWN if table["num_unknown_rows"].any() else ())]
    shown = table[["language", "num_rows", "num_classes"]].join((100 * table[columns]).map("{:.1f}".format))
    return shown.rename(
        columns={"num_rows": "rows", "num_classes": "classes", **{name: name.replace("_", " ") for name in columns}}
    ).to_string(index=False)
