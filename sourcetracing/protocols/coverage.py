"""What a protocol lacks of each known source in each language, and what that means for the figures: said before anything is computed."""

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


def missing_lines(
    cells: pd.DataFrame, corpus: Corpus, train_sets: Sequence[str] = (), test_sets: Sequence[str] = (), *, own_dev: bool = True
) -> list[str]:
    """What is missing and what follows, one line for each set of languages that is trained or tested on and lacks a known source.

    cells: `count_cells`. Sets are languages joined by +; without any, each language is looked at as both. own_dev: dev rows of a training
    set's own languages choose its epoch; not so where `train.dev_languages` names others.
    """
    known = cells.reindex(pd.MultiIndex.from_product([corpus.languages, corpus.sources]), fill_value=0)
    lines = []
    if len(corpus.sources) == 1:
        lines.append(f"{corpus.sources[0]} is the only known source: there is nothing to tell apart, and script 05 trains nothing")
    if not known["dev"].any():
        lines.append("dev has no utterance of a known source: every run keeps its last epoch, and no threshold or calibration can be found")
    if not train_sets and not test_sets:
        train_sets = test_sets = corpus.languages
    has_any = known.any(axis=1).groupby(level=0, sort=False).any()
    if without := has_any.index[~has_any].tolist():
        lines.append(f"{', '.join(without)}: no utterance of a known source")
    for name in dict.fromkeys([*corpus.languages, *train_sets, *test_sets]):
        uses = (("train", train_sets), ("dev", train_sets if own_dev else ()), ("eval", test_sets))
        roles = [split for split, sets in uses if name in sets]
        counts = known.loc[name.split("+")].groupby(level=1, sort=False).sum()[roles]
        if counts.to_numpy().any() and (facts := _facts(counts)):
            lines.append(f"{name}: {'; '.join(facts)}{_what_follows(counts, name)}")
    return lines


def _facts(counts: pd.DataFrame) -> list[str]:
    """What each split lacks; counts: of each known source (rows) in the splits that matter (columns)."""
    has, found = counts > 0, []
    if empty := [split for split in counts if not has[split].any()]:
        found.append(f"no {' or '.join(empty)} utterance")
    rest = has.drop(columns=empty)
    for splits, rows in (~rest).groupby(list(rest.columns), sort=False):
        lacking = [split for split, lacks in zip(rest, splits, strict=True) if lacks]
        if lacking:
            what = "utterance" if len(lacking) == counts.shape[1] > 1 else f"{' or '.join(lacking)} utterance"
            found.append(f"no {what} of {_named(rows.index.tolist(), len(counts))}")
    return found


def _what_follows(counts: pd.DataFrame, name: str) -> str:
    total, left, found = len(counts), (counts > 0).sum(), []
    if left.get("eval", total) < total:
        whose = "its macro-F1" if "+" in name else f"macro-F1 of {name}"
        found.append(f"{whose} is over {left['eval']} of {total} classes" if left["eval"] else "it is not tested")
    if left.get("train", 2) < 2 <= total:
        found.append("script 05 refuses to train on it")
    elif "train" in left:
        learnt = [f"learns {left['train']} of {total} classes"] if left["train"] < total else []
        kept = [] if left.get("dev", 1) else ["keeps its last epoch"]
        if learnt or kept:
            found.append(f"trained on it, a system {' and '.join(learnt + kept)}")
    return f": {'; '.join(found)}" if found else ""


def _named(sources: Sequence[str], total: int) -> str:
    return ", ".join(sources) if len(sources) <= NUM_NAMED else f"{len(sources)} of the {total} known sources"


def unknown_lines(cells: pd.DataFrame, corpus: Corpus) -> list[str]:
    """One line on the sources that are no class: how many utterances they have in dev and in eval. None without such sources."""
    unknown = cells.groupby(level="source").sum().drop(index=corpus.sources, errors="ignore")
    if unknown.empty:
        return ["corpus.unknown_sources: the corpus has none of them"] if corpus.unknown_sources else []
    names = ", ".join(f"{name} {row.dev}/{row.eval}" for name, row in unknown.head(NUM_NAMED).iterrows())
    names += f" and {len(unknown) - NUM_NAMED} more" if len(unknown) > NUM_NAMED else ""
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
