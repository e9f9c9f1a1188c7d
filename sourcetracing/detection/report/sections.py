"""The tabs of the detection report: each function takes the tables of one experiment and gives a section. EERs come as fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from sourcetracing.detection.experiments.pruning import BY_SELECTION
from sourcetracing.detection.experiments.scoring import ALL, MEAN, REPORT, SELECTION
from sourcetracing.detection.report import pictures as figures
from sourcetracing.drawing.templates import macros
from sourcetracing.drawing.text import percent, points

SECTIONS = macros(__file__, "sections.html")
SHOWN_MIXTURES = 20


def percent_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers that are fractions as texts in percent; everything else as it is."""
    fractions = [column for column in frame if frame[column].dtype == float]
    return frame.assign(**{column: [percent(value, 2) for value in frame[column]] for column in fractions})


def choices_section(choices: pd.DataFrame) -> Markup:
    """What was chosen where; choices: decision, chosen (on the selection part), its report EER, the same of the published way."""
    return SECTIONS.choices(percent_columns(choices))


def layers_section(table: pd.DataFrame, choice: Mapping, real_life: Sequence[str]) -> Markup:
    """Curves over layers, ours and published, and the table; table: of results/layer_sweep.csv."""
    chosen = {"chosen": choice["layer"], "published way": choice["published_way"]["layer"]}

    def curve(dataset: str, part: str = ALL, value: str = "eer") -> pd.Series:
        return table[(table["dataset"] == dataset) & (table["part"] == part)].set_index("layer")[value]

    names = {"AVG_ID": "in-domain sets", "AVG_OOD": "real-life sets", "AVG_ALL": "all sets"}
    averages = {text: curve(name) for name, text in names.items() if (table["dataset"] == name).any()}
    theirs = {text: curve(name, value="published") for name, text in names.items() if (table["dataset"] == name).any()}
    pictures = [
        figures.as_image(figures.draw_layers(averages, theirs, chosen, "Averages over sets, all files"), "EER over layers, averages")
    ]
    for name in real_life:
        curves = {f"{name}, {part} part": curve(name, part) for part in (SELECTION, REPORT)} | {f"{name}, all files": curve(name)}
        published = {f"{name}, all files": curve(name, value="published")}
        pictures.append(figures.as_image(figures.draw_layers(curves, published, chosen, name), f"EER over layers on {name}"))
    wide = table[table["part"] == ALL].pivot_table(index="layer", columns="dataset", values="eer", sort=False)
    wide["AVG_OOD report part"] = curve("AVG_OOD", REPORT)
    return SECTIONS.layers(pictures, percent_columns(wide.reset_index()))


def mixing_section(table: pd.DataFrame, effects: pd.DataFrame, tested: Sequence[str]) -> Markup:
    """The ranking of all mixtures and what each corpus adds; tables: of results/dataset_mixing.csv and mixing_marginal.csv."""
    report = effects[(effects["dataset"] == MEAN) & (effects["part"] == REPORT)]
    theirs = effects[(effects["dataset"] == MEAN) & (effects["part"] == ALL)].set_index("corpus")["published_effect"]
    report = report.assign(published_effect=report["corpus"].map(theirs))
    selection, reported = (table[f"{MEAN}_{part}"].to_numpy() for part in (SELECTION, REPORT))
    ways = int(table["rank"].argmin()), int(table["rank_published_way"].argmin())
    pictures = [
        figures.as_image(figures.draw_effects(report, "Contribution of each corpus, report part"), "Mean change of EER by corpus"),
        figures.as_image(figures.draw_transfer(selection, reported, *ways, f"{len(table)} mixtures"), "EER on selection and report part"),
    ]
    columns = {"rank": "rank", "mixture": "mixture", "files": "files", f"{MEAN}_{SELECTION}": "selection", f"{MEAN}_{REPORT}": "report"}
    columns |= {f"{name}_{REPORT}": f"{name} report" for name in tested} | {f"{name}_{ALL}": f"{name} all" for name in tested}
    columns |= {f"published_{name}": f"{name} published" for name in tested} | {"rank_published_way": "rank the published way"}
    ranked = percent_columns(table[list(columns)].rename(columns=columns))
    return SECTIONS.mixtures(pictures, ranked, min(SHOWN_MIXTURES, len(ranked)), _effects_table(effects))


def _effects_table(effects: pd.DataFrame) -> pd.DataFrame:
    wide = effects.assign(column=effects["dataset"] + " " + effects["part"]).pivot_table(
        index="corpus", columns="column", values="effect", sort=False
    )
    return wide.map(lambda value: points(value, 2)).reset_index()


def pruning_section(levels: pd.DataFrame, choices: pd.DataFrame, tested: Sequence[str]) -> Markup:
    """Curves over the kept share and the best step of each strategy; tables: of results/pruning_levels.csv and pruning_choice.csv."""
    pictures = []
    for dataset in [MEAN, *tested]:
        own = levels[(levels["dataset"] == dataset) & (levels["part"] == REPORT)]
        everything = float(own.loc[own["strategy"] == "everything", "eer"].iloc[0])
        title = f"{'Mean of the real-life sets' if dataset == MEAN else dataset}, report part"
        drawn = figures.draw_kept(own[own["strategy"] != "everything"], everything, title)
        pictures.append(figures.as_image(drawn, f"EER over kept files, {dataset}"))
    columns = {"among": "strategy", "list": "kept files", "percent_kept": "kept, %"}
    columns |= {f"{MEAN}_{part}": f"mean, {part}" for part in (SELECTION, REPORT)}
    columns |= {f"{name}_{REPORT}": f"{name}, {REPORT}" for name in tested}
    best = choices[(choices["chosen_by"] == BY_SELECTION) & (choices["among"] != "all")]
    best = best.assign(percent_kept=[f"{value:.1f}" for value in best["percent_kept"]])
    return SECTIONS.pruning(pictures, percent_columns(best[list(columns)].rename(columns=columns)))


def augmentation_section(baseline: pd.DataFrame | None, pruned: pd.DataFrame | None) -> Markup:
    """Augmentation of everything (script 03) and of what pruning kept (script 06): EER in %."""
    if baseline is None and pruned is None:
        return Markup()
    return SECTIONS.augmentation(_eer_table(baseline, "training"), _eer_table(pruned, "what"))


def _eer_table(results: pd.DataFrame | None, what: str) -> pd.DataFrame | None:
    if results is None:
        return None
    shown = results[results["part"].isin([REPORT, ALL])]
    column = shown["dataset"] + np.where(shown["part"] == REPORT, " report", " all")
    wide = shown.assign(column=column).pivot_table(index=what, columns="column", values="eer", sort=False)
    ordered = sorted(wide.columns, key=lambda name: not name.endswith(" report"))
    return percent_columns(wide[ordered].reset_index())


def scores_section(systems: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float], tested: Sequence[str]) -> Markup:
    """DET curves of all systems and histograms of the last one's scores on the report parts, set by set; thresholds: of the selection part.

    systems: name -> dataset, label, score of the report parts.
    """
    if not systems:
        return Markup()
    curves, histograms = [], []
    last, scores = list(systems.items())[-1]
    for name in tested:
        own = {system: frame[frame["dataset"] == name] for system, frame in systems.items()}
        curves.append(figures.as_image(figures.draw_det(own, f"{name}, report part"), f"DET curves on {name}"))
        drawn = figures.draw_histogram(scores[scores["dataset"] == name], thresholds[name], f"{name}, report part")
        histograms.append(figures.as_image(drawn, f"Scores on {name}"))
    return SECTIONS.scores(curves, last, histograms)


def corpora_section(manifest: pd.DataFrame, parts: pd.DataFrame, torn: Sequence[str] = ()) -> Markup:
    """Counts of every subset, and of both parts of the real-life sets. parts: set, part, files, bonafide, spoof, groups.

    torn: files that no group holds together, in words.
    """
    grouped = manifest.groupby("corpus", sort=False)
    counts = pd.DataFrame(
        {
            "files": grouped.size(),
            "bonafide": grouped["label"].agg(lambda labels: int((labels == "bonafide").sum())),
            "spoof": grouped["label"].agg(lambda labels: int((labels == "spoof").sum())),
            "speakers": grouped["speaker"].agg(lambda names: names[names != ""].nunique()),
            "hours": grouped["duration_s"].sum() / 3600,
        }
    ).reset_index()
    return SECTIONS.corpora(counts, parts, torn)
