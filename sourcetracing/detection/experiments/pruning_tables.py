"""EERs of the lists of kept files on both parts of the real-life sets, and which list is best: by the selection part, and as published.

Columns of results/pruning.csv: list, strategy, step, seed, kept, of, percent_kept, bonafide, spoof, dataset, part, eer, threshold,
files.
part: selection, report, or all (both). EERs are fractions. The dataset MEAN is the mean of the EERs of all sets.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.manifest import detection_folder
from sourcetracing.detection.experiments.layer_choice import working_layer
from sourcetracing.detection.experiments.pruning import EVERYTHING, RANDOM, PruningPlan, make_lists
from sourcetracing.detection.experiments.score_files import MEAN, eers_by_part, markdown_table, masks_of
from sourcetracing.detection.experiments.selection import ALL, PARTS, REPORT, SELECTION
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.schema import Settings

BY_SELECTION, BY_TEST = "selection part", "whole test sets, as published"


def pruning_results(settings: Settings, folder: Path) -> pd.DataFrame:
    """The EERs of all lists of a finished folder, list after list."""
    names = json.loads((folder / "finished.json").read_text(encoding="utf-8"))["lists"]
    masks, frames = None, []
    for name in names:
        facts = json.loads((folder / name / "list.json").read_text(encoding="utf-8"))
        if not facts["has_both"]:
            continue
        scores = pd.read_parquet(folder / name / "scores.parquet")
        masks = masks_of(settings, scores) if masks is None else masks
        known = {key: facts[key] for key in ("list", "strategy", "step", "seed", "kept", "of")}
        known |= {"percent_kept": 100 * facts["kept"] / facts["of"], "bonafide": facts["bonafide"], "spoof": facts["spoof"]}
        frames.append(pd.DataFrame([known]).merge(eers_by_part(scores, masks, settings), how="cross"))
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
    lines = ["# Pruning: EER in %, chosen on the selection part and reported on the rest; as published beside it", ""]
    return "\n".join([*lines, *_table(_percent(choices)), "", "## Every level", "", *_table(_percent(_wide(levels))), ""])


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
    return f"{row['list']}, {row['percent_kept']:.1f} % kept" + (", mean over seeds" if row["strategy"] == RANDOM else "")


def _wide(levels: pd.DataFrame) -> pd.DataFrame:
    columns = levels["dataset"] + "_" + levels["part"]
    wide = levels.assign(column=columns).pivot_table(index=["strategy", "step", "percent_kept"], columns="column", values="eer", sort=False)
    return wide[list(dict.fromkeys(columns))].reset_index()


def _percent(frame: pd.DataFrame) -> pd.DataFrame:
    eers = [column for column in frame if column.endswith(PARTS)]
    return frame.assign(**{column: 100 * frame[column] for column in eers})


def _table(frame: pd.DataFrame) -> list[str]:
    texts = [[f"{value:.2f}" if isinstance(value, float) else str(value) for value in row] for row in frame.itertuples(index=False)]
    return markdown_table(list(frame.columns), texts)


def run_pruning(settings: Settings) -> str:
    """Makes the lists that are missing, writes the tables; returns what was chosen, and where it is, as text. Raises `UserError`."""
    plan = PruningPlan(settings, working_layer(settings))
    make_lists(plan)
    results = pruning_results(settings, plan.folder)
    levels = pruning_levels(results)
    choices = choose_levels(levels)
    folder = detection_folder(settings) / "results"
    for name, frame in (("pruning", results), ("pruning_levels", levels), ("pruning_choice", choices)):
        write_frame(frame, folder / f"{name}.csv")
    write_text(folder / "pruning.md", markdown(choices, levels))
    kept = f"{results['list'].nunique()} lists at layer {plan.layer}: {plan.folder}"
    return "\n".join([summary(choices), kept, f"tables: {folder}/pruning.md, pruning.csv, pruning_choice.csv"])
