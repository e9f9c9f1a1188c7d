"""The report's tab on open-set detection. Text, no files."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from sourcetracing.openset.evaluation import ALL_LANGUAGES, POOLED
from sourcetracing.openset.tables import COLUMNS, LEGEND, headline, published_notes
from sourcetracing.report import charts
from sourcetracing.tables.text import percent

CAPTIONS = {
    "curves.png": "Every threshold: how many unknown rows are found at the price of how many known ones (left), and both errors (right).",
    "histograms.png": "Scores of eval rows. The less the two colours overlap, the better; the dashed line is where dev has equal errors.",
    "oscr.png": "How many known rows are accepted and named right while so many unknown rows slip through.",
}


def openset_tab(table: pd.DataFrame | None, by_language: pd.DataFrame | None, pictures: Mapping[str, Mapping[str, bytes]]) -> str:
    """Figures of all detectors for each cell, AUROC by variant and language, and the pictures; "" without a table.

    table, by_language: tables/openset.csv and openset_by_language.csv; pictures: run folder's name -> file name -> PNG bytes.
    """
    if table is None or table.empty:
        return ""
    text = (
        "Can one tell that a source is none of the known ones? Detectors are fitted on the training rows of known sources; the threshold "
        f"is where dev has equal errors; the figures are of eval. {escape(LEGEND)}"
    )
    cells = [
        _cell_part(rows, _rows_of(table, rows.iloc[0]), None if by_language is None else _rows_of(by_language, rows.iloc[0]), pictures)
        for _, rows in headline(table).groupby(["system", "train_set", "seed"], sort=False)
    ]
    return f"<h2>Known or unknown source</h2><p>{text}</p>{''.join(cells)}"


def _rows_of(table: pd.DataFrame, cell: pd.Series) -> pd.DataFrame:
    return table[(table["run"] == cell["run"]) & (table["system"] == cell["system"]) & (table["split"] == "eval")]


def _cell_part(
    rows: pd.DataFrame, variants: pd.DataFrame, languages: pd.DataFrame | None, pictures: Mapping[str, Mapping[str, bytes]]
) -> str:
    first = rows.iloc[0]
    title = f"<h3>{escape(first['system'])}, trained on {escape(first['train_set'])}, seed {first['seed']}</h3>"
    counts = f"<p>{first['known']:,} rows of {first['classes']} known sources, {first['unknown']:,} rows of unknown sources.</p>"
    notes = "".join(f"<p>{escape(note)}.</p>" for note in published_notes(rows))
    shown = pd.DataFrame({"detector": rows["detector"].str.replace("_", " ")})
    for name, figure in COLUMNS.items():
        shown[name] = [f"{percent(value)}{_spread(low, high)}" for value, low, high in _with_ends(rows, figure)]
    figures = charts.plain_table(shown, sortable=True)
    parts = _heat(variants, "variant", "AUROC for each acoustic variant")
    if languages is not None:
        parts += _heat(languages, "language", "AUROC for each language (–: only known or only unknown sources)")
    images = "".join(
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{base64.b64encode(pictures[first["run"]][name]).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for name, caption in CAPTIONS.items()
        if name in pictures.get(first["run"], {})
    )
    return f"{title}{counts}{notes}{figures}{parts}{images}"


def _with_ends(rows: pd.DataFrame, figure: str):
    return zip(rows[figure], rows[f"{figure}_low"], rows[f"{figure}_high"], strict=True)


def _spread(low: float, high: float) -> str:
    return "" if np.isnan(low) else f" ({percent(low)}–{percent(high)})"


def _heat(rows: pd.DataFrame, column: str, caption: str) -> str:
    """Detectors x variants or languages; nothing where there is one of them only."""
    chosen = rows[rows["language" if column == "variant" else "variant"] == (ALL_LANGUAGES if column == "variant" else POOLED)]
    names = list(dict.fromkeys(chosen[column]))
    if len(names) < 2:
        return ""
    wide = chosen.pivot(index="detector", columns=column, values="auroc").loc[list(dict.fromkeys(chosen["detector"])), names]
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(charts.readable(str(name)))}</th>{"".join(charts.heat_cell(value) for value in values)}</tr>'
        for name, values in zip(wide.index, wide.to_numpy(), strict=True)
    )
    table = f'<table class="heat"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<figure><figcaption>{escape(caption)}</figcaption><div class="scroll" tabindex="0">{table}</div></figure>'
