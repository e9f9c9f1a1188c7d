"""The frame of every report: one HTML file of tabs, with all it needs inside; no network, no date of its own.

Tabs are switched by radio buttons and CSS alone, so a page works where scripts are off, and prints in full; the one script
sorts tables by the column that is clicked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.templates import macros, render
from sourcetracing.runtime.files import write_text


def write_page(
    out_path: Path,
    *,
    title: str,
    eyebrow: str,
    headline: str,
    lead: str,
    notes: Sequence[str],
    tabs: Mapping[str, Sequence[Markup]],
    made_by: str,
    environment: Mapping[str, Any],
    num_panels: int = 0,
) -> Path:
    """Writes a page. tabs: title -> sections, empty ones left out; notes: what a reader must not miss; made_by: for the footer.

    num_panels: the most panels that one choice within a tab has.
    """
    kept = {name: sections for name, bodies in tabs.items() if (sections := [body for body in bodies if body])}
    texts = {"title": title, "eyebrow": eyebrow, "headline": headline, "lead": lead, "made_by": made_by}
    commit = environment.get("git_commit", "unknown")
    write_text(out_path, render(__file__, "page.html", **texts, notes=notes, tabs=kept, commit=commit, num_panels=num_panels))
    return Path(out_path)


def settings_section(settings_yaml: str, environment: Mapping[str, Any]) -> Markup:
    """What a page was made with."""
    rows = pd.DataFrame(list(_flat(environment)), columns=["what", "value"])
    return macros(__file__, "parts.html").settings(settings_yaml, rows)


def _flat(values: Mapping[str, Any], prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", str(value)
