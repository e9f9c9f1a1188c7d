"""The tabs of the detection report: each function takes the tables of one experiment and gives HTML. EERs come as fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from sourcetracing.detection.experiments.pruning import BY_SELECTION
from sourcetracing.detection.experiments.scoring import ALL, MEAN, REPORT, SELECTION
from sourcetracing.detection.report import pictures as figures
from sourcetracing.report import charts

SHOWN_MIXTURES = 20


def figures_in_pairs(pictures: Sequence[str]) -> str:
    """Pictures beside each other where there is room."""
    return f'<div class="pair">{"".join(f"<figure>{picture}</figure>" for picture in pictures)}</div>'


def percent_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers that are fractions as texts in percent; everything else as it is."""
    fractions = [column for column in frame if frame[column].dtype == float]
    return frame.assign(**{column: ["–" if np.isnan(value) else f"{100 * value:.2f}" for value in frame[column]] for column in fractions})


def choices_section(choices: pd.DataFrame) -> str:
    """What was chosen where; choices: decision, chosen (on the selection part), its report EER, the same of the published way."""
    text = (
        "Every decision is made twice. Ours: by the mean EER on the selection part of the real-life sets, reported on their other part, "
        "whose speakers and recordings had no say. The published way: by the EER of the very files that are then reported; such a figure "
        "is too good. EER in %, mean over the real-life sets."
    )
    table = charts.plain_table(percent_columns(choices))
    return f"<h2>What was chosen where</h2><p>{text}</p>{table}"


def layers_section(table: pd.DataFrame, choice: Mapping, real_life: Sequence[str]) -> str:
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
    text = (
        "A linear classifier on the mean over time of each layer. Dashed: published. Upright lines: the layer that was chosen, either way."
    )
    wide = table[table["part"] == ALL].pivot_table(index="layer", columns="dataset", values="eer", sort=False)
    report = curve("AVG_OOD", REPORT)
    wide["AVG_OOD report part"] = report
    shown = charts.plain_table(percent_columns(wide.reset_index()), sortable=True)
    return f"<h2>Layers</h2><p>{text}</p>{figures_in_pairs(pictures)}<h3>EER in %, all files</h3>{shown}"


def mixing_section(table: pd.DataFrame, effects: pd.DataFrame, tested: Sequence[str]) -> str:
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
    text = (
        "A classifier for every mixture of the training corpora. Contribution: mean EER of the mixtures with a corpus minus that of those "
        "without it; below zero (blue) it helps. Diamonds: the same of the published EERs."
    )
    columns = {"rank": "rank", "mixture": "mixture", "files": "files", f"{MEAN}_{SELECTION}": "selection", f"{MEAN}_{REPORT}": "report"}
    columns |= {f"{name}_{REPORT}": f"{name} report" for name in tested} | {f"{name}_{ALL}": f"{name} all" for name in tested}
    columns |= {f"published_{name}": f"{name} published" for name in tested} | {"rank_published_way": "rank the published way"}
    ranked = percent_columns(table[list(columns)].rename(columns=columns))
    best = charts.plain_table(ranked.head(SHOWN_MIXTURES), sortable=True)
    every = charts.plain_table(ranked, sortable=True)
    return (
        f"<h2>Mixtures of training corpora</h2><p>{text}</p>{figures_in_pairs(pictures)}"
        f"<h3>The best {min(SHOWN_MIXTURES, len(ranked))} of {len(ranked)}, by the selection part; EER in %</h3>{best}"
        f"<details><summary>All {len(ranked)} mixtures</summary>{every}</details>{_effects_table(effects)}"
    )


def _effects_table(effects: pd.DataFrame) -> str:
    wide = effects.assign(column=effects["dataset"] + " " + effects["part"]).pivot_table(
        index="corpus", columns="column", values="effect", sort=False
    )
    signed = wide.map(lambda value: f"{100 * value:+.2f}").reset_index()
    head = "<h3>Contribution of each corpus in percentage points</h3>"
    return f"{head}{charts.plain_table(signed, sortable=True)}"


def pruning_section(levels: pd.DataFrame, choices: pd.DataFrame, tested: Sequence[str]) -> str:
    """Curves over the kept share and the best step of each strategy; tables: of results/pruning_levels.csv and pruning_choice.csv."""
    pictures = []
    for dataset in [MEAN, *tested]:
        own = levels[(levels["dataset"] == dataset) & (levels["part"] == REPORT)]
        everything = float(own.loc[own["strategy"] == "everything", "eer"].iloc[0])
        title = f"{'Mean of the real-life sets' if dataset == MEAN else dataset}, report part"
        drawn = figures.draw_kept(own[own["strategy"] != "everything"], everything, title)
        pictures.append(figures.as_image(drawn, f"EER over kept files, {dataset}"))
    text = (
        "Files are removed from the training sets and a classifier is fitted on what is kept. Random: mean and one standard deviation over "
        "its seeds. Cluster: by the distance to the mean of one's class within the data set. Margin: by the distance to the boundary of a "
        "classifier fitted on everything; noisy removes the nearest files, both the nearest and the furthest."
    )
    columns = {"among": "strategy", "list": "kept files", "percent_kept": "kept, %"}
    columns |= {f"{MEAN}_{part}": f"mean, {part}" for part in (SELECTION, REPORT)}
    columns |= {f"{name}_{REPORT}": f"{name}, {REPORT}" for name in tested}
    best = choices[(choices["chosen_by"] == BY_SELECTION) & (choices["among"] != "all")].assign(
        percent_kept=[
            f"{value:.1f}" for value in choices.loc[(choices["chosen_by"] == BY_SELECTION) & (choices["among"] != "all"), "percent_kept"]
        ]
    )
    table = charts.plain_table(percent_columns(best[list(columns)].rename(columns=columns)), sortable=True)
    return (
        f"<h2>Pruning</h2><p>{text}</p>{figures_in_pairs(pictures)}"
        f"<h3>The best step of each strategy, chosen on the selection part; EER in %</h3>{table}"
    )


def augmentation_section(baseline: pd.DataFrame | None, pruned: pd.DataFrame | None) -> str:
    """Augmentation of everything (script 03) and of what pruning kept (script 06): EER in %."""
    parts = []
    if baseline is not None:
        text = "The baseline trained on clean files, and with RawBoost and codec copies of them."
        parts.append(f"<h3>Before pruning</h3><p>{text}</p>{_eer_table(baseline, 'training')}")
    if pruned is not None:
        text = "All training files, the kept ones, and the kept ones after a part of them was replaced by codec and RawBoost copies."
        parts.append(f"<h3>After pruning</h3><p>{text}</p>{_eer_table(pruned, 'what')}")
    return f"<h2>Augmentation</h2>{''.join(parts)}" if parts else ""


def _eer_table(results: pd.DataFrame, what: str) -> str:
    shown = results[results["part"].isin([REPORT, ALL])]
    column = shown["dataset"] + np.where(shown["part"] == REPORT, " report", " all")
    wide = shown.assign(column=column).pivot_table(index=what, columns="column", values="eer", sort=False)
    ordered = sorted(wide.columns, key=lambda name: not name.endswith(" report"))
    return charts.plain_table(percent_columns(wide[ordered].reset_index()))


def scores_section(systems: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float], tested: Sequence[str]) -> str:
    """DET curves of all systems and histograms of the last one's scores on the report parts, set by set; thresholds: of the selection part.

    systems: name -> dataset, label, score of the report parts.
    """
    if not systems:
        return ""
    curves, histograms = [], []
    last, scores = list(systems.items())[-1]
    for name in tested:
        own = {system: frame[frame["dataset"] == name] for system, frame in systems.items()}
        curves.append(figures.as_image(figures.draw_det(own, f"{name}, report part"), f"DET curves on {name}"))
        drawn = figures.draw_histogram(scores[scores["dataset"] == name], thresholds[name], f"{name}, report part")
        histograms.append(figures.as_image(drawn, f"Scores on {name}"))
    text = "How many spoofed files pass if so many bona fide ones may be rejected. The dotted diagonal is where both shares are equal."
    return (
        f"<h2>Detection error trade-off</h2><p>{text}</p>{figures_in_pairs(curves)}"
        f"<h2>Scores</h2><p>Of the last system above: {escape(last)}.</p>{figures_in_pairs(histograms)}"
    )


def corpora_section(manifest: pd.DataFrame, parts: pd.DataFrame) -> str:
    """Counts of every subset, and of both parts of the real-life sets. parts: set, part, files, bonafide, spoof, groups."""
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
    text = "A real-life set is cut by speaker or recording: what is in one part is not in the other."
    return (
        f"<h2>Corpora</h2>{charts.plain_table(counts, sortable=True)}"
        f"<h3>Selection and report part of the real-life sets</h3><p>{text}</p>{charts.plain_table(parts)}"
    )


def reading_section() -> str:
    """The words of this page."""
    terms = {
        "EER": "Equal error rate: the threshold is set so that the share of spoofed files that pass is that of bona fide files that are "
        "rejected; this share, in percent. 0 is perfect, 50 is guessing.",
        "Score": "The distance to the classifier's boundary. Higher means bona fide, everywhere.",
        "Real-life sets": "Recordings from the wild that are never trained on.",
        "Selection part": "Some speakers or recordings of each real-life set, on which all is chosen: layer, mixture, step, threshold.",
        "Report part": "The rest of each real-life set. It chose nothing; its EERs are the ones to quote.",
        "All files, published way": "The whole real-life sets, which also chose. To compare with published figures; too good like them.",
        "Mean": "The mean of the EERs of the real-life sets; not the EER of their files in one heap.",
    }
    return f"<h2>How to read this</h2><dl>{''.join(f'<div><dt>{term}</dt><dd>{text}</dd></div>' for term, text in terms.items())}</dl>"
