"""An explanation in words and as tables: the line of a file, cautions, CSV, JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sourcetracing.explanation.bands import ranges_text
from sourcetracing.explanation.drops import LEAST_DROP, disagree, importance
from sourcetracing.explanation.files import Explanation
from sourcetracing.explanation.occlusion import FILLINGS
from sourcetracing.runtime.files import write_csv, write_json
from sourcetracing.settings.names import printable

FORMAT = 1  # raise it when the JSON changes
COLUMNS = ["kind", "window_start_s", "low_hz", "high_hz", "start_s", "stop_s", *(f"drop_{name}" for name in FILLINGS)]
COLUMNS += ["importance", "fillings_disagree", "absent"]
LIMITS = (
    "A sound with a hole in it is unlike anything that the system was trained on. A fall may show that it was startled, not that it "
    "listens there: compare the two fillings.",
    "What is carried by two bands, or by two stretches, at once does not show: without the one the other is still there.",
    "A fall says what moves this system's answer. It does not say that the answer is right, nor what in the band does it.",
    "Bands that a codec or a low rate has emptied are shown as absent. That they are empty may itself have decided, and is not tested.",
)


def line_of(found: Explanation) -> str:
    """What is printed below a file's answer."""
    if not len(order := _by_importance(found.importance)):
        return "  not explained: there is no band in which the file has any sound"
    values, first, last = found.importance, order[0], order[-1]
    who = f"likeness to {printable(found.source)}" if found.is_unknown else "answer"
    how = "most on" if values[first] >= LEAST_DROP else "on no single band, most on"
    empty, filled = (_falls(value) for value in found.band_drops[:, first])
    where = f"the {who} (LLR {found.llr:.1f}) rests {how} {found.bands[first].text}"
    text = f"  {where}: left empty the LLR {empty}, filled with noise it {filled}"
    if len(order) > 1:
        second, least = (f"{found.bands[number].text} ({-values[number]:+.1f})" for number in (order[1], last))
        text += f"; then on {second}; least on {least}"
    return "\n".join([text, *(f"    {remark}" for remark in remarks_of(found))])


def _by_importance(values: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(values))
    return known[np.argsort(-values[known], kind="stable")]


def _falls(value: float) -> str:
    return f"falls by {value:.1f}" if value >= 0 else f"rises by {-value:.1f}"


def remarks_of(found: Explanation) -> list[str]:
    """What has to be known of this file's figures, a line each."""
    how = f" ({found.how_chosen})" if found.how_chosen else ""
    remarks = [f"{len(found.windows)} of {found.num_windows} windows explained{how}; LLRs are means over them, natural logarithms"]
    if found.is_unknown:
        remarks.append(
            "the source was called unknown: this is what its likeness to the nearest known one rests on, not what is unknown of it"
        )
    if named := ranges_text(found.bands, found.disagrees):
        remarks.append(f"the two fillings disagree at {named}: what stands in place of the band decides (docs/explanation.md)")
    if found.absent.any():
        low = next(band.low for band, is_so in zip(found.bands, found.absent, strict=True) if is_so)
        remarks.append(f"absent, so not tested: {int(found.absent.sum())} bands from {low:,.0f} Hz on, where the file has nothing")
    return remarks


def table_of(found: Explanation) -> pd.DataFrame:
    """COLUMNS; a row for each band over all explained windows, then one for each stretch of time of each of them."""
    rows: list[dict[str, Any]] = []
    for number, band in enumerate(found.bands):
        place = {"kind": "band", "low_hz": band.low, "high_hz": band.high, "absent": bool(found.absent[number])}
        rows.append(place | _figures(found.band_drops[:, [number]]))
    for window in found.windows:
        for number, start in enumerate(window.drops.stretch_starts_s):
            begin = window.start_s + float(start)
            place = {"kind": "time", "window_start_s": window.start_s, "start_s": begin, "stop_s": begin + window.drops.stretch_s}
            rows.append(place | {"absent": False} | _figures(window.drops.stretch_drops[:, [number]]))
    return pd.DataFrame(rows, columns=COLUMNS)


def _figures(drops_F1: np.ndarray) -> dict[str, Any]:
    by_filling = {f"drop_{name}": float(value) for name, value in zip(FILLINGS, drops_F1[:, 0], strict=True)}
    return {**by_filling, "importance": float(importance(drops_F1)[0]), "fillings_disagree": bool(disagree(drops_F1)[0])}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


def write_explanation(found: Explanation, weights: str, csv: Path, json: Path) -> None:
    """The table as CSV; the same with what it is of as JSON. weights: digest of the system's."""
    table = table_of(found)
    write_csv(table, csv, float_format="%.6f", lineterminator="\n")
    rows = [
        {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]
    content = {
        "format": FORMAT,
        "path": found.path,
        "weights": weights,
        "source": found.source,
        "is_unknown": found.is_unknown,
        "llr": found.llr,
        "window_llrs": [window.drops.llr for window in found.windows],
        "num_windows": found.num_windows,
        "highest_hz": found.limit_hz,
        "remarks": remarks_of(found),
        "limits": list(LIMITS),
        "drops": rows,
    }
    write_json(json, content)
