"""The heat map of a run: which bands carry the answers for each source."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm

from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.explanation.run_tables import EVERY

MOST_RUNS = 6
MAP = "PuOr_r"  # violet and orange are told apart in every common colour blindness; orange: the answer falls
TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16_000)


@picture_style()
def draw_runs(table: pd.DataFrame, path: Path) -> Path:
    """Writes a PNG from `band_table`s of runs: mean drops of each source, all languages; beyond MOST_RUNS only the first ones."""
    rows = table[table["language"] == EVERY]
    runs = list(rows.groupby(["system", "train_set", "seed"], sort=False))[:MOST_RUNS]
    heights = [own["source"].nunique() for _, own in runs]
    size = (9.5, 0.9 + sum(0.9 + 0.32 * height for height in heights))
    figure, panels = plt.subplots(len(runs), 1, figsize=size, squeeze=False, layout="constrained", gridspec_kw={"height_ratios": heights})
    for panel, ((system, train_set, seed), own) in zip(panels[:, 0], runs, strict=True):
        _heat(panel, own, label_of(f"{system}, trained on {train_set}, seed {seed}"))
    panels[-1, 0].set_xlabel("band taken away, Hz")
    return save_png(figure, path)


def _heat(panel: Axes, own: pd.DataFrame, title: str) -> None:
    """Each run on a scale of its own; hatched: absent from every utterance."""
    sources = list(dict.fromkeys(own["source"]))
    edges = np.append(own.loc[own["source"] == sources[0], "low_hz"], own["high_hz"].max())
    values = own["mean_drop"].to_numpy(dtype=float).reshape(len(sources), -1)
    most = max(1.0, float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0)
    norm = TwoSlopeNorm(0, -most, most)
    panel.set_facecolor("#eeeeee")
    panel.patch.set(hatch="////", edgecolor="#bbbbbb")
    places = np.arange(len(edges))
    panel.pcolormesh(
        places, np.arange(len(sources) + 1), np.ma.masked_invalid(values), cmap=MAP, norm=norm, edgecolor="white", linewidth=0.5
    )
    panel.set_yticks(np.arange(len(sources)) + 0.5, [label_of(str(source)) for source in sources])
    ticks = [tick for tick in TICKS_HZ if edges[0] <= tick <= edges[-1]]
    panel.set_xticks(np.interp(np.log(ticks), np.log(edges), places), [f"{tick:,}" for tick in ticks])
    panel.invert_yaxis()
    panel.set_title(title, loc="left")
    panel.figure.colorbar(ScalarMappable(norm, MAP), ax=panel, label="LLR falls by", pad=0.01)
