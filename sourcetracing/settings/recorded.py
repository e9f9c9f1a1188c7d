"""The settings that make a protocol, speakers' labels or tables: recorded with them, and compared by what reads them later.

Two recipes (name of a setting -> value) that differ make two things side by side, never one in the place of the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from functools import reduce
from typing import Any

from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.corpora import DEMO_CHANGES, SOURCE, Corpus, Split, shapes_of
from sourcetracing.settings.frontends import FRONTENDS, Audio, Augment
from sourcetracing.settings.open_split import PROPOSAL, OpenSplit
from sourcetracing.settings.schema import Settings

_CORPUS = ("corpus.reader", "corpus.languages", "corpus.sources", "corpus.unknown_sources", "corpus.label")
AUDIO_RULES = ("audio.min_seconds", "audio.silence_peak_dbfs", "audio.on_bad_audio", "audio.on_truncated", "audio.channel")
AUDIO_RULES += ("audio.trim_silence_db",)  # a file may be too short without the silence at its ends
_CLUSTERS = ("speakers.embedder", "speakers.k", "speakers.k_max", "speakers.k_restarts", "speakers.restarts")
_GROUPING = ("speakers.thresholds", "speakers.test_set")
_SHAPING = ("audio.normalize", "audio.target_dbfs", "audio.band_limit_hz")  # they change what is heard of an utterance, not which there are
_PARTS = (*(name for name, entry in FRONTENDS.items() if entry.options), *(name for name, entry in BACKENDS.items() if entry.options))
_TABLE_GROUPS = (*dict.fromkeys(_PARTS), "audio", "augment", "store", "finetune", "train", "metric_learning", "experiment", "evaluation")
_NOT_IN_TABLES = {"train.languages", "train.seed", "evaluation.batch_size", "evaluation.embeddings", "evaluation.splits"}
_NOT_IN_TABLES |= {"store.block_rows", "train.micro_batch_size", "train.checkpoint_minutes"}
_ARITHMETIC = ("compute.precision", "compute.encoder_precision", "compute.deterministic", "compute.engine")
_ONE_SYSTEM = ("system", "frontend", "backend", "systems")
# What is made with their defaults keeps the digest that it had before they were there.
_ADDED = {"audio.on_truncated", "audio.channel", "audio.trim_silence_db", *_SHAPING, *DEMO_CHANGES, "corpus.label", "mlaad.version"}


def protocol_recipe(settings: Settings) -> dict[str, Any]:
    """What script 02 goes by: the utterances, their splits, the seed."""
    return _values(settings, (*_utterances(settings), *(f"split.{field.name}" for field in fields(Split)), *_open_split(settings), "seed"))


def _open_split(settings: Settings) -> tuple[str, ...]:
    names = [field.name for field in fields(OpenSplit) if field.name not in PROPOSAL]
    return tuple(f"open_split.{name}" for name in names) if settings.split.assignment == "openset" else ()


def label_recipe(settings: Settings) -> dict[str, Any]:
    """What script 03 clusters by: the embedder, how many clusters and how they are sought, the seed, the utterances."""
    checksum = ("speakers.ecapa2_checksum",) if settings.speakers.embedder == "ecapa2" else ()
    return _values(settings, (*_CLUSTERS, *checksum, "seed", *_utterances(settings), *_SHAPING))


def _utterances(settings: Settings) -> tuple[str, ...]:
    """Settings that say which utterances there are, besides the files, whose digests stand in utterances.csv; which are too bad."""
    return (*_CORPUS, *shapes_of(settings.corpus.reader), *AUDIO_RULES)


def grouping_recipe(settings: Settings) -> dict[str, Any]:
    """What divides labelled speakers into seen and unseen ones: the rule for theta, and what is tested."""
    return _values(settings, _GROUPING)


def table_recipe(settings: Settings) -> dict[str, Any]:
    """What scripts 11 and 13 make tables by: splits, speakers' labels, features, training, experiment, evaluation, as the words say them.

    Of `config.resolve()`: what single systems have of their own stands in `systems`. Languages and seed of single runs are no part of it.
    """
    groups = (*_TABLE_GROUPS, "rawboost") if "rawboost" in settings.augment.variants else _TABLE_GROUPS
    names = [f"{group}.{field.name}" for group in groups for field in fields(getattr(settings, group))]
    names = [*_ONE_SYSTEM, *_ARITHMETIC, *(name for name in names if name not in _NOT_IN_TABLES)]
    recipe = {**protocol_recipe(settings), **label_recipe(settings), **grouping_recipe(settings), **_values(settings, tuple(names))}
    return {**recipe, "systems": _in_use(recipe)}


def _in_use(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe of tables says below `systems`, but for systems that the experiment does not name, nor any that it names stands on."""
    systems, found = recipe.get("systems", {}), []
    waiting = [*recipe.get("experiment.systems", systems), *recipe.get("experiment.floor", [])]
    while waiting:
        name = waiting.pop()
        if name in systems and name not in found:
            found.append(name)
            waiting.append(systems[name].get("base"))
    return {name: own for name, own in systems.items() if name in found}


def name_of_table_recipe(recipe: Mapping[str, Any]) -> str:
    """`name_of_recipe` of what is not as by default: a setting that is added later renames nothing."""
    defaults = Settings()
    return name_of_recipe({name: value for name, value in recipe.items() if value != value_of(defaults, name)})


def name_of_recipe(recipe: Mapping[str, Any]) -> str:
    """8 hex digits that depend on a recipe alone: the folder of what it makes."""
    recipe = {name: value for name, value in recipe.items() if name not in _ADDED or value != value_of(Settings(), name)}
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True, ensure_ascii=False).encode(), digest_size=4).hexdigest()


def differences(made: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    """Names of settings in which two recipes differ; one that an older recipe does not have yet counts as its default."""
    defaults = Settings()
    made = {**made, "systems": _in_use(made)} if "systems" in made else made  # older records have those that are not in use, too
    return [name for name, value in said.items() if (made[name] if name in made else value_of(defaults, name)) != value]


def with_lines_of_systems(made: Mapping[str, Any], said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two recipes of tables, with each line of `systems` that differs in its place, such as systems.mine.train.epochs."""
    lines = [dict(_lines(_in_use(recipe), "systems")) for recipe in (made, said)]
    names = [name for name in dict.fromkeys(name for each in lines for name in each) if lines[0].get(name) != lines[1].get(name)]
    first, second = (
        {**recipe, **{name: own.get(name, "not said") for name in names}} for recipe, own in zip((made, said), lines, strict=True)
    )
    first.pop("systems", None), second.pop("systems", None)
    return first, second


def _lines(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict) or not tree:
        yield name, tree
        return
    for key, value in tree.items():
        yield from _lines(value, f"{name}.{key}")


def lacks_settings(made: Mapping[str, Any] | None, said: Mapping[str, Any]) -> bool:
    """Whether a record is from before all settings of today's recipe were noted."""
    return made is None or not said.keys() <= made.keys()


def what_lacks(made: Mapping[str, Any], names: list[str]) -> str:
    """Which settings an older record does not say, in words."""
    return f"{', '.join(names)} of what it was made with" if made else "which settings it was made with"


def in_words(recipe: Mapping[str, Any], names: list[str]) -> str:
    """`split.stratify=false, seed=688`, as on a command line; `folder.table not noted` of an older recipe."""
    return ", ".join(f"{name}={_word(recipe[name])}" if name in recipe else f"{name} not noted" for name in names)


def audio_rules(audio: Audio) -> dict[str, Any]:
    """All settings of audio but those that the check pass does not go by, for a digest of what it goes by."""
    names = [name for name in vars(audio) if f"audio.{name}" not in _SHAPING]
    return {name: getattr(audio, name) for name in names if f"audio.{name}" not in _ADDED or getattr(audio, name) != getattr(Audio(), name)}


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    """All settings of corpus, for a digest; the label only where it is not the source."""
    return {name: value for name, value in vars(corpus).items() if name != "label" or value != SOURCE}


def traced(corpus: Corpus) -> list[Any]:
    """What is traced, for a digest: classes, unknown sources, and the label unless that is the source."""
    return [corpus.sources, corpus.unknown_sources, *([] if corpus.label == SOURCE else [corpus.label])]


def channel_recipe(audio: Audio) -> dict[str, str]:
    """What the recipe of noises and cut recordings takes besides its own: which channel they are of, unless it is the mean."""
    return {} if audio.channel == Audio().channel else {"channel": audio.channel}


CURE_SETTINGS = ("trim_silence_db", "band_limit_hz", "normalize", "target_dbfs")  # of audio


def cures_of(audio: Audio) -> dict[str, Any]:
    """The cures that are on (`sourcetracing.audio.conditioning`), by the names of their settings; {} where none is."""
    level = {} if audio.normalize == "none" else {"normalize": audio.normalize, "target_dbfs": audio.target_dbfs}
    others = {name: getattr(audio, name) for name in ("trim_silence_db", "band_limit_hz") if getattr(audio, name)}
    return {**others, **level}


def sound_recipe(audio: Audio) -> dict[str, Any]:
    """What the recipe of anything made of an utterance takes besides its own: channel and cures, where they are not the defaults."""
    return {**channel_recipe(audio), **cures_of(audio)}


# Settings of augment that one variant alone reads.
_OF_VARIANTS = {
    "codec": ("codecs",),
    "telephone": ("telephones", "telephone_noisy", "telephone_snr_db"),
    "copy_synthesis": ("vocoder",),
}


def idle_in_augment(augment: Augment) -> set[str]:
    """Settings of augment that none of its variants reads; what is made without these variants keeps the digest that it had before them."""
    return {name for variant, names in _OF_VARIANTS.items() if variant not in augment.variants for name in names}


def augment_recipe(settings: Settings) -> dict[str, Any]:
    """What the recipe of anything made of acoustic variants takes of them."""
    idle = idle_in_augment(settings.augment)
    boost = {"rawboost": asdict(settings.rawboost)} if "rawboost" in settings.augment.variants else {}
    return {name: value for name, value in asdict(settings.augment).items() if name not in idle} | boost


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _values(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value_of(settings, name) for name in names}


def value_of(settings: Settings, name: str) -> Any:
    """Of a setting by its name, such as split.stratify."""
    return reduce(getattr, name.split("."), settings)
