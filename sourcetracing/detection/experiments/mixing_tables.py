"""Tables of the mixtures: ranked by the selection part, reported on the rest, the published values beside; what each corpus adds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.detection.experiments.published import ORIGIN_NOTE, note_of, published_mixture
from sourcetracing.detection.experiments.score_files import MEAN, markdown_table, percent, text_table
from sourcetracing.detection.experiments.selection import ALL, PARTS, REPORT, SELECTION
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.schema import Settings


@dataclass(frozen=True)
class MixingResults:
    """eers: row, mixture, num_sets, files, then <set>_<part> (fractions), MEAN_<part>; a row per mixture in published order."""

    eers: pd.DataFrame
    corpora: list[str]
    tested: list[str]
    layer: int


def write_tables(settings: Settings, results: MixingResults, folder: Path) -> str:
    """Writes dataset_mixing.csv and .md, mixing_marginal.csv; returns what the terminal shows."""
    table, effects = ranked_table(results), marginal_effects(results)
    write_frame(table, folder / "dataset_mixing.csv")
    write_frame(effects, folder / "mixing_marginal.csv")
    write_text(folder / "dataset_mixing.md", _markdown(settings, results, table, effects))
    shown = table.head(settings.mixing.table_rows)
    lines = [
        f"EER in % at layer {results.layer}; the best {len(shown)} of {len(table)} mixtures, by the selection part of the real-life sets"
    ]
    lines += [*text_table(*_cells(results, shown)), *_choice_lines(results, table), "", *_effect_lines(results, effects)]
    lines += [*_origin_lines(settings), f"tables: {folder / 'dataset_mixing'}.csv and .md, {folder / 'mixing_marginal.csv'}"]
    return "\n".join(lines)


def ranked_table(results: MixingResults) -> pd.DataFrame:
    """The EERs with rank (by MEAN_selection), rank_published_way (by MEAN_all), published_<set>, published_MEAN, note; best first."""
    table = results.eers.copy()
    table.insert(0, "rank", table[f"{MEAN}_{SELECTION}"].rank(method="first").astype(int))
    table.insert(1, "rank_published_way", table[f"{MEAN}_{ALL}"].rank(method="first").astype(int))
    published = [published_mixture(mixture.split("+")) for mixture in table["mixture"]]
    for name in [*results.tested, MEAN]:
        table[f"published_{name}"] = [cells.get(name, np.nan) for cells in published]
    if set(results.tested) != {"ITW", "AI4T"}:
        table[f"published_{MEAN}"] = np.nan  # a mean over other sets
    table["note"] = [note_of("mixing", "+".join(sorted(mixture.split("+")))) for mixture in table["mixture"]]
    return table.sort_values("rank", ignore_index=True)


def marginal_effects(results: MixingResults) -> pd.DataFrame:
    """corpus, dataset, part, mean_with, mean_without, effect, paired_effect, published_effect: what each corpus adds, as fractions.

    effect: mean EER of the mixtures with the corpus minus that of those without; below zero, the corpus helps. paired_effect: mean
    change when the corpus is added to each mixture without it (the corpus alone is left out, as it is added to none). dataset MEAN:
    mean over the real-life sets.
    """
    table, rows = ranked_table(results), []
    for corpus in results.corpora:
        has = table["mixture"].str.split("+").map(lambda members, corpus=corpus: corpus in members)
        for dataset in [*results.tested, MEAN]:
            published = _difference(table[f"published_{dataset}"], has)[2]
            for part in PARTS:
                eers = table[f"{dataset}_{part}"]
                paired = _difference(eers[table["mixture"] != corpus], has)[2]
                rows.append((corpus, dataset, part, *_difference(eers, has), paired, published if part == ALL else np.nan))
    figures = ["mean_with", "mean_without", "effect", "paired_effect", "published_effect"]
    return pd.DataFrame(rows, columns=["corpus", "dataset", "part", *figures])


def _difference(eers: pd.Series, has: pd.Series) -> tuple[float, float, float]:
    """Mean with, mean without, and with minus without; nan where a mixture has no value."""
    with_it, without = eers[has].mean(skipna=False), eers[~has].mean(skipna=False)
    return with_it, without, with_it - without


def _cells(results: MixingResults, table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    tested = results.tested
    head = ["mixture", "rank", "files", "selection", "report", *(f"{name} report" for name in tested)]
    head += ["all files", *(f"{name} all (published)" for name in tested), "published mean"]
    rows = []
    for row in table.to_dict("records"):
        pairs = [f"{percent(row[f'{name}_{ALL}'])} ({percent(row[f'published_{name}'])})" for name in tested]
        cells = [str(row["rank"]), str(row["files"]), percent(row[f"{MEAN}_{SELECTION}"]), percent(row[f"{MEAN}_{REPORT}"])]
        cells += [*(percent(row[f"{name}_{REPORT}"]) for name in tested), percent(row[f"{MEAN}_{ALL}"]), *pairs]
        rows.append([row["mixture"], *cells, percent(row[f"published_{MEAN}"])])
    return head, rows


def _choice_lines(results: MixingResults, table: pd.DataFrame) -> list[str]:
    ours, theirs = table.iloc[0], table.loc[table["rank_published_way"].idxmin()]
    lines = [
        f"selection, report, all files: mean EER over {', '.join(results.tested)} on these parts.",
        f"chosen: {ours['mixture']}, by the selection part (mean EER {percent(ours[f'{MEAN}_{SELECTION}'])} %); "
        f"on the report part: {percent(ours[f'{MEAN}_{REPORT}'])} %",
        f"published way: {theirs['mixture']}, by the mean EER of the files that are reported: {percent(theirs[f'{MEAN}_{ALL}'])} % "
        "(optimistic, D70)",
    ]
    if table[f"published_{MEAN}"].notna().any():
        best = table.loc[table[f"published_{MEAN}"].idxmin()]
        printed, here = percent(best[f"published_{MEAN}"]), percent(best[f"{MEAN}_{ALL}"])
        lines.append(
            f"published best: {best['mixture']}, {printed} %; here it has {here} % on all files, rank {best['rank_published_way']}"
        )
    return lines


def _effect_lines(results: MixingResults, effects: pd.DataFrame) -> list[str]:
    """What each corpus adds, in percentage points."""
    explained = "Mean EER of the mixtures with a corpus minus that of those without it, percentage points (below 0: it helps)"
    return [explained, *text_table(*_effect_cells(results, effects))]


def _effect_cells(results: MixingResults, effects: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    values = effects.set_index(["corpus", "dataset", "part"])
    names = [*results.tested, MEAN]
    head = ["corpus", *(f"{name} report" for name in names), *(f"{name} all (published)" for name in names)]
    rows = [
        [
            corpus,
            *(_points(values.at[(corpus, name, REPORT), "effect"]) for name in names),
            *(
                f"{_points(values.at[(corpus, name, ALL), 'effect'])} ({_points(values.at[(corpus, name, ALL), 'published_effect'])})"
                for name in names
            ),
        ]
        for corpus in results.corpora
    ]
    return head, rows


def _points(difference: float) -> str:
    return "–" if np.isnan(difference) else f"{100 * difference:+.2f}"


def _markdown(settings: Settings, results: MixingResults, table: pd.DataFrame, effects: pd.DataFrame) -> str:
    lines = [f"# Mixtures of training corpora: EER in % at layer {results.layer}, best first by the selection part", ""]
    lines += [*markdown_table(*_cells(results, table)), "", *(f"* {line}" for line in _choice_lines(results, table))]
    lines += [f"* {row.mixture}: {row.note}" for row in table[table["note"] != ""].itertuples()]
    lines += [f"* {line}" for line in _origin_lines(settings)]
    head, *_ = _effect_lines(results, effects)
    return "\n".join([*lines, "", "## What each corpus adds", "", head, "", *markdown_table(*_effect_cells(results, effects)), ""])


def _origin_lines(settings: Settings) -> list[str]:
    return [ORIGIN_NOTE] if settings.detection.origin == "demo" else []
