"""Which layer is best: a classifier for each, trained on one set and tested on the others.

The layer is chosen by the mean EER on the selection parts of the real-life sets and reported on their other parts. The published way,
by the EERs of the very files that are reported, stands beside it (D70).
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from sourcetracing.detection.classifier.logistic import eer_of_scores, fit, fit_recipe
from sourcetracing.detection.data.groups import BASELINE_TRAIN, baseline_sets, named_sets, test_sets
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.experiments.published import note_of, origin_lines, published_layer_eer, published_layers
from sourcetracing.detection.experiments.scoring import ALL, MEAN, REPORT, SELECTION, ScoreFile, eers_by_part, masks_of, scores_of
from sourcetracing.detection.experiments.text_tables import markdown_table, percent, text_table
from sourcetracing.detection.features.feature_sets import check_apart, common_layers, open_sets, scratch_folder, stores_record
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_frame, write_json, write_text
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings

EXPERIMENT = "layer_sweep"
AVG_ID, AVG_OOD, AVG_ALL, POOLED = "AVG_ID", "AVG_OOD", "AVG_ALL", "ALL"
AVERAGES = (AVG_ID, AVG_OOD, AVG_ALL, POOLED)
SWEEP_COMMAND = "python scripts/detection/02_layer_sweep.py CONFIG.yaml"


def working_layer(settings: Settings) -> int:
    """logreg.layer as a number. Raises `UserError` for logreg.layer=sweep before the sweep was made."""
    wanted = settings.logreg.layer
    if wanted != "sweep":
        if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
            raise UserError(f"logreg.layer={wanted!r}: a layer's number is expected, or sweep")
        return wanted
    path = DetectionLayout(settings).layer_choice
    if not path.is_file():
        raise UserError(f"logreg.layer=sweep, but no layer is chosen yet ({path} is missing). Run: {SWEEP_COMMAND}, or set logreg.layer=9")
    return int(json.loads(path.read_text(encoding="utf-8"))["layer"])


class LayerSweep:
    """The training set, the test sets and the layers of a sweep."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.training = open_sets(settings, named_sets(settings, BASELINE_TRAIN))
        self.tested = open_sets(settings, baseline_sets(settings))
        check_apart(self.training, self.tested)
        self.real_life = [one.name for one in self.tested if one.name in test_sets(settings)]
        if not self.real_life:
            raise UserError("detection.baseline_test names none of the real-life sets (detection.test); they choose the layer")
        self.layers = common_layers([*self.training, *self.tested])

    def scores(self, layer: int) -> ScoreFile:
        """Scores of a layer's classifier on all test sets."""
        stores = {"train": stores_record(self.training), "tested": stores_record(self.tested)}
        recipe = {**stores, "logreg": fit_recipe(self.settings.logreg), "layer": layer}
        return ScoreFile(DetectionLayout(self.settings).scores(EXPERIMENT, f"layer_{layer:02d}"), recipe)


def run_sweep(settings: Settings) -> str:
    """Fits what is not fitted, writes results/layer_sweep.csv and .md and the choice; returns text for the terminal."""
    sweep, layout = LayerSweep(settings), DetectionLayout(settings)
    for layer in bar(sweep.layers, desc="layers", unit="layer"):
        if not sweep.scores(layer).is_made:
            sweep.scores(layer).write(_scores_of_layer(sweep, layer))
    table = sweep_table(sweep)
    choice = choose_layer(table)
    write_frame(table, layout.table(EXPERIMENT))
    write_text(layout.text(EXPERIMENT), _markdown(sweep, table, choice))
    write_json(layout.layer_choice, choice)
    return f"{_terminal(sweep, table, choice)}\ntables: {layout.table(EXPERIMENT)} and .md"


def sweep_table(sweep: LayerSweep) -> pd.DataFrame:
    """layer, dataset, part, eer (fraction), threshold, files, published (fraction), note: sets, then the averages.

    Real-life sets and their mean AVG_OOD have the parts all, selection and report; the others only all. ALL is the EER of all files pooled.
    """
    masks, frames = None, []
    for layer in sweep.layers:
        scores = sweep.scores(layer).read()
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
    with scratch_folder(DetectionLayout(sweep.settings).scratch(EXPERIMENT)) as scratch:
        blocks = [block for one in sweep.training for block in one.blocks(layer, scratch)]
        model = fit(blocks, [part for one in sweep.training for part in one.labels], sweep.settings.logreg)
    return scores_of(model, sweep.tested, [one.blocks(layer) for one in sweep.tested])


def _eers_of_layer(sweep: LayerSweep, scores: pd.DataFrame, is_real: np.ndarray, masks: dict[str, np.ndarray]) -> pd.DataFrame:
    whole = eers_by_part(scores, {ALL: np.ones(len(scores), dtype=bool)}, sweep.settings)
    whole = whole[whole["dataset"] != MEAN]
    chosen = {part: masks[part] for part in (SELECTION, REPORT)}
    parts = eers_by_part(scores[is_real].reset_index(drop=True), chosen, sweep.settings).replace({"dataset": {MEAN: AVG_OOD}})
    of_real = whole["dataset"].isin(sweep.real_life)
    groups = {AVG_ID: whole[~of_real], AVG_OOD: whole[of_real], AVG_ALL: whole}
    averages = [{"dataset": name, "eer": own["eer"].mean(), "files": int(own["files"].sum())} for name, own in groups.items() if len(own)]
    pooled, threshold = eer_of_scores(scores["label"].to_numpy(), scores["score"].to_numpy(), sweep.settings.logreg)
    averages.append({"dataset": POOLED, "eer": pooled, "threshold": threshold, "files": len(scores)})
    return pd.concat([whole, parts, pd.DataFrame(averages).assign(part=ALL)], ignore_index=True)


def _has_published_sets(sweep: LayerSweep) -> bool:
    """Whether averages over the test sets are over the published ones."""
    return {one.name for one in sweep.tested} == set(published_layers().columns) - set(AVERAGES)


def _cells(sweep: LayerSweep, table: pd.DataFrame, part: str, value: str) -> pd.DataFrame:
    """In percent, as text: layers (index) x sets and averages."""
    wide = table[table["part"] == part].pivot_table(index="layer", columns="dataset", values=value, dropna=False)
    return wide[[name for name in [*(one.name for one in sweep.tested), *AVERAGES] if name in wide]].map(percent)


def _choice_lines(choice: dict) -> list[str]:
    theirs = choice["published_way"]
    return [
        f"chosen: layer {choice['layer']}, by the selection part of the real-life sets (mean EER {percent(choice['selection_eer'])} %); "
        f"on their report part: {percent(choice['report_eer'])} %",
        f"published way: layer {theirs['layer']}, by the mean EER of all files reported: {percent(theirs['eer'])} % (optimistic, D70)",
    ]


def _terminal(sweep: LayerSweep, table: pd.DataFrame, choice: dict) -> str:
    ours, theirs = _cells(sweep, table, ALL, "eer"), _cells(sweep, table, ALL, "published")
    report = _cells(sweep, table, REPORT, "eer")[AVG_OOD]
    more = pd.DataFrame({"| OOD report": report, "| published: OOD": theirs.get(AVG_OOD, "–"), "ALL": theirs.get(POOLED, "–")})
    cells = pd.concat([ours, more], axis=1).reset_index()
    explained = (
        f"EER in %, trained on {' + '.join(one.name for one in sweep.training)}. AVG_ID: mean of the other scientific sets, AVG_OOD: of "
        f"{', '.join(sweep.real_life)}, AVG_ALL: of all; ALL: all files pooled; OOD report: AVG_OOD on the report parts."
    )
    return "\n".join([explained, *text_table(cells), *_choice_lines(choice), *origin_lines(sweep.settings)])


def _markdown(sweep: LayerSweep, table: pd.DataFrame, choice: dict) -> str:
    """Every cell as ours (published)."""
    ours, theirs = _cells(sweep, table, ALL, "eer"), _cells(sweep, table, ALL, "published")
    lines = ["# Layers: EER in %, in brackets the published one", ""]
    lines += [*markdown_table((ours + " (" + theirs[list(ours)] + ")").reset_index()), ""]
    lines += [f"AVG_ID: in-domain sets; AVG_OOD: {', '.join(sweep.real_life)}; AVG_ALL: all sets; ALL: all files pooled.", ""]
    parts = {part: _cells(sweep, table, part, "eer") for part in (SELECTION, REPORT)}
    columns = {f"{name} {part}": parts[part][name] for name in [*sweep.real_life, AVG_OOD] for part in parts}
    lines += ["## Real-life sets, in parts", "", *markdown_table(pd.DataFrame(columns).reset_index()), ""]
    notes = [f"layer {layer}: {note_of('layers', layer)}" for layer in sweep.layers if note_of("layers", layer)]
    return "\n".join([*lines, *(f"* {line}" for line in [*_choice_lines(choice), *notes, *origin_lines(sweep.settings)])]) + "\n"
