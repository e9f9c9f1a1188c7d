"""What the published detection experiments report, as fractions and in our names; the CSV files lie in `sourcetracing/published/ai4t`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parents[2] / "published" / "ai4t"
AVERAGES = {"AVG_ID": "mean of the in-domain sets", "AVG_OOD": "mean of the real-life sets", "AVG_ALL": "mean of all sets", "ALL": "pooled"}
# (experiment, row) -> row of docs/fidelity.md and what is wrong; a layer, or a mixture in the order of its training sets.
NOTES = {
    ("layers", 2): "D88: layers 2 and 3 have the same EERs on ITW and on AI4T, so one row is a copy",
    ("layers", 3): "D88: layers 2 and 3 have the same EERs on ITW and on AI4T, so one row is a copy",
    ("mixing", "ASV19+ASV21"): "D85: the box of FoR is ticked as well; the pair ASV19+ASV21 is missing otherwise",
}
ORIGIN_NOTE = (
    "The published values are of the real corpora; this is the demo, whose sets only bear their names: the differences say nothing."
)


def published_layers() -> pd.DataFrame:
    """EERs (fractions) by layer 0 ... 48 (index) and column: nine sets, then AVG_ID, AVG_OOD, AVG_ALL, ALL as printed."""
    return _layers().copy()


def published_mixtures() -> pd.DataFrame:
    """EERs (fractions) of the 127 mixtures, in printed order: row, mixture (names joined by +, as in the PDF), ITW, AI4T, mean, note.

    `mixture` is the corrected one (D85).
    """
    return _mixtures().copy()


def published_layer_eer(layer: int, column: str) -> float:
    """EER (fraction) of a layer on a set, or one of the averages; nan where there is none."""
    table = _layers()
    return float(table.at[layer, column]) if layer in table.index and column in table.columns else np.nan


def published_mixture(names: Iterable[str]) -> dict[str, float]:
    """Set -> EER (fraction) of the mixture of these training sets in any order; empty where there is none."""
    return dict(_mixtures_by_members().get(frozenset(names), {}))


def note_of(experiment: str, row: object) -> str:
    """What is known to be wrong with a printed row (experiment: layers or mixing); "" for nothing."""
    return NOTES.get((experiment, row), "")


@cache
def _layers() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "layers_eval_wide.csv", index_col="layer") / 100


@cache
def _mixtures() -> pd.DataFrame:
    printed = pd.read_csv(FOLDER / "dataset_mixing.csv")
    columns = {"ITW": printed["itw_eer"], "AI4T": printed["ai4trust_eer"], "mean": printed["avg_printed"]}
    return pd.DataFrame(
        {
            "row": printed["row"],
            "mixture": printed["combination"],
            **{name: values / 100 for name, values in columns.items()},
            "note": [note_of("mixing", mixture) for mixture in printed["combination"]],
        }
    )


@cache
def _mixtures_by_members() -> dict[frozenset, dict[str, float]]:
    rows = _mixtures()[["mixture", "ITW", "AI4T", "mean"]].itertuples(index=False)
    return {frozenset(mixture.split("+")): {"ITW": itw, "AI4T": ai4t, "MEAN": mean} for mixture, itw, ai4t, mean in rows}
