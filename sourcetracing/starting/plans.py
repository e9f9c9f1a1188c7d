"""What a first experiment consists of, by the size of the corpus: systems, training and test sets, width, schedule, seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.schema import Settings
from sourcetracing.starting.splits import ChosenSplit

TINY, SMALL, LARGE = "tiny", "small", "MLAAD-size"
FEW_PER_CELL, FEW_IN_ALL, MANY_IN_ALL = 60, 2000, 50_000  # utterances
FLOOR, FITTED, NETWORK, ENCODER = "stats_logreg", "long_term", "lfcc_ecapa_tdnn", "xlsr_frozen_aasist"
SYSTEMS = {TINY: (FLOOR, FITTED, NETWORK), SMALL: (FLOOR, FITTED, NETWORK), LARGE: (FLOOR, NETWORK, ENCODER)}
# More feature rows to train on than the first number: so wide a network, so many rows in a step.
_WIDTHS = ((0, 16, 8), (200, 32, 8), (1000, 48, 8), (5000, 64, 16), (20_000, 96, 32), (60_000, 192, 64))
_STEPS = {TINY: 400, SMALL: 1200, LARGE: 3000}
_MOST_STEPS = 3000
_PASSES = (6, 150)  # fewest and most, over the training rows
_LOOKS = {TINY: 20, SMALL: 20, LARGE: 6}  # at dev
_WARMUP = 20  # of so many steps one
_MOST_LANGUAGES = 8  # that are trained on one by one
_LEAST_TO_TRAIN = 8  # utterances of a language that is trained on alone
_SHORTEST_S, _LONGEST_S = 1.0, 4.0  # of a crop
_SEEDS = (688, 689, 690)


@dataclass(frozen=True)
class Schedule:
    """Of the network, in settings of `train` but for its width. looks: at dev, each after steps_per_dev steps."""

    channels: int
    batch_size: int
    steps: int
    steps_per_dev: int
    warmup_steps: int

    @property
    def looks(self) -> int:
        """The last one may come after fewer steps."""
        return -(-self.steps // self.steps_per_dev)


@dataclass(frozen=True)
class FirstPlan:
    """All that the YAML says. train_sets, test_sets: [] = each language alone, as by default. set_reason: why these training sets."""

    size: str
    size_reason: str
    systems: tuple[str, ...]
    languages: list[str]
    sources: list[str]
    unknown_sources: list[str]
    split: Split
    split_reasons: list[str]
    counts: pd.DataFrame  # by (language, source): train, dev, eval
    train_sets: list[str]
    test_sets: list[str]
    set_reason: str
    crop_seconds: float
    variants: list[str]
    schedule: Schedule
    seeds: list[int]

    @property
    def num_sets(self) -> int:
        """Training sets."""
        return len(self.train_sets or self.languages)

    @property
    def num_dev_rows(self) -> int:
        """Of all training sets together, for each seed and system."""
        by_language = self.counts["dev"].unstack("language", fill_value=0).reindex(self.sources, fill_value=0).sum()
        return len(self.variants) * sum(int(by_language[name]) for one in self.train_sets or self.languages for name in one.split("+"))


def make_first_plan(chosen: ChosenSplit, median_s: float, variants: list[str]) -> FirstPlan:
    """median_s: duration of an utterance. Raises `UserError` where no two sources can be told apart."""
    counts = chosen.counts
    sources = [name for name in sorted(counts.index.unique("source")) if name not in chosen.unknown_sources]
    known = counts[counts.index.get_level_values("source").isin(sources)]
    if not known["eval"].any() or len(sources) < 2:
        raise UserError("too few utterances to train and to test two sources: three of each, at least, are needed")
    languages = sorted(counts.index.unique("language"))
    size, size_reason = size_of(counts)
    train_sets, test_sets, set_reason = sets_of(known, languages)
    by_language = known["train"].groupby(level="language").sum()
    rows = [by_language.reindex(name.split("+"), fill_value=0).sum() * len(variants) for name in train_sets or languages]
    schedule = schedule_of(size, int(np.median(rows)))
    return FirstPlan(
        size=size,
        size_reason=size_reason,
        systems=SYSTEMS[size],
        languages=languages,
        sources=sources,
        unknown_sources=chosen.unknown_sources,
        split=chosen.split,
        split_reasons=chosen.reasons,
        counts=counts,
        train_sets=train_sets,
        test_sets=test_sets,
        set_reason=set_reason,
        crop_seconds=crop_seconds_of(median_s),
        variants=variants,
        schedule=schedule,
        seeds=list(_SEEDS if size != LARGE else _SEEDS[:1]),
    )


def size_of(counts: pd.DataFrame) -> tuple[str, str]:
    """(tiny, small or MLAAD-size; why)."""
    sizes = counts.sum(axis=1)
    total, cell = int(sizes.sum()), int(sizes.median())
    if total > MANY_IN_ALL:
        return LARGE, f"{total} utterances, more than {MANY_IN_ALL}"
    if total < FEW_IN_ALL:
        return TINY, f"{total} utterances, fewer than {FEW_IN_ALL}"
    if cell < FEW_PER_CELL:
        return TINY, f"{cell} utterances of a source in a language (median), fewer than {FEW_PER_CELL}"
    return SMALL, f"{total} utterances, {cell} of a source in a language (median)"


def sets_of(known: pd.DataFrame, languages: Sequence[str]) -> tuple[list[str], list[str], str]:
    """(training sets, test sets, why) of the known sources' counts; [] = each language alone."""
    by_language = (known[["train", "eval"]].groupby(level="language").sum()).reindex(languages, fill_value=0)
    num_sources = (known["train"] > 0).groupby(level="language").sum().reindex(languages, fill_value=0)
    num_rows = by_language["train"]
    alone = [name for name in languages if num_sources[name] >= 2 and num_rows[name] >= _LEAST_TO_TRAIN]
    tested = [name for name in languages if by_language.loc[name, "eval"]]
    test_sets = [] if tested == list(languages) else tested
    if len(languages) == 1:
        return [], [], "one language: nothing can be said across languages"
    if len(alone) == len(languages) <= _MOST_LANGUAGES:
        return [], test_sets, "each language is trained on alone, and tested on all"
    if 2 <= len(alone) <= _MOST_LANGUAGES:
        others = ", ".join(name for name in languages if name not in alone)
        return alone, test_sets, f"{others}: fewer than two sources or {_LEAST_TO_TRAIN} utterances to train on, so only tested"
    why = f"more than {_MOST_LANGUAGES} languages" if len(alone) > _MOST_LANGUAGES else "too little in single languages"
    return ["+".join(name for name in languages if num_rows[name])], test_sets, f"all languages together: {why}"


def crop_seconds_of(median_s: float) -> float:
    """Half a second exactly, no more than most utterances have."""
    return float(np.clip(math.floor(2 * median_s) / 2, _SHORTEST_S, _LONGEST_S))


def schedule_of(size: str, num_rows: int) -> Schedule:
    """num_rows: feature rows of the median training set."""
    _, channels, batch_size = max(width for width in _WIDTHS if num_rows >= width[0])
    per_epoch = max(1, math.ceil(num_rows / batch_size))
    passes = min(max(math.ceil(_STEPS[size] / per_epoch), _PASSES[0]), _PASSES[1])
    steps = min(passes * per_epoch, _MOST_STEPS)
    return Schedule(channels, batch_size, steps, math.ceil(steps / _LOOKS[size]), steps // _WARMUP)


def settings_of(plan: FirstPlan) -> Settings:
    """What decides the speed of the network."""
    settings = Settings()
    settings.corpus.sources, settings.audio.crop_seconds = plan.sources, plan.crop_seconds
    settings.ecapa_tdnn.channels = plan.schedule.channels
    return settings
