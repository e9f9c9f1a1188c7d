"""From stored scores to tables: every figure, interval and confusion matrix of an experiment. Reads no files and writes none (`writing`).

A *cell* is one training run on one test set; a plan (`table_plans`) says which cells a table has. A test set counts as *mono* when all
its languages were trained on, as *cross* when none was: with single languages that is the diagonal and the rest of the matrix.
A group of speakers is a kind of its own. Figures are fractions, rows are sorted: the same scores give the same tables.

macro_f1 is over the classes with test items, num_classes says how many these are (`class_lists`), macro_f1_declared is over the declared
list. The bootstrap draws each eval utterance once for all test sets (`bootstrap.Draws`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.metrics import bootstrap
from sourcetracing.metrics import classification as metrics
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.corpora import comparable_corpus
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import all_systems, line_of_variants
from sourcetracing.tables import class_lists
from sourcetracing.tables.axes import CROSS, MONO, POOLED, Axes, axes_of, kind_of_cell, unique
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.training.table_plans import SPEAKER_GROUPS, TablePlan, group_of, languages_of, plans_of

NEXT_COMMAND = "python scripts/06_get_classification_metrics.py CONFIG.yaml"
KEY = ["system", "train", "test", "variant", "seed"]
CELL_FIGURES = ["macro_f1", "num_classes", "macro_f1_declared", "chance"]
CELL_FIGURES += ["macro_f1_harmonic", "accuracy", "balanced_accuracy", "ci_low", "ci_high"]
MADE_FROM = ["protocol", "labels"]  # digest of the protocol; of the labels of speakers, and what made groups of them
CELL_COLUMNS = [*KEY, *CELL_FIGURES, "n", "split", "chosen_by", "compat", *MADE_FROM]  # compat: the overlays as published
CLASS_COLUMNS = [*KEY, "class", "precision", "recall", "f1", "support"]
MEAN_COLUMNS = ["system", "kind", "variant", "macro_f1", "num_classes", "macro_f1_declared", "chance", "macro_f1_common", "common_classes"]
MEAN_COLUMNS += ["sd", "ci_low", "ci_high", "cells", "expected_cells", "seeds"]
COMPARED_VARIANTS = (POOLED, "original")  # those that cells with different classes are compared on


@dataclass
class Tables:
    """A table's figures: frames with a row for each cell, mean, class of a cell; by KEY `confusions` (C, C) and `resampled` (num_samples,).

    `corpus`: its reader. `missing`: (system, train set, seed) of runs without scores. `resampled`: macro-F1 of the bootstrap.
    `resampled_f1`: F1 (num_samples, C) by class, nan without items, for COMPARED_VARIANTS. `seed`: of the bootstrap.
    `against_floor`: columns FLOOR_COLUMNS of `floor`, where that has compared the systems with the floor.
    """

    plan: TablePlan
    axes: Axes
    cells: pd.DataFrame
    means: pd.DataFrame
    per_class: pd.DataFrame
    confusions: dict[tuple, np.ndarray]
    resampled: dict[tuple, np.ndarray]
    resampled_f1: dict[tuple, np.ndarray]
    missing: list[tuple[str, str, int]]
    notes: list[str]
    corpus: str
    seed: int
    against_floor: pd.DataFrame = field(default_factory=pd.DataFrame)


def make_tables(
    runs: list[ScoredRun],
    settings: Settings,
    expected: list[tuple[str, str, int]] | None = None,
    plan: TablePlan | None = None,
    speakers: Mapping[str, pd.DataFrame] | None = None,
) -> Tables:
    """All figures of the runs in one table.

    expected: (system, train set, seed) of the runs that ought to be there, in display order; default: those of `experiment`.
    plan: which table; the experiment's first by default. speakers: training set -> columns utt_id, published_group, strict_group, for a
    plan that asks for them. Raises UserError when no run has scores, or when the runs were scored on different utterances.
    """
    plan = plans_of(settings)[0] if plan is None else plan
    expected = expected_runs(settings, plan) if expected is None else expected
    if not runs:
        raise UserError(f"{settings.name}: none of the {len(expected)} runs of {plan.name} has scores. Run: {NEXT_COMMAND}")
    axes = axes_of(runs, settings, expected, plan)
    found = {(run.system, run.train_set, run.seed) for run in runs}
    missing = [key for key in expected if key not in found]
    notes = [*_notes_on_runs(runs, missing, expected), *(note for run in runs for note in _notes_on_labels(run, axes))]
    runs, draws = _with_draws([_selected(run, axes) for run in runs], settings)
    tests = ((test_set, [run for run in runs if (run.train_set, test_set) in axes.place_of]) for test_set in axes.test_sets)
    counts = [count for test_set, own in tests for count in _counts_on(test_set, own, axes, draws, speakers or {})]
    resampled, zero_division = {count.key: count.resampled for count in counts}, settings.evaluation.zero_division
    confusions = {count.key: count.confusion for count in counts}
    cells = pd.DataFrame([_cell_row(count, axes.split, zero_division) for count in counts], columns=CELL_COLUMNS)
    class_rows = [row for count in counts for row in _class_rows(count, axes.classes, zero_division)]
    means = _means(cells, resampled, confusions, axes, settings.seed)
    return Tables(
        plan=plan,
        axes=axes,
        cells=ordered(cells, axes),
        means=means,
        per_class=ordered(pd.DataFrame(class_rows, columns=CLASS_COLUMNS), axes),
        confusions=confusions,
        resampled=resampled,
        resampled_f1={count.key: count.resampled_f1 for count in counts if count.resampled_f1 is not None},
        missing=missing,
        notes=unique([*notes, *_notes_on_classes(counts, axes), *class_lists.notes_on_means(means)]),
        corpus=comparable_corpus(settings.corpus),
        seed=settings.seed,
    )


def expected_runs(settings: Settings, plan: TablePlan) -> list[tuple[str, str, int]]:
    """(system, train_set, seed) of every training run of a table."""
    experiment = settings.experiment
    return [(system, train, seed) for system in all_systems(experiment) for train in plan.train_sets for seed in experiment.seeds]


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


def ordered(frame: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """Rows in display order, whatever order the runs came in."""
    orders = [axes.systems, axes.train_sets, axes.test_sets, axes.all_variants, axes.seeds]
    ranks = [frame[column].map({value: rank for rank, value in enumerate(order)}) for column, order in zip(KEY, orders, strict=True)]
    order = np.lexsort([rank.to_numpy() for rank in reversed(ranks)])
    return frame.iloc[order].reset_index(drop=True)


# ------------------------------------------------------------------------------------------------ runs


def _selected(run: ScoredRun, axes: Axes) -> ScoredRun:
    """The run with its rows of the reported split and the declared classes."""
    scores = run.scores[run.scores["split"] == axes.split]
    if scores.empty:
        raise UserError(f"{run.folder}: no scores of split {axes.split}. Run: {NEXT_COMMAND}")
    if (twice := scores.duplicated(["utt_id", "variant"])).any():
        example = scores.loc[twice, "utt_id"].iloc[0]
        raise UserError(f"{_name(run)}: {example} is scored twice. Remove {run.folder}/scores and run script 06 again.")
    scores = scores if "unit" in scores else scores.assign(unit=scores["utt_id"])
    columns = ["utt_id", "unit", "variant", "language", "label", "prediction"]
    return replace(run, scores=scores.loc[scores["label"] >= 0, columns])


def _notes_on_runs(runs: Sequence[ScoredRun], missing: Sequence[tuple], expected: Sequence[tuple]) -> Iterator[str]:
    if line := line_of_variants({run.system: run.trained_on for run in runs if run.trained_on}):
        yield line
    if len({frozenset(run.scores["variant"].unique()) for run in runs}) > 1:
        yield "Runs were scored on different acoustic variants: their pooled figures do not compare; look at single variants."
    if missing:
        example = " ".join(str(part) for part in missing[0])
        yield f"{len(missing)} of {len(expected)} runs have no scores yet (first: {example}); their cells are shown as –."


def _notes_on_labels(run: ScoredRun, axes: Axes) -> Iterator[str]:
    if unknown := int(((run.scores["split"] == axes.split) & (run.scores["label"] < 0)).sum()):
        yield f"{_name(run)}: {unknown} rows of sources outside the class list are left out of these tables."


def _name(run: ScoredRun) -> str:
    return f"{run.system} {run.train_set} seed {run.seed}"


# ------------------------------------------------------------------------------------------------ counts


def _with_draws(runs: Sequence[ScoredRun], settings: Settings) -> tuple[list[ScoredRun], bootstrap.Draws]:
    """The runs, their rows with a column `drawn` (the number of their unit), and one draw of all units, within language x class."""
    rows = [run.scores[["unit", "language", "label"]].drop_duplicates() for run in runs]
    units = pd.concat(rows).drop_duplicates().sort_values(["unit", "language"])
    units = units.groupby("unit").agg({"language": "+".join, "label": "first"})  # a text may be spoken in several languages
    numbers, strata = pd.factorize(pd.MultiIndex.from_frame(units[["language", "label"]]))

    def generator_of(stratum: int) -> np.random.Generator:
        language, label = strata[stratum]
        return rng(settings.seed, "bootstrap", language, int(label))

    draws = bootstrap.Draws(numbers, settings.evaluation.bootstrap_samples, generator_of)
    return [replace(run, scores=run.scores.assign(drawn=units.index.get_indexer(run.scores["unit"]))) for run in runs], draws


@dataclass(frozen=True)
class _Count:
    """What a run predicted for a test set in one variant: confusion (C, C); of the bootstrap macro-F1 (num_samples,) and, for
    COMPARED_VARIANTS, F1 by class (num_samples, C)."""

    run: ScoredRun
    test_set: str
    variant: str
    confusion: np.ndarray
    resampled: np.ndarray
    resampled_f1: np.ndarray | None

    @property
    def key(self) -> tuple:
        """The values of KEY."""
        return (self.run.system, self.run.train_set, self.test_set, self.variant, self.run.seed)


def _counts_on(
    test_set: str, runs: Sequence[ScoredRun], axes: Axes, draws: bootstrap.Draws, speakers: Mapping[str, pd.DataFrame]
) -> Iterator[_Count]:
    """Each run on one test set. Raises UserError where they were scored on different utterances."""
    units = None
    for run in runs:
        scores = _tested(run, test_set, speakers)
        if scores.empty:
            continue
        own = np.unique(scores["drawn"])
        units = own if units is None else units
        if not np.array_equal(own, units):
            raise UserError(
                f"{run.folder}: scores of test set {test_set} are of other utterances than those of the first run "
                f"({len(own)} and {len(units)}). Run: {NEXT_COMMAND}"
            )
        for variant, confusion, samples in _by_variant(scores, axes, draws):
            by_class = metrics.f1_of_present(samples)
            kept = by_class.astype(np.float32) if variant in COMPARED_VARIANTS else None
            yield _Count(run, test_set, variant, confusion, metrics.mean_over_present(by_class), kept)


def _tested(run: ScoredRun, test_set: str, speakers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The scores of a run on a test set."""
    scores = run.scores[run.scores["language"].isin(languages_of(test_set))]
    if not (group := group_of(test_set)):
        return scores
    groups = speakers[run.train_set]
    members = groups.loc[(groups["published_group"] == group) | (groups["strict_group"] == group), "utt_id"]
    return scores[scores["utt_id"].isin(members)]


def _by_variant(scores: pd.DataFrame, axes: Axes, draws: bootstrap.Draws) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(variant, confusion (C, C), resampled confusions (num_samples, C, C)) of each variant, then of all pooled."""
    num_classes = len(axes.classes)
    pooled, pooled_samples = np.zeros((num_classes, num_classes), dtype=np.int64), np.zeros((len(draws), num_classes, num_classes))
    for variant in axes.variants:
        rows = scores[scores["variant"] == variant]
        if rows.empty:
            continue
        labels, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
        confusion = metrics.confusion_matrix(labels, predictions, range(num_classes))
        samples = draws.confusions(rows["drawn"].to_numpy(), labels, predictions, num_classes)
        yield variant, confusion, samples
        pooled += confusion
        pooled_samples += samples
    yield POOLED, pooled, pooled_samples


# ------------------------------------------------------------------------------------------------ figures


def _cell_row(count: _Count, split: str, zero_division: float) -> list:
    """The values of CELL_COLUMNS."""
    confusion, run = count.confusion, count.run
    num_classes = int(metrics.num_present(confusion))
    figures = [metrics.macro_f1_harmonic(confusion, zero_division), metrics.accuracy(confusion), metrics.balanced_accuracy(confusion)]
    values = [float(metrics.macro_f1(confusion)), num_classes, float(metrics.macro_f1_declared(confusion, zero_division)), 1 / num_classes]
    values += [*map(float, figures), *bootstrap.percentile_interval(count.resampled, values[0])]
    return [*count.key, *values, int(confusion.sum()), split, run.chosen_by, run.as_published, *_made_from(count)]


def _made_from(count: _Count) -> list[str]:
    """The values of MADE_FROM; labels where the test set is a group of speakers."""
    return [count.run.protocol, count.run.labels if group_of(count.test_set) else ""]


def _class_rows(count: _Count, classes: Sequence[str], zero_division: float) -> Iterator[list]:
    """The values of CLASS_COLUMNS for each class."""
    figures = metrics.class_figures(count.confusion, zero_division)
    columns = (figures.precision, figures.recall, figures.f1, figures.support.astype(int))
    return ([*count.key, *row] for row in zip(classes, *columns, strict=True))


def _notes_on_classes(counts: Sequence[_Count], axes: Axes) -> Iterator[str]:
    """Which test sets lack which classes. Groups of speakers are other utterances for each training set, so they are told apart."""
    lost = []
    for count in counts:
        if count.variant == POOLED:
            absent = [axes.classes[place] for place in np.flatnonzero(count.confusion.sum(axis=1) == 0)]
            name = f"{count.test_set}, trained on {count.run.train_set}," if group_of(count.test_set) else count.test_set
            if absent:
                yield class_lists.note_on_test_set(name, absent, len(axes.classes))
            is_lost = np.isnan(count.resampled_f1).any(axis=0) & class_lists.present(count.confusion)
            lost += [f"{axes.classes[place]} of test set {name.removesuffix(',')}" for place in np.flatnonzero(is_lost)]
    if lost:
        yield class_lists.note_on_lost_classes(unique(lost))


def _means(
    cells: pd.DataFrame, resampled: dict[tuple, np.ndarray], confusions: dict[tuple, np.ndarray], axes: Axes, seed: int
) -> pd.DataFrame:
    """Mono and cross mean of each system and variant: mean over cells, then mean and sample sd over seeds; paired bootstrap CI."""
    rows = []
    by_key = cells.set_index(KEY)
    for system in axes.systems:
        for variant in axes.all_variants:
            for kind in (MONO, CROSS, *SPEAKER_GROUPS):
                pairs = [cell for cell in axes.place_of if kind_of_cell(*cell) == kind]
                keys = [key for key in resampled if key[0] == system and key[3] == variant and key[1:3] in pairs]
                if keys:
                    lists = class_lists.of_cells([confusions[key] for key in keys])
                    figures = _mean_over_cells(by_key, keys, resampled, lists, seed)
                    rows.append([system, kind, variant, *figures, len(keys), len(pairs) * len(axes.seeds), len({key[4] for key in keys})])
    return pd.DataFrame(rows, columns=MEAN_COLUMNS)


def _mean_over_cells(
    cells: pd.DataFrame, keys: list[tuple], resampled: dict[tuple, np.ndarray], lists: class_lists.ClassLists, seed: int
) -> list:
    """macro_f1 to ci_high of MEAN_COLUMNS. Seeds weigh the same, also when a cell of one of them is still missing."""
    found = cells.loc[keys, ["macro_f1", "macro_f1_declared", "chance"]].assign(macro_f1_common=lists.common_f1)
    by_seed = found.groupby(level="seed").mean()
    value, declared, chance, common = map(float, by_seed.mean())
    ends = bootstrap.percentile_interval(resampled_mean({key: resampled[key] for key in keys}, seed), value)
    low, high = map(float, np.clip(ends, 0, 1))  # seeds far apart shift resamples beyond what macro-F1 can be
    sd = float(by_seed["macro_f1"].std(ddof=1)) if len(by_seed) > 1 else float("nan")
    return [value, lists.text, declared, chance, common, lists.num_common, sd, low, high]


def resampled_mean(samples: Mapping[tuple, np.ndarray], seed: int) -> np.ndarray:
    """Resamples (num_samples,) of a mean over cells, then over seeds, from those of each cell by KEY."""
    seeds = sorted({key[4] for key in samples})
    of_seed = {one: np.mean([values for key, values in samples.items() if key[4] == one], axis=0) for one in seeds}
    return bootstrap.over_seeds(of_seed, lambda drawn: rng(seed, "bootstrap of seeds", *drawn))
