"""No peeking: part of each real-life set may choose (a layer, a mixture, a pruning level), the other part reports (D70).

The published experiments chose on the same files that they report. Their way is shown beside ours as part `all`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings

ALL, SELECTION, REPORT = "all", "selection", "report"
PARTS = (ALL, SELECTION, REPORT)


def selection_mask(settings: Settings, rows: pd.DataFrame) -> np.ndarray:
    """(N,) bool, True = selection part, for rows of the manifest (columns corpus, group, label) of one or several sets.

    Each corpus is split by itself, whole groups (speakers, recordings) at a time, so that the selection part has about
    selection.fraction of the files with bona fide groups, of those with spoofed ones and of those with both. It depends on
    selection.seed and the names of the groups, not on the order of rows. Raises `UserError` where a part would lack a class.
    """
    mask = np.zeros(len(rows), dtype=bool)
    for corpus, positions in rows.reset_index(drop=True).groupby("corpus", sort=False).indices.items():
        mask[positions] = _mask_of_corpus(settings, str(corpus), rows.iloc[positions])
    return mask


def part_masks(settings: Settings, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """The masks (N,) of all rows, of the selection part and of the report part."""
    selected = selection_mask(settings, rows)
    return {ALL: np.ones(len(rows), dtype=bool), SELECTION: selected, REPORT: ~selected}


def _mask_of_corpus(settings: Settings, corpus: str, rows: pd.DataFrame) -> np.ndarray:
    labels_of = rows.groupby("group")["label"].agg(lambda labels: "+".join(sorted(set(labels))))
    sizes = rows["group"].value_counts()
    chosen: set[str] = set()
    for kind in sorted(labels_of.unique()):
        chosen |= _choose_groups(settings, corpus, sizes[sorted(labels_of.index[labels_of == kind])])
    mask = rows["group"].isin(chosen).to_numpy()
    for part, selected in ((SELECTION, mask), (REPORT, ~mask)):
        missing = set(rows["label"]) - set(rows["label"][selected])
        if missing:
            raise UserError(
                f"{corpus}: its {part} part has no {' and no '.join(sorted(missing))} file: too few speakers or recordings have any. "
                "Change selection.fraction, or take this set out of detection.test."
            )
    return mask


def _choose_groups(settings: Settings, corpus: str, sizes: pd.Series) -> set[str]:
    """Groups in seeded order, each taken if that brings the number of files nearer to the fraction."""
    order = sorted(sizes.index, key=lambda group: rng(settings.selection.seed, corpus, group).random())
    wanted, count, chosen = settings.selection.fraction * sizes.sum(), 0, set()
    for group in order:
        if abs(count + sizes[group] - wanted) < abs(count - wanted):
            chosen.add(group)
            count += sizes[group]
    return chosen
