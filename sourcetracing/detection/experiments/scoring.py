"""Scores of an experiment's classifiers on disk, and their EERs on both parts of the real-life sets.

No peeking: part of each real-life set may choose (a layer, a mixture, a pruning level), the other part reports (D70). The published
experiments chose on the same files that they report; their way is shown beside ours as part `all`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from sourcetracing.detection.classifier.logistic import LinearModel, eer_of_scores
from sourcetracing.detection.data.manifest import load_manifest
from sourcetracing.detection.features.feature_sets import FeatureSet
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import atomic_path, digest_of_json
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings

ALL, SELECTION, REPORT = "all", "selection", "report"
PARTS = (ALL, SELECTION, REPORT)
MEAN = "MEAN"
_RECIPE = b"recipe"


@dataclass(frozen=True)
class ScoreFile:
    """Scores of one classifier (dataset, file_id, label, score) and the digest of its recipe: what they depend on.

    Written whole, last of what belongs to a classifier, so it is also the mark that this classifier is finished.
    """

    path: Path
    recipe: dict

    @property
    def is_made(self) -> bool:
        """Whether the file is there and was made from just this recipe."""
        if not self.path.is_file():
            return False
        return (pa.parquet.read_schema(self.path).metadata or {}).get(_RECIPE) == digest_of_json(self.recipe).encode()

    def write(self, scores: pd.DataFrame) -> None:
        """Whole or not at all."""
        table = pa.Table.from_pandas(scores, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _RECIPE: digest_of_json(self.recipe).encode()})
        with atomic_path(self.path) as partial:
            pa.parquet.write_table(table, partial, compression="zstd")

    def read(self) -> pd.DataFrame:
        return pd.read_parquet(self.path)


def scores_of(model: LinearModel, sets: Sequence[FeatureSet], blocks: Sequence[Sequence[np.ndarray]]) -> pd.DataFrame:
    """dataset, file_id, label (1 = bona fide), score (decision values, higher = bona fide) of sets and their features."""
    scored = [one.files.assign(score=np.concatenate([model.scores(block) for block in own])) for one, own in zip(sets, blocks, strict=True)]
    return pd.concat(scored, ignore_index=True)


def masks_of(settings: Settings, files: pd.DataFrame) -> dict[str, np.ndarray]:
    """Part (all, selection, report) -> (N,) of these files (column file_id) of real-life sets, by the manifest's groups."""
    rows = load_manifest(settings).set_index("file_id", drop=False).loc[files["file_id"]]
    return part_masks(settings, rows.reset_index(drop=True))


def eers_by_part(scores: pd.DataFrame, masks: dict[str, np.ndarray], settings: Settings) -> pd.DataFrame:
    """dataset, part, eer (fraction), threshold, files for each data set of the scores and each part; then MEAN over the data sets."""
    rows = []
    positions_of = scores.groupby("dataset", sort=False).indices
    labels, values = scores["label"].to_numpy(), scores["score"].to_numpy()
    for part, mask in masks.items():
        found = []
        for dataset, positions in positions_of.items():
            chosen = positions[mask[positions]]
            eer, threshold = eer_of_scores(labels[chosen], values[chosen], settings.logreg)
            found.append({"dataset": dataset, "part": part, "eer": eer, "threshold": threshold, "files": len(chosen)})
        mean = {"dataset": MEAN, "part": part, "eer": float(np.mean([row["eer"] for row in found])), "threshold": np.nan}
        rows += [*found, {**mean, "files": int(mask.sum())}]
    return pd.DataFrame(rows)


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
