"""Tables of open-set figures: CSV for programs, Markdown and terminal text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sourcetracing.layout import Layout
from sourcetracing.openset.evaluation import ALL_LANGUAGES, FIGURES, POOLED
from sourcetracing.openset.relatives import joined, relatives_part
from sourcetracing.published.openset import published_openset
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.corpora import comparable_corpus
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import shown_system

KEYS = ["system", "train_set", "seed", "detector", "split", "language", "variant"]
PUBLISHED_TEXTS = ("figure", "protocol", "source", "evidence", "differs")  # of the columns published_*
TEXTS = [*(key for key in KEYS if key != "seed"), "run", "compat", "protocol", *(f"published_{name}" for name in PUBLISHED_TEXTS)]  # text
# (system, detector) -> figures of the special session's baseline on MLAAD v5, from its README; made with the score upside down (D33).
PUBLISHED = {("w2v2_base_aasist", "nsd"): {"eer": 0.63, "detection_f1": 0.31}}
PUBLISHED_READER = "mlaad_source_tracing"
PUBLISHED_SPLIT = "published"  # column split of the rows of openset.csv that are other people's
COUNTS = ["known", "unknown", "classes"]
OTHERS_LEGEND = (
    "Other people's figures on unknown sources, as printed, in the words of their works. None was measured as ours are: the last column "
    "says what differs. FPR95 there is mostly the share of unknown rows accepted where 95 % of the known ones are, our last column."
)
COLUMNS = {  # of the tables for people: heading -> figure
    "AUROC": "auroc",
    "EER": "eer",
    "FPR at 95 % TPR": "fpr_at_95_tpr",
    "F1 of unknown": "detection_f1",
    "macro-F1 with unknown": "open_macro_f1_present",
    "OSCR area": "oscr",
    "missed at 95 % known": "unknown_accepted_at_95",
}
LEGEND = (
    "All in %; unknown sources are the positive class. AUROC: chance is 50. EER: chance is 50, lower is better. FPR at 95 % TPR: known "
    "rows lost when 95 % of the unknown ones are found, lower is better. F1 of unknown and macro-F1 with unknown (over the known classes "
    "that have rows, and one class for all unknown sources) are at the threshold where dev has equal errors. OSCR area: known rows "
    "accepted and named right, over all thresholds. Missed at 95 % known: unknown rows accepted where 95 % of the known ones are "
    "accepted, lower is better. The figures over thresholds read theirs off eval itself. In brackets: 95 % interval over utterances."
)


def write_tables(parts: Sequence[pd.DataFrame], settings: Settings, relatives: Sequence[pd.DataFrame] = ()) -> str:
    """Writes tables/openset.{csv,md}, openset_by_language.csv and openset_relatives.csv; returns the text for a terminal.

    parts, relatives: the figures of each run, of all unknown sources and by their relation to known ones (`relatives`).
    """
    layout = Layout.of(settings)
    table = add_published(pd.concat(parts, ignore_index=True), settings)
    table = table[[*KEYS, *(column for column in table.columns if column not in KEYS)]]
    everywhere = table["language"] == ALL_LANGUAGES
    ours = with_published_rows(table[everywhere], settings)
    for path, rows in ((layout.openset_table, ours), (layout.openset_by_language, table[~everywhere])):
        write_frame(rows, path)
    related = joined(relatives)
    write_frame(related, layout.openset_relatives)
    write_text(layout.openset_text, markdown(table, settings) + relatives_part(related, settings.experiment.floor) + _others_part(ours))
    shown = terminal(table, settings.experiment.floor)
    names = ", ".join(map(str, (layout.openset_table, layout.openset_by_language.name, layout.openset_relatives.name)))
    return f"{shown}\n\ntables: {names}\npictures: {layout.openset}"


def add_published(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """With columns published_eer and published_detection_f1, where the baseline has published the same thing; else the table itself."""
    if comparable_corpus(settings.corpus) != PUBLISHED_READER:
        return table
    is_same = (table["split"] == "eval") & _is_pooled(table)
    for figure in ("eer", "detection_f1"):
        known = [PUBLISHED.get(key, {}).get(figure, np.nan) for key in zip(table["system"], table["detector"], strict=True)]
        table[f"published_{figure}"] = np.where(is_same, known, np.nan)
    return table


def with_published_rows(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """With a row for each published figure behind ours, where the corpus is theirs; else the table itself.

    Their columns: system (the work and its system), split PUBLISHED_SPLIT, published_figure and published_percent, as printed, and
    published_protocol, published_source, published_evidence, published_differs. No column of ours holds a figure of theirs.
    """
    if comparable_corpus(settings.corpus) != PUBLISHED_READER:
        return table
    found = published_openset()
    names = {"figure", "percent", "source", "evidence", "differs"}
    rows = found.rename(columns={name: f"published_{name}" for name in names})
    rows = rows.assign(
        system=found["work"] + ": " + found["system"],
        split=PUBLISHED_SPLIT,
        language=ALL_LANGUAGES,
        variant=POOLED,
        published_protocol=found["corpus"] + ", " + found["protocol"],
    )
    rows = rows.drop(columns=["work", "corpus", "protocol"])
    counted = table.astype(dict.fromkeys([*COUNTS, "seed"], "Int64"))
    return pd.concat([counted, rows], ignore_index=True)


def ours_of(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an openset.csv without the published ones, counts as whole numbers."""
    rows = table[table["split"] != PUBLISHED_SPLIT]
    return rows.astype(dict.fromkeys([*COUNTS, "seed"], int))


def others_table(table: pd.DataFrame) -> pd.DataFrame:
    """The published rows of an openset.csv, for people; empty without any."""
    rows = table[table["split"] == PUBLISHED_SPLIT]
    columns = {name: name.removeprefix("published_") for name in table.columns if name.startswith("published_")}
    kept = ["system", "published_protocol", "published_figure", "published_percent", "published_source", "published_evidence"]
    if rows.empty:
        return pd.DataFrame()
    return rows[[*kept, "published_differs"]].rename(columns=columns).reset_index(drop=True)


def _is_pooled(table: pd.DataFrame) -> pd.Series:
    return (table["language"] == ALL_LANGUAGES) & (table["variant"] == POOLED)


def headline(table: pd.DataFrame, split: str = "eval") -> pd.DataFrame:
    """The pooled rows of a split, best AUROC first within each run."""
    rows = table[_is_pooled(table) & (table["split"] == split)]
    order = rows.groupby(["system", "train_set", "seed"], sort=False).ngroup()
    return rows.assign(_run=order).sort_values(["_run", "auroc"], ascending=[True, False], kind="stable").drop(columns="_run")


def terminal(table: pd.DataFrame, floor: Sequence[str] = ()) -> str:
    """For each run: how many rows, then one line for each detector. floor: systems that are marked as such."""
    lines = [textwrap.fill(LEGEND.split(" OSCR area:")[0], 140)]
    for (system, train, seed), rows in headline(table).groupby(["system", "train_set", "seed"], sort=False):
        first = rows.iloc[0]
        counts = f"eval: {first.known} rows of {first.classes} known sources, {first.unknown} of unknown ones"
        lines += ["", f"{shown_system(system, floor)} trained on {train}, seed {seed}; {counts}{_as_published_note(first)}"]
        lines.append(f"  {'detector':<20}" + "".join(f"{name:>22}" for name in COLUMNS))
        lines += [
            f"  {row['detector']:<20}" + "".join(f"{100 * row[figure]:22.1f}" for figure in COLUMNS.values()) for _, row in rows.iterrows()
        ]
        lines += [f"  {note}" for note in published_notes(rows)]
    return "\n".join(lines)


def _as_published_note(row: pd.Series) -> str:
    return f"; as published: {row['compat']}" if isinstance(row["compat"], str) and row["compat"] else ""


def published_notes(rows: pd.DataFrame) -> list[str]:
    """What the baseline's README says, for the rows that have it."""
    return [
        f"published {row.detector}: EER {100 * row.published_eer:.0f} %, F1 {row.published_detection_f1:.2f}, with the score upside down "
        f"(D33; the right way round about {100 - 100 * row.published_eer:.0f} %). configs/as_published/published_ood.yaml repeats that"
        for row in rows.itertuples()
        if not np.isnan(getattr(row, "published_eer", np.nan))
    ]


def markdown(table: pd.DataFrame, settings: Settings) -> str:
    """The pooled eval figures with their intervals, then AUROC for each variant."""
    lines = [f"# Known or unknown source: {settings.name}", "", LEGEND, ""]
    lines.append("Fitted on train, threshold from dev, figures of eval. The same for dev, and more columns: openset.csv.")
    for (system, train, seed), rows in headline(table).groupby(["system", "train_set", "seed"], sort=False):
        first = rows.iloc[0]
        lines += ["", f"## {shown_system(system, settings.experiment.floor)} trained on {train}, seed {seed}", ""]
        lines += [
            f"{first.known} rows of {first.classes} known sources, {first.unknown} of unknown sources{_as_published_note(first)}.",
            "",
        ]
        lines += [_row(["detector", *COLUMNS]), _row(["---", *["---:"] * len(COLUMNS)])]
        lines += [_row([row["detector"], *(_with_interval(row, figure) for figure in COLUMNS.values())]) for _, row in rows.iterrows()]
        lines += ["", *published_notes(rows)]
        own = (table["system"] == system) & (table["train_set"] == train) & (table["seed"] == seed)
        lines += _variants_part(table[own & (table["split"] == "eval") & (table["language"] == ALL_LANGUAGES)])
    return "\n".join(lines) + "\n"


def _others_part(table: pd.DataFrame) -> str:
    others = others_table(table)
    if others.empty:
        return ""
    lines = ["", "## Published", "", OTHERS_LEGEND, "", _row(list(others.columns)), _row(["---"] * others.shape[1])]
    return (
        "\n".join([*lines, *(_row([f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row]) for row in others.to_numpy())])
        + "\n"
    )


def _variants_part(rows: pd.DataFrame) -> list[str]:
    wide = rows.pivot(index="detector", columns="variant", values="auroc")
    if wide.shape[1] < 2:
        return []
    variants = list(dict.fromkeys(rows["variant"]))
    head = ["", "AUROC for each acoustic variant:", "", _row(["detector", *variants]), _row(["---", *["---:"] * len(variants)])]
    detectors = list(dict.fromkeys(rows["detector"]))
    return head + [_row([name, *(f"{100 * wide.loc[name, variant]:.1f}" for variant in variants)]) for name in detectors]


def _with_interval(row: pd.Series, figure: str) -> str:
    low, high = row[f"{figure}_low"], row[f"{figure}_high"]
    spread = "" if np.isnan(low) else f" ({100 * low:.1f}–{100 * high:.1f})"
    return f"{100 * row[figure]:.1f}{spread}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


assert set(COLUMNS.values()) <= set(FIGURES)
