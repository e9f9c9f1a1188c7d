"""Tables of texts, for the terminal and in Markdown."""

from __future__ import annotations

import numpy as np
import pandas as pd


def markdown_table(cells: pd.DataFrame) -> list[str]:
    """Lines of a Markdown table of texts, the first column to the left, the others to the right."""
    lines = [list(cells), ["---", *["---:"] * (cells.shape[1] - 1)], *cells.astype(str).to_numpy().tolist()]
    return [f"| {' | '.join(line)} |" for line in lines]


def text_table(cells: pd.DataFrame) -> list[str]:
    """Lines of a table for the terminal, likewise."""
    lines = [list(cells), *cells.astype(str).to_numpy().tolist()]
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return ["  ".join(["", line[0].ljust(first), *map(str.rjust, line[1:], others)]) for line in lines]


def percent(eer: float) -> str:
    """A fraction as percent with two decimals; – for nan."""
    return "–" if np.isnan(eer) else f"{100 * eer:.2f}"
