"""Which published misbehaviour a run of source tracing has: the overlays of configs/as_published/ of which it has all settings."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.corpora import shapes_of
from sourcetracing.settings.frontends import FRONTENDS, is_fine_tuned
from sourcetracing.settings.places import config_files
from sourcetracing.settings.reading import read_yaml
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.systems import lineage, own_settings

COMBINED = "as_published"
UNNAMED = ("published_precision",)  # what every run on a CPU has; a run's precision is recorded for itself
OF_DETECTION = ("detection", "layer_features", "rawboost", "codec", "logreg", "selection", "mixing", "pruning")
PARTS = (*FRONTENDS, *BACKENDS, "finetune", "metric_learning")  # groups of settings that only some systems have


def overlays_of(settings: Settings, unused: Collection[str] = ()) -> str:
    """Names of the overlays that are on, joined by +; where "as_published" is, that and what it does not hold; "" for none.

    An overlay about a part, a corpus or a system that this one is not (`published_ecapa_tdnn` without an ECAPA-TDNN) is not named, nor do
    its lines about detection count. unused: groups of settings that decided nothing, likewise.
    """
    pieces = {name: _part_for(piece, settings) for name, piece in overlays().items() if name not in UNNAMED}
    on = [name for name, piece in pieces.items() if _is_on({key: piece[key] for key in piece if key not in unused}, settings)]
    whole = overlays()[COMBINED]
    return "+".join(name for name in on if COMBINED not in on or name == COMBINED or not _is_within(overlays()[name], whole))


@cache
def overlays() -> dict[str, dict]:
    """The overlays of configs/as_published/ by name, as nested settings."""
    return {name: read_yaml(path) for name, path in config_files("as_published").items()}


def _part_for(piece: dict, settings: Settings) -> dict:
    """What an overlay says of a system: groups of parts that the system has, and the lines for it alone, or for what it stands on."""
    used = {settings.frontend, settings.backend} | ({"finetune"} if is_fine_tuned(settings) else set())
    used |= {"metric_learning"} if BACKENDS[settings.backend].metric_loss else set()
    used |= {name.partition(".")[0] for name in shapes_of(settings.corpus.reader)}
    special = [own_settings(piece, name) for name in lineage(settings.system, settings.systems)]
    optional = ("systems", "mlaad", *OF_DETECTION, *PARTS)
    shared = {group: values for group, values in piece.items() if group not in optional or group in used}
    layers = [shared, *special]
    groups = dict.fromkeys(group for layer in layers for group in layer)
    return {group: {key: value for layer in layers for key, value in layer.get(group, {}).items()} for group in groups}


def _is_within(piece: dict, whole: dict) -> bool:
    """Whether all that nested settings say, others say too."""
    return all(
        key in whole and (_is_within(value, whole[key]) if isinstance(value, dict) else whole[key] == value) for key, value in piece.items()
    )


def _is_on(piece: dict, settings: Settings) -> bool:
    """Whether it says more than the overlays without a name, and all of it holds."""
    return not any(_is_within(piece, overlays()[name]) for name in UNNAMED) and all(
        getattr(getattr(settings, group), name) == value for group, values in piece.items() for name, value in values.items()
    )
