"""What two settings mean on this machine, so that recipes hash that and not the words: compute.precision=auto, ssl.revision=main.

Recipes written before 2026-11 hold the words. `in_todays_terms` reads them by what else their store says, so that such stores are found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sourcetracing.features.ssl_front_end import commit_of, fetched_commit
from sourcetracing.runtime.compute import encoder_precision, pick_device, precision_in_recipes, resolved_precision
from sourcetracing.settings.paths import ENGINES, Compute
from sourcetracing.settings.schema import Settings


def resolved(settings: Settings, *, ask_hub: bool = False) -> Settings:
    """The settings with float32 or bf16 for `auto`, and the commit for the revision of a Hub model where the cache tells it.

    ask_hub: the Hub is asked where the cache does not tell; a model that cannot be had is reported when it is loaded.
    """
    precision = resolved_precision(pick_device(settings.compute.device), settings.compute.precision)
    found = replace(settings, compute=replace(settings.compute, precision=precision))
    if settings.frontend == "ssl":
        found.ssl = replace(settings.ssl, revision=revision_of(settings, ask_hub=ask_hub))
    return found


def revision_of(settings: Settings, *, ask_hub: bool = False) -> str:
    """The commit of ssl.revision where the cache tells it, else what the setting says."""
    find = fetched_commit if ask_hub else commit_of
    return find(settings.ssl.model, settings.ssl.revision) or settings.ssl.revision


def checkpoint_facts(settings: Settings, loaded: str = "") -> dict[str, str]:
    """What store.json tells of the SSL checkpoint that settings as the user wrote them name: revision, and its commit where it is known.

    loaded: the commit that the weights came with, which is surer than what the cache tells.
    """
    asked, commit = settings.ssl.revision, loaded or commit_of(settings.ssl.model, settings.ssl.revision)
    return {"checkpoint_revision": asked, **({"checkpoint_commit": commit} if commit else {})}


def precision_of(settings: Settings, *, of_encoder: bool = False) -> str:
    """The resolved precision as recipes write it; of what is trained, or of a frozen encoder."""
    compute = resolved(settings).compute
    return precision_in_recipes(encoder_precision(compute) if of_encoder else compute.precision)


def how_computed(settings: Settings, *, of_encoder: bool = False) -> dict[str, Any]:
    """What a recipe says of the arithmetic: precision, and deterministic where it is off.

    That is written for every device, so that on a computer without a GPU the same words find what one with a GPU made.
    """
    return {
        "precision": precision_of(settings, of_encoder=of_encoder),
        **({} if settings.compute.deterministic else {"deterministic": False}),
    }


def engine_in_recipes(settings: Settings) -> dict[str, str]:
    """What the recipe of a frozen encoder's features says of the engine: nothing of torch, as before there was a choice."""
    engine = settings.compute.engine
    return {} if engine == "torch" else {"engine": engine}


def otherwise(settings: Settings) -> dict[str, Settings]:
    """`compute.precision=bf16` and such -> the settings with it: where another computer may have put what is not found here."""
    ours = resolved(settings).compute
    others = [replace(ours, precision=word, encoder_precision="auto") for word in ("float32", "bf16")]
    others.append(replace(ours, encoder_precision="fp16"))
    others += [replace(one, deterministic=not one.deterministic) for one in others]
    others += [replace(one, engine="torch") for one in others]
    in_float32 = "auto" if ours.precision == "float32" else "float32"
    others += [replace(ours, encoder_precision=in_float32, engine=engine) for engine in ENGINES[1:]]
    return {words: replace(settings, compute=other) for other in others if (words := _differing(ours, other))}


def _differing(ours: Compute, other: Compute) -> str:
    names = [name for name in ("precision", "encoder_precision", "engine") if getattr(other, name) != getattr(ours, name)]
    words = [f"compute.{name}={getattr(other, name)}" for name in names]
    words += [f"compute.deterministic={str(other.deterministic).lower()}"] if other.deterministic != ours.deterministic else []
    return " ".join(words)


def in_todays_terms(theirs: Mapping[str, Any], facts: Mapping[str, Any], ours: Mapping[str, Any], asked: str) -> dict[str, Any]:
    """What a store's recipe says of its encoder (model, revision, precision, ...), in the terms of the recipe that we look for.

    facts: of its store.json; asked: our revision as the user wrote it. Where this machine cannot tell our commit, or the store is from
    before commits were recorded, a store that asked for the same revision will do.
    """
    found, device = dict(theirs), facts.get("extraction", {}).get("device")
    if found.get("precision") == "auto" and device == "cuda" and "checkpoint_revision" not in facts:
        found["precision"] = "bf16"
    if found.get("precision") == "float32":
        found["precision"] = precision_in_recipes("float32")
    if "revision" in found:
        commit, theirs_asked = facts.get("checkpoint_commit", ""), facts.get("checkpoint_revision", found["revision"])
        is_open = not commit or not is_commit(ours["revision"])
        found["revision"] = ours["revision"] if is_open and theirs_asked == asked else commit or found["revision"]
    return found


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, not the name of a branch or a tag."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None
