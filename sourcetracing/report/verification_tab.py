"""The report's tab on verification: one source or two? No files."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.templates import macros
from sourcetracing.enrolment.tables import INTERVALS, figures_of_count, with_names
from sourcetracing.enrolment.tables import LEGEND as ENROLMENT_LEGEND
from sourcetracing.enrolment.tables import counts_line as counts_line_of_enrolment
from sourcetracing.settings.schema import Settings
from sourcetracing.verification.tables import (
    FLOOR_NOTE,
    LEGEND,
    PUBLISHED_LEGEND,
    SPEAKER_NOTE,
    columns_of,
    counts_line,
    headline,
    name_of,
    published_beside,
    with_interval,
)

TAB = macros(__file__, "verification.html")


def verification_tab(
    table: pd.DataFrame | None,
    settings: Settings,
    protocols: Collection[str],
    picture: bytes | None,
    enrolled: pd.DataFrame | None = None,
    curve: bytes | None = None,
) -> Markup:
    """Figures for each condition of eval, the DET picture, what is published, and sources enrolled from K files.

    Nothing without a table of these protocols. table: tables/verification.csv, enrolled: tables/enrolment.csv; protocols: of the runs that
    the page is about; another one's figures would contradict it. picture, curve: PNG.
    """
    if table is None or table.empty or not set(table["protocol"]) <= set(protocols):
        return Markup()
    columns = columns_of(settings.verification.priors)
    if not set(columns.values()) <= set(table):  # of other priors
        return Markup()
    conditions = dict.fromkeys(table.loc[table["split"] == "eval", "condition"])
    shown = {condition: _figures(table, condition, columns, settings) for condition in conditions}
    counts = {condition: counts_line(headline(table, condition)) for condition in shown}
    notes = [FLOOR_NOTE, SPEAKER_NOTE]
    pairs = TAB.verification(LEGEND, notes, shown, counts, picture, PUBLISHED_LEGEND, published_beside(table, settings))
    return pairs + _enrolment(enrolled, settings, protocols, curve)


def _figures(table: pd.DataFrame, condition: str, columns: dict[str, str], settings: Settings) -> pd.DataFrame:
    rows = [row for _, row in headline(table, condition).iterrows()]
    figures = {heading: [with_interval(row, figure) for row in rows] for heading, figure in columns.items()}
    return pd.DataFrame({"system": [name_of(row, settings.experiment.floor) for row in rows], **figures})


def _enrolment(table: pd.DataFrame | None, settings: Settings, protocols: Collection[str], curve: bytes | None) -> Markup:
    if table is None or table.empty or not set(table["protocol"]) <= set(protocols):
        return Markup()
    table = with_names(table, settings)
    counts = sorted(set(table["count"]))
    shown = {int(count): figures_of_count(table, count) for count in counts}
    facts = {int(count): counts_line_of_enrolment(table, count, settings) for count in counts}
    return TAB.enrolment(f"{ENROLMENT_LEGEND} {INTERVALS}", shown, facts, curve)
