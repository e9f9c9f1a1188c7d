"""All mixtures of the training corpora: one classifier for each, tested on the real-life sets (spec 4.7, Dataset_mixing.pdf).

Each finished mixture is a model and a file of scores, so an interrupted run goes on where it was. The mixtures are fitted from all corpora
down to single ones, because a larger one is a good start for a smaller one (`mixing_solver`); tables have the published order of
itertools.combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from shutil import rmtree

import pandas as pd

from sourcetracing.detection.classifier.feature_sets import FeatureSet, check_apart, open_sets, stores_record
from sourcetracing.detection.classifier.mixing_solver import Corpus, MixingSolver
from sourcetracing.detection.classifier.model_file import load_model, save_model
from sourcetracing.detection.data.groups import named_sets, test_sets, train_sets
from sourcetracing.detection.data.manifest import detection_folder
from sourcetracing.detection.experiments.layer_choice import working_layer
from sourcetracing.detection.experiments.layer_sweep import classifier_recipe
from sourcetracing.detection.experiments.mixing_tables import MixingResults, write_tables
from sourcetracing.detection.experiments.score_files import eers_by_part, is_made_from, masks_of, read_scores, scores_folder, write_scores
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings

EXPERIMENT = "dataset_mixing"
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
        names = settings.mixing.train_sets
        training = open_sets(settings, named_sets(settings, names, "mixing.train_sets") if names else train_sets(settings))
        tested = open_sets(settings, test_sets(settings))
        check_apart(training, tested)
        return cls(settings, working_layer(settings), {one.name: one for one in training}, tested)

    @property
    def mixtures(self) -> list[Mixture]:
        """All non-empty subsets of the corpora, in the published order."""
        return mixtures_of(list(self.training))

    def scores_path(self, mixture: Mixture) -> Path:
        return scores_folder(self.settings, EXPERIMENT) / f"{'+'.join(mixture)}.parquet"

    def model_path(self, mixture: Mixture) -> Path:
        return detection_folder(self.settings) / "mixing" / f"{'+'.join(mixture)}.safetensors"

    def recipe(self, mixture: Mixture) -> dict:
        """What model and scores of a mixture depend on."""
        trained, tested = stores_record([self.training[name] for name in mixture]), stores_record(self.tested)
        return {"trained": trained, "tested": tested, "layer": self.layer, "logreg": classifier_recipe(self.settings)}

    def is_finished(self, mixture: Mixture) -> bool:
        return self.model_path(mixture).is_file() and is_made_from(self.scores_path(mixture), self.recipe(mixture))


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
    return write_tables(settings, mixing_results(plan), detection_folder(settings) / "results")


def make_mixtures(plan: MixingPlan) -> None:
    """Fits and scores the mixtures that are not finished. Can be interrupted at any time."""
    order = plan.mixtures[::-1]
    missing = [mixture for mixture in order if not plan.is_finished(mixture)]
    if not missing:
        return
    scratch = _scratch(plan)
    blocks = {one.name: one.blocks(plan.layer, scratch) for one in [*plan.training.values(), *plan.tested]}
    solver = MixingSolver({name: Corpus(blocks[name], one.labels) for name, one in plan.training.items()}, plan.settings.logreg, scratch)
    num_rows = {name: one.num_files for name, one in plan.training.items()}
    for mixture in bar(missing, total=len(order), initial=len(order) - len(missing), desc="mixtures", unit="fit"):
        if mixture == order[0]:
            model = solver.fit(mixture)
        else:
            solver.share(load_model(plan.model_path(order[0])))
            model = solver.fit(mixture, load_model(plan.model_path(start_of(mixture, list(plan.training), num_rows))))
        save_model(plan.model_path(mixture), model, {"mixture": "+".join(mixture), "layer": str(plan.layer)})
        scores = pd.concat([one.scored_blocks(model, blocks[one.name]) for one in plan.tested], ignore_index=True)
        write_scores(plan.scores_path(mixture), scores, plan.recipe(mixture))
    for folder in detection_folder(plan.settings).glob("scratch_mixing_*"):
        rmtree(folder, ignore_errors=True)


def mixing_results(plan: MixingPlan) -> MixingResults:
    """EERs of all mixtures, in published order, from their scores."""
    masks, frames = None, []
    for row, mixture in enumerate(plan.mixtures, start=1):
        scores = read_scores(plan.scores_path(mixture), plan.recipe(mixture))
        masks = masks_of(plan.settings, scores) if masks is None else masks
        eers = eers_by_part(scores, masks, plan.settings)
        wide = dict(zip(eers["dataset"] + "_" + eers["part"], eers["eer"], strict=True))
        num_files = sum(plan.training[name].num_files for name in mixture)
        frames.append({"row": row, "mixture": "+".join(mixture), "num_sets": len(mixture), "files": num_files, **wide})
    return MixingResults(pd.DataFrame(frames), list(plan.training), [one.name for one in plan.tested], plan.layer)


def _scratch(plan: MixingPlan) -> Path:
    """Named after all that its content depends on."""
    digest = digest_of_json(plan.recipe(tuple(plan.training)))
    return detection_folder(plan.settings) / f"scratch_mixing_{digest[:8]}"
