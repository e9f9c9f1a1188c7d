"""Reads `CONFIG.yaml [MORE.yaml ...] [key=value ...]` into `Settings`, and writes them back."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sourcetracing.errors import UserError
from sourcetracing.settings.backends import BACKENDS, check_fitted
from sourcetracing.settings.checking import check_piece, check_values, did_you_mean, fields_of, in_words, lookup, spelled_out, type_name
from sourcetracing.settings.corpora import LANGUAGE_NAMES
from sourcetracing.settings.declaring import admitted
from sourcetracing.settings.frontends import stored_front_end
from sourcetracing.settings.names import require_distinct, require_folder_name, require_usable_names
from sourcetracing.settings.places import config_files, config_path
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.sizes import check_sizes
from sourcetracing.settings.systems import BASE, lineage, own_settings, refuse_shared, require_sound
from sourcetracing.settings.training import check_labels, check_perturbations

PARTS = ("frontend", "backend")


@dataclasses.dataclass(frozen=True)
class ConfigSources:
    """The user's words, unmerged, so that the same words can be resolved for each system of an experiment."""

    files: tuple[tuple[str, dict], ...]
    overrides: tuple[tuple[str, dict], ...]

    def resolve(self, changes: dict[str, Any] | None = None, *, system: str | None = None) -> Settings:
        """Merges and checks: defaults < system's file < each YAML file and its `systems.<system>` < key=value < `changes`.

        A system of the user's own has the file of what it stands on, and behind each file's part for that its own (`systems.lineage`).
        `changes` maps dotted names to values, e.g. {"train.languages": ["en"]}. Raises `UserError`.
        """
        is_meant, system = bool(system) or self._means_its_system(), system or self._system_name()
        chain = lineage(system, self.systems)
        pieces = [_read_system(chain[0])]
        for _, piece in [*self.files, *self.overrides]:
            pieces += [piece, *(own_settings(piece, name) for name in chain if is_meant)]
        pieces += [_nested(key, value) for key, value in {**(changes or {}), "system": system}.items()]
        pieces = [spelled_out(piece, Settings) for piece in pieces]
        settings = _built(Settings, _interpolated(reduce(_merged, pieces, to_dict(Settings()))))
        if self.says("train.seed") and not self.says("experiment.seeds"):
            settings.experiment.seeds = [settings.train.seed]  # or scripts 05 to 13 would not know that run
        check_values(settings)
        _check_together(settings)
        settings.ssl.model = _model_of_language(settings)
        return settings

    @property
    def systems(self) -> dict[str, Any]:
        """All that the words say below `systems`."""
        return reduce(_merged, (piece.get("systems", {}) for _, piece in [*self.files, *self.overrides]), {})

    @property
    def is_for_one_system(self) -> bool:
        """Whether `system=` stands on the command line, so that the experiment's list of systems is not meant."""
        return any("system" in piece for _, piece in self.overrides)

    def says(self, key: str) -> bool:
        """Whether the words give a value to a setting, such as train.seed: not defaults, not the file of a system."""
        return any(_holds(piece, key.split(".")) for _, piece in [*self.files, *self.overrides])

    def own_parts(self, system: str) -> dict[str, str]:
        """Front-end and back-end of a system by its file and its own lines (`systems.<system>`), whatever the words say for all systems."""
        own = dict(zip(PARTS, system_parts(system, self.systems), strict=True))
        return own | {part: value for part, value in self.systems.get(system, {}).items() if part in PARTS}

    def _means_its_system(self) -> bool:
        """Whether `_system_name` is in use at all: else what is said of it alone shall change nothing."""
        named = [piece["experiment"]["systems"] for _, piece in [*self.files, *self.overrides] if _holds(piece, ["experiment", "systems"])]
        return self.says("system") or not named or self._system_name() in named[-1]

    def _system_name(self) -> str:
        named = [piece["system"] for _, piece in [*self.files, *self.overrides] if "system" in piece]
        return named[-1] if named else Settings().system


def _merged(tree: dict, piece: dict) -> dict:
    """Nested settings with those of `piece` in their place; a list replaces a list."""
    both = {key: _merged(tree[key], piece[key]) for key in piece if isinstance(piece[key], dict) and isinstance(tree.get(key), dict)}
    return {**tree, **piece, **both}


def _interpolated(tree: dict) -> dict:
    """`${seed}` in a text as what that setting is. Raises `UserError` for one that there is not."""
    if "${" not in str(tree) and "???" not in str(tree):
        return tree
    try:
        return OmegaConf.to_container(OmegaConf.create(tree), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        where, what = getattr(error, "full_key", "") or "settings", str(error).splitlines()[0]
        raise UserError(f"{where}: {what}. Names cannot be ??? or hold ${{, which have a meaning of their own in settings") from None


def _built(group: type, tree: dict) -> Any:
    """The dataclass of nested settings, whose types were checked; a whole number becomes a float where one is expected."""
    values = {
        name: _built(kind, tree[name]) if dataclasses.is_dataclass(kind) else tree[name] for name, (kind, _) in fields_of(group).items()
    }
    for name, (kind, _) in fields_of(group).items():
        if kind is float:
            values[name] = _to_float(values[name])
        elif isinstance(values[name], list):
            values[name] = [_to_float(item) if kind == list[float] else item for item in values[name]]
    return group(**values)


def _to_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of more than 308 digits
        return math.inf


def read_config(words: Sequence[str]) -> ConfigSources:
    """Sorts the words of a command line into YAML files and key=value settings, each checked against `Settings`."""
    files, overrides = [], []
    for word in words:
        if "=" in word:
            overrides.append((word, parse_override(word)))
        else:
            piece = read_yaml(config_path(word))
            _check_file(piece, word)
            files.append((word, piece))
    config = ConfigSources(tuple(files), tuple(overrides))
    require_sound(config.systems)
    return config


def _check_file(piece: dict, where: str) -> None:
    check_piece(piece, Settings, where)
    for name, special in piece.get("systems", {}).items():
        special = own_settings(piece, name) if isinstance(special, dict) else special
        check_piece(special, Settings, f"{where}: systems.{name}")
        refuse_shared(special, f"{where}: systems.{name}.")


def load_settings(words: Sequence[str]) -> Settings:
    """The settings that a command line means. Raises `UserError` with one line that names the word at fault."""
    return read_config(words).resolve()


def read_yaml(path: Path) -> dict:
    """A YAML file as a nested dict. Raises `UserError` when it is missing, malformed or no mapping."""
    if path.suffix not in {".yaml", ".yml"}:
        near = path.parent / "configs" / f"{path.name}.yaml"
        hint = f"; did you mean {str(near)!r}?" if config_path(near).is_file() else ""
        raise UserError(f"{path}: settings are read from .yaml files or given as key=value{hint}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; a file of settings is expected")
    if not path.is_file():
        if path.parent.name == "compat" and (renamed := path.parent.with_name("as_published") / path.name).is_file():
            raise UserError(f"{path} is called {renamed} now")
        there = [str(path.parent / file.name) for file in config_path(path.parent).glob("*.yaml")]
        raise UserError(f"{path} does not exist{did_you_mean(str(path), there) if there else ''}")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        raise UserError(f"{path}, line {place.line + 1 if place else '?'}: not valid YAML: {error.problem}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: cannot be read as settings: it is no UTF-8 text") from None
    except RecursionError:
        raise UserError(f"{path}: cannot be read as settings: it is nested too deeply") from None
    except (OmegaConfBaseException, yaml.YAMLError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as settings: {(str(error) or type(error).__name__).splitlines()[0]}") from None
    if not content:  # OmegaConf reads nothing as {}, which would mean the demo
        raise UserError(f"{path} is empty: lines such as `name: my_experiment` are expected")
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: holds a {'list' if isinstance(content, list) else 'single value'}, but `setting: value` lines are expected"
        )
    return content


def system_parts(name: str, systems: Mapping[str, Any]) -> tuple[str, str]:
    """(front-end, back-end) that a system's own file names, or for one of the user's own what defines it in `systems`."""
    first, *others = lineage(name, systems)
    definition = [systems.get(one, {}) for one in (first, *others)] if others else []
    piece = reduce(_merged, definition, _read_system(first))
    return piece.get("frontend", Settings().frontend), piece.get("backend", Settings().backend)


def parse_override(word: str) -> dict:
    """`train.epochs=3` as {"train": {"epochs": 3}}; the text is read as the type that the setting has."""
    key, _, text = word.partition("=")
    key = key.strip()
    kind = lookup(Settings, key, word)
    piece = _nested(key, _parse_value(text, kind, word))
    _check_file(piece, word)
    return piece


def _parse_value(text: str, kind: Any, word: str) -> Any:
    if kind is str:
        return text
    try:
        if typing.get_args(kind) == (str,):
            return yaml.load(text, yaml.BaseLoader)  # keeps every scalar text, so that [no] is Norwegian and not [false]
        value = OmegaConf.create(f"value: {text}").value
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError):
        raise UserError(f"{word}: {text!r} cannot be read as {in_words(kind)}") from None
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _nested(key: str, value: Any) -> dict:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _holds(piece: Any, parts: Sequence[str]) -> bool:
    return not parts or (isinstance(piece, dict) and parts[0] in piece and _holds(piece[parts[0]], parts[1:]))


def _read_system(name: str) -> dict:
    path = config_files("systems")[name]
    piece = read_yaml(path)
    check_piece(piece, Settings, f"configs/systems/{path.name}")
    refuse_shared(piece, f"configs/systems/{path.name}: ")
    return piece


def _check_together(settings: Settings) -> None:
    """What no single setting can tell."""
    _check_names(settings)
    total = settings.split.train + settings.split.dev + settings.split.eval
    if abs(total - 1) > 1e-9:
        raise UserError(f"split.train + split.dev + split.eval = {total:g}, but the parts must add up to 1")
    gets_waveforms = settings.frontend == "waveform"
    if gets_waveforms != BACKENDS[settings.backend].on_waveforms:
        fitting = ", ".join(name for name, entry in BACKENDS.items() if entry.on_waveforms == gets_waveforms)
        raise UserError(f"frontend={settings.frontend} does not fit backend={settings.backend}; with it go: {fitting}")
    layer = settings.ssl.layer
    if layer not in ("last", "weighted_sum") and (isinstance(layer, bool) or not isinstance(layer, int) or layer < 0):
        raise UserError(f"ssl.layer={layer!r}: must be last, weighted_sum, or a number from 0 (input of block 1) to the number of blocks")
    if stored_front_end(settings) == "waveform" and settings.store.dtype != "float32":
        raise UserError("store.dtype=float16 would cut 16-bit samples to 11 bits: waveforms need store.dtype=float32")
    if settings.train.steps_per_dev and not settings.train.steps:
        raise UserError(f"train.steps_per_dev={settings.train.steps_per_dev}: only with train.steps; in epochs dev is looked at after each")
    if 0 < settings.train.micro_batch_size < 4:
        raise UserError(f"train.micro_batch_size={settings.train.micro_batch_size}: must be 0 or at least 4, for BatchNorm's sake")
    for name in ("ecapa_tdnn", "ecapa_raw"):
        if settings.backend == name and (channels := getattr(settings, name).channels) % 8:
            raise UserError(f"{name}.channels={channels}: must be a multiple of 8")
    check_fitted(settings)
    check_perturbations(settings)
    check_labels(settings)
    check_sizes(settings)
    dev_languages = [name for name in settings.train.dev_languages if name != "all"]
    for key, names in [("train.languages", settings.train.languages), ("train.dev_languages", dev_languages), *_set_languages(settings)]:
        for language in names:
            if language not in settings.corpus.languages:
                raise UserError(f"{key}: unknown language {language!r}; corpus.languages are {', '.join(settings.corpus.languages)}")
    stored, wanted = settings.augment.variants, settings.train.variants
    if missing := [variant for variant in wanted if variant not in stored]:
        raise UserError(f"train.variants: {missing[0]!r} is not among augment.variants={stored}")


def _check_names(settings: Settings) -> None:
    """Names that become folders and files, and those that must not be confused with each other."""
    require_folder_name("name", settings.name)
    if settings.name == "noise_bank":
        raise UserError("name='noise_bank': all experiments share the folder of that name. Give it another, such as name=noise_trial")
    corpus = settings.corpus
    require_usable_names(corpus.languages, corpus.sources, corpus.unknown_sources)
    for key in ("train_sets", "test_sets"):
        sets = getattr(settings.experiment, key)
        for text in sets:
            require_distinct(f"experiment.{key}: {text}", text.split("+"))
        for number, text in enumerate(sets):
            if same := [other for other in sets[:number] if set(other.split("+")) == set(text.split("+"))]:
                raise UserError(f"experiment.{key}: {same[0]} and {text} are the same set; name it once")
    for name in settings.detection.sets:
        require_folder_name("detection.sets", str(name), separators="/\\+|")


def _model_of_language(settings: Settings) -> str:
    """ssl.model with {language} replaced by the English name of the one language that is trained on; unchanged while that is open."""
    model, languages = settings.ssl.model, settings.train.languages
    if "{language}" not in model or settings.frontend != "ssl" or not languages:
        return model
    if len(languages) > 1 or languages[0] not in LANGUAGE_NAMES:
        known = ", ".join(LANGUAGE_NAMES)
        raise UserError(f"ssl.model={model} needs one training language of {known}, train.languages are {', '.join(languages)}")
    return model.replace("{language}", LANGUAGE_NAMES[languages[0]].lower())


def _set_languages(settings: Settings) -> list[tuple[str, list[str]]]:
    experiment = settings.experiment
    return [(f"experiment.{kind}", text.split("+")) for kind in ("train_sets", "test_sets") for text in getattr(experiment, kind)]


def to_dict(settings: Any) -> dict:
    """Settings (or a group of them) as a plain nested dict."""
    return dataclasses.asdict(settings)


def to_yaml(settings: Settings) -> str:
    """The resolved settings as YAML that can be read back; what `systems` said is in them already, and must not be applied again.

    Of a system of the user's own it keeps what its name needs: the file that it stands on, and its parts, unless a setting swapped one.
    """
    shape = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": 120}
    return yaml.dump({**to_dict(settings), "systems": _definition(settings)}, Dumper=_NamesInQuotes, **shape)


def _definition(settings: Settings) -> dict[str, Any]:
    if BASE not in settings.systems.get(settings.system, {}):
        return {}
    parts = (settings.frontend, settings.backend)
    is_whole = system_parts(settings.system, settings.systems) == parts
    named = {"frontend": parts[0], "backend": parts[1]} if is_whole else {}
    return {settings.system: {BASE: lineage(settings.system, settings.systems)[0], **named}}


class _NamesInQuotes(yaml.SafeDumper):
    """Puts quotation marks around text that a reader of YAML 1.2 would take for a number and this dumper would not, such as 1e3."""

    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _is_number(text) else None)


_NamesInQuotes.add_representer(str, _NamesInQuotes.represent_text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def describe(settings: Settings, groups: Sequence[str]) -> str:
    """The text of `--help` for some groups: name = value (type), what it means, what it may be. "" stands for the ungrouped ones."""
    lines = []
    for name, (kind, field) in fields_of(Settings).items():
        value = getattr(settings, name)
        if not dataclasses.is_dataclass(kind):
            if "" in groups and name != "systems":
                lines.append(_describe_one(name, value, kind, field))
        elif name in groups:
            lines += [_describe_one(f"{name}.{key}", getattr(value, key), sub, item) for key, (sub, item) in fields_of(kind).items()]
    return "\n".join(lines)


def _describe_one(key: str, value: Any, kind: Any, field: dataclasses.Field) -> str:
    rules = field.metadata
    choices = admitted(rules)
    shown_choices = f" One of: {', '.join(map(str, choices))}." if choices else ""
    shown = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else value
    return f"  {key}={shown}  ({type_name(kind)})\n      {rules['help']}.{shown_choices}"
