"""Which subsets make up a training or test set, by the names the tables use (D54: ASV19 is train + dev)."""

from __future__ import annotations

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.detection import corpus_of_subset
from sourcetracing.settings.schema import Settings

# The settings that name sets.
BASELINE_TRAIN, BASELINE_TEST = "detection.baseline_train", "detection.baseline_test"
TRAIN, TEST, MIXED, PRUNED = "detection.train", "detection.test", "mixing.train_sets", "pruning.train"


def test_sets(settings: Settings) -> dict[str, list[str]]:
    """Name -> subsets of the "real-life" sets that results are reported on (detection.test)."""
    return named_sets(settings, TEST)


test_sets.__test__ = False  # or pytest takes it for a test wherever it is imported


def baseline_sets(settings: Settings) -> dict[str, list[str]]:
    """Name -> subsets of what the layer sweep is tested on, in-domain sets first (the columns of the published table of layers).

    ASV19 is its eval subset here: the sweep trains on ASV19's train + dev.
    """
    sets = named_sets(settings, BASELINE_TEST)
    if twice := [name for name in sets if f"{name}_eval" in sets]:
        raise UserError(f"{BASELINE_TEST}: {twice[0]} and {twice[0]}_eval would be one column; name one of them")
    return {name.removesuffix("_eval"): subsets for name, subsets in sets.items()}


def training_sets(settings: Settings, setting: str) -> dict[str, list[str]]:
    """Name -> subsets of what is mixed or pruned; where that setting is empty, detection.train in the order of the published mixtures."""
    return named_sets(settings, setting) or named_sets(settings, TRAIN)


def files_alone(settings: Settings, manifest: pd.DataFrame) -> list[str]:
    """`200 of 200 files of ITW`: of the real-life sets, what is a group by itself since no speaker and no recording is known."""
    found = []
    for name, subsets in test_sets(settings).items():
        own = manifest[manifest["corpus"].isin(subsets)]
        if count := int((own["group"] == own["file_id"]).sum()):
            found.append(f"{count} of {len(own)} files of {name}")
    return found


def used_subsets(settings: Settings, *names: str) -> list[str]:
    """Every subset that these settings name (default: all that name sets), once, in the order of the registry."""
    names = names or (TRAIN, TEST, BASELINE_TEST, BASELINE_TRAIN, MIXED, PRUNED)
    used = {subset for name in names for subsets in named_sets(settings, name).values() for subset in subsets}
    return [subset for subset in corpus_of_subset() if subset in used]


def named_sets(settings: Settings, setting: str) -> dict[str, list[str]]:
    """Name -> subsets of those of detection.sets that a setting names; a subset's own name stands for it alone. Raises `UserError`."""
    known = {**{subset: [subset] for subset in corpus_of_subset()}, **settings.detection.sets}
    group, _, field = setting.partition(".")
    names = getattr(getattr(settings, group), field)
    for name in names:
        if name not in known:
            raise UserError(f"{setting}: {name!r} is not among detection.sets{did_you_mean(name, known)}")
    return {name: _checked(name, known[name]) for name in names}


def _checked(name: str, subsets: object) -> list[str]:
    if not isinstance(subsets, list) or not subsets:
        raise UserError(f"detection.sets.{name}={subsets!r}: a list of subsets is expected, such as [asv19_train, asv19_dev]")
    for subset in subsets:
        if subset not in (known := corpus_of_subset()):
            raise UserError(f"detection.sets.{name}: unknown subset {subset!r}{did_you_mean(str(subset), known)}")
    return list(subsets)
