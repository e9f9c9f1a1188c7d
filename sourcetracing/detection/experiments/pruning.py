"""Which training files are worth keeping: lists of kept files by five strategies, each judged by a classifier fitted on it (spec 4.8).

Folder  exp/<name>/detection/pruning/<hash>/<list>/, the hash of all that shapes a list of that name
Files   files.csv          file_id, corpus, label of the kept files, in the order of the training sets
        model.safetensors  the classifier fitted on them
        scores.parquet     dataset, file_id, label, score of the real-life sets
        list.json          strategy, step, seed, counts; written last

Rows are numbers into one list of all files; names, labels and features are looked up by them, so they belong together (D64).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.detection.classifier.logistic import LinearModel, fit
from sourcetracing.detection.classifier.model_file import load_model, save_model
from sourcetracing.detection.data.groups import test_sets
from sourcetracing.detection.data.manifest import BONAFIDE, detection_folder
from sourcetracing.detection.experiments.file_pool import FilePool, open_pool, pruned_sets, stores_of
from sourcetracing.detection.experiments.layer_sweep import classifier_recipe
from sourcetracing.detection.experiments.pruning_cluster import CLOSEST, FURTHEST, Cluster, find_clusters
from sourcetracing.detection.experiments.pruning_margin import BOTH, NOISY, Step, margin_steps, name_of, published_steps, refitted_steps
from sourcetracing.detection.experiments.score_files import write_scores
from sourcetracing.detection.features.layer_store import LayerStore
from sourcetracing.errors import UserError
from sourcetracing.layout import StoreLayout
from sourcetracing.runtime.files import atomic_path, digest_of_file, digest_of_json, write_json
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings

RANDOM, EVERYTHING = "random", "everything"


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
        self.sets, self.test_sets = pruned_sets(settings), test_sets(settings)
        self.stores, self.test_stores = stores_of(settings, self.sets), stores_of(settings, self.test_sets)
        self.folder = detection_folder(settings) / "pruning" / digest_of_json(self._shape())[:8]
        self.finished = self.folder / "finished.json"

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
        stores = {subset: identity_of(store) for subset, store in {**self.stores, **self.test_stores}.items()}
        return {
            "sets": self.sets,
            "test": self.test_sets,
            "layer": self.layer,
            "options": options,
            "logreg": classifier_recipe(self.settings),
            "stores": stores,
        }


def make_lists(plan: PruningPlan) -> None:
    """Makes the lists that are not there yet. Ctrl-C or a kill lose the one in progress."""
    if plan.is_finished:
        return
    wanted = plan.settings.pruning
    pool = open_pool(plan.stores, plan.sets, plan.layer, spare_rows=2 * len(plan.sets) if wanted.add_centroid else 0)
    judge = Judge(plan, pool, open_pool(plan.test_stores, plan.test_sets, plan.layer))
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
        folder = self.plan.folder / kept.name
        features, labels = self.pool.bring_to_front(np.concatenate([kept.rows, kept.more]))
        has_both = bool(0 < labels.sum() < len(labels))
        if not (folder / "list.json").is_file():
            _write_files(folder, self.pool.files.iloc[kept.rows])
            if has_both or self.everything is None:  # a fit of everything that lacks a class says so
                model = fit(features, labels, self.plan.settings.logreg, start=self.everything)
                save_model(folder / "model.safetensors", model, {"list": kept.name, "layer": str(self.plan.layer)})
                score_tests(folder, model, self.tests, {"list": kept.name, "plan": self.plan.folder.name})
            write_json(folder / "list.json", _facts(kept, self.pool.files, has_both))
        self.model = load_model(folder / "model.safetensors") if has_both else None
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
    clusters = _clusters(pool, plan) if {CLOSEST, FURTHEST} & set(wanted.strategies) else []
    centroids = pool.add([one.mean for one in clusters], [one.label for one in clusters]) if wanted.add_centroid and clusters else _none()
    for strategy in wanted.strategies:
        if strategy == RANDOM:
            yield from _random_lists(num_files, wanted.fractions, wanted.seeds)
        elif strategy in (CLOSEST, FURTHEST):
            for fraction in sorted(wanted.fractions):
                rows = np.sort(np.concatenate([one.kept(fraction, strategy) for one in clusters]))
                yield KeptList(f"{strategy}_{name_of(fraction)}", strategy, name_of(fraction), None, rows, centroids)
        else:
            for step in _margin_steps(judge, margins, strategy, plan.settings):
                yield KeptList(f"{strategy}_{step.name}", strategy, step.name, None, step.kept, _none())


def random_rows(num_files: int, fraction: float, seed: int) -> np.ndarray:
    """int(fraction * N) rows in the order of the published draw."""
    return np.random.default_rng(seed).choice(num_files, int(fraction * num_files), replace=False)


def _random_lists(num_files: int, fractions: list[float], seeds: list[int]) -> Iterator[KeptList]:
    for fraction in sorted(fractions):
        for seed in seeds:
            rows, step = np.sort(random_rows(num_files, fraction, seed)), name_of(fraction)
            yield KeptList(f"{RANDOM}_{step}_seed{seed}", RANDOM, step, seed, rows, _none())


def _margin_steps(judge: Judge, margins: np.ndarray, strategy: str, settings: Settings) -> Iterator[Step]:
    wanted = settings.pruning
    if wanted.int_percent:
        yield from published_steps(margins, strategy)
    elif wanted.refit_margins:
        judge.model = judge.everything
        yield from refitted_steps(judge.margins, len(margins), strategy, wanted.fractions)
    else:
        yield from margin_steps(margins, strategy, wanted.fractions)


def _clusters(pool: FilePool, plan: PruningPlan) -> list[Cluster]:
    return find_clusters(pool.take, pool.labels, pool.files["dataset"].to_numpy(), list(plan.sets))


def _count(settings: Settings) -> int:
    wanted = settings.pruning
    count = {RANDOM: len(wanted.fractions) * len(wanted.seeds)}
    count |= dict.fromkeys((NOISY, BOTH), 10 if wanted.int_percent else len(wanted.fractions))
    return 1 + sum(count.get(strategy, len(wanted.fractions)) for strategy in wanted.strategies)


def _facts(kept: KeptList, files: pd.DataFrame, has_both: bool) -> dict:
    bonafide = int((files["label"].to_numpy()[kept.rows] == BONAFIDE).sum())
    counts = {"kept": len(kept.rows), "of": len(files), "bonafide": bonafide, "spoof": len(kept.rows) - bonafide, "samples": len(kept.more)}
    return {"list": kept.name, "strategy": kept.strategy, "step": kept.step, "seed": kept.seed, **counts, "has_both": has_both}


def _write_files(folder: Path, files: pd.DataFrame) -> None:
    with atomic_path(folder / "files.csv") as partial:
        files[["file_id", "corpus", "label"]].to_csv(partial, index=False)


def score_tests(folder: Path, model: LinearModel, tests: FilePool, recipe: dict) -> None:
    """Writes scores.parquet: dataset, file_id, label (1 = bona fide), score."""
    scores = tests.files[["dataset", "file_id"]].assign(label=tests.labels, score=model.scores(tests.features))
    write_scores(folder / "scores.parquet", scores, recipe)


def identity_of(store: LayerStore) -> list[str]:
    """What changes when a store's content does."""
    return [store.folder.name, digest_of_file(StoreLayout(store.folder).record)]


def _none() -> np.ndarray:
    return np.zeros(0, dtype=np.int64)
