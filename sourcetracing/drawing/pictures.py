"""PNG pictures: the style that all of them share, and how they get to disk."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot: no display is needed anywhere

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from sourcetracing.runtime.files import atomic_path

STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9, "savefig.dpi": 160}


def save_png(figure: Figure, path: Path) -> Path:
    """Writes a picture that is complete or absent, and closes it; returns its path."""
    # Without the default "Software" entry, the same scores give the same bytes with the next matplotlib, too.
    with atomic_path(path) as partial:
        figure.savefig(partial, metadata={"Software": None})
    plt.close(figure)
    return path
