"""Embeddings in the plane as PNG files: one for each label, its panels the projections, its legend below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from PIL import Image

from sourcetracing.drawing.colours import CATEGORIES, CHANCE
from sourcetracing.drawing.pictures import label_of, picture_style
from sourcetracing.embeddings.colouring import GREY, NUM_MARKERS, Colouring
from sourcetracing.embeddings.projections import NAMES, Projection
from sourcetracing.runtime.files import atomic_path
from sourcetracing.runtime.seeding import rng

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PANEL_INCHES, FEWEST_INCHES = 3.2, 6.4
LEGEND_POINTS = 7.5  # size of its letters
NAMES_OF_LABELS = {"pseudo_speaker": "pseudo-speaker", "known": "known or unknown source", "variant": "acoustic variant"}


def write_picture(path: Path, projections: Sequence[Projection], colouring: Colouring, title: str) -> None:
    """A PNG file; the same points give the same bytes."""
    with picture_style():
        figure = draw_picture(projections, colouring, title)
        figure.set_dpi(plt.rcParams["savefig.dpi"])
        figure.canvas.draw()
        # Half-transparent marks make tens of thousands of colours; 256 look the same in a quarter of the bytes.
        image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        with atomic_path(path) as partial:
            image.save(partial, optimize=True)
        plt.close(figure)


def draw_picture(projections: Sequence[Projection], colouring: Colouring, title: str) -> Figure:
    """Side by side the projections of the same points, coloured by one label."""
    width = max(PANEL_INCHES * len(projections), FEWEST_INCHES)
    handles, num_columns = _legend(colouring, width)
    legend_inches = (-(-len(handles) // num_columns) + 1) * LEGEND_POINTS * 1.65 / 72
    size = (width, PANEL_INCHES + 0.75 + legend_inches)
    figure, panels = plt.subplots(1, len(projections), figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.09), squeeze=False)
    for panel, projection in zip(panels[0], projections, strict=True):
        _draw_panel(panel, projection, colouring)
    name = NAMES_OF_LABELS.get(colouring.label, colouring.label)
    figure.suptitle("\n".join(textwrap.wrap(f"{title}, coloured by {name}", round(width * 15))), x=0.01, ha="left", fontsize=9)
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=num_columns,
        frameon=False,
        fontsize=LEGEND_POINTS,
        handletextpad=0.2,
        columnspacing=1,
    )
    return figure


def _draw_panel(panel: Panel, projection: Projection, colouring: Colouring) -> None:
    styles = np.array([*colouring.styles, GREY])[colouring.codes]  # code -1 takes the last entry
    shuffled = rng("drawing order").permutation(len(styles))  # so that no value covers the others
    points, styles = projection.points[shuffled], styles[shuffled]
    size = float(np.clip(12000 / len(points), 4, 22))
    grey = styles == GREY
    panel.scatter(*points[grey].T, s=size / 2, color=CHANCE, alpha=0.35, lw=0)
    for number, marker in enumerate(MARKERS):
        chosen = ~grey & (styles % NUM_MARKERS == number)
        colours = np.array(CATEGORIES)[styles[chosen] % len(CATEGORIES)]
        panel.scatter(*points[chosen].T, s=size, c=colours, marker=marker, alpha=0.75, lw=0)
    panel.set_title(f"{NAMES[projection.name]}\n" + projection.note.replace("; ", "\n"), fontsize=7.5)
    panel.set(xticks=[], yticks=[], box_aspect=1)
    panel.spines[:].set(visible=True, color="#c8c8c8", lw=0.8)


def _legend(colouring: Colouring, width_inches: float) -> tuple[list[Line2D], int]:
    """An entry for each value that has a style, and one for all others; and how many columns of them fit side by side."""
    counts, entries = colouring.counts(), []
    for value, style, count in zip(colouring.values, colouring.styles, counts, strict=True):
        if style != GREY:
            entries.append((f"{label_of(value)} ({count})", CATEGORIES[style % len(CATEGORIES)], MARKERS[style % NUM_MARKERS]))
    if too_many := [int(count) for style, count in zip(colouring.styles, counts, strict=True) if style == GREY]:
        entries.append((f"{len(too_many)} others ({sum(too_many)})", CHANCE, "o"))
    if not_known := int((colouring.codes < 0).sum()):
        entries.append((f"not known ({not_known})", CHANCE, "o"))
    longest = max(len(text) for text, _, _ in entries)
    column_inches = (longest * 0.56 + 3) * LEGEND_POINTS / 72
    handles = [Line2D([], [], ls="", marker=marker, ms=4.5, mew=0, color=colour, label=text) for text, colour, marker in entries]
    return handles, max(1, min(len(handles), int(width_inches / column_inches)))
