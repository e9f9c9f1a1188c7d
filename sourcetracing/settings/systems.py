"""Systems by name: each a file in configs/systems, or a part of `systems` in a user's YAML that stands on another one by its `base`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sourcetracing.errors import UserError
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.frontends import FRONTENDS
from sourcetracing.settings.names import require_folder_name
from sourcetracing.settings.places import config_files
from sourcetracing.settings.recorded import AUDIO_RULES

BASE = "base"
# Groups that a system may say for itself, besides those of its front-end and back-end, and what of them all systems share.
_OWN = ("frontend", "backend", "audio", "augment", "store", "finetune", "train", "metric_learning", "evaluation", "compute", "executor")
_NO_OWN = {
    **dict.fromkeys(AUDIO_RULES, "it decides which utterances there are, and all systems of an experiment share them"),
    "train.languages": "experiment.train_sets says what each system is trained on",
    "train.seed": "experiment.seeds says which seeds each system is trained with",
    **dict.fromkeys(
        ("evaluation.zero_division", "evaluation.bootstrap_samples", "evaluation.bootstrap_by"), "tables treat all systems alike"
    ),
    "compute.workers": "systems are trained side by side",
    "name": "all systems of an experiment share its folder",
    "paths": "all systems of an experiment share its folders",
    "system": "base: NAME names what it stands on",
    "systems": "base: NAME names what it stands on",
    "experiment": "a system is a part of it",
}
_SEPARATORS = "/\\|*?[]:+()"  # of paths, of `--only` patterns, of sets, of the mark of the floor


def lineage(name: str, systems: Mapping[str, Any]) -> list[str]:
    """A system behind all that it stands on, such as [lfcc_ecapa_tdnn, narrow, my_narrow]; the first one has a file.

    systems: what settings say below `systems`. Raises `UserError`: no such system, no such base, bases in a loop.
    """
    files, chain = config_files("systems"), [name]
    while chain[0] not in files:
        base = _base(chain[0], systems)
        if base is None:
            known = [*files, *(other for other in systems if _base(other, systems) is not None)]
            if len(chain) > 1:
                raise UserError(f"systems.{chain[1]}.{BASE}={chain[0]!r}: there is no such system{did_you_mean(chain[0], known)}")
            hint = did_you_mean(str(name), known)
            raise UserError(f"system {name!r} has no file configs/systems/{name}.yaml, and no {BASE} in systems{hint}")
        if base in chain:
            raise UserError(f"systems: {' -> '.join([*chain[::-1], base])}: a loop; the last base must be a file in configs/systems")
        chain.insert(0, base)
    return chain


def require_sound(systems: Mapping[str, Any]) -> None:
    """Raises `UserError` for a system that cannot be: besides `lineage`, a name that is no folder's, or that a file has already."""
    files = config_files("systems")
    for name, own in systems.items():
        if BASE in own:
            if not isinstance(own[BASE], str):
                raise UserError(f"systems.{name}.{BASE}={own[BASE]!r}: text is expected, the name of a system")
            if name in files:
                raise UserError(
                    f"systems.{name}.{BASE}: configs/systems/{name}.yaml has this name; take {BASE} out to change its settings only, or "
                    "give the system another name"
                )
            require_folder_name("systems", str(name), _SEPARATORS)
        lineage(name, systems)


def refuse_shared(piece: Any, where: str) -> None:
    """Raises `UserError` for a setting that is no single system's: it would do nothing, or move the folders of the experiment.

    piece: what a file of configs/systems or a part of `systems` says (checked by `check_piece`). where: before the name of the setting.
    """
    for group, values in piece.items():
        names = [f"{group}.{name}" for name in values] if isinstance(values, dict) and group in _OWN else []
        known = group in _OWN or any(group in registry and registry[group].options for registry in (FRONTENDS, BACKENDS))
        for key in [*names, *([] if known else [group])]:
            if key in _NO_OWN or not known:
                why = _NO_OWN.get(key, "it is no part of a system")
                leaf = f"{key}.{next(iter(values))}" if key == group and isinstance(values, dict) and values else key
                raise UserError(
                    f"{where}{leaf}: not a setting of a single system, for {why}. Say {leaf} for the whole experiment, or not at all"
                )


def own_settings(piece: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a file or word of settings says of a system alone."""
    return {key: value for key, value in piece.get("systems", {}).get(name, {}).items() if key != BASE}


def _base(name: str, systems: Mapping[str, Any]) -> str | None:
    return systems.get(name, {}).get(BASE)
