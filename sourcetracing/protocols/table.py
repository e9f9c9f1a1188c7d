"""One protocol per corpus: which split each utterance belongs to. Every experiment is a selection over it, never a copy.

Split 60/20/20 at utterance level (MCL-MLAAD paper, section 2.1). By default within each language x source; the paper's lists
are split within each language only, which leaves the classes of a test set unequal (D78): `split.stratify=false`. How splits are drawn is
in `sourcetracing.protocols.splitting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from sourcetracing.corpora.labels import relabelled
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.records import PROTOCOL_COMMAND, require_protocol
from sourcetracing.protocols.splitting import draw_groups, draw_utterances, fractions_of, strata_of
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.names import UNKNOWN_COLUMN
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS

NUMBER_COLUMNS = {"duration_s": pa.float64(), "sample_rate": pa.int64()}  # all others are text, however they look


def split_utterances(utterances: pd.DataFrame, split: Split, seed: int, unknown_sources: Sequence[str] = ()) -> pd.DataFrame:
    """Assigns each utterance a split; returns columns utt_id, split in the order of `utterances`.

    utterances: columns utt_id, language, source, and those that `split` asks for (split; transcript, recording or speaker). Depends on the
    seed and the utterances alone, not on the order of rows. unknown_sources: names whose utterances never go to train. Raises `UserError`.
    """
    if split.assignment == "published":
        assigned = _published(utterances, split, unknown_sources)
    else:
        strata = strata_of(utterances, split.stratify, unknown_sources)
        draw = draw_utterances if split.group_by == "none" else draw_groups
        assigned = pd.Categorical.from_codes(draw(utterances, strata, split, seed), list(SPLITS)).astype("str")
    protocol = pd.DataFrame({"utt_id": utterances["utt_id"].array, "split": assigned})
    check_protocol(protocol, utterances)
    return protocol


def _published(utterances: pd.DataFrame, split: Split, unknown_sources: Sequence[str]) -> pd.api.extensions.ExtensionArray:
    if "split" not in utterances:
        raise UserError("split.assignment=published, but this corpus comes without splits: set split.assignment=seeded")
    if split.group_by != "none":
        raise UserError(f"split.group_by={split.group_by} needs split.assignment=seeded: published splits are taken as they are")
    if (lost := (utterances["split"] == "train") & utterances["source"].isin(list(unknown_sources))).any():
        row = utterances[lost].iloc[0]
        raise UserError(
            f"{row['utt_id']} is published as train, but its source {row['source']} is in corpus.unknown_sources: "
            "take it out of there, or set split.assignment=seeded"
        )
    return utterances["split"].array


def check_protocol(protocol: pd.DataFrame, utterances: pd.DataFrame) -> None:
    """Asserts what a protocol must be: each utterance once, in exactly one known split. Raises `UserError`."""
    if (twice := protocol["utt_id"].duplicated()).any():
        raise UserError(f"protocol: {protocol['utt_id'][twice].iloc[0]} is listed twice, so splits would share it")
    split_codes(protocol)
    rows_of(protocol, utterances)


def split_codes(protocol: pd.DataFrame) -> np.ndarray:
    """The split of each row as a position in SPLITS. Raises `UserError` for another name."""
    codes = pd.Index(SPLITS).get_indexer(protocol["split"])
    if (unknown := codes < 0).any():
        row = protocol[unknown].iloc[0]
        raise UserError(f"protocol: unknown split {row['split']!r} of {row['utt_id']}; there are {', '.join(SPLITS)}")
    return codes


def rows_of(protocol: pd.DataFrame, utterances: pd.DataFrame) -> np.ndarray:
    """For each row of a protocol the (first) position of its utterance. Raises `UserError` naming one that is not there."""
    wanted, ids = protocol["utt_id"].array, utterances["utt_id"].array
    if len(wanted) == len(ids) and (wanted == ids).all():
        return np.arange(len(ids))
    first = np.flatnonzero(~utterances["utt_id"].duplicated())
    found = pd.Index(ids[first]).get_indexer(wanted)
    if (strangers := found < 0).any():
        raise UserError(f"protocol: {min(wanted[strangers])} is not among the utterances")
    return first[found]


def split_balance(utterances: pd.DataFrame, protocol: pd.DataFrame, split: Split, unknown_sources: Sequence[str] = ()) -> pd.DataFrame:
    """How near a protocol comes to the fractions of `split`, one row for each stratum.

    Columns language, source (with split.stratify=false "all", or "unknown" for the unknown sources together), utterances, train, dev, eval
    (counts), deviation_points (the largest difference of a split's share from what was asked for, in percentage points) and empty (the
    splits that were asked for and have nothing).
    """
    strata = strata_of(utterances[["language", "source"]].iloc[rows_of(protocol, utterances)], split.stratify, unknown_sources)
    shape = len(strata.names), len(SPLITS)
    counts = np.bincount(strata.codes * len(SPLITS) + split_codes(protocol), minlength=shape[0] * shape[1]).reshape(shape)
    wanted = np.array([fractions_of(split, is_unknown) for is_unknown in strata.is_unknown]).reshape(shape)
    table = pd.DataFrame(strata.names, columns=["language", "source"][: 1 + split.stratify])
    if not split.stratify:
        table["source"] = np.where(strata.is_unknown, "unknown", "all")
    table["utterances"] = strata.sizes
    table[list(SPLITS)] = counts
    table["deviation_points"] = 100 * np.abs(counts / strata.sizes[:, None] - wanted).max(axis=1, initial=0)
    table["empty"] = [" ".join(np.array(SPLITS)[row]) for row in (counts == 0) & (wanted > 0)]
    return table


def balance_lines(balance: pd.DataFrame, at_least: int = 5) -> list[str]:
    """A balance in plain words: the largest deviation, and a warning for empty splits; of strata with `at_least` so many utterances."""
    large = balance[balance["utterances"] >= at_least]
    if large.empty:
        return []
    worst = large.loc[large["deviation_points"].idxmax()]
    counts = "/".join(str(worst[split]) for split in SPLITS)
    lines = [
        f"largest deviation from the fractions asked for: {worst['deviation_points']:.1f} points "
        f"({worst['language']} {worst['source']}: {counts} of {worst['utterances']}, mean of all {large['deviation_points'].mean():.1f})"
    ]
    if len(without := large[large["empty"] != ""]):
        first = without.iloc[0]
        more = f", and {len(without) - 1} more like it" if len(without) > 1 else ""
        lines.append(f"warning: no {first['empty'].replace(' ', ' or ')} utterance of {first['language']} {first['source']}{more}")
    return lines


def select(table: pd.DataFrame, *, languages: Sequence[str] = (), splits: Sequence[str] = (), variants: Sequence[str] = ()) -> pd.Series:
    """A boolean mask over rows with columns language, split (and variant); an empty list means all."""
    mask = pd.Series(True, index=table.index)
    for column, wanted in [("language", languages), ("split", splits), ("variant", variants)]:
        if wanted:
            mask &= table[column].isin(list(wanted))
    return mask


def count_utterances(utterances: pd.DataFrame, protocol: pd.DataFrame, sources: Sequence[str], languages: Sequence[str]) -> pd.DataFrame:
    """Table 1 of the paper: per language the number of utterances in all, per split, per source, and the hours of speech.

    Sources that are no class have one column together, where there are any.
    """
    described = utterances[["utt_id", "language", "source", "duration_s"]]  # a published column split would meet the protocol's
    table, parts = described.merge(protocol, on="utt_id", validate="one_to_one"), (("split", SPLITS), ("source", sources))
    counts = [pd.crosstab(table["language"], table[column]).reindex(columns=list(names), fill_value=0) for column, names in parts]
    by_language = table.groupby("language")
    if len(unknown := table[~table["source"].isin(list(sources))]):
        counts.append(unknown["language"].value_counts().reindex(by_language.groups, fill_value=0).rename(UNKNOWN_COLUMN))
    rows = pd.concat([by_language.size().rename("utterances"), *counts, by_language["duration_s"].sum().rename("hours")], axis=1)
    rows = pd.concat([rows.reindex(languages, fill_value=0), rows.agg(["sum"]).rename(index={"sum": "total"})])
    return rows.assign(hours=(rows["hours"] / 3600).round(3)).rename_axis("language").reset_index()


def count_models(utterances: pd.DataFrame, protocol: pd.DataFrame) -> pd.DataFrame:
    """One row for each language and source: architecture, utterances, train, dev, eval, hours, distinct speakers, transcripts, recordings.

    What is not known of an utterance counts nowhere.
    """
    described = utterances if "architecture" in utterances else utterances.assign(architecture="")
    table = described.drop(columns="split", errors="ignore").merge(protocol, on="utt_id", validate="one_to_one")
    by_model = table.groupby(["language", "source"])
    splits = pd.crosstab([table["language"], table["source"]], table["split"]).reindex(columns=list(SPLITS), fill_value=0)
    named = {
        f"{name}s": by_model[name].agg(lambda values: values[values != ""].nunique()) for name in ("speaker", "transcript", "recording")
    }
    hours = (by_model["duration_s"].sum() / 3600).round(3).rename("hours")
    first = [by_model["architecture"].first(), by_model.size().rename("utterances")]
    return pd.concat([*first, splits, hours, pd.DataFrame(named)], axis=1).reset_index()


def read_table(path: Path, columns: Sequence[str], next_command: str) -> pd.DataFrame:
    """A CSV of ours, text but for NUMBER_COLUMNS. Raises `UserError` when it is missing or lacks a column."""
    if not path.is_file():
        raise UserError(f"{path} is missing. Run: {next_command}")
    try:
        table = pa.csv.read_csv(
            path,
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(column_types=NUMBER_COLUMNS, default_column_type=pa.large_string()),
        ).to_pandas(split_blocks=True, self_destruct=True)
    except ValueError as error:  # pyarrow's own is one, and that of a column's name that is not UTF-8
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}). Delete it and run: {next_command}") from None
    if missing := [column for column in columns if column not in table]:
        raise UserError(f"{path} has no column {missing[0]!r}; it has: {', '.join(table.columns)}. Delete it and run: {next_command}")
    return table


def load_protocol(settings: Settings, *, unknown: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The utterances of the corpus' languages and sources, and the whole protocol, as script 02 wrote them.

    Their column source is what is traced (`sourcetracing.corpora.labels`).
    unknown: also those of corpus.unknown_sources, which are no class. Raises `UserError` where the protocols there are were made with other
    settings.
    """
    require_protocol(settings)
    layout, command = Layout.of(settings), PROTOCOL_COMMAND
    columns = ["utt_id", "path", "language", "source", "duration_s", "digest", settings.corpus.label]
    utterances = relabelled(read_table(layout.utterances, columns, command), settings)
    protocol = read_table(layout.protocol, ["utt_id", "split"], command)
    check_protocol(protocol, utterances)
    corpus = settings.corpus
    kept = utterances["source"].isin(corpus.sources)
    if unknown:
        kept |= (corpus.unknown_sources == ["all"]) | utterances["source"].isin(corpus.unknown_sources)
    kept &= utterances["language"].isin(corpus.languages)
    return utterances[kept].reset_index(drop=True), protocol
