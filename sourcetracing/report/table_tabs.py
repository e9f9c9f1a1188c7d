"""The report's tabs beyond Table 4: other tables beside their published ones, claims, pseudo-speakers, shortcuts. No files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup

from sourcetracing.drawing.charts import HeatCell, HeatTable, Point, heat_matrix, heat_table
from sourcetracing.drawing.templates import macros
from sourcetracing.drawing.text import percent, points, readable
from sourcetracing.settings.corpora import LANGUAGE_NAMES
from sourcetracing.speakers.agreement import what_clusters_follow
from sourcetracing.tables.axes import CROSS, MONO, POOLED, unique
from sourcetracing.tables.comparison import PUBLISHED_SPREAD, has_published, marks_of, published_matrix, published_variant
from sourcetracing.tables.floor import sentences
from sourcetracing.tables.labels import LEGEND, for_people
from sourcetracing.tables.making import Tables, matrix_of
from sourcetracing.tables.text import classes_phrase, kinds_of, mean_text

TABLES, MORE = macros(__file__, "tables.html"), macros(__file__, "more.html")
SIGN_COLOURS = ("#b0500f", "#1b5e93")  # ours lower, ours higher
FULL_COLOUR_AT = 0.30  # a difference of 30 points


def table_tab(tables: Tables) -> Markup:
    """A table of the paper on our corpus: one matrix for each system, all variants pooled, and the published ones."""
    where = "Rows: trained on. Columns: tested on."
    if tables.plan.needs_speakers:
        where = "Rows: the language that was held out of training. Columns: groups of speakers, by how much of the training data is theirs."
    elif tables.axes.columns != tables.axes.test_sets:
        where = "Rows: the language that was held out of training. Columns: tested on the others, or on it."
    figures = [heat_figure(tables, system, kinds_of(tables)) for system in tables.axes.systems]
    return TABLES.table(tables.plan.title, where, figures, floor_part(tables), published_part(tables), classes_phrase(tables, 1))


def heat_figure(tables: Tables, system: str, kinds: Sequence[str], variant: str = POOLED) -> dict:
    """What the macro `heat_figure` takes: the matrix of a system and its means by kind of cell."""
    values, low, high = (matrix_of(tables, system, variant, column) for column in ("macro_f1", "ci_low", "ci_high"))
    if len(tables.axes.seeds) > 1:  # the interval of one run is none for a mean over runs
        low, high = low * math.nan, high * math.nan
    means = {kind: mean_text(tables, system, kind, variant) for kind in kinds}
    return {"system": tables.axes.shown(system), "means": means, "table": _matrix(tables, values, low, high)}


def _matrix(tables: Tables, values: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame) -> HeatTable:
    return heat_matrix(values, low, high, LANGUAGE_NAMES, tables.axes.is_mono, tables.axes.family_spans)


def floor_part(tables: Tables) -> Markup:
    """Which systems beat the floor, in sentences and figures; nothing where nothing was compared."""
    found = tables.against_floor
    if found.empty:
        return Markup()
    shown = pd.DataFrame(
        {
            "system": found["system"],
            "floor": found["floor"],
            "cells": found["kind"],
            "ours": [percent(value) for value in found["macro_f1"]],
            "the floor's": [percent(value) for value in found["other_macro_f1"]],
            "difference": [points(value) for value in found["difference"]],
            "interval": [_range(row.ci_low, row.ci_high) for row in found.itertuples()],
            "p": [_p_text(value) for value in found["p_holm"]],
        }
    )
    return TABLES.floor(sentences(tables), shown, int(found["comparisons"].max()), " | ".join(unique(filter(None, found["scope"]))))


def published_part(tables: Tables) -> Markup:
    """Published, ours and the difference side by side, for each system that the paper has; nothing where there is none."""
    if not has_published(tables):
        return Markup()
    systems = [_three(tables, system) for system in tables.axes.systems if _is_comparable(tables, system)]
    marks = pd.DataFrame(marks_of(tables), columns=["system", "where", "note"])
    return TABLES.published(systems, PUBLISHED_SPREAD, marks)


def _is_comparable(tables: Tables, system: str) -> bool:
    return published_variant(system) in tables.axes.all_variants and not published_matrix(tables, system).isna().all(axis=None)


def _three(tables: Tables, system: str) -> tuple[str, str, HeatTable, HeatTable, HeatTable]:
    """System, variant, and the published matrix, ours, the difference."""
    variant = published_variant(system)
    theirs = published_matrix(tables, system).dropna(axis="columns", how="all")
    ours = matrix_of(tables, system, variant)[theirs.columns]
    nothing = theirs * math.nan
    heats = (_matrix(tables, values, nothing, nothing) for values in (theirs, ours))
    return system, variant, *heats, heat_table(ours - theirs, _difference_cell)


def _difference_cell(value: float) -> HeatCell:
    if math.isnan(value):
        return HeatCell(points(value))
    strength = round(60 * min(1, abs(value) / FULL_COLOUR_AT))
    return HeatCell(points(value), f"background:color-mix(in srgb, {SIGN_COLOURS[int(value > 0)]} {strength}%, transparent)")


def claims_tab(claims: pd.DataFrame, significance: pd.DataFrame, ranks: pd.DataFrame) -> Markup:
    """Which of the paper's claims hold here, which system is better in how many cells, and whether seeds agree."""
    shown = claims.assign(
        compared=claims["first"] + " − " + claims["second"],
        difference=[points(value) for value in claims["difference"]],
        interval=[_range(row.ci_low, row.ci_high) for row in claims.itertuples()],
        p=[_p_text(value) for value in claims["p_holm"]],
        outcome=[" ".join(filter(None, (row.outcome, row.scope))) for row in claims.itertuples()],
        classes=claims["num_classes"],
        about=[". ".join(filter(None, (row.about, row.reason))) for row in claims.itertuples()],
    )
    shown = shown[["claim", "outcome", "difference", "interval", "p", "classes", "compared", "table", "about"]]
    return MORE.claims(shown, int(claims["comparisons"].max()), _wins(significance), ranks)


def _p_text(value: float) -> str:
    return "" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _wins(significance: pd.DataFrame) -> pd.DataFrame:
    """For each table and two systems: in how many cells which of them scores more, what that speaks of, of how many comparisons."""
    rows = []
    for (table, system, other), cells in significance.groupby(["table", "system", "other"], sort=False):
        wins = [int((cells["better"] == name).sum()) for name in (system, other)]
        about = [" | ".join(dict.fromkeys(cells["scope"])), int(cells["comparisons"].max())]
        rows.append([f"{system} and {other}", table, len(cells), *wins, len(cells) - sum(wins), *about])
    return pd.DataFrame(rows, columns=["systems", "table", "cells", "first more", "second more", "open", "scope", "comparisons"])


def speakers_tab(groups: pd.DataFrame | None, facts: dict | None, picture: bytes | None) -> Markup:
    """Table 2 of the corpus, how well the clusters fit known speakers, and the objective over the number of clusters."""
    if groups is None:
        return Markup()
    agreement = (facts or {}).get("agreement") or {}
    indices = {what: each[key] for what, each in agreement.items() if (key := "adjusted_rand_index") in each}
    return MORE.speakers(groups, indices, what_clusters_follow(agreement), picture)


def labels_tab(table: pd.DataFrame | None) -> Markup:
    """What several heads get right (script 06); nothing where no run has them. table: COLUMNS of `sourcetracing.tables.labels`."""
    return Markup() if table is None or table.empty else MORE.labels(for_people(table), LEGEND)


def shortcuts_tab(means: pd.DataFrame | None) -> Markup:
    """How far trivial cues alone get (script 11); means: columns system, kind, variant, macro_f1, as_it_is, chance, ci_low, ci_high."""
    if means is None or "chance" not in means:  # script 11 of an earlier version wrote them without
        return Markup()
    pooled = means[(means["variant"] == POOLED) & means["kind"].isin([MONO, CROSS])]
    rows = [(readable(system), "", [_point(row) for row in own.itertuples()]) for system, own in pooled.groupby("system", sort=False)]
    return MORE.shortcuts(rows, _before_and_after(pooled))


def _before_and_after(pooled: pd.DataFrame) -> pd.DataFrame:
    """Cues without and with the cures, in %; no rows where none is on."""
    cured = pooled[pooled["as_it_is"].notna()] if "as_it_is" in pooled else pooled[:0]
    rows = [
        [
            readable(row.system),
            row.kind,
            percent(row.as_it_is),
            percent(row.macro_f1),
            _percents(row.ci_low, row.ci_high),
            percent(row.chance),
        ]
        for row in cured.itertuples()
    ]
    return pd.DataFrame(rows, columns=["cues", "kind", "as it is", "cured", "95 % CI", "chance"])


def _percents(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{percent(low)} to {percent(high)}"


def _point(row) -> Point:
    return Point(row.kind, percent(row.macro_f1), "", row.macro_f1, row.ci_low, row.ci_high, row.chance)


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{points(low)} to {points(high)}"
