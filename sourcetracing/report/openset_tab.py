"""The report's tab on open-set detection. No files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.charts import HeatTable, heat_table
from sourcetracing.drawing.templates import macros
from sourcetracing.drawing.text import percent, readable
from sourcetracing.openset.evaluation import ALL_LANGUAGES, POOLED
from sourcetracing.openset.relatives import LEGEND as RELATIVES_LEGEND
from sourcetracing.openset.relatives import NO_LABELS, blocks, missing
from sourcetracing.openset.tables import COLUMNS, LEGEND, OTHERS_LEGEND, headline, others_table, ours_of, published_notes
from sourcetracing.settings.training import shown_system

TAB = macros(__file__, "openset.html")
CAPTIONS = {
    "curves.png": "Every threshold: how many unknown rows are found at the price of how many known ones (left), and both errors (right).",
    "histograms.png": "Scores of eval rows. The less the two colours overlap, the better; the dashed line is where dev has equal errors.",
    "oscr.png": "How many known rows are accepted and named right while so many unknown rows slip through.",
}


def openset_tab(
    table: pd.DataFrame | None,
    by_language: pd.DataFrame | None,
    pictures: Mapping[str, Mapping[str, bytes]],
    floor: Sequence[str] = (),
    relatives: pd.DataFrame | None = None,
) -> Markup:
    """Figures of all detectors for each run, AUROC by variant and language, and the pictures; nothing without a table.

    table, by_language: tables/openset.csv and openset_by_language.csv; pictures: run folder's name -> file name -> PNG bytes.
    floor: systems that are marked as such. relatives: tables/openset_relatives.csv.
    """
    if table is None or table.empty or not set(COLUMNS.values()) <= set(table):  # the last: of an earlier version's script 07
        return Markup()
    others, table = others_table(table), ours_of(table)
    runs = headline(table).groupby(["system", "train_set", "seed"], sort=False)
    cells = [_facts(rows, table, by_language, pictures) | {"system": shown_system(name, floor)} for (name, *_), rows in runs]
    return TAB.openset(LEGEND, cells, OTHERS_LEGEND, others, _relatives(relatives, floor))


def _relatives(table: pd.DataFrame | None, floor: Sequence[str]) -> dict:
    """What the template shows of unknown sources with and without relatives; nothing where script 07 has not written it."""
    if table is None:
        return {}
    if table.empty:
        return {"legend": NO_LABELS, "tables": [], "missing": []}
    return {"legend": RELATIVES_LEGEND, "tables": list(blocks(table, floor)), "missing": missing(table)}


def _facts(rows: pd.DataFrame, table: pd.DataFrame, by_language: pd.DataFrame | None, pictures: Mapping[str, Mapping[str, bytes]]) -> dict:
    """What the template shows of one run; rows: of `table`, its pooled ones."""
    first, heats = rows.iloc[0], {}
    figures = pd.DataFrame({"detector": [readable(name) for name in rows["detector"]]})
    for name, figure in COLUMNS.items():
        ends = zip(rows[figure], rows[f"{figure}_low"], rows[f"{figure}_high"], strict=True)
        figures[name] = [f"{percent(value)}{_spread(low, high)}" for value, low, high in ends]
    heats["AUROC for each acoustic variant"] = _heat(_rows_of(table, first), "variant")
    if by_language is not None:
        heats["AUROC for each language (–: only known or only unknown sources)"] = _heat(_rows_of(by_language, first), "language")
    own = pictures.get(first["run"], {})
    return {
        **first[["system", "train_set", "seed", "known", "classes", "unknown"]],
        "notes": published_notes(rows),
        "figures": figures,
        "heats": {caption: heat for caption, heat in heats.items() if heat},
        "pictures": {caption: own[name] for name, caption in CAPTIONS.items() if name in own},
    }


def _rows_of(table: pd.DataFrame, run: pd.Series) -> pd.DataFrame:
    return table[(table["run"] == run["run"]) & (table["system"] == run["system"]) & (table["split"] == "eval")]


def _spread(low: float, high: float) -> str:
    return "" if np.isnan(low) else f" ({percent(low)}–{percent(high)})"


def _heat(rows: pd.DataFrame, column: str) -> HeatTable | None:
    """Detectors x variants or languages; None where there is one of them only."""
    chosen = rows[rows["language" if column == "variant" else "variant"] == (ALL_LANGUAGES if column == "variant" else POOLED)]
    names = list(dict.fromkeys(chosen[column]))
    if len(names) < 2:
        return None
    return heat_table(chosen.pivot(index="detector", columns=column, values="auroc").loc[list(dict.fromkeys(chosen["detector"])), names])
