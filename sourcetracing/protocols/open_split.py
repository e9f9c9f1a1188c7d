"""Draws an open-set protocol (split.assignment=openset).

Unknown sources of dev and of eval differ, held-out languages are in eval only, and no two splits share a speaker, a transcript or a
recording (`open_split.disjoint`).

Utterances that share one of these are a group, which goes to one split. What may not be there, such as an utterance of eval's unknown
sources in a group of train, is left out. What is drawn depends on the seed and the utterances, never on the order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.protocols.architectures import architectures_of, linked_groups
from sourcetracing.protocols.splitting import spread_groups, strata_of, value_codes
from sourcetracing.runtime.seeding import rng, seed_of
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.open_split import ARCHITECTURE, OpenSplit
from sourcetracing.settings.training import SPLITS

TRAIN, DEV, EVAL, NOWHERE = 0, 1, 2, -1
_ANY = 3  # of an utterance that any split may have
COMMAND = "python scripts/02_build_protocols.py CONFIG.yaml --propose FILE.yaml"


@dataclass(frozen=True)
class OpenSetDraw:
    """protocol: utt_id, split of the utterances that have one. lines: what was left out, and why."""

    protocol: pd.DataFrame
    lines: list[str]


def draw_open_set(utterances: pd.DataFrame, known: Sequence[str], split: Split, rules: OpenSplit, seed: int) -> OpenSetDraw:
    """utterances: columns utt_id, language, source, and any of speaker, transcript, recording, architecture. known: the classes.

    Raises `UserError`, saying what to relax, where the rules leave a split without known or unknown sources.
    """
    if split.group_by != "none":
        raise UserError(f"split.group_by={split.group_by}: with split.assignment=openset name it in open_split.disjoint instead")
    table = utterances.sort_values("utt_id", ignore_index=True)
    places = _places(table, known, rules, seed)
    is_capped = _beyond_cap(table, places, rules.most_per_source, seed)
    table, places = table[~is_capped].reset_index(drop=True), places[~is_capped]
    groups, lines = _groups(table, rules)
    _require_groups(table, groups, places, split, rules)
    drawn = _draw(table, groups, places, split, seed)[groups]
    kept = (places == _ANY) | (places == drawn)
    protocol = pd.DataFrame({"utt_id": table["utt_id"][kept], "split": np.array(SPLITS)[drawn[kept]]})
    _require_filled(table[kept], protocol, known, split, rules)
    order = utterances["utt_id"][utterances["utt_id"].isin(set(protocol["utt_id"]))]
    return OpenSetDraw(protocol.set_index("utt_id").loc[order].reset_index(), lines + _left_out(int(is_capped.sum()), places, kept, rules))


def dev_unknown(table: pd.DataFrame, known: Sequence[str], rules: OpenSplit, seed: int) -> set[str]:
    """The unknown sources of dev: those of the settings, or half of the architectures, drawn."""
    unknown = sorted(set(table["source"]) - set(known))
    architectures = architectures_of(table)
    apart = ARCHITECTURE in rules.disjoint
    if not unknown:
        raise UserError(f"split.assignment=openset: corpus.unknown_sources names none. Name some, or run: {COMMAND}")
    if apart and (shared := set(architectures[unknown]) & set(architectures.reindex(known).dropna())):
        one = min(name for name in unknown if architectures[name] in shared)
        other = min(name for name in known if architectures.get(name) == architectures[one])
        raise UserError(
            f"corpus.unknown_sources: {one} is of the same architecture as the known source {other} ({architectures[one]}). Leave it out, "
            f"take architecture out of open_split.disjoint, or run: {COMMAND}"
        )
    if rules.dev_sources:
        return _given_dev(unknown, architectures, rules)
    names = architectures[unknown] if apart else pd.Series(unknown, index=unknown)
    drawn = sorted(set(names), key=lambda name: seed_of(seed, "open set", "dev", name))
    if len(drawn) < 2:
        raise UserError(
            f"all unknown sources are of one architecture ({drawn[0]}), and dev and eval must have different ones. Name another one in "
            "corpus.unknown_sources, or take architecture out of open_split.disjoint"
            if apart and len(unknown) > 1
            else f"corpus.unknown_sources: {unknown[0]} is the only one, and dev and eval must have different ones. Name another one"
        )
    return set(names.index[names.isin(drawn[: len(drawn) // 2])])


def _given_dev(unknown: list[str], architectures: pd.Series, rules: OpenSplit) -> set[str]:
    if strangers := sorted(set(rules.dev_sources) - set(unknown)):
        raise UserError(f"open_split.dev_sources: {strangers[0]!r} is not among the unknown sources of this corpus")
    others = [name for name in unknown if name not in rules.dev_sources]
    if not others:
        raise UserError("open_split.dev_sources names all unknown sources: none is left for eval")
    if ARCHITECTURE in rules.disjoint and (shared := set(architectures[rules.dev_sources]) & set(architectures[others])):
        one = min(name for name in others if architectures[name] in shared)
        raise UserError(
            f"open_split.dev_sources: {one}, which is left for eval, is of the architecture of one of them ({architectures[one]}). Put it "
            "there too, or take architecture out of open_split.disjoint"
        )
    return set(rules.dev_sources)


def _places(table: pd.DataFrame, known: Sequence[str], rules: OpenSplit, seed: int) -> np.ndarray:
    """The one split that each utterance may be in, _ANY or NOWHERE (N,)."""
    if strangers := sorted(set(rules.heldout_languages) - set(table["language"])):
        raise UserError(f"open_split.heldout_languages: this corpus has no {strangers[0]!r}")
    in_dev = table["source"].isin(dev_unknown(table, known, rules, seed)).to_numpy()
    is_known = table["source"].isin(list(known)).to_numpy()
    heldout = table["language"].isin(rules.heldout_languages).to_numpy()
    places = np.where(is_known, _ANY, np.where(in_dev, DEV, EVAL))
    return np.where(heldout, np.where(in_dev, NOWHERE, EVAL), places)


def _beyond_cap(table: pd.DataFrame, places: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Which utterances are more than so many of their source; each one's lot depends on itself alone."""
    if not most:
        return np.zeros(len(table), bool)
    lots = pd.Series([seed_of(seed, "open set", "cap", name) for name in table["utt_id"]]).where(places != NOWHERE, np.inf)
    return (lots.groupby(table["source"]).rank(method="first") > most).to_numpy() & (places != NOWHERE)


def _groups(table: pd.DataFrame, rules: OpenSplit) -> tuple[np.ndarray, list[str]]:
    """(the group of each utterance, a line for each column that says nothing)."""
    columns = [name for name in rules.disjoint if name != ARCHITECTURE]
    codes = {name: value_codes(table[name]) if name in table else np.full(len(table), -1) for name in columns}
    blank = [name for name, numbers in codes.items() if not (numbers >= 0).any()]
    lines = [f"open_split.disjoint: the {name} of every utterance is unknown, so nothing keeps it in one split" for name in blank]
    return linked_groups([np.arange(len(table)), *codes.values()]), lines


def _draw(table: pd.DataFrame, groups: np.ndarray, places: np.ndarray, split: Split, seed: int) -> np.ndarray:
    """The split of each group (G,). Those of languages that no group links are drawn apart from each other."""
    free = places == _ANY
    num_groups = groups.max(initial=-1) + 1
    tally = np.stack([np.bincount(groups[places == place], minlength=num_groups) for place in (DEV, EVAL)])
    first = pd.Series(table["utt_id"].to_numpy()).groupby(groups).min()
    lots = np.array([seed_of(seed, "open set", "side", name) % 2 for name in first])
    drawn = np.where(tally[0] + lots > tally[1], DEV, EVAL)
    languages = pd.factorize(table["language"][free])[0]
    clusters = linked_groups([languages, groups[free]])
    for cluster in range(clusters.max(initial=-1) + 1):
        rows = np.flatnonzero(free)[clusters == cluster]
        own, names = pd.factorize(groups[rows])
        generator = rng(seed, "open set", *sorted(table["language"].iloc[rows].unique()))
        strata = strata_of(table.iloc[rows], split.stratify)
        drawn[names] = spread_groups(own, np.zeros(len(names), bool), strata, split, generator)
    return drawn


def _require_groups(table: pd.DataFrame, groups: np.ndarray, places: np.ndarray, split: Split, rules: OpenSplit) -> None:
    """Raises `UserError` where known sources fall into fewer groups than there are splits to fill."""
    free = places == _ANY
    num_splits = sum(1 for name in SPLITS if getattr(split, name))
    if (found := len(np.unique(groups[free]))) >= num_splits:
        return
    what = f"{found} group{'s' * (found != 1)}" if found else "no group at all"
    raise UserError(
        f"split.assignment=openset: the {int(free.sum())} utterances of known sources hang together in {what}, too few for "
        f"{num_splits} splits{_relax(table, free, rules)}"
    )


def _relax(table: pd.DataFrame, rows: np.ndarray, rules: OpenSplit) -> str:
    """What to take out of open_split.disjoint: the column without which there are most groups."""
    columns = [name for name in rules.disjoint if name != ARCHITECTURE and name in table]
    if not columns:
        return ""

    def num_groups(left_out: str) -> int:
        fewer = OpenSplit(disjoint=[name for name in columns if name != left_out])
        return len(np.unique(_groups(table, fewer)[0][rows]))

    best = max(columns, key=num_groups)
    return f". Take {best} out of open_split.disjoint ({num_groups(best)} groups then), or hold out fewer languages"


def _require_filled(table: pd.DataFrame, protocol: pd.DataFrame, known: Sequence[str], split: Split, rules: OpenSplit) -> None:
    """Raises `UserError` for a split without known or unknown sources, and for a known source with too little to train on."""
    is_known = table["source"].isin(list(known)).to_numpy()
    splits = protocol["split"].to_numpy()
    wanted = [(name, "a known", is_known) for name in SPLITS if getattr(split, name)]
    for name, whose, rows in [*wanted, ("dev", "an unknown", ~is_known), ("eval", "an unknown", ~is_known)]:
        if not (rows & (splits == name)).any():
            raise UserError(f"split.assignment=openset leaves {name} no utterance of {whose} source{_relax(table, is_known, rules)}")
    counts = table["source"][is_known & (splits == "train")].value_counts().reindex(known, fill_value=0)
    if (counts < rules.least_per_source).any():
        name = counts.index[counts < rules.least_per_source][0]
        raise UserError(
            f"corpus.sources: {name} has {counts[name]} training utterances, and open_split.least_per_source={rules.least_per_source}. "
            f"Take it out of corpus.sources, or lower that{_relax(table, is_known, rules).replace('. Take', ', or take')}"
        )


def _left_out(num_capped: int, places: np.ndarray, kept: np.ndarray, rules: OpenSplit) -> list[str]:
    nowhere, others = int((places == NOWHERE).sum()), int((~kept & (places != NOWHERE)).sum())
    shared = ", ".join(name for name in rules.disjoint if name != ARCHITECTURE)
    reasons = [
        (num_capped, f"more than open_split.most_per_source={rules.most_per_source} of their source"),
        (others, f"of unknown sources or held-out languages, that share {shared} with another split"),
        (nowhere, "of dev's unknown sources in held-out languages"),
    ]
    return [f"left out {count} utterances: {why}" for count, why in reasons if count]
