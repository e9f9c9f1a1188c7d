"""The kept files once more, some of them as codec or RawBoost copies (D66). Only of these are copies made, and only their one layer.

Folder  exp/<name>/detection/augment_pruned/<list>-<hash>/
Files   parts.csv                    file_id, corpus, label, copy, times (how often it is drawn)
        model.safetensors            the classifier
        scores.parquet               dataset, file_id, label, score of the real-life sets
        wrong_predictions_<set>.csv  files on the wrong side of the selection part's EER threshold
        list.json                    what it was made of; written last

Labels come from the manifest by file_id, never from the list (D67).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from sourcetracing.detection.classifier.logistic import fit, save_model
from sourcetracing.detection.data.layout import DetectionLayout, ListFolder
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF, load_manifest
from sourcetracing.detection.experiments.layer_sweep import working_layer
from sourcetracing.detection.experiments.pruning import (
    EVERYTHING,
    PruningPlan,
    choose_levels,
    pruning_levels,
    pruning_results,
    score_tests,
)
from sourcetracing.detection.experiments.scoring import REPORT, SELECTION, eers_by_part, masks_of
from sourcetracing.detection.features.file_pool import open_pool
from sourcetracing.detection.features.layer_features import Extractor, extract_files
from sourcetracing.detection.features.layer_store import LayerStore, files_digest, find_layers, layer_folder
from sourcetracing.errors import UserError
from sourcetracing.features.store import is_finished
from sourcetracing.layout import StoreLayout
from sourcetracing.runtime.files import digest_of_file, digest_of_json, read_csv, write_csv, write_frame, write_json
from sourcetracing.runtime.progress import bar
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.schema import Settings

PARTS = ("codec", "rawboost", "clean")  # in the order of pruning.augment_shares
PRUNE_COMMAND = "python scripts/detection/05_pruning.py CONFIG.yaml"


class AugmentationPlan:
    """What script 06 makes with some settings: from which list of kept files, and in which folder."""

    def __init__(self, plan: PruningPlan):
        self.pruning, self.settings = plan, plan.settings
        self.list_name = _list_name(plan)
        self.files = read_csv(ListFolder(plan.folder / self.list_name).files, usecols=["file_id", "corpus"])
        self.parts = draw_parts(self.settings, len(self.files))
        self.table = _parts_table(self)

    @cached_property
    def stores(self) -> dict[tuple[str, str], LayerStore]:
        """(copy, subset) -> where its features lie. Augmented copies that are missing are made: of the drawn files alone."""
        manifest, extractors = load_manifest(self.settings), {}
        found = {}
        for (copy, subset), drawn in self.table.groupby(["copy", "corpus"], sort=False):
            rows = manifest[manifest["corpus"] == subset].reset_index(drop=True)
            found[copy, subset] = _store_of(self, copy, rows, rows[rows["file_id"].isin(drawn["file_id"])], extractors)
        return found

    @cached_property
    def place(self) -> ListFolder:
        """Where it all goes."""
        wanted = self.settings.pruning
        shape = {"pruning": self.pruning.folder.name, "shares": wanted.augment_shares, "replacement": wanted.with_replacement}
        used = [[store.folder.name, digest_of_file(StoreLayout(store.folder).record)] for store in self.stores.values()]
        shape |= {"seed": self.settings.seed, "stores": used}
        return ListFolder(DetectionLayout(self.settings).augment_pruned / f"{self.list_name}-{digest_of_json(shape)[:8]}")


def _store_of(plan: AugmentationPlan, copy: str, rows: pd.DataFrame, drawn: pd.DataFrame, extractors: dict[tuple, Extractor]) -> LayerStore:
    """The store of a whole subset where there is one, as of clean files there always is, else that of the drawn files."""
    settings, subset = plan.settings, rows["corpus"].iloc[0]
    if copy == "clean" or is_finished(layer_folder(settings, subset, copy, files_digest(rows))):
        return find_layers(settings, subset, copy)
    one_layer = replace(settings, layer_features=replace(settings.layer_features, copy_layers=[plan.pruning.layer]))
    return LayerStore.open(extract_files(one_layer, drawn.reset_index(drop=True), copy, extractors))


def draw_parts(settings: Settings, num_files: int) -> dict[str, np.ndarray]:
    """Copy -> row numbers into the list; parts without files are left out. Seeded (D66)."""
    generator = rng(settings.seed, "augment_pruned")
    if settings.pruning.with_replacement:
        parts = published_parts(num_files, generator)
    else:
        parts = split_rows(num_files, settings.pruning.augment_shares, generator)
    return {copy: rows for copy, rows in parts.items() if len(rows)}


def split_rows(num_files: int, shares: Sequence[float], generator: np.random.Generator) -> dict[str, np.ndarray]:
    """All rows, each in one part: a permutation cut in proportion to the shares of codec, rawboost, clean."""
    if len(shares) != len(PARTS) or not sum(shares) > 0:
        raise UserError(f"pruning.augment_shares={list(shares)}: three numbers are expected, of {', '.join(PARTS)}, not all zero")
    cuts = np.round(np.cumsum(shares) / sum(shares) * num_files).astype(int)[:-1]
    return dict(zip(PARTS, np.split(generator.permutation(num_files), cuts), strict=True))


def published_parts(num_files: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Half of the list for codecs, a third for RawBoost and a third clean, each drawn with replacement; the last two from what the first
    part left, so they overlap each other (D66)."""
    codec = generator.choice(num_files, num_files // 2)
    left = np.setdiff1d(np.arange(num_files), codec)
    return {"codec": codec, "rawboost": generator.choice(left, num_files // 3), "clean": generator.choice(left, num_files // 3)}


def augment_pruned(plan: AugmentationPlan) -> None:
    """Fits the classifier on the parts, scores the real-life sets and writes the folder, unless it is complete."""
    place = plan.place
    if place.record.is_file():
        return
    table = plan.table
    arrays, labels, times = [], [], []
    for copy, part in bar(table.groupby("copy", sort=False), desc="augmented features", unit="part"):
        for subset, own in part.groupby("corpus", sort=False):
            arrays.append(_features(plan.stores[copy, subset], own["file_id"], plan.pruning.layer))
            labels.append((own["label"] == BONAFIDE).to_numpy().astype(np.int8))
            times.append(own["times"].to_numpy())
    model = fit(arrays, labels, plan.settings.logreg, weights=times)
    tests = open_pool(plan.pruning.tested, plan.pruning.layer)
    write_csv(table, place.parts)
    save_model(place.model, model, {"list": plan.list_name, "layer": str(plan.pruning.layer)})
    score_tests(place, model, tests, {"plan": place.folder.name})
    counts = {copy: len(rows) for copy, rows in plan.parts.items()}
    write_json(place.record, {"list": plan.list_name, "layer": plan.pruning.layer, "files": len(plan.files), "drawn": counts})


def write_wrong_predictions(settings: Settings, place: ListFolder) -> dict[str, int]:
    """Writes wrong_predictions_<set>.csv (file_id, part, label, predicted, score); returns set -> how many.

    A file counts as bona fide from the EER threshold of its set's selection part on; the files of that part are marked as such.
    """
    scores = pd.read_parquet(place.scores)
    masks = masks_of(settings, scores)
    eers = eers_by_part(scores, masks, settings).set_index(["dataset", "part"])
    scores = scores.assign(label=np.where(scores["label"] == 1, BONAFIDE, SPOOF), part=np.where(masks[SELECTION], SELECTION, REPORT))
    counts = {}
    for name, own in scores.groupby("dataset", sort=False):
        threshold = _decision_threshold(eers.loc[(name, SELECTION), "threshold"], settings)
        own = own.assign(predicted=np.where(own["score"] >= threshold, BONAFIDE, SPOOF))
        wrong = own[own["predicted"] != own["label"]]
        write_csv(wrong[["file_id", "part", "label", "predicted", "score"]], place.wrong_predictions(name))
        counts[name] = len(wrong)
    return counts


def augmentation_results(plan: AugmentationPlan) -> pd.DataFrame:
    """what (everything, the list, the list augmented), dataset, part, eer, threshold."""
    frames = []
    sources = {name: ListFolder(plan.pruning.folder / name) for name in (EVERYTHING, plan.list_name)}
    for what, place in {**sources, f"{plan.list_name}, augmented": plan.place}.items():
        scores = pd.read_parquet(place.scores)
        eers = eers_by_part(scores, masks_of(plan.settings, scores), plan.settings)
        frames.append(eers.assign(what=what, folder=str(place.folder)))
    return pd.concat(frames, ignore_index=True)[["what", "dataset", "part", "eer", "threshold", "folder"]]


def run_augmentation(settings: Settings) -> str:
    """Fits the classifier unless it is there and writes the tables; returns the EERs, and where things are, as text. Raises `UserError`."""
    plan = AugmentationPlan(PruningPlan(settings, working_layer(settings)))
    augment_pruned(plan)
    wrong, results = write_wrong_predictions(settings, plan.place), augmentation_results(plan)
    path = DetectionLayout(settings).table("augment_pruned")
    exact = results["threshold"].map("{:.17g}".format)  # a file's score may be the threshold itself
    write_frame(results.assign(threshold=exact), path)
    eers = 100 * results[results["part"] == REPORT].pivot_table(index="what", columns="dataset", values="eer", sort=False)
    drawn = ", ".join(f"{len(rows)} {copy}" for copy, rows in plan.parts.items())
    missed = ", ".join(f"{count} of {name}" for name, count in wrong.items())
    return "\n".join(
        [
            f"  {plan.list_name}: {len(plan.files)} files, drawn as {drawn}",
            "  EER in % on the report part:",
            eers.to_string(float_format="{:.2f}".format, index_names=False),
            f"  on the wrong side of the selection part's threshold: {missed}",
            f"model and lists: {plan.place.folder}",
            f"table: {path}",
        ]
    )


def _list_name(plan: PruningPlan) -> str:
    if not plan.is_finished:
        raise UserError(f"the lists of kept files are not finished ({plan.folder}). Run: {PRUNE_COMMAND}")
    wanted = plan.settings.pruning.augment_list
    results = pruning_results(plan)
    if wanted == "chosen":
        return str(choose_levels(pruning_levels(results))["list"].iloc[0])
    names = list(dict.fromkeys(results["list"]))
    if wanted not in names:
        raise UserError(f"pruning.augment_list={wanted}: there is no such list with both classes{did_you_mean(wanted, names)}")
    return wanted


def _parts_table(plan: AugmentationPlan) -> pd.DataFrame:
    """file_id, corpus, label (of the manifest), copy, times: a row for each file of each part, in the order of the list."""
    frames = []
    for copy, rows in plan.parts.items():
        distinct, times = np.unique(rows, return_counts=True)
        frames.append(plan.files.iloc[distinct].assign(copy=copy, times=times))
    table = pd.concat(frames, ignore_index=True)
    label_of = load_manifest(plan.settings).set_index("file_id")["label"]
    strangers = table.loc[~table["file_id"].isin(label_of.index), "file_id"]
    if len(strangers):
        raise UserError(f"{len(strangers)} kept files are not in the manifest, the first is {strangers.iloc[0]}. Run: {PRUNE_COMMAND}")
    table.insert(2, "label", table["file_id"].map(label_of))
    return table


def _features(store: LayerStore, file_ids: pd.Series, layer: int) -> np.ndarray:
    """Features (n, D) of some files of a store."""
    rows = pd.Index(store.index["file_id"]).get_indexer(file_ids)
    if (rows < 0).any():
        missing = file_ids.to_numpy()[rows < 0]
        raise UserError(f"{store.folder.name} lacks {len(missing)} kept files, the first is {missing[0]}. Run: {store.command}")
    return store.layer(layer)[rows]


def _decision_threshold(threshold: float, settings: Settings) -> float:
    """A threshold on probabilities as one on decision values (logreg.eer_from)."""
    return float(np.log(threshold) - np.log1p(-threshold)) if settings.logreg.eer_from == "probability" else float(threshold)
