"""From stored scores to tables: every figure, interval and confusion matrix of an experiment.

Reads   scores/<split>.parquet of each run (as `ScoredRun`)
Writes  <table>.csv (one row per system, train set, test set, variant, seed), of Table 4 also means.csv, per_class.csv, confusion.csv

A *cell* is one training run on one test set; a plan (`table_plans`) says which cells a table has. A test set counts as *mono* when all
its languages were trained on, as *cross* when none was: with single languages that is the diagonal and the rest of the matrix.
A group of speakers is a kind of its own. Figures are fractions, rows are sorted, numbers have six digits: the same scores give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.metrics import bootstrap
from sourcetracing.metrics import classification as metrics
from sourcetracing.runtime.files import atomic_path
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings
from sourcetracing.tables.scored_runs import REPORTED_SPLIT, ScoredRun
from sourcetracing.training.table_plans import SPEAKER_GROUPS, TablePlan, group_of, languages_of, read_plan

NEXT_COMMAND = "python scripts/06_get_classification_metrics.py CONFIG.yaml"
POOLED = "pooled"
MONO, CROSS, PARTIAL = "mono", "cross", "partial"
KEY = ["system", "train", "test", "variant", "seed"]
CELL_COLUMNS = [
    *KEY,
    "macro_f1",
    "macro_f1_harmonic",
    "accuracy",
    "balanced_accuracy",
    "ci_low",
    "ci_high",
    "n",
    "split",
    "chosen_by",
    "compat",
]
MEAN_COLUMNS = ["system", "kind", "variant", "macro_f1", "sd", "ci_low", "ci_high", "cells", "expected_cells", "seeds"]


@dataclass
class Axes:
    """What the tables range over, in display order. `place_of`: (train set, test set) -> (row, column) of the display."""

    systems: list[str]
    train_sets: list[str]
    test_sets: list[str]
    place_of: dict[tuple[str, str], tuple[str, str]]
    variants: list[str]
    seeds: list[int]
    classes: list[str]
    split: str = REPORTED_SPLIT

    @property
    def all_variants(self) -> list[str]:
        """Pooled first, then each variant."""
        return [POOLED, *self.variants]

    @property
    def rows(self) -> list[str]:
        """Names of the display's rows: the training sets, or the held-out languages."""
        return _unique(row for row, _ in self.place_of.values())

    @property
    def columns(self) -> list[str]:
        """Names of its columns: the test sets, or conditions such as seen and unseen."""
        return _unique(column for _, column in self.place_of.values())

    def cell_at(self, row: str, column: str) -> tuple[str, str]:
        """(train set, test set) at a place of the display."""
        return next(cell for cell, place in self.place_of.items() if place == (row, column))

    def is_mono(self, row: str, column: str) -> bool:
        """Whether the cell at a place is tested on what it was trained on."""
        return kind_of_cell(*self.cell_at(row, column)) == MONO


@dataclass
class Tables:
    """What `make_tables` computed. `cells`, `means`, `per_class` are the CSV files; `confusions` is (C, C) counts by KEY."""

    plan: TablePlan
    axes: Axes
    cells: pd.DataFrame
    means: pd.DataFrame
    per_class: pd.DataFrame
    confusions: dict[tuple, np.ndarray]
    missing: list[tuple[str, str, int]]
    notes: list[str] = field(default_factory=list)
    corpus: str = ""  # its reader
    resampled: dict[tuple, np.ndarray] = field(default_factory=dict)  # macro-F1 (num_samples,) of the bootstrap by KEY


def make_tables(
    runs: list[ScoredRun],
    settings: Settings,
    out_folder: Path | None = None,
    expected: list[tuple[str, str, int]] | None = None,
    plan: TablePlan | None = None,
    speakers: Mapping[str, pd.DataFrame] | None = None,
) -> Tables:
    """All figures of the runs; writes the CSV files into `out_folder`, if given.

    expected: (system, train set, seed) of the runs that ought to be there, in display order; default: those of `experiment`.
    plan: which table; Table 4 by default. speakers: training set -> columns utt_id, published_group, strict_group, for a plan that asks
    for them. Raises UserError when no run has scores, or when the runs were scored on different utterances.
    """
    plan = read_plan("table4", settings) if plan is None else plan
    expected = expected_runs(settings, plan) if expected is None else expected
    found = {(run.system, run.train_set, run.seed): run for run in runs}
    missing = [key for key in expected if key not in found]
    if not runs:
        raise UserError(f"{settings.name}: none of the {len(expected)} runs of {plan.name} has scores. Run: {NEXT_COMMAND}")
    axes, notes = _axes(runs, settings, expected, plan)
    if missing:
        example = " ".join(str(part) for part in missing[0])
        notes.append(f"{len(missing)} of {len(expected)} runs have no scores yet (first: {example}); their cells are shown as –.")
    runs = [_selected(run, axes, notes) for run in runs]
    collected = _Collected(axes, settings, speakers or {})
    for test_set in axes.test_sets:
        collected.add_test_set(test_set, [run for run in runs if (run.train_set, test_set) in axes.place_of])
    cells = _ordered(pd.DataFrame(collected.cells, columns=CELL_COLUMNS), axes)
    per_class = _ordered(pd.DataFrame(collected.per_class), axes)
    means = _means(cells, collected.resampled, axes)
    tables = Tables(plan, axes, cells, means, per_class, collected.confusions, missing, _unique(notes + collected.notes))
    tables.corpus, tables.resampled = settings.corpus.reader, collected.resampled
    if out_folder is not None:
        write_csv(tables, Path(out_folder))
    return tables


def expected_runs(settings: Settings, plan: TablePlan) -> list[tuple[str, str, int]]:
    """(system, train_set, seed) of every training run of a table."""
    experiment = settings.experiment
    return [(system, train, seed) for system in experiment.systems for train in plan.train_sets for seed in experiment.seeds]


def kind_of_cell(train_set: str, test_set: str) -> str:
    """mono: every test language was trained on; cross: none was; partial: some; or the group of speakers that is tested."""
    if group := group_of(test_set):
        return group
    train, test = set(languages_of(train_set)), set(languages_of(test_set))
    if test <= train:
        return MONO
    return PARTIAL if test & train else CROSS


def matrix_of(tables: Tables, system: str, variant: str = POOLED, column: str = "macro_f1", over_seeds: str = "mean") -> pd.DataFrame:
    """Rows x columns of the display: a column of `cells`, its mean (or `over_seeds="std"`: sample sd) over seeds; nan where missing."""
    cells = tables.cells[(tables.cells["system"] == system) & (tables.cells["variant"] == variant)]
    values = cells.groupby(["train", "test"])[column].agg(over_seeds)
    matrix = pd.DataFrame(np.nan, index=tables.axes.rows, columns=tables.axes.columns)
    for cell, value in values.items():
        row, place = tables.axes.place_of[cell]
        matrix.loc[row, place] = value
    return matrix


def mean_of(tables: Tables, system: str, kind: str, variant: str = POOLED) -> pd.Series | None:
    """The row of `means` for mono or cross; None when no such cell has a score."""
    means = tables.means
    rows = means[(means["system"] == system) & (means["kind"] == kind) & (means["variant"] == variant)]
    return None if rows.empty else rows.iloc[0]


def write_csv(tables: Tables, out_folder: Path) -> None:
    """Writes <table>.csv, and for Table 4 means.csv, per_class.csv and confusion.csv; numbers have six digits, an absent one is empty."""
    if tables.plan.name != "table4":
        _write_frames({tables.plan.name: tables.cells, f"{tables.plan.name}_means": tables.means}, out_folder)
        return
    confusion_rows = [
        [*key, tables.axes.classes[row], tables.axes.classes[column], count]
        for key, matrix in tables.confusions.items()
        for (row, column), count in np.ndenumerate(matrix)
    ]
    confusion = pd.DataFrame(confusion_rows, columns=[*KEY, "true", "predicted", "count"])
    frames = {"table4": tables.cells, "means": tables.means, "per_class": tables.per_class, "confusion": _ordered(confusion, tables.axes)}
    _write_frames(frames, out_folder)


def _write_frames(frames: Mapping[str, pd.DataFrame], out_folder: Path) -> None:
    for name, frame in frames.items():
        write_frame(frame, out_folder / f"{name}.csv")


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """A CSV file whose numbers have six digits; an absent one is empty."""
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False, float_format="%.6f", lineterminator="\n")


def _axes(runs: list[ScoredRun], settings: Settings, expected: list[tuple[str, str, int]], plan: TablePlan) -> tuple[Axes, list[str]]:
    """Display order: as planned, then whatever else the runs hold; variants only as far as scored."""
    experiment = settings.experiment
    places = dict(zip(plan.cells, plan.places, strict=True))
    others = [run.train_set for run in runs if run.train_set not in plan.train_sets]
    places |= {(train, test): (train, test) for train in others for test in plan.test_sets}
    scored = [set(run.scores["variant"].unique()) for run in runs]
    notes = []
    if any(variants != scored[0] for variants in scored):
        notes.append("Runs were scored on different acoustic variants: their pooled figures do not compare; look at single variants.")
    axes = Axes(
        systems=_unique([*(system for system, _, _ in expected), *(run.system for run in runs)]),
        train_sets=_unique([*plan.train_sets, *others]),
        test_sets=plan.test_sets,
        place_of=places,
        variants=_unique([v for v in [*settings.augment.variants, *sorted(set.union(*scored))] if v in set.union(*scored)]),
        seeds=_unique([*experiment.seeds, *sorted(run.seed for run in runs)]),
        classes=list(settings.corpus.sources),
    )
    return axes, notes


def _selected(run: ScoredRun, axes: Axes, notes: list[str]) -> ScoredRun:
    """The run with its rows of the reported split and the declared classes; what is left out is noted."""
    scores = run.scores[run.scores["split"] == axes.split]
    name = f"{run.system} {run.train_set} seed {run.seed}"
    if scores.empty:
        raise UserError(f"{run.folder}: no scores of split {axes.split}. Run: {NEXT_COMMAND}")
    if scores.duplicated(["utt_id", "variant"]).any():
        twice = scores.loc[scores.duplicated(["utt_id", "variant"]), "utt_id"].iloc[0]
        raise UserError(f"{name}: {twice} is scored twice. Remove {run.folder}/scores and run script 06 again.")
    unknown = scores["label"] < 0
    if unknown.any():
        notes.append(f"{name}: {int(unknown.sum())} rows of sources outside the class list are left out of these tables.")
    scores = scores if "unit" in scores else scores.assign(unit=scores["utt_id"])
    columns = ["utt_id", "unit", "variant", "language", "label", "prediction"]
    return ScoredRun(run.system, run.train_set, run.seed, run.folder, scores.loc[~unknown, columns], run.chosen_by, run.compat)


class _Collected:
    """Figures gathered test set by test set; the utterances of the bootstrap are drawn once for each test set."""

    def __init__(self, axes: Axes, settings: Settings, speakers: Mapping[str, pd.DataFrame]):
        self.axes, self.settings, self.speakers = axes, settings, speakers
        self.cells: list[list] = []
        self.per_class: list[dict] = []
        self.confusions: dict[tuple, np.ndarray] = {}
        self.resampled: dict[tuple, np.ndarray] = {}
        self.notes: list[str] = []

    def add_test_set(self, test_set: str, runs: Iterable[ScoredRun]) -> None:
        resampler = utterances = None
        for run in runs:
            scores = self._tested(run, test_set)
            if scores.empty:
                continue
            classes = scores.groupby("unit")["label"].first()  # sorted by unit
            if utterances is None:
                utterances, num_samples = classes.index, self.settings.evaluation.bootstrap_samples
                generator = rng(self.settings.seed, "bootstrap", test_set)
                resampler = bootstrap.Resampler(classes.to_numpy(), len(self.axes.classes), num_samples, generator)
            elif not classes.index.equals(utterances):
                raise UserError(
                    f"{run.folder}: scores of test set {test_set} are of other utterances than those of the first run "
                    f"({len(classes)} and {len(utterances)}). Run: {NEXT_COMMAND}"
                )
            self._add_cell(run, test_set, scores, utterances, resampler)

    def _tested(self, run: ScoredRun, test_set: str) -> pd.DataFrame:
        """The scores of a run on a test set."""
        scores = run.scores[run.scores["language"].isin(languages_of(test_set))]
        if not (group := group_of(test_set)):
            return scores
        groups = self.speakers[run.train_set]
        members = groups.loc[(groups["published_group"] == group) | (groups["strict_group"] == group), "utt_id"]
        return scores[scores["utt_id"].isin(members)]

    def _add_cell(self, run: ScoredRun, test_set: str, scores: pd.DataFrame, utterances: pd.Index, resampler: bootstrap.Resampler) -> None:
        num_classes = len(self.axes.classes)
        pooled = np.zeros((num_classes, num_classes), dtype=np.int64)
        pooled_samples = np.zeros((len(resampler), num_classes, num_classes))
        for variant in self.axes.variants:
            rows = scores[scores["variant"] == variant]
            if rows.empty:
                continue
            labels, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
            matrix = metrics.confusion_matrix(labels, predictions, range(num_classes))
            samples = resampler.confusions(utterances.get_indexer(rows["unit"]), labels, predictions)
            self._add_variant(run, test_set, variant, matrix, samples)
            pooled += matrix
            pooled_samples += samples
        self._add_variant(run, test_set, POOLED, pooled, pooled_samples)
        for position in np.flatnonzero(pooled.sum(axis=1) == 0):
            self.notes.append(f"Test set {test_set} has no item of class {self.axes.classes[position]}: its F1 counts as 0.")

    def _add_variant(self, run: ScoredRun, test_set: str, variant: str, matrix: np.ndarray, samples: np.ndarray) -> None:
        key = (run.system, run.train_set, test_set, variant, run.seed)
        zero_division = self.settings.evaluation.zero_division
        resampled = metrics.macro_f1(samples, zero_division)
        self.resampled[key], self.confusions[key] = resampled, matrix
        figures = [metrics.macro_f1(matrix, zero_division), metrics.macro_f1_harmonic(matrix, zero_division)]
        figures += [metrics.accuracy(matrix), metrics.balanced_accuracy(matrix), *bootstrap.percentile_interval(resampled)]
        tail = [int(matrix.sum()), self.axes.split, run.chosen_by, run.compat]
        self.cells.append([*key, *map(float, figures), *tail])
        per_class = metrics.class_figures(matrix, zero_division)
        for position, name in enumerate(self.axes.classes):
            row = {"class": name, "precision": per_class.precision[position], "recall": per_class.recall[position]}
            row |= {"f1": per_class.f1[position], "support": int(per_class.support[position])}
            self.per_class.append(dict(zip(KEY, key, strict=True)) | row)


def _means(cells: pd.DataFrame, resampled: dict[tuple, np.ndarray], axes: Axes) -> pd.DataFrame:
    """Mono and cross mean of each system and variant: mean over cells, then mean and sample sd over seeds; paired bootstrap CI."""
    rows = []
    for system in axes.systems:
        for variant in axes.all_variants:
            for kind in (MONO, CROSS, *SPEAKER_GROUPS):
                pairs = [cell for cell in axes.place_of if kind_of_cell(*cell) == kind]
                keys = [key for key in resampled if key[0] == system and key[3] == variant and key[1:3] in pairs]
                if keys:
                    rows.append([system, kind, variant, *_mean_over_cells(cells, keys, resampled, expected=len(pairs) * len(axes.seeds))])
    return pd.DataFrame(rows, columns=MEAN_COLUMNS)


def _mean_over_cells(cells: pd.DataFrame, keys: list[tuple], resampled: dict[tuple, np.ndarray], expected: int) -> list:
    value_of = cells.set_index(KEY)["macro_f1"]
    by_seed = value_of.loc[keys].groupby(level="seed").mean()
    # Seeds weigh the same, also when a cell of one of them is still missing.
    samples = [np.mean([resampled[key] for key in keys if key[4] == seed], axis=0) for seed in by_seed.index]
    low, high = bootstrap.percentile_interval(np.mean(samples, axis=0))
    sd = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan")
    return [float(by_seed.mean()), sd, low, high, len(keys), expected, len(by_seed)]


def _ordered(frame: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """Rows in display order, whatever order the runs came in."""
    orders = [axes.systems, axes.train_sets, axes.test_sets, axes.all_variants, axes.seeds]
    ranks = [frame[column].map({value: rank for rank, value in enumerate(order)}) for column, order in zip(KEY, orders, strict=True)]
    order = np.lexsort([rank.to_numpy() for rank in reversed(ranks)])
    return frame.iloc[order].reset_index(drop=True)


def _unique(values: Iterable) -> list:
    return list(dict.fromkeys(values))
