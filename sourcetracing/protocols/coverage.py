"""What a protocol lacks, by language and known source, and what that means for every figure to come: said before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.protocols.table import rows_of
from sourcetracing.settings.corpora import Corpus, Split
from sourcetracing.settings.training import SPLITS

NUM_NAMED = 4
MORE_LANGUAGES = ". Choose another group_by, or none, or train on more languages together (experiment.train_sets)"


def count_cells(utterances: pd.DataFrame, protocol: pd.DataFrame) -> pd.DataFrame:
    """Utterances by (language, source), rows, and split, columns."""
    placed = utterances[["language", "source"]].iloc[rows_of(protocol, utterances)]
    counts = pd.crosstab([placed["language"], placed["source"]], protocol["split"].to_numpy())
    return counts.reindex(columns=list(SPLITS), fill_value=0)


def missing_lines(cells: pd.DataFrame, corpus: Corpus, train_sets: Sequence[str] = ()) -> list[str]:
    """One line for each language, and for each training set of several, that lacks a known source in some split; `cells`: `count_cells`."""
    known = cells.reindex(pd.MultiIndex.from_product([corpus.languages, corpus.sources]), fill_value=0)
    lines = []
    if len(corpus.sources) == 1:
        lines.append(f"{corpus.sources[0]} is the only known source: there is nothing to tell apart, and script 05 trains nothing")
    if not known["dev"].any():
        lines.append("dev has no utterance of a known source: every run keeps its last epoch, and no threshold or calibration can be found")
    sets = dict.fromkeys([*corpus.languages, *(name for name in train_sets if "+" in name)])
    for name in sets:
        counts = known.loc[name.split("+")].groupby(level=1, sort=False).sum()
        if said := _of_set(name, counts):
            lines.append(f"{name}: {said}")
    return lines


def _of_set(name: str, counts: pd.DataFrame) -> str:
    """What a set of languages lacks and what follows; counts: of each known source in each split. "" for nothing."""
    total, left = len(counts), (counts > 0).sum()
    if not left.any():
        return "no utterance of a known source"
    empty = [split for split in SPLITS if not left[split]]
    facts = [f"no {' or '.join(empty)} utterance"] if empty else []
    lacking: dict[str, list[str]] = {}
    for source, has in (counts > 0).iterrows():
        if splits := [split for split in SPLITS if left[split] and not has[split]]:
            lacking.setdefault("" if not has.any() else f"{' or '.join(splits)} ", []).append(str(source))
    facts += [f"no {splits}utterance of {_named(sources)}" for splits, sources in lacking.items()]
    follows = []
    if left["eval"] < total:
        follows.append(f"macro-F1 of {name} is over {left['eval']} of {total} classes" if left["eval"] else "it is not tested")
    if left["train"] < 2 <= total:
        follows.append("script 05 refuses to train on it alone")
    else:
        learnt = [f"learns {left['train']} of {total} classes"] if left["train"] < total else []
        kept = [] if left["dev"] else ["keeps its last epoch"]
        if learnt or kept:
            follows.append(f"trained on it alone, a system {' and '.join(learnt + kept)}")
    return "; ".join(facts) + (f": {'; '.join(follows)}" if follows else "")


def _named(sources: Sequence[str]) -> str:
    more = len(sources) - NUM_NAMED
    return ", ".join(sources) if more <= 1 else f"{', '.join(sources[:NUM_NAMED])} and {more} more"


def unknown_lines(cells: pd.DataFrame, corpus: Corpus) -> list[str]:
    """One line on the sources that are no class: how many utterances they have in dev and in eval. None without such sources."""
    unknown = cells.groupby(level="source").sum().drop(index=corpus.sources, errors="ignore")
    if unknown.empty:
        return ["corpus.unknown_sources: the corpus has none of them"] if corpus.unknown_sources else []
    names = _named([f"{name} {row.dev}/{row.eval}" for name, row in unknown.iterrows()])
    lines = [f"unknown sources (dev/eval): {unknown['dev'].sum()}/{unknown['eval'].sum()}: {names}"]
    without = [split for split in ("dev", "eval") if not unknown[split].any()]
    return lines + [f"{' and '.join(without)} has no utterance of an unknown source: script 07 needs them in both"] * bool(without)


def require_classes(utterances: pd.DataFrame, cells: pd.DataFrame, corpus: Corpus, split: Split, train_sets: Sequence[str] = ()) -> None:
    """Raises `UserError` where no training set has a known source at all, or where `split.group_by` took one out of a training set."""
    known = cells.reindex(pd.MultiIndex.from_product([corpus.languages, corpus.sources]), fill_value=0)
    overall = known.groupby(level=1, sort=False).sum()
    for source in overall.index[overall["train"] == 0]:
        raise UserError(
            f"corpus.sources: {source} has no training utterance in these splits"
            f"{_why(utterances, source, corpus, split) or '; move it to corpus.unknown_sources'}"
        )
    if split.group_by == "none":
        return
    for name in train_sets:
        counts = known.loc[name.split("+")].groupby(level=1, sort=False).sum()
        # Of so few that even a draw by utterance would have left train empty, grouping takes nothing.
        lost = counts.index[(counts["train"] == 0) & ((counts.sum(axis=1) * split.train).round() > 0)]
        for source in lost:
            have = "/".join(map(str, counts.loc[source]))
            raise UserError(
                f"split.group_by={split.group_by} leaves {source} no training utterance in {name} (train/dev/eval {have})"
                f"{_why(utterances, source, corpus, split) or MORE_LANGUAGES}"
            )


def _why(utterances: pd.DataFrame, source: str, corpus: Corpus, split: Split) -> str:
    """`: 35 of its 35 utterances share ...`, where unknown sources hold its groups back; "" elsewhere."""
    if split.group_by == "none":
        return ""
    values = utterances[split.group_by].astype(str).str.strip()
    own = values[utterances["source"] == source]
    theirs = values[~utterances["source"].isin(corpus.sources) & (values != "")]
    if not (shared := own.isin(theirs)).any():
        return ""
    first = utterances.loc[theirs.index[theirs.isin(own)][0], "source"]
    return (
        f": {shared.sum()} of its {len(own)} utterances share their {split.group_by} with unknown sources such as {first}, which "
        f"keep it out of train. Leave those out of corpus.unknown_sources, or choose another split.group_by"
    )
