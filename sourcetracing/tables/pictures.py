"""Pictures (PNG) for papers and READMEs: matrices, training curves, confusion matrices, scores by variant."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes as Panel
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import label_of, picture_style, save_png
from sourcetracing.drawing.text import readable
from sourcetracing.layout import RunLayout, TablesLayout
from sourcetracing.metrics.classification import row_shares
from sourcetracing.runtime.files import read_csv
from sourcetracing.tables.axes import CROSS, MONO, POOLED, kind_of_cell
from sourcetracing.tables.making import Tables, matrix_of, mean_of
from sourcetracing.tables.scored_runs import ScoredRun

HEAT_MAP = LinearSegmentedColormap.from_list("heat", colours.HEAT_STOPS)
KIND_COLOURS = {MONO: colours.MONO, CROSS: colours.CROSS}


def write_pictures(tables: Tables, out_folder: Path) -> list[Path]:
    """Draws a matrix for each system, for a plan with details also its confusions and all systems by variant; returns the paths."""
    with picture_style():
        files, prefix = TablesLayout(out_folder), tables.plan.file_prefix
        return [save_png(figure, files.picture(f"{prefix}{name}")) for name, figure in _pictures(tables)]


def _pictures(tables: Tables) -> Iterator[tuple[str, Figure]]:
    for system in [system for system in tables.axes.systems if (tables.cells["system"] == system).any()]:
        yield f"{system}_matrix", draw_matrix(tables, system)
        if tables.plan.has_details:
            yield f"{system}_confusion", draw_confusions(tables, system)
    if tables.plan.has_details:
        yield "variants", draw_variants(tables)


def write_curves(runs: list[ScoredRun], out_folder: Path) -> list[Path]:
    """Draws the training of each system, whatever tables its runs are in, as <system>_curves.png; returns the paths."""
    histories = read_histories(runs)
    with picture_style():
        systems = dict.fromkeys(system for system, _, _ in histories)
        return [save_png(draw_curves(histories, system), TablesLayout(out_folder).picture(f"{system}_curves")) for system in systems]


def read_histories(runs: list[ScoredRun]) -> dict[tuple[str, str, int], pd.DataFrame]:
    """history.csv of each run that has one, by (system, train set, seed); its attrs hold the `best_epoch` of model.json."""
    found = {}
    for run in runs:
        files = RunLayout(Path(run.folder))
        if files.history.is_file() and len(history := read_csv(files.history, texts=())):
            history.attrs["best_epoch"] = (
                json.loads(files.outcome.read_text(encoding="utf-8"))["best_epoch"] if files.outcome.is_file() else None
            )
            found[run.system, run.train_set, run.seed] = history
    return found


def summed_confusion(tables: Tables, system: str, kind: str, variant: str = POOLED) -> np.ndarray:
    """Confusion counts (C, C) summed over the mono or cross cells and seeds of a system."""
    num_classes = len(tables.axes.classes)
    total = np.zeros((num_classes, num_classes), dtype=np.int64)
    for (name, train, test, of_variant, _), matrix in tables.confusions.items():
        if name == system and of_variant == variant and kind_of_cell(train, test) == kind:
            total += matrix
    return total


def draw_matrix(tables: Tables, system: str, variant: str = POOLED) -> Figure:
    """Heat map of macro-F1 in percent, train sets x test sets, on the fixed scale 0 to 100; mono cells framed."""
    matrix = matrix_of(tables, system, variant)
    rows, columns = matrix.shape
    figure, panel = plt.subplots(figsize=(1.6 + 0.62 * columns, 1.3 + 0.5 * rows), layout="constrained")
    image = _heat_panel(panel, matrix.to_numpy(), list(matrix.index), list(matrix.columns), digits=1)
    for (row, column), _ in np.ndenumerate(matrix.to_numpy()):
        if tables.axes.is_mono(matrix.index[row], matrix.columns[column]):
            for width, colour in ((3.2, "white"), (1.4, "black")):
                panel.add_patch(plt.Rectangle((column - 0.44, row - 0.43), 0.88, 0.86, fill=False, lw=width, ec=colour))
    for names, line in ((tables.axes.columns, panel.axvline), (tables.axes.rows, panel.axhline)):
        for _, start, _ in tables.axes.family_spans(names)[1:]:
            line(start - 0.5, color="white", lw=4)
    named = tables.axes.columns == tables.axes.test_sets
    panel.set(xlabel="tested on" if named else "", ylabel="trained on" if named else "held out")
    panel.set_title(f"{system}: macro-F1 in %\n{_means_phrase(tables, system, variant)}", loc="left")
    bar = figure.colorbar(image, ax=panel, shrink=0.85, ticks=[0, 25, 50, 75, 100])
    bar.outline.set_visible(False)
    for chance in sorted({tables.cells["chance"].min(), tables.cells["chance"].max()}):
        bar.ax.axhline(100 * chance, color=colours.CROSS, lw=1.5)
    bar.set_label("line: chance", fontsize=7)
    return figure


def draw_confusions(tables: Tables, system: str) -> Figure:
    """Two confusion matrices in percent of each true class: mono cells and cross cells, summed."""
    names = [label_of(readable(name)) for name in tables.axes.classes]
    size, room = 1.5 + 0.6 * len(names), 0.08 * max(0, max(map(len, names)) - 16)  # inches; room: for letters beyond those of a short name
    figure, panels = plt.subplots(1, 2, figsize=(2 * size + 0.9 + room, size + 0.6 * room), layout="constrained", sharey=True)
    for panel, kind in zip(panels, (MONO, CROSS), strict=True):
        _heat_panel(panel, row_shares(summed_confusion(tables, system, kind)), names, names, digits=0)
        panel.tick_params(axis="x", labelrotation=35)
        plt.setp(panel.get_xticklabels(), ha="right", rotation_mode="anchor")
        panel.set(title=kind, xlabel="predicted")
    panels[0].set_ylabel("true source")
    figure.suptitle(f"{system}: predictions in % of each source", x=0.01, ha="left", fontsize=9)
    return figure


def draw_curves(histories: dict[tuple[str, str, int], pd.DataFrame], system: str) -> Figure:
    """Loss and dev macro-F1 by epoch, one column of panels for each train set, one line for each seed."""
    own = {key: history for key, history in histories.items() if key[0] == system}
    train_sets = list(dict.fromkeys(key[1] for key in own))
    figure, panels = plt.subplots(
        2, len(train_sets), figsize=(1.0 + 1.5 * len(train_sets), 3.4), layout="constrained", sharex="col", sharey="row", squeeze=False
    )
    for (_, train, seed), history in own.items():
        top, bottom = panels[:, train_sets.index(train)]
        first = seed == next(key[2] for key in own if key[1] == train)
        top.plot(history["epoch"], history["train_loss"], color=colours.CHANCE, ls="--", lw=1.2, label="train" if first else None)
        top.plot(history["epoch"], history["dev_loss"], color=colours.CROSS, lw=1.4, label="dev" if first else None)
        bottom.plot(history["epoch"], 100 * history["dev_macro_f1"], color=colours.MONO, lw=1.4)
        top.set_title(train)
        bottom.set(ylim=(0, 102), xlabel="epoch")
        bottom.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0, 0].set(ylabel="loss")
    panels[0, 0].set_ylim(bottom=0)
    panels[1, 0].set(ylabel="dev macro-F1, %")
    panels[0, 0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"{system}: training, by train set", x=0.01, ha="left", fontsize=9)
    return figure


def draw_variants(tables: Tables) -> Figure:
    """Mono and cross means in percent for each acoustic variant, with 95 % intervals; one panel for each system."""
    systems = [system for system in tables.axes.systems if (tables.means["system"] == system).any()]
    variants = tables.axes.all_variants
    figure, panels = plt.subplots(
        1, len(systems), figsize=(1.2 + 2.6 * len(systems), 2.9), layout="constrained", sharey=True, squeeze=False
    )
    for panel, system in zip(panels[0], systems, strict=True):
        for offset, kind in ((-0.19, MONO), (0.19, CROSS)):
            rows = [mean_of(tables, system, kind, variant) for variant in variants]
            values = np.array([[math.nan] * 3 if row is None else [row.macro_f1, row.ci_low, row.ci_high] for row in rows]) * 100
            places = np.arange(len(variants)) + offset
            panel.bar(places, values[:, 0], 0.36, color=KIND_COLOURS[kind], label=kind)
            for width, colour in ((3, "white"), (1.2, "black")):
                panel.vlines(places, values[:, 1], values[:, 2], color=colour, lw=width)
        chances = {kind: row.chance for kind in (MONO, CROSS) if (row := mean_of(tables, system, kind)) is not None}
        same = len(set(chances.values())) == 1
        for kind, chance in list(chances.items())[: 1 if same else None]:
            panel.axhline(100 * chance, color=colours.CHANCE if same else KIND_COLOURS[kind], ls=":", lw=1)
        panel.set_xticks(range(len(variants)), variants, rotation=35, ha="right", rotation_mode="anchor")
        panel.set(title=system, ylim=(0, 102))
    panels[0, 0].set_ylabel("macro-F1, % (dotted: chance)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), frameon=False, fontsize=8, ncols=2, loc="outside upper left")
    return figure


def _heat_panel(panel: Panel, fractions: np.ndarray, row_names: list[str], column_names: list[str], digits: int):
    image = panel.imshow(100 * fractions, cmap=HEAT_MAP, vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(fractions):
        text = "–" if math.isnan(value) else f"{100 * value:.{digits}f}"
        ink = "black" if math.isnan(value) else colours.heat_of(value)[1]
        panel.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
    panel.set_xticks(range(len(column_names)), column_names)
    panel.set_yticks(range(len(row_names)), row_names)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return image


def _means_phrase(tables: Tables, system: str, variant: str) -> str:
    rows = {kind: mean_of(tables, system, kind, variant) for kind in (MONO, CROSS)}
    return ", ".join(f"{kind} mean {100 * row.macro_f1:.1f}" for kind, row in rows.items() if row is not None)
