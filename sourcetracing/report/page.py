"""The frame of every report: one HTML file of tabs, with all it needs inside; no network, no date of its own.

Tabs are switched by radio buttons and CSS alone, so a page works where scripts are off, and prints in full; the one script
sorts tables by the column that is clicked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from sourcetracing.report import charts
from sourcetracing.runtime.files import write_text

TEMPLATE = Path(__file__).with_name("templates") / "page.html"


def write_page(
    out_path: Path,
    *,
    title: str,
    eyebrow: str,
    headline: str,
    tabs: Mapping[str, Sequence[str]],
    lead: str = "",
    notes: str = "",
    footer: str = "",
    rules: str = "",
) -> Path:
    """Writes a page. tabs: title -> sections of HTML, empty ones left out; lead and notes: HTML above them; rules: more CSS."""
    kept = {name: [body for body in bodies if body] for name, bodies in tabs.items() if any(bodies)}
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        eyebrow=escape(eyebrow),
        headline=escape(headline),
        lead=lead,
        notes=notes,
        tabs=_tabs(kept),
        picker_rules=rules,
        tab_rules=", ".join(f"#t{n}:checked ~ .t{n}" for n in range(len(kept))) + " { display: block; }",
        footer=footer,
    )
    write_text(out_path, page)
    return Path(out_path)


def notes_box(notes: Sequence[str]) -> str:
    """Remarks that a reader must not miss, in a box; nothing without any."""
    return f'<div class="notes" role="note"><ul>{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul></div>' if notes else ""


def settings_section(settings_yaml: str, environment: Mapping[str, Any]) -> str:
    """What a page was made with."""
    rows = pd.DataFrame(list(_flat(environment)), columns=["what", "value"])
    table = charts.plain_table(rows, text_columns=["value"]) if len(rows) else "<p>not recorded</p>"
    return (
        "<h2>How it was made</h2><p>These settings and this environment. Each run folder holds its own copy of both.</p>"
        f'<details><summary>Settings</summary><pre tabindex="0">{escape(settings_yaml)}</pre></details>'
        f"<details><summary>Environment</summary>{table}</details>"
    )


def commit_of(environment: Mapping[str, Any]) -> str:
    """The commit that an environment names, as HTML."""
    return escape(str(environment.get("git_commit", "unknown")))


def _tabs(tabs: Mapping[str, Sequence[str]]) -> str:
    """A choice of tabs and their sections."""
    choices, panels = [], []
    for number, (title, bodies) in enumerate(tabs.items()):
        checked = " checked" if number == 0 else ""
        choices.append(f'<input type="radio" name="tab" id="t{number}"{checked}><label for="t{number}">{escape(title)}</label>')
        sections = "".join(f"<section>{body}</section>" for body in bodies)
        panels.append(f'<div class="tab t{number}" role="region" aria-label="{escape(title)}">{sections}</div>')
    return f'<div class="picker tabs">{"".join(choices)}{"".join(panels)}</div>'


def _flat(values: Mapping[str, Any], prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", str(value)
