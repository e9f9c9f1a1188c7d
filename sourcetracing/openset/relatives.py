"""Unknown sources with and without relatives among the known ones: figures of detectors for each subset, and what is named rightly there.

Each subset of `protocols.relatives.SUBSETS` that has eval rows is set against all known rows, at the same thresholds. "named" figures are
of unknown sources alone: the share of rows whose architecture, acoustic model or vocoder is named rightly, whatever the detectors say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from sourcetracing.drawing.text import ABSENT, percent
from sourcetracing.openset.evaluation import FIGURES, evaluate_pooled
from sourcetracing.protocols.relatives import ALL_UNKNOWN, COARSE_LEVELS, SUBSETS, subsets
from sourcetracing.settings.training import shown_system
from sourcetracing.tables.hierarchy import LevelledRun, make_hierarchy

ENDS = ("", "_low", "_high")
TEXTS = ("subset", "detector", "system", "train_set", "run", "compat", "protocol")
NAMED = [f"named_{level}" for level in COARSE_LEVELS]
FIGURE_COLUMNS = ["subset", "sources", "detector", "known", "unknown", "classes"]
FIGURE_COLUMNS += [f"{figure}{end}" for figure in FIGURES for end in ENDS]
NAMED_COLUMNS = [*(f"{name}{end}" for name in NAMED for end in ENDS), *(f"{name}_rows" for name in NAMED)]
DETECTED = {  # heading -> figure
    "AUROC": "auroc",
    "FPR at 95 % TPR": "fpr_at_95_tpr",
    "missed at 95 % known": "unknown_accepted_at_95",
    "flagged unknown": "unknown_found",
}
LEGEND = (
    "Unknown eval sources by their relation to known ones, each set against all known rows. A known relative: a known source has the "
    "same architecture, or the same acoustic model and vocoder. Unseen checkpoint of a known generator: both acoustic model and vocoder "
    "are those of one known source. Flagged unknown: rows above the threshold of dev. Named: rows whose label the answer at that level "
    "has, of those that have a label, whatever the detectors say. All in %; in brackets: 95 % interval over utterances."
)
NO_LABELS = (
    "There are no figures with and without relatives: no known source has an architecture, or acoustic model and vocoder, in "
    "utterances.csv (docs/hierarchy.md)."
)


def figures_by_relation(
    table: pd.DataFrame,
    scores: Mapping[str, np.ndarray],
    thresholds: Mapping[str, float],
    classes: Sequence[str],
    labels: pd.DataFrame,
    num_samples: int,
    seed: int,
) -> pd.DataFrame:
    """FIGURE_COLUMNS, a row for each subset that has rows and each detector; no rows where no known source has labels.

    table: rows (N,) with unit, variant, language, source, label, prediction; scores: (N,) by detector; labels: `labels_of_sources`.
    """
    if not is_labelled(labels, classes):
        return pd.DataFrame(columns=[*FIGURE_COLUMNS, *NAMED_COLUMNS])
    is_known = table["label"].to_numpy() >= 0
    found = []
    for name, mask in subsets(table["source"], labels, classes).items():
        own = mask.to_numpy() & ~is_known
        if own.any():
            kept = np.flatnonzero(own | is_known)
            own_scores = {detector: values[kept] for detector, values in scores.items()}
            figures = evaluate_pooled(table.iloc[kept], own_scores, thresholds, len(classes), num_samples, seed)
            found.append(figures.assign(subset=name, sources=table["source"][own].nunique()))
    return pd.concat(found, ignore_index=True)[FIGURE_COLUMNS] if found else pd.DataFrame(columns=[*FIGURE_COLUMNS, *NAMED_COLUMNS])


def is_labelled(labels: pd.DataFrame, classes: Sequence[str]) -> bool:
    """Whether some known source has an architecture, or acoustic model and vocoder."""
    own = labels.reindex(list(classes)).fillna("") != ""
    return bool((own["architecture"] | (own["acoustic_model"] & own["vocoder"])).any())


def named_by_relation(run: LevelledRun, classes: Sequence[str], labels: pd.DataFrame, num_samples: int, seed: int) -> pd.DataFrame:
    """subset, NAMED_COLUMNS: the shares of rows whose labels are named rightly, of rows that have one, all languages together."""
    everywhere = replace(run, languages=sorted(run.rows["language"].unique()))
    cells = make_hierarchy([everywhere], classes, labels, num_samples, seed).cells
    rows = []
    for subset in SUBSETS:
        own = cells[cells["group"] == subset].set_index("level")
        row = {"subset": subset}
        for level, name in zip(COARSE_LEVELS, NAMED, strict=True):
            is_there = level in own.index
            row |= {f"{name}{end}": own.loc[level, f"accuracy{end}"] if is_there else math.nan for end in ENDS}
            row[f"{name}_rows"] = own.loc[level, "rows"] if is_there else 0
        rows.append(row)
    return pd.DataFrame(rows, columns=["subset", *NAMED_COLUMNS])


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The tables of several runs as one; columns without rows where none has any."""
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=[*FIGURE_COLUMNS, *NAMED_COLUMNS])


def relatives_part(table: pd.DataFrame, floor: Sequence[str] = ()) -> str:
    """The section of openset.md."""
    lines = ["", "## With and without relatives", ""]
    if table.empty:
        return "\n".join([*lines, NO_LABELS, ""])
    lines += [LEGEND, ""]
    for title, shown in blocks(table, floor):
        lines += [f"### {title}", "", _row(shown.columns), _row(["---"] * shown.shape[1]), *map(_row, shown.to_numpy()), ""]
    return "\n".join([*lines, *(f"* {line}" for line in missing(table))]).rstrip() + "\n"


def blocks(table: pd.DataFrame, floor: Sequence[str] = ()) -> Iterator[tuple[str, pd.DataFrame]]:
    """(title, table for people) of each run: what is named rightly in each subset, then the figures of each detector."""
    for (system, train, seed), own in table.groupby(["system", "train_set", "seed"], sort=False):
        title, rows = f"{shown_system(system, floor)} trained on {train}, seed {seed}", own.to_dict("records")
        once = own.drop_duplicates("subset").to_dict("records")
        yield f"{title}: what is named", pd.DataFrame([_counts(row) | _named(row) for row in once])
        yield f"{title}: what is flagged", pd.DataFrame([_counts(row) | _detected(row) for row in rows])


def _counts(row: Mapping[str, object]) -> dict[str, str]:
    return {"unknown sources": SUBSETS[row["subset"]][1], "sources": f"{row['sources']:.0f}", "rows": f"{row['unknown']:.0f}"}


def _named(row: Mapping[str, object]) -> dict[str, str]:
    found = {}
    for level, name in zip(COARSE_LEVELS, NAMED, strict=True):
        word = level.replace("_", " ")
        found |= {f"{word} named": _figure(row, name), f"rows with {word}": f"{row[f'{name}_rows']:.0f}"}
    return found


def _detected(row: Mapping[str, object]) -> dict[str, str]:
    return {"detector": row["detector"]} | {head: _figure(row, figure) for head, figure in DETECTED.items()}


def _figure(row: Mapping[str, object], name: str) -> str:
    value, low, high = (float(row[f"{name}{end}"]) for end in ENDS)
    if math.isnan(value):
        return ABSENT
    return percent(value) + ("" if math.isnan(low) else f" ({percent(low)}–{percent(high)})")


def missing(table: pd.DataFrame) -> list[str]:
    """A sentence for each subset that has no rows."""
    there = set(table["subset"])
    return [f"No unknown eval source is of the kind: {words}." for name, (_, words) in SUBSETS.items() if name not in {*there, ALL_UNKNOWN}]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
