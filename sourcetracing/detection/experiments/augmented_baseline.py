"""Does augmentation help: the baseline trained on clean files, and on clean files with their RawBoost and codec copies.

The published script trains on full copies of both, three times the data; its comment says half and half. Both are here (D59).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sourcetracing.detection.classifier.logistic import LinearModel, fit, fit_recipe
from sourcetracing.detection.data.groups import BASELINE_TRAIN, baseline_sets, named_sets, test_sets
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.experiments.layer_sweep import working_layer
from sourcetracing.detection.experiments.scoring import ALL, MEAN, REPORT, ScoreFile, eers_by_part, masks_of, scores_of
from sourcetracing.detection.experiments.text_tables import markdown_table, percent, text_table
from sourcetracing.detection.features.feature_sets import FeatureSet, check_apart, open_sets, scratch_folder, stores_record
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.runtime.progress import bar
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings

EXPERIMENT = "augmented_baseline"
CLEAN, RAWBOOST, CODEC = "clean", "rawboost", "codec"
# What is trained on -> the copies of each file; None: one of the two augmented copies, drawn for each file.
TRAININGS = {
    "clean": (CLEAN,),
    "clean + rawboost": (CLEAN, RAWBOOST),
    "clean + codec": (CLEAN, CODEC),
    "clean + rawboost + codec": (CLEAN, RAWBOOST, CODEC),
    "clean + one of both": None,
}
PUBLISHED_TRAINING = "clean + rawboost + codec"


class AugmentedBaseline:
    """Training sets in three copies, test sets (clean), the layer."""

    def __init__(self, settings: Settings):
        self.settings, self.layer = settings, working_layer(settings)
        sets = named_sets(settings, BASELINE_TRAIN)
        self.copies = {copy: open_sets(settings, sets, copy) for copy in (CLEAN, RAWBOOST, CODEC)}
        self.tested = open_sets(settings, baseline_sets(settings))
        check_apart(self.copies[CLEAN], self.tested)
        _check_same_files(self.copies)
        self.real_life = [one.name for one in self.tested if one.name in test_sets(settings)]

    def scores(self, training: str) -> ScoreFile:
        """Scores of the classifier of a training on all test sets."""
        stores = {copy: stores_record(sets) for copy, sets in self.copies.items()}
        rest = {"layer": self.layer, "logreg": fit_recipe(self.settings.logreg), "seed": self.settings.seed}
        recipe = {"training": training, "stores": stores, "tested": stores_record(self.tested), **rest}
        return ScoreFile(DetectionLayout(self.settings).scores(EXPERIMENT, training.replace(" ", "")), recipe)


def run_augmented_baseline(settings: Settings) -> str:
    """Fits what is not fitted, writes results/augmented_baseline.csv and .md; returns text for the terminal."""
    baseline, layout = AugmentedBaseline(settings), DetectionLayout(settings)
    for training in bar(TRAININGS, desc="trainings", unit="fit"):
        if not baseline.scores(training).is_made:
            model = _fit(baseline, training)
            blocks = [one.blocks(baseline.layer) for one in baseline.tested]
            baseline.scores(training).write(scores_of(model, baseline.tested, blocks))
    table = baseline_table(baseline)
    write_frame(table, layout.table(EXPERIMENT))
    cells = _cells(baseline, table)
    explained = [
        f"EER in % at layer {baseline.layer}, trained on {' + '.join(settings.detection.baseline_train)}, tested on clean files. "
        f"mean: over the real-life sets {', '.join(baseline.real_life)}; (report): on their report parts.",
        f'"{PUBLISHED_TRAINING}" is the published training; its published EERs exist only as pictures, so there are none to compare. '
        '"one of both": a RawBoost or a codec copy of each file, drawn, as the comment of the published script has it (D59).',
    ]
    write_text(layout.text(EXPERIMENT), "\n".join(["# Augmented baseline", "", *markdown_table(cells), "", *explained, ""]))
    return "\n".join([explained[0], *text_table(cells), explained[1], f"tables: {layout.table(EXPERIMENT)} and .md"])


def baseline_table(baseline: AugmentedBaseline) -> pd.DataFrame:
    """training, train_rows, dataset, part, eer (fraction), threshold, files. MEAN is over the real-life sets, which alone have parts."""
    frames = []
    for training in TRAININGS:
        scores = baseline.scores(training).read()
        is_real = scores["dataset"].isin(baseline.real_life)
        real, others = scores[is_real].reset_index(drop=True), scores[~is_real].reset_index(drop=True)
        parts = [eers_by_part(real, masks_of(baseline.settings, real), baseline.settings)]
        if len(others):
            whole = eers_by_part(others, {ALL: np.ones(len(others), dtype=bool)}, baseline.settings)
            parts.insert(0, whole[whole["dataset"] != MEAN])
        frames.append(pd.concat(parts, ignore_index=True).assign(training=training, train_rows=_num_rows(baseline, training)))
    table = pd.concat(frames, ignore_index=True)
    return table[["training", "train_rows", "dataset", "part", "eer", "threshold", "files"]]


def _fit(baseline: AugmentedBaseline, training: str) -> LinearModel:
    copies = TRAININGS[training] or (CLEAN, RAWBOOST, CODEC)
    with scratch_folder(DetectionLayout(baseline.settings).scratch(EXPERIMENT)) as scratch:
        blocks = [block for copy in copies for one in baseline.copies[copy] for block in one.blocks(baseline.layer, scratch)]
        labels = [part for copy in copies for one in baseline.copies[copy] for part in one.labels]
        weights = None if TRAININGS[training] else one_of_both(baseline.settings, baseline.copies[CLEAN])
        return fit(blocks, labels, baseline.settings.logreg, weights=weights)


def one_of_both(settings: Settings, sets: Sequence[FeatureSet]) -> list[np.ndarray]:
    """For each store of clean, RawBoost, codec: how often each file counts, 0 or 1."""
    stores = [store for one in sets for store in one.stores.values()]
    takes = [np.array([rng(settings.seed, file_id, EXPERIMENT).random() < 0.5 for file_id in store.index["file_id"]]) for store in stores]
    return [np.ones(len(take)) for take in takes] + [take.astype(float) for take in takes] + [(~take).astype(float) for take in takes]


def _num_rows(baseline: AugmentedBaseline, training: str) -> int:
    copies = TRAININGS[training]
    return (2 if copies is None else len(copies)) * sum(one.num_files for one in baseline.copies[CLEAN])


def _check_same_files(copies: dict[str, list[FeatureSet]]) -> None:
    for copy, sets in copies.items():
        for clean, other in zip(copies[CLEAN], sets, strict=True):
            if not clean.files.equals(other.files):
                raise UserError(
                    f"the {copy} features of {clean.name} are not of the same files as the clean ones. Run scripts/detection/01 again."
                )


def _cells(baseline: AugmentedBaseline, table: pd.DataFrame) -> pd.DataFrame:
    whole, report = (table[table["part"] == part].pivot_table(index="training", columns="dataset", values="eer") for part in (ALL, REPORT))
    eers = whole[[*(one.name for one in baseline.tested), MEAN]].assign(report=report[MEAN]).map(percent)
    eers.insert(0, "rows", table.groupby("training")["train_rows"].first())
    return eers.loc[list(TRAININGS)].reset_index().rename(columns={MEAN: "mean", "report": "mean (report)"})
