"""From the results of the detection experiments to one page: exp/<name>/detection/report.html (exp/<name>/report.html is source tracing's).

Reads   exp/<name>/detection/files.csv, results/*.csv, scores/ and the folders of script 06; whatever is not there yet is named on the page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from markupsafe import Markup

from sourcetracing.detection.data.groups import files_alone, test_sets
from sourcetracing.detection.data.layout import DetectionLayout, ListFolder
from sourcetracing.detection.data.manifest import load_manifest
from sourcetracing.detection.experiments.published import ORIGIN_NOTE
from sourcetracing.detection.experiments.scoring import ALL, MEAN, REPORT, SELECTION, eers_by_part, masks_of, part_masks
from sourcetracing.detection.experiments.text_tables import percent
from sourcetracing.detection.report import sections
from sourcetracing.drawing.page import settings_section, write_page
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv
from sourcetracing.settings.reading import to_yaml
from sourcetracing.settings.schema import Settings
from sourcetracing.training.run_folder import environment

# results/<name>.csv -> the script that writes it
TABLES = {
    "layer_sweep": "02_layer_sweep",
    "augmented_baseline": "03_augmented_baseline",
    "dataset_mixing": "04_dataset_mixing",
    "mixing_marginal": "04_dataset_mixing",
    "pruning_levels": "05_pruning",
    "pruning_choice": "05_pruning",
    "augment_pruned": "06_augment_pruned",
}

# Columns of them that are no numbers.
TEXTS = ("what", "dataset", "part", "folder", "training", "mixture", "note", "corpus", "list", "strategy", "step", "chosen_by", "among")


@dataclass(frozen=True)
class Results:
    """What the page is made of; a table that is not there yet is None."""

    settings: Settings
    tables: dict[str, pd.DataFrame | None]
    layer_choice: dict | None

    @classmethod
    def read(cls, settings: Settings) -> Results:
        """Raises `UserError` where no experiment has results."""
        layout = DetectionLayout(settings)
        choice = layout.layer_choice
        tables = {name: read_csv(path, texts=TEXTS) if (path := layout.table(name)).is_file() else None for name in TABLES}
        if all(table is None for table in tables.values()):
            raise UserError(f"{layout.results} holds no results yet. Run: python scripts/detection/02_layer_sweep.py CONFIG.yaml")
        return cls(settings, tables, json.loads(choice.read_text(encoding="utf-8")) if choice.is_file() else None)

    @property
    def missing(self) -> list[str]:
        """Scripts whose results are not there, in order."""
        return list(dict.fromkeys(f"{TABLES[name]}.py" for name, table in self.tables.items() if table is None))


def write_detection_report(settings: Settings) -> str:
    """Writes the page; returns what was chosen and where the page is, as text. Raises `UserError`."""
    manifest, results = load_manifest(settings), Results.read(settings)
    choices, made_with = choices_table(results), environment(torch.device("cpu"))
    write_page(
        DetectionLayout(settings).report,
        title=f"{settings.name}: detection",
        eyebrow=f"Deepfake detection · experiment {settings.name}",
        headline="Is it a real voice, and which data teaches a machine to tell?",
        lead=_lead(choices, settings),
        notes=_notes(settings, results),
        tabs={**_tabs(results, choices, manifest), "Settings": [settings_section(to_yaml(settings), made_with)]},
        made_by="Made from stored results by scripts/detection/07_report.py; its numbers are in detection/results/.",
        environment=made_with,
    )
    lines = [f"  {row.decision}: {row.chosen}" for row in choices.itertuples()]
    return "\n".join([*lines, *(f"  not there yet: {name}" for name in results.missing), f"report: {DetectionLayout(settings).report}"])


def choices_table(results: Results) -> pd.DataFrame:
    """A row per decision: what the selection part chose, its EERs (fractions) on both parts, and what the published way chose."""
    rows, tables = [], results.tables
    if results.layer_choice is not None:
        ours, theirs = results.layer_choice, results.layer_choice["published_way"]
        rows.append(
            ("layer", f"layer {ours['layer']}", ours["selection_eer"], ours["report_eer"], f"layer {theirs['layer']}", theirs["eer"])
        )
    for name, what, decision in (
        ("augmented_baseline", "training", "baseline's augmentation"),
        ("dataset_mixing", "mixture", "mixture"),
        ("pruning_choice", "list", "kept files"),
        ("augment_pruned", "what", "pruning and augmentation"),
    ):
        if tables[name] is not None:
            rows.append((decision, *_chosen(_mean_eers(tables[name], what))))
    head = ["decision", "chosen", "selection", "report", "the published way", "its EER, all files"]
    return pd.DataFrame(rows, columns=head)


def _mean_eers(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Columns selection, report, all: the mean EERs of each candidate (index), the one to take where several are equal first."""
    if "part" in table:
        return table[table["dataset"] == MEAN].pivot_table(index=what, columns="part", values="eer", sort=False)
    columns = {f"{MEAN}_{part}": part for part in (SELECTION, REPORT, ALL)}
    return table.set_index(what)[list(columns)].rename(columns=columns)


def _chosen(means: pd.DataFrame) -> tuple:
    ours, theirs = means[SELECTION].round(6).argmin(), means[ALL].round(6).argmin()
    return means.index[ours], *means.iloc[ours][[SELECTION, REPORT]], means.index[theirs], means.iloc[theirs][ALL]


def _tabs(results: Results, choices: pd.DataFrame, manifest: pd.DataFrame) -> dict[str, list[Markup]]:
    tables, tested = results.tables, list(test_sets(results.settings))
    tabs = {"Choices": [sections.choices_section(choices)]}
    if tables["layer_sweep"] is not None and results.layer_choice is not None:
        real_life = [name for name in tested if (tables["layer_sweep"]["dataset"] == name).any()]
        tabs["Layers"] = [sections.layers_section(tables["layer_sweep"], results.layer_choice, real_life)]
    if tables["dataset_mixing"] is not None and tables["mixing_marginal"] is not None:
        tabs["Mixtures"] = [sections.mixing_section(tables["dataset_mixing"], tables["mixing_marginal"], tested)]
    if tables["pruning_levels"] is not None and tables["pruning_choice"] is not None:
        tabs["Pruning"] = [sections.pruning_section(tables["pruning_levels"], tables["pruning_choice"], tested)]
    tabs["Augmentation"] = [sections.augmentation_section(tables["augmented_baseline"], tables["augment_pruned"])]
    tabs["Scores"] = [_scores_tab(results, tested)]
    tabs["Corpora"] = [
        sections.corpora_section(manifest, _part_counts(results.settings, manifest), files_alone(results.settings, manifest))
    ]
    tabs["How to read"] = [sections.SECTIONS.reading()]
    return tabs


def _scores_tab(results: Results, tested: list[str]) -> Markup:
    systems, thresholds, reported = scored_systems(results), {}, {}
    for name, path in systems.items():
        scores = pd.read_parquet(path)
        scores = scores[scores["dataset"].isin(tested)].reset_index(drop=True)
        masks = masks_of(results.settings, scores)
        reported[name] = scores[masks[REPORT]]
        eers = eers_by_part(scores, {SELECTION: masks[SELECTION]}, results.settings)
        thresholds = dict(zip(eers["dataset"], eers["threshold"], strict=True))
    return sections.scores_section(reported, thresholds, tested)


def scored_systems(results: Results) -> dict[str, Path]:
    """Name -> scores of the systems that the page compares: the chosen layer's, the chosen mixture's, and those of script 06."""
    found, tables, settings = {}, results.tables, results.settings
    if results.layer_choice is not None:
        layer = results.layer_choice["layer"]
        found[f"baseline, layer {layer}"] = DetectionLayout(settings).scores("layer_sweep", f"layer_{layer:02d}")
    if tables["dataset_mixing"] is not None:
        mixture = tables["dataset_mixing"]["mixture"].iloc[0]
        found[f"mixture {mixture}"] = DetectionLayout(settings).scores("dataset_mixing", mixture)
    if tables["augment_pruned"] is not None:
        for what, folder in tables["augment_pruned"].groupby("what", sort=False)["folder"].first().items():
            found[what] = ListFolder(folder).scores
    return {name: path for name, path in found.items() if path.is_file()}


def _part_counts(settings: Settings, manifest: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, subsets in test_sets(settings).items():
        own = manifest[manifest["corpus"].isin(subsets)].reset_index(drop=True)
        for part, mask in part_masks(settings, own).items():
            labels = own["label"][mask]
            rows.append(
                (name, part, int(mask.sum()), (labels == "bonafide").sum(), (labels == "spoof").sum(), own["group"][mask].nunique())
            )
    return pd.DataFrame(rows, columns=["set", "part", "files", "bonafide", "spoof", "groups"])


def _lead(choices: pd.DataFrame, settings: Settings) -> str:
    names = " and ".join(test_sets(settings))
    best = choices.loc[choices["selection"].idxmin()] if len(choices) else None
    reached = f" The best choice on the selection part reaches {percent(best['report'])} % on the report part." if best is not None else ""
    return f"A linear classifier on self-supervised features, tested on {names}, which it never saw in training.{reached} Figures are EERs."


def _notes(settings: Settings, results: Results) -> list[str]:
    notes = [f"No results of {name} yet: run scripts/detection/{name}" for name in results.missing]
    if settings.detection.origin == "demo":
        notes.insert(0, "Demo: bona fide is PLAYED BY synthetic speech. These numbers mean nothing about real speech. " + ORIGIN_NOTE)
    return notes
