"""One protocol per corpus: which split each utterance belongs to. Every experiment is a selection over it, never a copy.

Split 60/20/20 at utterance level (MCL-MLAAD paper, section 2.1; spec 1.3). By default within each language x source; the paper's lists
are split within each language only, which leaves the classes of a test set unequal (D78): `split.stratify=false`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sourcetracing.config import SPLITS, Settings, Split
from sourcetracing.errors import UserError
from sourcetracing.seeding import rng


def split_utterances(utterances: pd.DataFrame, split: Split, seed: int) -> pd.DataFrame:
    """Assigns each utterance a split; returns columns utt_id, split in the order of `utterances`.

    utterances: columns utt_id, language, source. Depends on the seed and the ids alone, not on the order of rows.
    """
    keys = ["language", "source"] if split.stratify else ["language"]
    assigned = pd.Series("", index=utterances["utt_id"], name="split")
    for group, members in utterances.groupby(keys, sort=True):
        ids = sorted(members["utt_id"])
        shuffled = [ids[i] for i in rng(seed, "split", *group).permutation(len(ids))]
        num_train, num_dev = _sizes(len(ids), split)
        assigned[shuffled[:num_train]] = "train"
        assigned[shuffled[num_train : num_train + num_dev]] = "dev"
        assigned[shuffled[num_train + num_dev :]] = "eval"
    protocol = assigned.rename_axis("utt_id").reset_index()
    check_protocol(protocol, utterances)
    return protocol


def _sizes(total: int, split: Split) -> tuple[int, int]:
    num_train = round(total * split.train)
    return num_train, min(round(total * split.dev), total - num_train)


def check_protocol(protocol: pd.DataFrame, utterances: pd.DataFrame) -> None:
    """Asserts what a protocol must be: each utterance once, in exactly one known split. Raises `UserError`."""
    if (twice := protocol["utt_id"].duplicated()).any():
        raise UserError(f"protocol: {protocol['utt_id'][twice].iloc[0]} is listed twice, so splits would share it")
    if unknown := set(protocol["split"]) - set(SPLITS):
        raise UserError(f"protocol: unknown split {sorted(unknown)[0]!r}; there are {', '.join(SPLITS)}")
    if strangers := set(protocol["utt_id"]) - set(utterances["utt_id"]):
        raise UserError(f"protocol: {sorted(strangers)[0]} is not among the utterances")


def select(table: pd.DataFrame, *, languages: Sequence[str] = (), splits: Sequence[str] = (), variants: Sequence[str] = ()) -> pd.Series:
    """A boolean mask over rows with columns language, split (and variant); an empty list means all."""
    mask = pd.Series(True, index=table.index)
    for column, wanted in [("language", languages), ("split", splits), ("variant", variants)]:
        if wanted:
            mask &= table[column].isin(list(wanted))
    return mask


def count_utterances(utterances: pd.DataFrame, protocol: pd.DataFrame, sources: Sequence[str], languages: Sequence[str]) -> pd.DataFrame:
    """Table 1 of the paper: per language the number of utterances in all, per split, per source, and the hours of speech."""
    table = utterances.merge(protocol, on="utt_id", validate="one_to_one")
    rows = [_count_row(language, table[table["language"] == language], sources) for language in languages]
    return pd.DataFrame([*rows, _count_row("total", table, sources)])


def _count_row(name: str, part: pd.DataFrame, sources: Sequence[str]) -> dict:
    per_split = {split: int((part["split"] == split).sum()) for split in SPLITS}
    per_source = {source: int((part["source"] == source).sum()) for source in sources}
    return {"language": name, "utterances": len(part), **per_split, **per_source, "hours": round(part["duration_s"].sum() / 3600, 3)}


def read_table(path: Path, columns: Sequence[str], next_command: str) -> pd.DataFrame:
    """A CSV of ours with text ids. Raises `UserError` when it is missing or lacks a column."""
    if not path.is_file():
        raise UserError(f"{path} is missing. Run: {next_command}")
    try:
        table = pd.read_csv(path, dtype={"utt_id": str, "language": str, "source": str, "speaker": str}, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}). Delete it and run: {next_command}") from None
    if missing := [column for column in columns if column not in table]:
        raise UserError(f"{path} has no column {missing[0]!r}; it has: {', '.join(table.columns)}. Delete it and run: {next_command}")
    return table


def load_protocol(settings: Settings, root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The utterances and the protocol of an experiment folder, as script 02 wrote them."""
    command = "python scripts/02_build_protocols.py CONFIG.yaml"
    utterances = read_table(root / "utterances.csv", ["utt_id", "path", "language", "source", "duration_s", "digest"], command)
    protocol = read_table(root / "protocol.csv", ["utt_id", "split"], command)
    check_protocol(protocol, utterances)
    kept = utterances["language"].isin(settings.corpus.languages) & utterances["source"].isin(settings.corpus.sources)
    return utterances[kept].reset_index(drop=True), protocol
