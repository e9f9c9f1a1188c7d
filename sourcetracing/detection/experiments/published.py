"""What the published detection experiments report, as fractions and in our names; the CSV files lie in `sourcetracing/published/ai4t`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.runtime.files import read_csv
from sourcetracing.settings.schema import Settings

FOLDER = Path(__file__).parents[2] / "published" / "ai4t"
# (experiment, row) -> row of docs/fidelity.md and what is wrong; a layer, or a mixture in the order of its training sets.
NOTES = {
    ("layers", 2): "D88: layers 2 and 3 have the same EERs on ITW and on AI4T, so one row is a copy",
    ("layers", 3): "D88: layers 2 and 3 have the same EERs on ITW and on AI4T, so one row is a copy",
    ("mixing", "ASV19+ASV21"): "D85: the box of FoR is ticked as well; the pair ASV19+ASV21 is missing otherwise",
}
ORIGIN_NOTE = (
    "The published values are of the real corpora; this is the demo, whose sets only bear their names: the differences say nothing."
)


@cache
def published_layers() -> pd.DataFrame:
    """EERs (fractions) by layer 0 ... 48 (index) and column: nine sets, then the averages as printed. Not to be changed."""
    return read_csv(FOLDER / "layers_eval_wide.csv", texts=()).set_index("layer") / 100


def published_layer_eer(layer: int, column: str) -> float:
    """EER (fraction) of a layer on a set, or one of the averages; nan where there is none."""
    table = published_layers()
    return float(table.at[layer, column]) if layer in table.index and column in table.columns else np.nan


def published_mixture(names: Iterable[str]) -> dict[str, float]:
    """Set -> EER (fraction) of the mixture of these training sets in any order (the corrected one, D85); empty where there is none."""
    return dict(_mixtures().get(frozenset(names), {}))


@cache
def _mixtures() -> dict[frozenset, dict[str, float]]:
    printed = read_csv(FOLDER / "dataset_mixing.csv", numbers=["itw_eer", "ai4trust_eer", "avg_printed"])
    eers = printed[["itw_eer", "ai4trust_eer", "avg_printed"]].set_axis(["ITW", "AI4T", "MEAN"], axis=1) / 100
    return {frozenset(names.split("+")): row for names, row in zip(printed["combination"], eers.to_dict("records"), strict=True)}


def note_of(experiment: str, row: object) -> str:
    """What is known to be wrong with a printed row (experiment: layers or mixing); "" for nothing."""
    return NOTES.get((experiment, row), "")


def origin_lines(settings: Settings) -> list[str]:
    """A warning where our values are the demo's."""
    return [ORIGIN_NOTE] if settings.detection.origin == "demo" else []
