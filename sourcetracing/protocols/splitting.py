"""Draws train, dev and eval: utterance by utterance, or group by group (one transcript, recording or speaker in one split only).

Fractions are kept in each stratum: language x source, or language (`split.stratify=false`). Sources that are no class are strata of their
own and get no train split. What is drawn depends on the seed and the utterances, never on the order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.training import SPLITS

Fractions = tuple[float, float, float]


@dataclass(frozen=True)
class Strata:
    """codes (N,): the stratum of each utterance; of each stratum (S): names, (language, source) or (language,); sizes; unknown source."""

    codes: np.ndarray
    names: list[tuple[str, ...]]
    sizes: np.ndarray
    is_unknown: list[bool]


def strata_of(utterances: pd.DataFrame, stratify: bool, unknown_sources: Sequence[str] = ()) -> Strata:
    """The strata that an utterance table (columns language, source) falls into; with `stratify` by source too."""
    keys = ["language", "source"] if stratify else ["language"]
    table = utterances[keys].assign(is_unknown=utterances["source"].isin(list(unknown_sources)))
    grouped = table.groupby([*keys, "is_unknown"], sort=True)
    sizes = grouped.size()
    names = [tuple(str(part) for part in name[:-1]) for name in sizes.index]
    return Strata(grouped.ngroup().to_numpy(), names, sizes.to_numpy(), [bool(name[-1]) for name in sizes.index])


def fractions_of(split: Split, is_unknown: bool) -> Fractions:
    """Which part of a stratum goes to train, dev and eval; of an unknown source nothing to train. Raises `UserError`."""
    if not is_unknown:
        return split.train, split.dev, split.eval
    if not (held_out := split.dev + split.eval):
        raise UserError("split.dev and split.eval are both 0, but corpus.unknown_sources need one of them")
    return 0.0, split.dev / held_out, split.eval / held_out


def draw_utterances(utterances: pd.DataFrame, strata: Strata, split: Split, seed: int) -> np.ndarray:
    """Each utterance for itself; returns positions in SPLITS (N,). A stratum's draw depends on nothing outside it."""
    drawn = np.empty(len(utterances), np.int8)
    by_id = utterances["utt_id"].array.argsort()
    by_stratum = by_id[np.argsort(strata.codes[by_id], kind="stable")]
    for name, is_unknown, rows in zip(strata.names, strata.is_unknown, np.split(by_stratum, np.cumsum(strata.sizes))[:-1], strict=True):
        shuffled = rows[rng(seed, "split", *name).permutation(len(rows))]
        num_train, num_dev = _sizes(len(rows), fractions_of(split, is_unknown))
        drawn[shuffled] = np.repeat([0, 1, 2], [num_train, num_dev, len(rows) - num_train - num_dev])
    return drawn


def _sizes(total: int, fractions: Fractions) -> tuple[int, int]:
    num_train = round(total * fractions[0])
    return num_train, min(round(total * fractions[1]), total - num_train)


def draw_groups(utterances: pd.DataFrame, strata: Strata, split: Split, seed: int) -> np.ndarray:
    """All utterances that share a value of the column `split.group_by` together; returns positions in SPLITS (N,).

    An utterance without a value is a group of its own. Fractions hold in each stratum as well as the groups allow (`split_balance`); a
    group with an utterance of an unknown source stays out of train. Raises `UserError` when no utterance has a value, or too few groups
    are there to fill the splits.
    """
    groups = _groups_of(utterances, split.group_by)
    held_out = np.zeros(groups.max(initial=-1) + 1, bool)
    held_out[groups[np.array(strata.is_unknown, bool)[strata.codes]]] = True
    drawn = spread_groups(groups, held_out, strata, split, rng(seed, "split", "groups", split.group_by))[groups]
    for name, wanted, count in zip(SPLITS, fractions_of(split, False), np.bincount(drawn, minlength=3), strict=True):
        if wanted and not count:
            raise UserError(
                f"split.group_by={split.group_by} leaves no utterance for {name}: {held_out.size} groups, {held_out.sum()} of them "
                "with unknown sources. Choose another group_by, or none"
            )
    return drawn


def value_codes(column: pd.Series) -> np.ndarray:
    """One number for each distinct text, blanks around it aside; -1 where there is none. (N,)"""
    texts = column.astype("str").str.strip()
    codes = pd.factorize(texts)[0]
    return np.where((texts == "").to_numpy(bool), -1, codes)


def _groups_of(utterances: pd.DataFrame, column: str) -> np.ndarray:
    """The group of each utterance, numbered in the order of their ids."""
    if column not in utterances or not ((codes := value_codes(utterances[column])) >= 0).any():
        raise UserError(f"split.group_by={column}, but the {column} of every utterance is unknown. Choose another group_by, or none")
    alone = codes < 0
    codes[alone] = codes.max() + 1 + np.arange(alone.sum())
    by_id = utterances["utt_id"].array.argsort()
    groups = np.empty_like(codes)
    groups[by_id] = pd.factorize(codes[by_id])[0]
    return groups


def spread_groups(groups: np.ndarray, held_out: np.ndarray, strata: Strata, split: Split, generator: np.random.Generator) -> np.ndarray:
    """The split of each group (G,): group after group into the split that lags most behind its share of what was given out so far.

    The shares are those of the utterances seen so far, not of all: else train would take every large group.
    """
    num_strata = len(strata.names)
    turn = _turns(groups, held_out, generator)
    keys, counts = np.unique(turn[groups] * num_strata + strata.codes, return_counts=True)
    starts = np.searchsorted(keys, np.arange(len(held_out) + 1) * num_strata).tolist()
    # Lists, because Python reads single numbers from them several times faster than from arrays.
    stratum_of, count_of = (keys % num_strata).tolist(), counts.tolist()
    weight_of = (counts / strata.sizes[keys % num_strata]).tolist()
    handicaps = _handicaps(turn[held_out], len(held_out), split, generator).tolist()
    shares = [fractions_of(split, is_unknown) for is_unknown in strata.is_unknown]
    lags = train_lag, dev_lag, eval_lag = [[0.0] * num_strata for _ in SPLITS]
    chosen = np.empty(len(held_out), np.int8)
    for number, (to_train, to_dev, to_eval) in enumerate(handicaps):
        for entry in range(starts[number], starts[number + 1]):
            stratum, count, weight = stratum_of[entry], count_of[entry], weight_of[entry]
            share = shares[stratum]
            train_lag[stratum] += share[0] * count
            dev_lag[stratum] += share[1] * count
            eval_lag[stratum] += share[2] * count
            to_train += weight * train_lag[stratum]
            to_dev += weight * dev_lag[stratum]
            to_eval += weight * eval_lag[stratum]
        best = 0 if to_train >= to_dev and to_train >= to_eval else 1 if to_dev >= to_eval else 2
        chosen[number] = best
        for entry in range(starts[number], starts[number + 1]):
            lags[best][stratum_of[entry]] -= count_of[entry]
    return chosen[turn]


def _turns(groups: np.ndarray, held_out: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """When each group has its turn (G,).

    Held-out groups first, so that the others can make up for them in train; large before small ones, which even out what is left.
    """
    turns = np.empty(len(held_out), np.int64)
    order = np.lexsort((generator.permutation(len(held_out)), -np.bincount(groups, minlength=len(held_out)), ~held_out))
    turns[order] = np.arange(len(held_out))
    return turns


def _handicaps(held_out_turns: np.ndarray, num_groups: int, split: Split, generator: np.random.Generator) -> np.ndarray:
    """What each split starts with at each turn (G, 3): a hair's breadth, which breaks ties, or minus infinity where it is closed."""
    handicaps = generator.random((num_groups, 3)) * 1e-9
    handicaps[held_out_turns, 0] = -np.inf
    handicaps[:, [not fraction for fraction in fractions_of(split, False)]] = -np.inf
    return handicaps
