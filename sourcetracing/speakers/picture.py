"""The objective of the clustering against the number of clusters, with the elbow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from sourcetracing.drawing import colours
from sourcetracing.drawing.pictures import picture_style, save_png


def write_objective_figure(path: Path, objectives: np.ndarray, elbow: int, k: int, num_utterances: int) -> None:
    """A PNG file; the same curve gives the same bytes."""
    with picture_style():
        figure = draw_objective(objectives, elbow, k, num_utterances)
        save_png(figure, path)


def draw_objective(objectives: np.ndarray, elbow: int, k: int, num_utterances: int) -> Figure:
    """objectives: (k_max,) sums of cosines for k = 1 ... k_max; drawn as the mean cosine."""
    cosines = objectives / num_utterances
    figure, panel = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
    panel.plot([1, len(cosines)], cosines[[0, -1]], color=colours.CHANCE, ls=":", lw=1, label="chord")
    panel.plot(np.arange(1, len(cosines) + 1), cosines, color=colours.MONO, lw=1.4)
    panel.plot(elbow, cosines[elbow - 1], "o", color=colours.CROSS, label=f"elbow: {elbow}")
    if k != elbow and k <= len(cosines):
        panel.plot(k, cosines[k - 1], "s", color=colours.MONO, label=f"chosen: {k}")
    panel.set(xlabel="pseudo-speakers", ylabel="mean cosine to own centroid", title="Spherical k-means of speaker embeddings")
    panel.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
