"""The training runs of an experiment: which system is trained on which languages with which seed, and where its run lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.features.resolved import how_computed, resolved, revision_of
from sourcetracing.features.rows import open_store
from sourcetracing.features.ssl_front_end import checkpoint_digest
from sourcetracing.features.store import FeatureStore
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol, select
from sourcetracing.runtime.files import digest_of_file, digest_of_json
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.frontends import FRONTENDS, is_fine_tuned, stored_front_end
from sourcetracing.settings.names import fitting_name
from sourcetracing.settings.reading import ConfigSources, system_parts, to_dict
from sourcetracing.settings.recorded import augment_recipe, idle_in_augment
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.systems import lineage
from sourcetracing.settings.training import PERTURBATIONS, Experiment, Train, all_systems, further_labels
from sourcetracing.training.label_classes import digest_of_labels
from sourcetracing.training.rounds import steps_per_round
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.table_plans import plans_of

# Settings of train from after the first runs: with their defaults they say nothing, and shall not rename those.
_YOUNGER = {"dev_variants", "dev_languages", "steps", "steps_per_dev", "schedule", "warmup_steps", "label_smoothing", "ema_decay"}
_YOUNGER |= {"balance_classes", "labels", "label_weights", "early_stop_looks", *PERTURBATIONS}
# What of `train` decides on a back-end that is fitted: its rows, and what a run is called.
TRAIN_OF_FITTED = ("languages", "seed", "variants", "dev_variants", "dev_languages")


@dataclass(frozen=True)
class TrainingRun:
    """One trained system: its name, its training languages, its seed, its settings and its run folder."""

    system: str
    train_set: str  # languages joined by +
    seed: int
    settings: Settings
    folder: Path

    @property
    def files(self) -> RunFolder:
        """What lies in its folder."""
        return RunFolder(self.folder)


def set_name(languages: Sequence[str]) -> str:
    """en+de for ["en", "de"]: how a set of languages is written in tables and folder names."""
    return "+".join(languages)


def run_of(settings: Settings, store_name: str) -> TrainingRun:
    """The run that settings describe: train.languages (empty = all of the corpus) and train.seed of their system.

    store_name: the feature store's, which stands for everything that shaped the features and, with corpus.label, for the labels of its
    rows. The settings of the run say float32 or bf16 for compute.precision=auto and, where the encoder learns, the commit for
    ssl.revision=main: what is hashed, recorded and used.
    The commit of a frozen encoder stands in its store.
    """
    asked, settings = settings, resolved(settings, ask_hub=is_fine_tuned(settings))
    settings.ssl = settings.ssl if is_fine_tuned(settings) else asked.ssl
    train_set = set_name(settings.train.languages or settings.corpus.languages)
    system = system_label(settings)
    digest = digest_of_json([store_name, run_recipe(settings)])[:8]
    # Dozens of languages joined by + are longer than a file name may be.
    name = f"{fitting_name(train_set, 150)}-seed{settings.train.seed}-{digest}"
    files = Layout.of(settings).run(system, name)
    return TrainingRun(system, train_set, settings.train.seed, settings, files.root)


def system_label(settings: Settings) -> str:
    """The system's name; <frontend>_<backend> when a setting swapped a part of it, so that a table never shows a wrong name."""
    parts = (settings.frontend, settings.backend)
    return settings.system if system_parts(settings.system, settings.systems) == parts else "_".join(parts)


def run_recipe(settings: Settings) -> dict:
    """Everything besides the features that decides what a run learns. Another recipe is another run folder."""
    backend = to_dict(getattr(settings, settings.backend)) if BACKENDS[settings.backend].options else {}
    recipe = {"backend": settings.backend, "options": backend, "train": _train_recipe(settings), "classes": settings.corpus.sources}
    recipe |= how_computed(settings)
    if further_labels(settings):
        recipe["labels"] = digest_of_labels(settings)
    if BACKENDS[settings.backend].metric_loss:
        recipe["metric_learning"] = {key: value for key, value in to_dict(settings.metric_learning).items() if key != "neighbours"}
    if is_fine_tuned(settings):
        recipe["ssl"] = {**to_dict(settings.ssl), "revision": revision_of(settings), "checkpoint": checkpoint_digest(settings.ssl.model)}
        recipe["finetune"] = to_dict(settings.finetune)
    if settings.train.initial_weights:
        recipe["train"]["initial_weights"] = _digest_of_weights(Path(settings.train.initial_weights))
    return recipe


def _train_recipe(settings: Settings) -> dict:
    """What `train` decides. In steps it does so whatever the epochs, and by how many a round has, however that was said."""
    rules = settings.train
    recipe = {**to_dict(rules), "languages": rules.languages or settings.corpus.languages, "steps_per_dev": steps_per_round(rules)}
    if BACKENDS[settings.backend].fitted:
        recipe = {name: recipe[name] for name in TRAIN_OF_FITTED}
    unsaid = {name for name in recipe.keys() & _YOUNGER if recipe[name] == getattr(Train(), name)}
    return {name: recipe[name] for name in recipe.keys() - unsaid - {"checkpoint_minutes", "epochs" if rules.steps else ""}}


def settings_of_recipe(settings: Settings) -> list[str]:
    """Names of the settings that decide what a run learns: of `run_recipe`, and of its feature store's recipe."""
    kind, rules = stored_front_end(settings), BACKENDS[settings.backend]
    groups = ["train", "augment"]
    groups += [group for group in (kind, settings.backend) if hasattr(settings, group)]
    groups += ["rawboost"] if "rawboost" in settings.augment.variants else []
    groups += ["metric_learning"] if rules.metric_loss else []
    groups += ["ssl", "finetune"] if is_fine_tuned(settings) else []
    single = [
        "compute.precision",
        "compute.deterministic",
        "corpus.sources",
        "corpus.label",
        "audio.sample_rate",
        "audio.crop_seconds",
        "store.dtype",
    ]
    single += ["audio.channel", "audio.trim_silence_db", "audio.normalize", "audio.band_limit_hz"]
    single += ["compute.encoder_precision", "compute.engine"] if FRONTENDS[kind].is_encoder else []
    named = [f"{group}.{name}" for group in dict.fromkeys(groups) for name in to_dict(getattr(settings, group))]
    if rules.fitted:
        named = [name for name in named if not name.startswith("train.") or name.removeprefix("train.") in TRAIN_OF_FITTED]
    idle = {"metric_learning.neighbours", "train.checkpoint_minutes", "train.epochs" if settings.train.steps else "train.steps_per_dev"}
    idle |= {f"augment.{name}" for name in idle_in_augment(settings.augment)}
    return [*single, *(name for name in named if name not in idle)]


def _digest_of_weights(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"train.initial_weights: {path} does not exist")
    return digest_of_file(path)


def settings_of_one_run(config: ConfigSources) -> Settings:
    """What train_refd.py and train_ge2e.py train: the words' system, train.languages and train.seed.

    What the words leave open is the experiment's, so that scripts 05 to 13 know the run. Raises `UserError` where it has several.
    """
    experiment = config.resolve().experiment
    is_open = config.says("experiment.systems") and not config.says("system")
    system = _only_one("experiment.systems", experiment.systems, "system=NAME") if is_open else None
    changes: dict = {}
    if experiment.train_sets and not config.says("train.languages"):
        chosen = _only_one("experiment.train_sets", experiment.train_sets, "'train.languages=[...]'")
        changes["train.languages"] = chosen.split("+")
    if not config.says("train.seed"):
        changes["train.seed"] = _only_one("experiment.seeds", experiment.seeds, "train.seed=N")
    return _with_enough_classes(config.resolve(changes, system=system))


def _with_enough_classes(settings: Settings) -> Settings:
    """The same settings. Raises `UserError` where balanced batches need more classes than there are, before features are made for them."""
    rules, num_sources = settings.metric_learning, len(settings.corpus.sources)
    if BACKENDS[settings.backend].metric_loss and rules.classes_per_batch > num_sources and not rules.train_on_dev:
        number = f"metric_learning.classes_per_batch={rules.classes_per_batch}"
        raise UserError(f"{number}, but corpus.sources has {num_sources}: take no more than that")
    return settings


def _only_one(setting: str, values: Sequence, word: str):
    if len(values) != 1:
        raise UserError(f"{setting} has {len(values)} entries ({', '.join(map(str, values))}), and one run is trained here: add {word}")
    return values[0]


def settings_of_runs(config: ConfigSources) -> list[Settings]:
    """The settings of every training run of `experiment`: systems x training sets x seeds, in that order; those of its first table first.

    The systems of the floor come last; words that swap a part of all systems, such as backend=resnet18, leave the floor what it is.
    A run that several tables use is there once.
    """
    base = config.resolve()
    _require_systems(config, base.experiment)
    train_sets = dict.fromkeys(train_set for plan in plans_of(base) for train_set in plan.train_sets)
    floor = {system: _of_floor(config, system) for system in base.experiment.floor}
    runs = [
        _with_enough_classes(
            config.resolve({"train.languages": train_set.split("+"), "train.seed": seed, **floor.get(system, {})}, system=system)
        )
        for system in all_systems(base.experiment)
        for train_set in train_sets
        for seed in base.experiment.seeds
    ]
    labels = {settings.system: system_label(settings) for settings in runs}
    if len(set(labels.values())) < len(labels):
        raise UserError(f"experiment.systems: {', '.join(labels)} are the same system with these settings; name one of them")
    return runs


def _require_systems(config: ConfigSources, experiment: Experiment) -> None:
    """Raises `UserError`, naming the setting, for a system that there is not."""
    for setting, names in (("experiment.systems", experiment.systems), ("experiment.floor", experiment.floor)):
        for name in names:
            try:
                lineage(name, config.systems)
            except UserError as error:
                raise UserError(f"{setting}: {error}") from None


def _of_floor(config: ConfigSources, system: str) -> dict[str, Any]:
    """What words that are meant for the networks shall not change: its parts; initial weights and further heads, where it has none."""
    own = config.own_parts(system)
    fitted, metric_loss = BACKENDS[own["backend"]].fitted, BACKENDS[own["backend"]].metric_loss
    own = {**own, "train.labels": [], "train.label_weights": []} if fitted or metric_loss else own
    return {**own, "train.initial_weights": ""} if fitted else own


def load_runs(config: ConfigSources) -> list[TrainingRun]:
    """The experiment's runs with their folders, those of the floor last; needs the feature stores that they are trained on.

    Raises `UserError`.
    """
    store_names: dict[tuple, str] = {}
    runs = []
    for settings in settings_of_runs(config):
        # Runs of one front-end share a store; looking for it once for each front-end is enough.
        key = front_end_key(settings)
        if key not in store_names:
            store_names[key] = _store_of(settings).name
        runs.append(run_of(settings, store_names[key]))
    return runs


def _store_of(settings: Settings) -> FeatureStore:
    """The store that a run is trained on. Where only the floor has none, the complaint says how to do without the floor."""
    try:
        return open_store(settings)
    except UserError as error:
        experiment = settings.experiment
        if settings.system not in experiment.floor or settings.system in experiment.systems:
            raise
        raise UserError(f"{error} (for the floor, {settings.system}; experiment.floor=[] goes without it)") from None


def front_ends(config: ConfigSources) -> list[Settings]:
    """Settings for each feature store to be made: the distinct front-ends of the experiment's runs; after system=NAME its own alone."""
    if config.is_for_one_system:
        return [config.resolve()]
    return list({front_end_key(settings): settings for settings in settings_of_runs(config)}.values())


def front_end_key(settings: Settings) -> tuple:
    """What runs have in common that share a feature store."""
    kind = stored_front_end(settings)
    return (kind, *(repr(getattr(settings, group, None)) for group in (kind, "audio", "store")), repr(augment_recipe(settings)))


def load_run(settings: Settings) -> TrainingRun:
    """The one run that settings describe. Raises `UserError` when its feature store is missing."""
    return run_of(settings, open_store(settings).name)


def require_two_classes(runs: Sequence[TrainingRun]) -> None:
    """Raises `UserError` for the first run whose training rows are of one source only: there is nothing to tell apart."""
    protocols: dict[str, pd.DataFrame] = {}
    for run in runs:
        settings = run.settings
        if BACKENDS[settings.backend].metric_loss and settings.metric_learning.train_on_dev:
            continue  # dev and unknown sources train too
        if settings.name not in protocols:
            utterances, protocol = load_protocol(settings)
            protocols[settings.name] = utterances.drop(columns="split", errors="ignore").merge(protocol, on="utt_id")
        table = protocols[settings.name]
        sources = table.loc[select(table, languages=run.train_set.split("+"), splits=["train"]), "source"].unique()
        if len(sources) == 1:
            others = "; name the other training sets in experiment.train_sets" if len(runs) > 1 else ""
            raise UserError(f"{run.system} on {run.train_set}: train has one source only, {sources[0]}: nothing to tell apart{others}")


def test_sets(settings: Settings, train_set: str) -> list[str]:
    """What a training set is tested on, in any table of the experiment; groups of speakers apart."""
    cells = [cell for plan in plans_of(settings) if not plan.needs_speakers for cell in plan.cells]
    return list(dict.fromkeys(test for train, test in cells if train == train_set)) or list(settings.corpus.languages)
