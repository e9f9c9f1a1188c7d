"""A look at a list of trials before its figures are believed: counts by condition, and what its trials must not share."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sourcetracing.verification.trials import NOT_KNOWN, OTHER, SAME, TrialList

_SHOWN = 3  # trials that a line names


def trial_counts(trials: TrialList, utterances: pd.DataFrame) -> pd.DataFrame:
    """One row for each condition, sorted: condition, trials, same, other, not_known, models, tests, sources (of either side).

    utterances: columns utt_id and source.
    """
    source_of = utterances.set_index("utt_id")["source"]
    table = trials.table.assign(source=_of_models(trials, source_of), other_source=trials.table["test"].map(source_of))
    rows = []
    for condition, part in table.groupby("condition", sort=True):
        labels = {name: int((part["label"] == label).sum()) for name, label in (("same", SAME), ("other", OTHER), ("not_known", NOT_KNOWN))}
        sources = len(set(part["source"].dropna()) | set(part["other_source"].dropna()))
        counts = {"models": part["enrol"].nunique(), "tests": part["test"].nunique(), "sources": sources}
        rows.append({"condition": condition, "trials": len(part), **labels, **counts})
    return pd.DataFrame(rows, columns=["condition", "trials", "same", "other", "not_known", "models", "tests", "sources"])


def faults(trials: TrialList, utterances: pd.DataFrame) -> list[str]:
    """A line for each kind of fault; none for a sound list.

    Tested against a model that it is part of; the same pair the other way round; one file under two names (digest); the same words on both
    sides (transcript); a label that the sources contradict; a model of several sources. utterances: columns utt_id, source, and digest and
    transcript where they are known.
    """
    facts = utterances.set_index("utt_id")
    source, of_models = facts["source"], _of_models(trials, facts["source"])
    pairs = trials.table[["enrol", "test"]].assign(row=range(len(trials)))
    members = pd.DataFrame([(name, utt_id) for name, own in trials.models.items() for utt_id in own], columns=["enrol", "member"])
    members = pairs.merge(members, on="enrol")
    tested = source.reindex(trials.table["test"]).to_numpy()
    is_same = pd.Series(of_models.to_numpy() == tested)
    known = trials.table["label"].isin([SAME, OTHER]).reset_index(drop=True) & of_models.notna() & pd.notna(tested)
    source_of = source.to_dict()
    mixed = [name for name, own in trials.models.items() if len({source_of.get(utt_id) for utt_id in own} - {None}) > 1]
    found: Mapping[str, pd.Series] = {
        "test an utterance of their own model": members["row"][members["member"] == members["test"]],
        "hold one file on both sides": _shared(members, facts, "digest"),
        "hold the same words on both sides": _shared(members, facts, "transcript"),
        "have a label that the sources contradict": pairs["row"][
            (known & (is_same != (trials.table["label"].to_numpy() == SAME))).to_numpy()
        ],
        "stand there the other way round, too": pairs["row"][_turned(trials)],
        "have a model of several sources": pairs["row"][trials.table["enrol"].isin(mixed).to_numpy()],
    }
    return [_line(trials, sorted(set(rows)), what) for what, rows in found.items() if len(rows)]


def _of_models(trials: TrialList, source: pd.Series) -> pd.Series:
    """The source of each trial's model, that of its first utterance; nan where nobody knows."""
    source_of = source.to_dict()
    first = {name: source_of.get(own[0]) for name, own in trials.models.items()}
    return trials.table["enrol"].map(first).reset_index(drop=True)


def _shared(members: pd.DataFrame, facts: pd.DataFrame, column: str) -> pd.Series:
    if column not in facts:
        return members["row"][:0]
    one, other = (facts[column].reindex(members[side]).fillna("").to_numpy() for side in ("member", "test"))
    return members["row"][(one == other) & (one != "") & (members["member"] != members["test"]).to_numpy()]


def _turned(trials: TrialList) -> list[bool]:
    """Whether a trial is the mirror image of an earlier one, for models of one utterance."""
    seen: set[tuple[str, str]] = set()
    turned = []
    for enrol, test in zip(trials.table["enrol"], trials.table["test"], strict=True):
        own = trials.models[enrol]
        turned.append(len(own) == 1 and (test, own[0]) in seen)
        if len(own) == 1:
            seen.add((own[0], test))
    return turned


def _line(trials: TrialList, rows: list[int], what: str) -> str:
    named = "; ".join(f"{trials.table['enrol'].iloc[row]} {trials.table['test'].iloc[row]}" for row in rows[:_SHOWN])
    return f"{len(rows)} of {len(trials)} trials {what}: {named}{' ...' if len(rows) > _SHOWN else ''}"
