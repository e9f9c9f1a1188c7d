"""Which training files are worth keeping: lists of kept files by five strategies, each judged by a classifier fitted on it.

Folder  exp/<name>/detection/pruning/<hash>/<list>/, the hash of all that shapes a list of that name
Files   files.csv          file_id, corpus, label of the kept files, in the order of the training sets
        model.safetensors  the classifier fitted on them
        scores.parquet     dataset, file_id, label, score of the real-life sets
        list.json          strategy, step, seed, counts; written last
Tables  results/pruning.csv   list, strategy, step, seed, kept, of, percent_kept, bonafide, spoof, dataset, part, eer, threshold, files.
        part: selection, report, or all (both). EERs are fractions. The dataset MEAN is the mean of the EERs of all sets.

Rows are numbers into one list of all files; names, labels and features are looked up by them, so they belong together (D64).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.detection.classifier.logistic import LinearModel, fit, fit_recipe, load_model, save_model
from sourcetracing.detection.data.groups import PRUNED, test_sets, training_sets
from sourcetracing.detection.data.layout import LISTS_RECORD, DetectionLayout, ListFolder
from sourcetracing.detection.data.manifest import BONAFIDE
from sourcetracing.detection.experiments import pruning_strategies as strategies
from sourcetracing.detection.experiments.layer_sweep import working_layer
from sourcetracing.detection.experiments.scoring import ALL, MEAN, PARTS, REPORT, SELECTION, ScoreFile, eers_by_part, masks_of
from sourcetracing.detection.experiments.text_tables import markdown_table
from sourcetracing.detection.features.feature_sets import FeatureSet, check_apart, open_sets, sole_user
from sourcetracing.detection.features.file_pool import FilePool, open_pool
from sourcetracing.errors import UserError
from sourcetracing.layout import StoreLayout
from sourcetracing.runtime.files import digest_of_file, digest_of_json, write_csv, write_frame, write_json, write_text
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings

EVERYTHING = "everything"
BY_SELECTION, BY_TEST = "selection part", "whole test sets, as published"


@dataclass(frozen=True)
class KeptList:
    """A list of kept files: their rows (n,), ascending; rows of samples that are no files; and how it was made."""

    name: str
    strategy: str
    step: str
    seed: int | None
    rows: np.ndarray
    more: np.ndarray


class PruningPlan:
    """What script 05 makes with some settings: from which stores, and in which folder."""

    def __init__(self, settings: Settings, layer: int):
        self.settings, self.layer = settings, layer
        self.sets, self.tested = open_sets(settings, training_sets(settings, PRUNED)), open_sets(settings, test_sets(settings))
        check_apart(self.sets)
        check_apart(self.tested)
        self.folder = DetectionLayout(settings).pruning / digest_of_json(self._shape())[:8]
        self.finished = self.folder / LISTS_RECORD

    @property
    def asked(self) -> dict:
        """Which lists are wanted."""
        wanted = self.settings.pruning
        return {"strategies": wanted.strategies, "fractions": sorted(wanted.fractions), "seeds": wanted.seeds}

    @property
    def is_finished(self) -> bool:
        """Whether all wanted lists are there."""
        return self.finished.is_file() and json.loads(self.finished.read_text(encoding="utf-8"))["asked"] == self.asked

    def _shape(self) -> dict:
        wanted = self.settings.pruning
        options = {name: getattr(wanted, name) for name in ("add_centroid", "int_percent", "refit_margins")}
        if wanted.refit_margins:  # only then a step depends on the steps before
            options["fractions"] = sorted(wanted.fractions)
        stores = {subset: identity for one in [*self.sets, *self.tested] for subset, identity in identities(one).items()}
        sets, tested = ({one.name: list(one.stores) for one in found} for found in (self.sets, self.tested))
        shape = {"sets": sets, "test": tested, "layer": self.layer, "options": options}
        return {**shape, "logreg": fit_recipe(self.settings.logreg), "stores": stores}


def make_lists(plan: PruningPlan) -> None:
    """Makes the lists that are not there yet. Ctrl-C or a kill lose the one in progress. Waits while another process does the same."""
    if plan.is_finished:
        return
    with sole_user(plan.folder):
        _make_missing(plan)


def _make_missing(plan: PruningPlan) -> None:
    if plan.is_finished:
        return
    wanted = plan.settings.pruning
    pool = open_pool(plan.sets, plan.layer, spare_rows=2 * len(plan.sets) if wanted.add_centroid else 0)
    judge = Judge(plan, pool, open_pool(plan.tested, plan.layer))
    names = []
    for kept in bar(_kept_lists(judge, pool, plan), total=_count(plan.settings), desc="pruning", unit="list"):
        judge.finish(kept)
        names.append(kept.name)
    write_json(plan.finished, {"asked": plan.asked, "layer": plan.layer, "lists": names})


class Judge:
    """Fits a classifier on each list, scores the real-life sets with it and writes both; `model` is that of the list it had last."""

    def __init__(self, plan: PruningPlan, pool: FilePool, tests: FilePool):
        self.plan, self.pool, self.tests = plan, pool, tests
        self.model: LinearModel | None = None
        self.everything: LinearModel | None = None

    def finish(self, kept: KeptList) -> None:
        """Leaves the folder of a list, unless it is complete. A list with one class only has no model and no scores."""
        place = ListFolder(self.plan.folder / kept.name)
        features, labels = self.pool.bring_to_front(np.concatenate([kept.rows, kept.more]))
        has_both = bool(0 < labels.sum() < len(labels))
        if not place.record.is_file():
            write_csv(self.pool.files.iloc[kept.rows][["file_id", "corpus", "label"]], place.files)
            if has_both or self.everything is None:  # a fit of everything that lacks a class says so
                model = fit(features, labels, self.plan.settings.logreg, start=self.everything)
                save_model(place.model, model, {"list": kept.name, "layer": str(self.plan.layer)})
                score_tests(place, model, self.tests, {"list": kept.name, "plan": self.plan.folder.name})
            write_json(place.record, _facts(kept, self.pool.files, has_both))
        self.model = load_model(place.model) if has_both else None
        self.everything = self.everything or self.model

    def margins(self, rows: np.ndarray | None = None) -> np.ndarray:
        """|w.x + b| (n,) of files under the last model, of all files without `rows`."""
        if self.model is None:
            raise UserError("pruning.refit_margins: a step left files of one class only; nothing can be fitted on them. Keep more")
        by_row = np.empty(len(self.pool.rows))
        by_row[self.pool.rows] = np.abs(self.model.scores(self.pool.features))
        return by_row[: len(self.pool.files)] if rows is None else by_row[rows]


def _kept_lists(judge: Judge, pool: FilePool, plan: PruningPlan) -> Iterator[KeptList]:
    """All lists; what comes after a list may use the model that `judge` fitted on it."""
    wanted, num_files = plan.settings.pruning, len(pool.files)
    yield KeptList(EVERYTHING, EVERYTHING, "all", None, np.arange(num_files), _none())
    margins = judge.margins()
    clusters = []
    if {strategies.CLOSEST, strategies.FURTHEST} & set(wanted.strategies):
        clusters = strategies.find_clusters(pool.take, pool.labels, pool.files["dataset"].to_numpy(), [one.name for one in plan.sets])
    centroids = pool.add([one.mean for one in clusters], [one.label for one in clusters]) if wanted.add_centroid and clusters else _none()
    for strategy in wanted.strategies:
        if strategy == strategies.RANDOM:
            yield from _random_lists(num_files, wanted.fractions, wanted.seeds)
        elif strategy in (strategies.CLOSEST, strategies.FURTHEST):
            for fraction in sorted(wanted.fractions):
                rows = np.sort(np.concatenate([one.kept(fraction, strategy) for one in clusters]))
                yield KeptList(f"{strategy}_{strategies.name_of(fraction)}", strategy, strategies.name_of(fraction), None, rows, centroids)
        else:
            for step in _margin_steps(judge, margins, strategy, plan.settings):
                yield KeptList(f"{strategy}_{step.name}", strategy, step.name, None, step.kept, _none())


def _random_lists(num_files: int, fractions: list[float], seeds: list[int]) -> Iterator[KeptList]:
    for fraction in sorted(fractions):
        for seed in seeds:
            rows, step = np.sort(strategies.random_rows(num_files, fraction, seed)), strategies.name_of(fraction)
            yield KeptList(f"{strategies.RANDOM}_{step}_seed{seed}", strategies.RANDOM, step, seed, rows, _none())


def _margin_steps(judge: Judge, margins: np.ndarray, strategy: str, settings: Settings) -> Iterator[strategies.Step]:
    wanted = settings.pruning
    if wanted.int_percent:
        yield from strategies.published_steps(margins, strategy)
    elif wanted.refit_margins:
        judge.model = judge.everything
        yield from strategies.refitted_steps(judge.margins, len(margins), strategy, wanted.fractions)
    else:
        yield from strategies.margin_steps(margins, strategy, wanted.fractions)


def _count(settings: Settings) -> int:
    wanted = settings.pruning
    count = {strategies.RANDOM: len(wanted.fractions) * len(wanted.seeds)}
    count |= dict.fromkeys((strategies.NOISY, strategies.BOTH), 10 if wanted.int_percent else len(wanted.fractions))
    return 1 + sum(count.get(strategy, len(wanted.fractions)) for strategy in wanted.strategies)


def _facts(kept: KeptList, files: pd.DataFrame, has_both: bool) -> dict:
    bonafide = int((files["label"].to_numpy()[kept.rows] == BONAFIDE).sum())
    counts = {"kept": len(kept.rows), "of": len(files), "bonafide": bonafide, "spoof": len(kept.rows) - bonafide, "samples": len(kept.more)}
    return {"list": kept.name, "strategy": kept.strategy, "step": kept.step, "seed": kept.seed, **counts, "has_both": has_both}


def score_tests(place: ListFolder, model: LinearModel, tests: FilePool, recipe: dict) -> None:
    """Writes dataset, file_id, label (1 = bona fide), score."""
    scores = tests.files[["dataset", "file_id"]].assign(label=tests.labels, score=model.scores(tests.features))
    ScoreFile(place.scores, recipe).write(scores)


def identities(one: FeatureSet) -> dict[str, list[str]]:
    """Subset -> what changes when its store's content does."""
    return {subset: [store.folder.name, digest_of_file(StoreLayout(store.folder).record)] for subset, store in one.stores.items()}


def _none() -> np.ndarray:
    return np.zeros(0, dtype=np.int64)


def pruning_results(plan: PruningPlan) -> pd.DataFrame:
    """The EERs of all lists of a finished plan, list after list."""
    names = json.loads(plan.finished.read_text(encoding="utf-8"))["lists"]
    masks, frames = None, []
    for place in (ListFolder(plan.folder / name) for name in names):
        facts = json.loads(place.record.read_text(encoding="utf-8"))
        if not facts["has_both"]:
            continue
        scores = pd.read_parquet(place.scores)
        masks = masks_of(plan.settings, scores) if masks is None else masks
        known = {key: facts[key] for key in ("list", "strategy", "step", "seed", "kept", "of")}
        known |= {"percent_kept": 100 * facts["kept"] / facts["of"], "bonafide": facts["bonafide"], "spoof": facts["spoof"]}
        frames.append(pd.DataFrame([known]).merge(eers_by_part(scores, masks, plan.settings), how="cross"))
    return pd.concat(frames, ignore_index=True).astype({"seed": "Int64"})


def pruning_levels(results: pd.DataFrame) -> pd.DataFrame:
    """Each strategy and step once: mean EER and sample sd over its seeds (nan for one), for each set and part."""
    keys = ["strategy", "step", "dataset", "part"]
    grouped = results.groupby(keys, sort=False)
    return grouped.agg(list=("list", "first"), percent_kept=("percent_kept", "mean"), eer=("eer", "mean"), sd=("eer", "std")).reset_index()


def choose_levels(levels: pd.DataFrame) -> pd.DataFrame:
    """The best step of each strategy, and of all of them, by the mean EER of the selection part and, as published, of the whole sets.

    Of equal ones the step that keeps more files.

    Columns: chosen_by, among, strategy, step, list (of several seeds the first), percent_kept, then <dataset>_<part> (fractions).
    """
    wide = levels.assign(column=levels["dataset"] + "_" + levels["part"]).pivot_table(
        index=["strategy", "step", "list", "percent_kept"], columns="column", values="eer", sort=False
    )
    wide = wide[[f"{name}_{part}" for name in dict.fromkeys(levels["dataset"]) for part in PARTS]].reset_index()
    rows = []
    for chosen_by, part in ((BY_SELECTION, SELECTION), (BY_TEST, ALL)):
        for among in ["all", *dict.fromkeys(wide["strategy"])]:
            own = wide if among == "all" else wide[wide["strategy"] == among]
            best = own.assign(rounded=own[f"{MEAN}_{part}"].round(9)).sort_values(["rounded", "percent_kept"], ascending=[True, False])
            rows.append({"chosen_by": chosen_by, "among": among, **best.drop(columns="rounded").iloc[0].to_dict()})
    return pd.DataFrame(rows)


def markdown(choices: pd.DataFrame, levels: pd.DataFrame) -> str:
    """The choices, then every level: EERs in percent."""
    columns = levels["dataset"] + "_" + levels["part"]
    wide = levels.assign(column=columns).pivot_table(index=["strategy", "step", "percent_kept"], columns="column", values="eer", sort=False)
    every = wide[list(dict.fromkeys(columns))].reset_index()
    lines = ["# Pruning: EER in %, chosen on the selection part and reported on the rest; as published beside it", ""]
    return "\n".join([*lines, *markdown_table(_texts(choices)), "", "## Every level", "", *markdown_table(_texts(every)), ""])


def summary(choices: pd.DataFrame) -> str:
    """A few lines for the terminal."""
    everything = choices[(choices["among"] == EVERYTHING) & (choices["chosen_by"] == BY_SELECTION)].iloc[0]
    best = choices[choices["among"] == "all"].set_index("chosen_by")
    ours, theirs = best.loc[BY_SELECTION], best.loc[BY_TEST]
    return "\n".join(
        [
            f"  everything:                        report {100 * everything[f'{MEAN}_{REPORT}']:.2f} %",
            f"  chosen on the selection part:      report {100 * ours[f'{MEAN}_{REPORT}']:.2f} %  ({_described(ours)})",
            f"  chosen on the test sets (published way): {100 * theirs[f'{MEAN}_{ALL}']:.2f} % on these same sets  ({_described(theirs)})",
        ]
    )


def _described(row: pd.Series) -> str:
    return f"{row['list']}, {row['percent_kept']:.1f} % kept" + (", mean over seeds" if row["strategy"] == strategies.RANDOM else "")


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    percent = frame.assign(**{column: 100 * frame[column] for column in frame if column.endswith(PARTS)})
    return percent.map(lambda value: f"{value:.2f}" if isinstance(value, float) else str(value))


def run_pruning(settings: Settings) -> str:
    """Makes the lists that are missing, writes the tables; returns what was chosen, and where it is, as text. Raises `UserError`."""
    plan = PruningPlan(settings, working_layer(settings))
    make_lists(plan)
    results = pruning_results(plan)
    levels = pruning_levels(results)
    choices = choose_levels(levels)
    layout = DetectionLayout(settings)
    for name, frame in (("pruning", results), ("pruning_levels", levels), ("pruning_choice", choices)):
        write_frame(frame, layout.table(name))
    write_text(layout.text("pruning"), markdown(choices, levels))
    kept = f"{results['list'].nunique()} lists at layer {plan.layer}: {plan.folder}"
    return "\n".join([summary(choices), kept, f"tables: {layout.results}/pruning.md, pruning.csv, pruning_choice.csv"])
