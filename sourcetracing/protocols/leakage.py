"""What train, dev and eval share that they should not: files, transcripts, source recordings, speakers, audio of the same bytes.

A classifier that has heard a sentence or a speaker in training may know it again in eval, and score for that. MLAAD's protocols for source
tracing share recordings between splits; `split.group_by` draws splits that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.protocols.architectures import architectures_of
from sourcetracing.protocols.splitting import value_codes
from sourcetracing.protocols.table import rows_of, split_codes
from sourcetracing.runtime.files import read_csv
from sourcetracing.settings.training import SPLITS

PAIRS = (("train", "dev"), ("train", "eval"), ("dev", "eval"))
COLUMN_OF = {"file": "path", "transcript": "transcript", "recording": "recording", "speaker": "speaker", "audio": "digest"}
UNKNOWN_KINDS = ("unknown source", "architecture")  # only where there are unknown sources
GROUPABLE = ("transcript", "recording", "speaker")  # what split.group_by can keep in one split
ALL = "all"  # stands in the columns language and source where a row is about all of them
NOT_CHECKED = "not checked"
_UNKNOWN = {
    "transcript": "no transcript is known",
    "recording": "no source recording is known",
    "speaker": "no speaker is known",
    "audio": "the audio was not read",
    "unknown source": "there is no unknown source",
    "architecture": "there is no unknown source",
}
_SCOPES = {"overall": [], "language": ["language"], "source": ["source"], "cell": ["language", "source"]}
_TEXTS = ["kind", "scope", "language", "source", "first", "second"]
_COUNTS = ["values", "shared", "affected", "affected_anywhere", "utterances"]
_SHARES = ["percent", "percent_anywhere"]


@dataclass(frozen=True)
class _Scope:
    """Parts of a corpus. codes (R,): the part of each row of the protocol; names: columns language, source of each part."""

    name: str
    codes: np.ndarray
    names: pd.DataFrame


def audit(utterances: pd.DataFrame, protocol: pd.DataFrame, unknown_sources: Sequence[str] = ()) -> pd.DataFrame:
    """Counts what each two splits share: one row for each kind, scope, language, source and pair of splits.

    utterances: columns utt_id, language, source and any of path, transcript, recording, speaker, digest; protocol: utt_id, split.
    unknown_sources: with any, dev and eval are looked at for those alone in two more kinds: unknown source (dev's and eval's are the same)
    and architecture (`architectures_of`: train, or dev's unknown sources, have it too).
    Columns of the result:
      kind               file (one path or utt_id), transcript, recording, speaker, audio (one digest), and the two
      scope              overall, language, source, cell (language x source): what has to agree besides, for a value to count as shared
      language, source   which; "all" where the scope does not say
      first, second      the two splits
      values             distinct values in the first split
      shared             how many of them are in the second split too
      affected           utterances of the second split that have one of those
      affected_anywhere  utterances of the second split whose value the first split has in any language and source
      utterances         utterances of the second split
      percent, percent_anywhere   100 * affected / utterances, 100 * affected_anywhere / utterances
      note               why it was not checked, or for how many utterances the value is known
    What is unknown is not checked: its counts are missing, never 0. Below "overall" there is a row where the second split has utterances.
    Raises `UserError` for a protocol that names a stranger or an unknown split.
    """
    rows, splits = rows_of(protocol, utterances), split_codes(protocol)
    scopes = [_scope(utterances, name, rows) for name in _SCOPES]
    tables = []
    for kind in (*COLUMN_OF, *(UNKNOWN_KINDS if unknown_sources else ())):
        own = kind in COLUMN_OF
        values = _values(utterances, kind)[rows] if own else _of_unknown(utterances.iloc[rows], splits, unknown_sources, kind)
        num_known = int((values >= 0).sum())
        held = _held(values, splits)
        table = pd.concat([_count(values, splits, held, scope) for scope in (scopes if num_known else scopes[:1])], ignore_index=True)
        num_asked = len(rows) if own else num_known  # the other rows are none of its business
        tables.append(table.assign(kind=kind, note=_notes(table, kind, num_known, num_asked)))
    return pd.concat(tables, ignore_index=True)[[*_TEXTS, *_COUNTS, *_SHARES, "note"]]


def _scope(utterances: pd.DataFrame, name: str, rows: np.ndarray) -> _Scope:
    keys = _SCOPES[name]
    if not keys:
        return _Scope(name, np.zeros(len(rows), np.int64), pd.DataFrame({"language": [ALL], "source": [ALL]}))
    grouped = utterances.groupby(keys, sort=True)
    names = grouped.size().index.to_frame(index=False)
    return _Scope(name, grouped.ngroup().to_numpy(np.int64)[rows], names.reindex(columns=["language", "source"], fill_value=ALL))


def _values(utterances: pd.DataFrame, kind: str) -> np.ndarray:
    """A number for each distinct value of a kind, -1 where it is unknown; in the order of `utterances`."""
    column = COLUMN_OF[kind]
    if kind == "file":
        return _files(utterances)
    return value_codes(utterances[column]) if column in utterances else np.full(len(utterances), -1)


def _of_unknown(utterances: pd.DataFrame, splits: np.ndarray, unknown_sources: Sequence[str], kind: str) -> np.ndarray:
    """The source, or its architecture, of each row of train and of each of an unknown source, numbered; -1 elsewhere."""
    asked = utterances["source"].isin(list(unknown_sources)).to_numpy() | (splits == SPLITS.index("train"))
    names = utterances["source"]
    if kind == "architecture":
        names = names.map(architectures_of(utterances))
    return np.where(asked, pd.factorize(names)[0], -1)


def _files(utterances: pd.DataFrame) -> np.ndarray:
    """One path is one file, in either spelling, and so is one utt_id."""
    ids = pd.factorize(utterances["utt_id"])[0]
    if "path" not in utterances:
        return ids
    paths = value_codes(utterances["path"].str.removeprefix("./"))
    paths = np.where(paths < 0, ids + len(ids), paths)
    return paths[np.unique(ids, return_index=True)[1]][ids]


def _held(values: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Which splits hold the value of each row, in any language and source (R, 3)."""
    known = values >= 0
    counts = _tally(values[known], splits[known], values.max(initial=-1) + 1)
    held = np.zeros((len(values), len(SPLITS)), bool)
    held[known] = counts[values[known]] > 0
    return held


def _count(values: np.ndarray, splits: np.ndarray, held: np.ndarray, scope: _Scope) -> pd.DataFrame:
    """The figures of one kind in every part of a scope, without kind and note."""
    num_parts, known, num_values = len(scope.names), values >= 0, values.max(initial=0) + 1
    entries, keys = pd.factorize(scope.codes[known] * num_values + values[known])
    part_of, counts = keys // num_values, _tally(entries, splits[known], len(keys))
    utterances, with_value = _tally(scope.codes, splits, num_parts), _tally(scope.codes[known], splits[known], num_parts)
    blank = (utterances > 0) & (with_value == 0)
    tables = []
    for pair in PAIRS:
        first, second = map(SPLITS.index, pair)
        in_first, in_both = counts[:, first] > 0, (counts[:, [first, second]] > 0).all(axis=1)
        figures = {
            "values": np.bincount(part_of[in_first], minlength=num_parts),
            "shared": np.bincount(part_of[in_both], minlength=num_parts),
            "affected": np.bincount(part_of[in_both], counts[in_both, second], num_parts),
            "affected_anywhere": np.bincount(scope.codes[held[:, first] & (splits == second)], minlength=num_parts),
        }
        table = scope.names.assign(scope=scope.name, first=pair[0], second=pair[1], **figures)
        table[["percent", "percent_anywhere"]] = 100 * table[["affected", "affected_anywhere"]].div(utterances[:, second], axis=0)
        table = table.astype(dict.fromkeys(figures, "Int64"))
        table.loc[blank[:, first] | blank[:, second], ["values", "shared", "affected", "percent"]] = pd.NA
        blank_anywhere = (splits == first).any() and not held[:, first].any()
        table.loc[blank[:, second] | blank_anywhere, ["affected_anywhere", "percent_anywhere"]] = pd.NA
        table["utterances"] = pd.array(utterances[:, second], "Int64")
        tables.append(table[(utterances[:, second] > 0) | (scope.name == "overall")])
    return pd.concat(tables, ignore_index=True)


def _tally(rows: np.ndarray, splits: np.ndarray, num_rows: int) -> np.ndarray:
    return np.bincount(rows * len(SPLITS) + splits, minlength=num_rows * len(SPLITS)).reshape(num_rows, len(SPLITS))


def _notes(table: pd.DataFrame, kind: str, known: int, total: int) -> pd.Series:
    if not known:
        return pd.Series(f"{NOT_CHECKED}: {_UNKNOWN.get(kind, 'there are no utterances')}", index=table.index)
    notes = pd.Series("", index=table.index)
    if known < total:
        notes[table["scope"] == "overall"] = f"known for {known:,} of {total:,} utterances"
    unchecked = table["shared"].isna()
    notes[unchecked] = f"{NOT_CHECKED}: {_UNKNOWN.get(kind)} in " + table["first"][unchecked] + " or " + table["second"][unchecked]
    return notes


def read_audit(path: Path) -> pd.DataFrame:
    """An audit that was written as CSV without its index."""
    table = read_csv(path, texts=[*_TEXTS, "note"])
    return table.astype(dict.fromkeys(_COUNTS, "Int64") | dict.fromkeys(_SHARES, "float64"))


def summarize(table: pd.DataFrame) -> list[str]:
    """What a user has to know of an audit: a line for each kind."""
    overall = table[table["scope"] == "overall"]
    return [f"{kind}: {_summary(kind, overall[overall['kind'] == kind])}" for kind in _kinds_of(overall)]


def _kinds_of(overall: pd.DataFrame) -> list[str]:
    return [kind for kind in (*COLUMN_OF, *UNKNOWN_KINDS) if (overall["kind"] == kind).any()]


def _summary(kind: str, rows: pd.DataFrame) -> str:
    notes, unchecked = list(rows["note"].unique()), rows["shared"].isna()
    if unchecked.all():
        return notes[0]
    is_shared = rows["shared"].fillna(0) > 0
    nothing = "nothing shared where it is known" if unchecked.any() else "nothing shared by two splits"
    phrases = [_phrase(kind, row) for row in rows[is_shared].itertuples()] or [nothing]
    phrases += filter(None, notes)
    if kind in GROUPABLE and is_shared.any():
        phrases.append(f"split.assignment=seeded split.group_by={kind} builds a split without it")
    if kind in UNKNOWN_KINDS and is_shared.any():
        phrases.append("split.assignment=openset builds a split without it")
    return "; ".join(phrases)


def _phrase(kind: str, row: tuple) -> str:
    plural = "digests" if kind == "audio" else f"{kind}s"
    share = f"{row.percent:.1f} % of {row.second} utterances"
    return f"{int(row.shared):,} of {int(row.values):,} {row.first} {plural} also in {row.second} ({share})"


def overall_table(table: pd.DataFrame) -> pd.DataFrame:
    """An audit in short, as text: for each kind how many values each two splits share (and the percent affected), and the notes."""
    overall = table[table["scope"] == "overall"]
    overall = overall.assign(
        pair=overall["first"] + " → " + overall["second"],
        shown=["–" if pd.isna(row.shared) else f"{int(row.shared):,} ({row.percent:.1f} %)" for row in overall.itertuples()],
    )
    wide = overall.pivot(index="kind", columns="pair", values="shown")[[f"{first} → {second}" for first, second in PAIRS]]
    wide["note"] = overall.groupby("kind")["note"].agg(lambda notes: "; ".join(filter(None, notes.unique())))
    return wide.loc[_kinds_of(overall)].reset_index().rename_axis(columns=None)


def worst_cells(table: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The `count` cells (language x source) with the largest percent_anywhere; each once, with the row where it is largest."""
    cells = table[(table["scope"] == "cell") & (table["affected_anywhere"].fillna(0) > 0)]
    order = ["percent_anywhere", "affected_anywhere", "language", "source"]
    cells = cells.sort_values(order, ascending=[False, False, True, True], kind="stable").drop_duplicates(["language", "source"])
    return cells.head(count).reset_index(drop=True)
