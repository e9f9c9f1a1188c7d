"""The report's tab on levels: architecture, acoustic model, vocoder, source. No files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.templates import macros
from sourcetracing.tables.hierarchy import Hierarchy
from sourcetracing.tables.hierarchy_text import LEGEND, blocks, missing_groups

TAB = macros(__file__, "hierarchy.html")


def hierarchy_tab(made: Hierarchy, floor: Sequence[str], pictures: Mapping[str, bytes]) -> Markup:
    """The tables and pictures (caption -> PNG bytes); nothing where no labels are known."""
    if made.is_empty:
        return Markup()
    tables = [(title, pd.DataFrame(rows, columns=columns)) for title, columns, rows in blocks(made, floor)]
    return TAB.hierarchy(LEGEND, tables, [*made.notes, *missing_groups(made)], pictures)
