"""Which subsets make up a training or test set, by the names the tables use (spec 4.7; D54: ASV19 is train + dev)."""

from __future__ import annotations

from collections.abc import Sequence

from sourcetracing.errors import UserError
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.schema import Settings

SUBSETS = (
    "asv19_train",
    "asv19_dev",
    "asv19_eval",
    "asv21",
    "asv5_train",
    "asv5_dev",
    "for",
    "itw",
    "mailabs",
    "mlaad",
    "odss",
    "timit",
    "ai4trust",
)


def train_sets(settings: Settings) -> dict[str, list[str]]:
    """Name -> subsets of every training set, in the order of the published mixtures (detection.train)."""
    return named_sets(settings, settings.detection.train, "detection.train")


def test_sets(settings: Settings) -> dict[str, list[str]]:
    """Name -> subsets of the "real-life" sets that results are reported on (detection.test)."""
    return named_sets(settings, settings.detection.test, "detection.test")


test_sets.__test__ = False  # or pytest takes it for a test wherever it is imported


def baseline_train_sets(settings: Settings) -> dict[str, list[str]]:
    """Name -> subsets of what the layer sweep and the augmented baseline train on (detection.baseline_train)."""
    return named_sets(settings, settings.detection.baseline_train, "detection.baseline_train")


def baseline_sets(settings: Settings) -> dict[str, list[str]]:
    """Name -> subsets of what the layer sweep is tested on, in-domain sets first (detection.baseline_test; the columns of Layers_eval).

    ASV19 is its eval subset here: the sweep trains on ASV19's train + dev.
    """
    sets = named_sets(settings, settings.detection.baseline_test, "detection.baseline_test")
    return {name.removesuffix("_eval"): subsets for name, subsets in sets.items()}


def used_subsets(settings: Settings) -> list[str]:
    """Every subset that the experiments name, once, in the order of `SUBSETS`."""
    named = {
        **train_sets(settings),
        **test_sets(settings),
        **named_sets(settings, settings.detection.baseline_test, "detection.baseline_test"),
        **baseline_train_sets(settings),
        **named_sets(settings, settings.mixing.train_sets, "mixing.train_sets"),
        **named_sets(settings, settings.pruning.train, "pruning.train"),
    }
    used = {subset for subsets in named.values() for subset in subsets}
    return [subset for subset in SUBSETS if subset in used]


def named_sets(settings: Settings, names: Sequence[str], setting: str) -> dict[str, list[str]]:
    """Name -> subsets of some of detection.sets; a subset's own name stands for it alone. Raises `UserError` naming the setting."""
    known = {**{subset: [subset] for subset in SUBSETS}, **settings.detection.sets}
    for name in names:
        if name not in known:
            raise UserError(f"{setting}: {name!r} is not among detection.sets{did_you_mean(name, known)}")
    return {name: _checked(name, known[name]) for name in names}


def _checked(name: str, subsets: object) -> list[str]:
    if not isinstance(subsets, list) or not subsets:
        raise UserError(f"detection.sets.{name}={subsets!r}: a list of subsets is expected, such as [asv19_train, asv19_dev]")
    for subset in subsets:
        if subset not in SUBSETS:
            raise UserError(f"detection.sets.{name}: unknown subset {subset!r}{did_you_mean(str(subset), SUBSETS)}")
    return list(subsets)
