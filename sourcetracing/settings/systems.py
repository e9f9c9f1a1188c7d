"""Systems by name: each a file in configs/systems, or a part of `systems` in a user's YAML that stands on another one by its `base`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sourcetracing.errors import UserError
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.names import require_folder_name
from sourcetracing.settings.places import config_files

BASE = "base"
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


def own_settings(piece: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a file or word of settings says of a system alone."""
    return {key: value for key, value in piece.get("systems", {}).get(name, {}).items() if key != BASE}


def _base(name: str, systems: Mapping[str, Any]) -> str | None:
    return systems.get(name, {}).get(BASE)
