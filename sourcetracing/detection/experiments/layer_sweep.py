"""Which layer is best: a classifier for each, trained on one set and tested on the others (spec 4.3, Layers_eval.pdf).

The layer is chosen by the mean EER on the selection parts of the real-life sets and reported on their other parts. The published way,
by the EERs of the very files that are reported, stands beside it (D70).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.detection.classifier.feature_sets import check_apart, common_layers, open_sets, scratch_folder, stores_record
from sourcetracing.detection.classifier.logistic import eer_of_scores, fit
from sourcetracing.detection.data.groups import baseline_sets, baseline_train_sets, test_sets
from sourcetracing.detection.data.manifest import detection_folder
from sourcetracing.detection.experiments.layer_choice import choice_path
from sourcetracing.detection.experiments.published import ORIGIN_NOTE, note_of, published_layer_eer, published_layers
from sourcetracing.detection.experiments.score_files import (
    MEAN,
    eers_by_part,
    is_made_from,
    markdown_table,
    masks_of,
    percent,
    read_scores,
    scores_folder,
    text_table,
    write_scores,
)
from sourcetracing.detection.experiments.selection import ALL, REPORT, SELECTION
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_frame, write_json, write_text
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings

EXPERIMENT = "layer_sweep"
AVG_ID, AVG_OOD, AVG_ALL, POOLED = "AVG_ID", "AVG_OOD", "AVG_ALL", "ALL"
AVERAGES = (AVG_ID, AVG_OOD, AVG_ALL, POOLED)


class LayerSweep:
    """The training set, the test sets and the layers of a sweep, and where the scores of a layer lie."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.training = open_sets(settings, baseline_train_sets(settings))
        self.tested = open_sets(settings, baseline_sets(settings))
        check_apart(self.training, self.tested)
        self.real_life = [one.name for one in self.tested if one.name in test_sets(settings)]
        if not self.real_life:
            raise UserError("detection.baseline_test names none of the real-life sets (detection.test); they choose the layer")
        self.layers = common_layers([*self.training, *self.tested])
        self.recipe = {
            "train": stores_record(self.training),
            "tested": stores_record(self.tested),
            "logreg": classifier_recipe(settings),
        }

    def path(self, layer: int) -> Path:
        """Scores of a layer's classifier on all test sets."""
        return scores_folder(self.settings, EXPERIMENT) / f"layer_{layer:02d}.parquet"

    def recipe_of(self, layer: int) -> dict:
        """What the scores of a layer depend on."""
        return {**self.recipe, "layer": layer}


def classifier_recipe(settings: Settings) -> dict:
    """The settings that a fitted classifier depends on."""
    recipe = asdict(settings.logreg)
    return {name: recipe[name] for name in ("c", "solver", "tolerance", "max_iterations", "standardize")}


def run_sweep(settings: Settings) -> str:
    """Fits what is not fitted, writes results/layer_sweep.csv and .md and the choice; returns text for the terminal."""
    sweep = LayerSweep(settings)
    for layer in bar(sweep.layers, desc="layers", unit="layer"):
        if not is_made_from(sweep.path(layer), sweep.recipe_of(layer)):
            write_scores(sweep.path(layer), _scores_of_layer(sweep, layer), sweep.recipe_of(layer))
    table = sweep_table(sweep)
    choice = choose_layer(table)
    results = detection_folder(settings) / "results"
    write_frame(table, results / f"{EXPERIMENT}.csv")
    write_text(results / f"{EXPERIMENT}.md", _markdown(sweep, table, choice))
    write_json(choice_path(settings), choice)
    return f"{_terminal(sweep, table, choice)}\ntables: {results / EXPERIMENT}.csv and .md"


def sweep_table(sweep: LayerSweep) -> pd.DataFrame:
    """layer, dataset, part, eer (fraction), threshold, files, published (fraction), note: sets, then the averages.

    Real-life sets and their mean AVG_OOD have the parts all, selection and report; the others only all. ALL is the EER of all files pooled.
    """
    masks, frames = None, []
    for layer in sweep.layers:
        scores = read_scores(sweep.path(layer), sweep.recipe_of(layer))
        is_real = scores["dataset"].isin(sweep.real_life).to_numpy()
        masks = masks_of(sweep.settings, scores[is_real]) if masks is None else masks
        frames.append(_eers_of_layer(sweep, scores, is_real, masks).assign(layer=layer))
    table = pd.concat(frames, ignore_index=True)
    pairs = list(zip(table["layer"], table["dataset"], table["part"], strict=True))
    is_comparable = {name: name not in AVERAGES or _has_published_sets(sweep) for name in table["dataset"].unique()}
    table["published"] = [
        published_layer_eer(layer, dataset) if part == ALL and is_comparable[dataset] else np.nan for layer, dataset, part in pairs
    ]
    table["note"] = [note_of("layers", layer) if part == ALL and dataset in sweep.real_life else "" for layer, dataset, part in pairs]
    return table[["layer", "dataset", "part", "eer", "threshold", "files", "published", "note"]]


def choose_layer(table: pd.DataFrame) -> dict:
    """The layer with the lowest mean EER on the selection parts, and the published way's; ties go to the lower layer."""
    means = table[table["dataset"] == AVG_OOD].pivot_table(index="layer", columns="part", values="eer")
    ours, theirs = int(means[SELECTION].idxmin()), int(means[ALL].idxmin())
    return {
        "layer": ours,
        "chosen_by": "mean EER on the selection parts of the real-life sets",
        "selection_eer": float(means.at[ours, SELECTION]),
        "report_eer": float(means.at[ours, REPORT]),
        "published_way": {
            "layer": theirs,
            "chosen_by": "mean EER on all files of the sets it is then reported on",
            "eer": float(means.at[theirs, ALL]),
        },
    }


def _scores_of_layer(sweep: LayerSweep, layer: int) -> pd.DataFrame:
    with scratch_folder(detection_folder(sweep.settings) / f"scratch_{EXPERIMENT}") as scratch:
        blocks = [block for one in sweep.training for block in one.blocks(layer, scratch)]
        labels = [part for one in sweep.training for part in one.labels]
        model = fit(blocks, labels, sweep.settings.logreg)
    return pd.concat([one.scored(model, layer) for one in sweep.tested], ignore_index=True)


def _eers_of_layer(sweep: LayerSweep, scores: pd.DataFrame, is_real: np.ndarray, masks: dict[str, np.ndarray]) -> pd.DataFrame:
    everything = {ALL: np.ones(len(scores), dtype=bool)}
    whole = eers_by_part(scores, everything, sweep.settings)
    whole = whole[whole["dataset"] != MEAN]
    parts = eers_by_part(
        scores[is_real].reset_index(drop=True), {part: mask for part, mask in masks.items() if part != ALL}, sweep.settings
    )
    of_real = whole["dataset"].isin(sweep.real_life)
    groups = {AVG_ID: whole[~of_real], AVG_OOD: whole[of_real], AVG_ALL: whole}
    averages = [
        {"dataset": name, "eer": rows["eer"].mean(), "files": int(rows["files"].sum())} for name, rows in groups.items() if len(rows)
    ]
    pooled, threshold = eer_of_scores(scores["label"].to_numpy(), scores["score"].to_numpy(), sweep.settings.logreg)
    averages.append({"dataset": POOLED, "eer": pooled, "threshold": threshold, "files": len(scores)})
    return pd.concat([whole, parts.replace({"dataset": {MEAN: AVG_OOD}}), pd.DataFrame(averages).assign(part=ALL)], ignore_index=True)


def _has_published_sets(sweep: LayerSweep) -> bool:
    """Whether averages over the test sets are over the published ones."""
    return {one.name for one in sweep.tested} == set(published_layers().columns) - set(AVERAGES)


def _columns(sweep: LayerSweep) -> list[str]:
    return [*(one.name for one in sweep.tested), *AVERAGES]


def _cells(table: pd.DataFrame, part: str, value: str) -> pd.DataFrame:
    return table[table["part"] == part].pivot_table(index="layer", columns="dataset", values=value, dropna=False)


def _choice_lines(choice: dict) -> list[str]:
    theirs = choice["published_way"]
    return [
        f"chosen: layer {choice['layer']}, by the selection part of the real-life sets (mean EER {percent(choice['selection_eer'])} %); "
        f"on their report part: {percent(choice['report_eer'])} %",
        f"published way: layer {theirs['layer']}, by the mean EER of all files reported: {percent(theirs['eer'])} % (optimistic, D70)",
    ]


def _terminal(sweep: LayerSweep, table: pd.DataFrame, choice: dict) -> str:
    ours, theirs, report = _cells(table, ALL, "eer"), _cells(table, ALL, "published"), _cells(table, REPORT, "eer")
    names = [name for name in _columns(sweep) if name in ours]
    head = ["layer", *names, "| OOD report", "| published: OOD", "ALL"]
    rows = [
        [
            str(layer),
            *(percent(ours.at[layer, name]) for name in names),
            percent(report.at[layer, AVG_OOD]),
            percent(theirs.at[layer, AVG_OOD]) if AVG_OOD in theirs else "–",
            percent(theirs.at[layer, POOLED]) if POOLED in theirs else "–",
        ]
        for layer in sweep.layers
    ]
    explained = (
        f"EER in %, trained on {' + '.join(one.name for one in sweep.training)}. AVG_ID: mean of the other scientific sets, AVG_OOD: of "
        f"{', '.join(sweep.real_life)}, AVG_ALL: of all; ALL: all files pooled; OOD report: AVG_OOD on the report parts."
    )
    return "\n".join([explained, *text_table(head, rows), *_choice_lines(choice), *_origin_lines(sweep.settings)])


def _markdown(sweep: LayerSweep, table: pd.DataFrame, choice: dict) -> str:
    """Every cell as ours (published)."""
    ours, theirs = _cells(table, ALL, "eer"), _cells(table, ALL, "published")
    names = [name for name in _columns(sweep) if name in ours]
    rows = [
        [str(layer), *(f"{percent(ours.at[layer, name])} ({percent(theirs.at[layer, name])})" for name in names)] for layer in sweep.layers
    ]
    lines = ["# ConfigSources: EER in %, in brackets the published one", "", *markdown_table(["layer", *names], rows), ""]
    lines += [f"AVG_ID: in-domain sets; AVG_OOD: {', '.join(sweep.real_life)}; AVG_ALL: all sets; ALL: all files pooled.", ""]
    parts = {part: _cells(table, part, "eer") for part in (SELECTION, REPORT)}
    heads = [f"{name} {part}" for name in [*sweep.real_life, AVG_OOD] for part in parts]
    rows = [
        [str(layer), *(percent(parts[part].at[layer, name]) for name in [*sweep.real_life, AVG_OOD] for part in parts)]
        for layer in sweep.layers
    ]
    lines += ["## Real-life sets, in parts", "", *markdown_table(["layer", *heads], rows), ""]
    notes = [f"layer {layer}: {note_of('layers', layer)}" for layer in sweep.layers if note_of("layers", layer)]
    return "\n".join([*lines, *(f"* {line}" for line in [*_choice_lines(choice), *notes, *_origin_lines(sweep.settings)])]) + "\n"


def _origin_lines(settings: Settings) -> list[str]:
    return [ORIGIN_NOTE] if settings.detection.origin == "demo" else []
