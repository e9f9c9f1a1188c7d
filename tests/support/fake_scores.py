"""Made-up score tables for the tests of tables and report: systems that know their own language best."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sourcetracing.runtime.files import digest_of_file
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.training.runs import TrainingRun
from sourcetracing.training.table_plans import plans_of, read_plan

CLASSES = 4


def fake_settings(languages=("en", "de", "fr"), systems=("lfcc_one", "lfcc_two"), seeds=(688,), variants=("original", "noise")) -> Settings:
    settings = Settings()
    settings.corpus.languages, settings.experiment.systems = list(languages), list(systems)
    settings.experiment.seeds, settings.augment.variants = list(seeds), list(variants)
    settings.evaluation.bootstrap_samples, settings.experiment.floor = 200, []
    return settings


def fake_scores(settings: Settings, system: str, train: str, seed: int, per_class: int = 6) -> pd.DataFrame:
    """A score table as `scoring` writes it: 90 % right on the training languages, 65 % elsewhere, noise 15 points worse."""
    generator, rows = rng("fake", system, train, seed), []
    for language in settings.corpus.languages:
        for label, source in enumerate(settings.corpus.sources):
            for number in range(per_class):
                for variant in settings.augment.variants:
                    right = (0.9 if language in train.split("+") else 0.65) - 0.15 * (variant == "noise")
                    prediction = label if generator.random() < right else int(generator.integers(0, CLASSES))
                    logits = generator.normal(size=CLASSES) + 3 * np.eye(CLASSES)[prediction]
                    rows.append([f"{language}/{source}/{number:03d}", variant, "eval", language, source, label, prediction, *logits])
    columns = ["utt_id", "variant", "split", "language", "source", "label", "prediction", *(f"logit_{i}" for i in range(CLASSES))]
    return pd.DataFrame(rows, columns=columns)


def fake_runs(settings: Settings, folder: Path, missing=()) -> list[ScoredRun]:
    """A run for each system, training set of any table, and seed but those `missing`, with a history on disk."""
    runs, train_sets = [], dict.fromkeys(train for plan in plans_of(settings) for train in plan.train_sets)
    for system in settings.experiment.systems:
        for train in train_sets:
            for seed in settings.experiment.seeds:
                if (system, train, seed) not in missing:
                    run_folder = folder / system / f"{train}-seed{seed}"
                    write_history(run_folder)
                    runs.append(ScoredRun(system, train, seed, run_folder, fake_scores(settings, system, train, seed)))
    return runs


def trained_run(run: ScoredRun, settings: Settings) -> TrainingRun:
    """A scored run as scripts 05 and 06 leave it: weights, environment and scores on disk."""
    (run.folder / "model.safetensors").write_bytes(run.system.encode())
    (run.folder / "environment.json").write_text(json.dumps({"git_commit": "0123abcd", "device": run.system}))
    (run.folder / "scores").mkdir()
    story = json.dumps({"weights": digest_of_file(run.folder / "model.safetensors")})
    table = pa.Table.from_pandas(run.scores, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({b"story": story.encode()}), run.folder / "scores" / "eval.parquet")
    return TrainingRun(run.system, run.train_set, run.seed, settings, run.folder)


class ResolvedSources:
    """Stands for the words of a command line that are already resolved."""

    def __init__(self, settings: Settings):
        self.settings = settings

    def resolve(self) -> Settings:
        return self.settings


def write_history(folder: Path, epochs: int = 5) -> None:
    epoch = np.arange(1, epochs + 1)
    history = {"epoch": epoch, "lr": 5e-4, "train_loss": 1.4 / epoch, "train_accuracy": 1 - 0.7 / epoch, "dev_loss": 1.6 / epoch}
    history |= {"dev_accuracy": 0.9 - 0.5 / epoch, "dev_macro_f1": 0.9 - 0.5 / epoch, "seconds": 1.5}
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    (folder / "model.json").write_text(json.dumps({"best_epoch": epochs}))


SIX = ["en", "de", "fr", "it", "pl", "ru"]


def runs_of(settings: Settings, plan_name: str, tmp_path) -> list[ScoredRun]:
    plan = read_plan(plan_name, settings)
    systems, seeds = settings.experiment.systems, settings.experiment.seeds
    return [
        ScoredRun(system, train, seed, tmp_path, fake_scores(settings, system, train, seed))
        for system in systems
        for train in plan.train_sets
        for seed in seeds
    ]
