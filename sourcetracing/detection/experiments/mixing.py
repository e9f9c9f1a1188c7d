"""All mixtures of the training corpora: one classifier for each, tested on the real-life sets; what each corpus adds (D85).

Each finished mixture is a model and a file of scores, so an interrupted run goes on where it was. The mixtures are fitted from all corpora
down to single ones, because a larger one is a good start for a smaller one (`mixing_solver`); tables have the published order of
itertools.combinations, or are ranked by the selection part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from shutil import rmtree

import numpy as np
import pandas as pd

from sourcetracing.detection.classifier.logistic import fit_recipe, load_model, save_model
from sourcetracing.detection.classifier.mixing_solver import Corpus, MixingSolver
from sourcetracing.detection.data.groups import MIXED, test_sets, training_sets
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.experiments.layer_sweep import working_layer
from sourcetracing.detection.experiments.published import note_of, origin_lines, published_mixture
from sourcetracing.detection.experiments.scoring import ALL, MEAN, PARTS, REPORT, SELECTION, ScoreFile, eers_by_part, masks_of, scores_of
from sourcetracing.detection.experiments.text_tables import markdown_table, percent, text_table
from sourcetracing.detection.features.feature_sets import FeatureSet, check_apart, open_sets, sole_user, stores_record
from sourcetracing.runtime.files import digest_of_json, write_frame, write_text
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings

EXPERIMENT = "dataset_mixing"
MARGINAL = "mixing_marginal"
EFFECT_TEXT = "Mean EER of the mixtures with a corpus minus that of those without it, percentage points (below 0: it helps)"
Mixture = tuple[str, ...]


@dataclass(frozen=True)
class MixingPlan:
    """What is mixed, at which layer, and where the parts of the answer lie."""

    settings: Settings
    layer: int
    training: dict[str, FeatureSet]
    tested: list[FeatureSet]

    @classmethod
    def of(cls, settings: Settings) -> MixingPlan:
        """Raises `UserError` where features are missing or a corpus is both mixed and tested."""
        training = open_sets(settings, training_sets(settings, MIXED))
        tested = open_sets(settings, test_sets(settings))
        check_apart(training, tested)
        return cls(settings, working_layer(settings), {one.name: one for one in training}, tested)

    @property
    def mixtures(self) -> list[Mixture]:
        """All non-empty subsets of the corpora, in the published order."""
        return mixtures_of(list(self.training))

    def model_path(self, mixture: Mixture) -> Path:
        return DetectionLayout(self.settings).mixture_model("+".join(mixture))

    def scores(self, mixture: Mixture) -> ScoreFile:
        """Scores of a mixture's classifier on the real-life sets; their recipe is that of the model too."""
        trained, tested = stores_record([self.training[name] for name in mixture]), stores_record(self.tested)
        recipe = {"trained": trained, "tested": tested, "layer": self.layer, "logreg": fit_recipe(self.settings.logreg)}
        return ScoreFile(DetectionLayout(self.settings).scores(EXPERIMENT, "+".join(mixture)), recipe)

    def is_finished(self, mixture: Mixture) -> bool:
        return self.model_path(mixture).is_file() and self.scores(mixture).is_made


@dataclass(frozen=True)
class MixingResults:
    """eers: row, mixture, num_sets, files, then <set>_<part> (fractions), MEAN_<part>; a row per mixture in published order."""

    eers: pd.DataFrame
    corpora: list[str]
    tested: list[str]
    layer: int


def mixtures_of(names: Sequence[str]) -> list[Mixture]:
    """All non-empty subsets: single ones first, each size in the order of itertools.combinations; 127 of seven."""
    return [members for size in range(1, len(names) + 1) for members in combinations(names, size)]


def start_of(mixture: Mixture, names: Sequence[str], num_rows: dict[str, int]) -> Mixture:
    """The mixture that has one corpus more, the smallest one that is missing; in the order of `names`."""
    missing = [name for name in names if name not in mixture]
    added = min(missing, key=lambda name: (num_rows[name], names.index(name)))
    return tuple(name for name in names if name in mixture or name == added)


def run_mixing(settings: Settings) -> str:
    """Fits the mixtures that are missing, writes the tables; returns text for the terminal."""
    plan = MixingPlan.of(settings)
    make_mixtures(plan)
    return write_tables(settings, mixing_results(plan))


def make_mixtures(plan: MixingPlan) -> None:
    """Fits and scores the mixtures that are not finished. Can be interrupted at any time; waits while another process does the same."""
    if all(map(plan.is_finished, plan.mixtures)):
        return
    shared = DetectionLayout(plan.settings).scratch("mixing")
    with sole_user(shared):
        _fit_missing(plan, shared)
        rmtree(shared, ignore_errors=True)  # those of other settings too


def _fit_missing(plan: MixingPlan, shared: Path) -> None:
    order = plan.mixtures[::-1]
    missing = [mixture for mixture in order if not plan.is_finished(mixture)]
    scratch = shared / digest_of_json(plan.scores(order[0]).recipe)[:8]  # of all that the content depends on
    blocks = {one.name: one.blocks(plan.layer, scratch) for one in [*plan.training.values(), *plan.tested]}
    solver = MixingSolver({name: Corpus(blocks[name], one.labels) for name, one in plan.training.items()}, plan.settings.logreg, scratch)
    num_rows = {name: one.num_files for name, one in plan.training.items()}
    for mixture in bar(missing, total=len(order), initial=len(order) - len(missing), desc="mixtures", unit="fit"):
        if mixture == order[0]:
            model = solver.fit(mixture)
        else:
            solver.share(load_model(plan.model_path(order[0])))
            model = solver.fit(mixture, load_model(plan.model_path(start_of(mixture, list(plan.training), num_rows))))
        plan.scores(mixture).path.unlink(missing_ok=True)  # of another classifier, which is gone in the next line
        save_model(plan.model_path(mixture), model, {"mixture": "+".join(mixture), "layer": str(plan.layer)})
        plan.scores(mixture).write(scores_of(model, plan.tested, [blocks[one.name] for one in plan.tested]))


def mixing_results(plan: MixingPlan) -> MixingResults:
    """EERs of all mixtures, in published order, from their scores."""
    masks, frames = None, []
    for row, mixture in enumerate(plan.mixtures, start=1):
        scores = plan.scores(mixture).read()
        masks = masks_of(plan.settings, scores) if masks is None else masks
        eers = eers_by_part(scores, masks, plan.settings)
        wide = dict(zip(eers["dataset"] + "_" + eers["part"], eers["eer"], strict=True))
        num_files = sum(plan.training[name].num_files for name in mixture)
        frames.append({"row": row, "mixture": "+".join(mixture), "num_sets": len(mixture), "files": num_files, **wide})
    return MixingResults(pd.DataFrame(frames), list(plan.training), [one.name for one in plan.tested], plan.layer)


def write_tables(settings: Settings, results: MixingResults) -> str:
    """Writes dataset_mixing.csv and .md, mixing_marginal.csv; returns what the terminal shows."""
    layout, table, effects = DetectionLayout(settings), ranked_table(results), marginal_effects(results)
    write_frame(table, layout.table(EXPERIMENT))
    write_frame(effects, layout.table(MARGINAL))
    choices, added = _choice_lines(results, table), _effect_cells(results, effects)
    lines = [f"# Mixtures of training corpora: EER in % at layer {results.layer}, best first by the selection part", ""]
    lines += [*markdown_table(_cells(results, table)), "", *(f"* {line}" for line in choices)]
    lines += [f"* {row.mixture}: {row.note}" for row in table[table["note"] != ""].itertuples()]
    lines += [f"* {line}" for line in origin_lines(settings)]
    lines += ["", "## What each corpus adds", "", EFFECT_TEXT, "", *markdown_table(added), ""]
    write_text(layout.text(EXPERIMENT), "\n".join(lines))
    shown = table.head(settings.mixing.table_rows)
    best = f"the best {len(shown)} of {len(table)} mixtures, by the selection part of the real-life sets"
    lines = [f"EER in % at layer {results.layer}; {best}", *text_table(_cells(results, shown)), *choices, ""]
    lines += [EFFECT_TEXT, *text_table(added), *origin_lines(settings)]
    return "\n".join([*lines, f"tables: {layout.table(EXPERIMENT)} and .md, {layout.table(MARGINAL)}"])


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


def _cells(results: MixingResults, table: pd.DataFrame) -> pd.DataFrame:
    tested = results.tested
    eers = table.filter(regex=f"_({'|'.join(PARTS)})$|^published_").map(percent)
    columns = {"mixture": table["mixture"], "rank": table["rank"], "files": table["files"]}
    columns |= {"selection": eers[f"{MEAN}_{SELECTION}"], "report": eers[f"{MEAN}_{REPORT}"]}
    columns |= {f"{name} report": eers[f"{name}_{REPORT}"] for name in tested} | {"all files": eers[f"{MEAN}_{ALL}"]}
    columns |= {f"{name} all (published)": eers[f"{name}_{ALL}"] + " (" + eers[f"published_{name}"] + ")" for name in tested}
    return pd.DataFrame({**columns, "published mean": eers[f"published_{MEAN}"]})


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


def _effect_cells(results: MixingResults, effects: pd.DataFrame) -> pd.DataFrame:
    """What each corpus adds, in percentage points."""
    names, index = [*results.tested, MEAN], ["corpus", "dataset"]
    report, whole = (effects[effects["part"] == part].set_index(index) for part in (REPORT, ALL))
    added, theirs = whole["effect"].map(_points), whole["published_effect"].map(_points)
    columns = {f"{name} report": report["effect"].map(_points).xs(name, level="dataset") for name in names}
    columns |= {f"{name} all (published)": (added + " (" + theirs + ")").xs(name, level="dataset") for name in names}
    return pd.DataFrame(columns).loc[results.corpora].rename_axis("corpus").reset_index()


def _points(difference: float) -> str:
    return "–" if np.isnan(difference) else f"{100 * difference:+.2f}"
