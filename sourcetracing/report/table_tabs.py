"""The report's tabs beyond Table 4: other tables beside their published ones, claims, pseudo-speakers, shortcuts. Text, no files."""

from __future__ import annotations

import base64
import math
from html import escape

import pandas as pd

from sourcetracing.report import charts
from sourcetracing.settings.corpora import LANGUAGE_NAMES
from sourcetracing.tables.axes import POOLED
from sourcetracing.tables.comparison import has_published, is_same_corpus, published_matrix, published_variant
from sourcetracing.tables.making import Tables, matrix_of
from sourcetracing.tables.text import kinds_of, mean_text, percent

SIGN_COLOURS = ("#b0500f", "#1b5e93")  # ours lower, ours higher
FULL_COLOUR_AT = 0.30  # a difference of 30 points


def table_tab(tables: Tables) -> str:
    """A table of the paper on our corpus: one matrix for each system, all variants pooled, and the published ones."""
    where = "Rows: trained on. Columns: tested on."
    if tables.plan.needs_speakers:
        where = "Rows: the language that was held out of training. Columns: groups of speakers, by how much of the training data is theirs."
    elif tables.axes.columns != tables.axes.test_sets:
        where = "Rows: the language that was held out of training. Columns: tested on the others, or on it."
    figures = "".join(_heat_figure(tables, system) for system in tables.axes.systems)
    text = f"<p>{where} Framed: tested on what was trained on. Small: 95&nbsp;% interval. All variants pooled.</p>"
    return f'<h2>{escape(tables.plan.title)}</h2>{text}<div class="pair">{figures}</div>{published_part(tables)}'


def _heat_figure(tables: Tables, system: str) -> str:
    values, low, high = (matrix_of(tables, system, POOLED, column) for column in ("macro_f1", "ci_low", "ci_high"))
    means = ", ".join(f"{escape(kind)} mean <b>{mean_text(tables, system, kind)}</b>" for kind in kinds_of(tables))
    if len(tables.axes.seeds) > 1:  # the interval of one run is none for a mean over runs
        low, high = low * math.nan, high * math.nan
    table = charts.heat_matrix(values, low, high, LANGUAGE_NAMES, means, tables.axes)
    return f"<figure><h3>{escape(system)}</h3>{table}</figure>"


def published_part(tables: Tables) -> str:
    """Published, ours and the difference side by side, for each system that the paper has; nothing where there is none."""
    if "published" not in tables.cells or not has_published(tables):
        return ""
    blocks = [_three(tables, system) for system in tables.axes.systems if _is_comparable(tables, system)]
    warning = "" if is_same_corpus(tables) else " <b>The published figures are of MCL-MLAAD, ours of another corpus.</b>"
    text = f"<p>The paper's figures, ours on the same acoustic variants, and ours minus theirs in points.{warning}</p>"
    marks = [(row.system, row.kind, row.note) for row in tables.means[tables.means["note"] != ""].itertuples()]
    marks += [(row.system, f"{row.train} → {row.test}", row.note) for row in tables.cells[tables.cells["note"] != ""].itertuples()]
    known = charts.plain_table(pd.DataFrame(marks, columns=["system", "where", "note"]), text_columns=["where", "note"]) if marks else ""
    return f"<h2>Beside the published table</h2>{text}{''.join(blocks)}{known}"


def _is_comparable(tables: Tables, system: str) -> bool:
    return published_variant(system) in tables.axes.all_variants and not published_matrix(tables, system).isna().all(axis=None)


def _three(tables: Tables, system: str) -> str:
    variant = published_variant(system)
    theirs = published_matrix(tables, system).dropna(axis="columns", how="all")
    ours = matrix_of(tables, system, variant)[theirs.columns]
    nothing = theirs * math.nan
    heats = [
        f"<figure><h3>{name}</h3>{charts.heat_matrix(values, nothing, nothing, LANGUAGE_NAMES, '', tables.axes)}</figure>"
        for name, values in (("published", theirs), (f"ours, {variant}", ours))
    ]
    difference = _difference_table(ours - theirs)
    return f'<h3>{escape(system)}</h3><div class="three">{"".join(heats)}<figure><h3>difference</h3>{difference}</figure></div>'


def _difference_table(difference: pd.DataFrame) -> str:
    head = "".join(f'<th scope="col">{escape(str(column))}</th>' for column in difference.columns)
    body = "".join(
        f'<tr><th scope="row">{escape(str(row))}</th>{"".join(_difference_cell(value) for value in values)}</tr>'
        for row, values in zip(difference.index, difference.to_numpy(), strict=True)
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="heat"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _difference_cell(value: float) -> str:
    if math.isnan(value):
        return "<td><b>–</b></td>"
    colour = SIGN_COLOURS[int(value > 0)]
    strength = round(60 * min(1, abs(value) / FULL_COLOUR_AT))
    return f'<td style="background:color-mix(in srgb, {colour} {strength}%, transparent)"><b>{100 * value:+.1f}</b></td>'


def claims_tab(claims: pd.DataFrame, significance: pd.DataFrame, ranks: pd.DataFrame) -> str:
    """Which of the paper's claims hold here, which system is better in how many cells, and whether seeds agree."""
    shown = claims.assign(
        compared=claims["first"] + " − " + claims["second"],
        difference=[_points(value) for value in claims["difference"]],
        interval=[_range(row.ci_low, row.ci_high) for row in claims.itertuples()],
    )
    shown = shown[["claim", "outcome", "difference", "interval", "compared", "table", "about"]]
    text = (
        "Each claim as a difference of mean macro-F1 in points, with the 95 % interval of a bootstrap in which both sides see the same "
        "utterances. Undecided: the interval holds zero. The last column says where the paper claims it, and what docs/fidelity.md has "
        "on it."
    )
    table = charts.plain_table(shown, text_columns=["outcome", "compared", "table", "about"], sortable=True)
    return f"<h2>What the paper concludes</h2><p>{text}</p>{table}{_better_part(significance)}{_ranks_part(ranks)}"


def _better_part(significance: pd.DataFrame) -> str:
    if significance.empty:
        return ""
    rows = []
    for (table, system, other), cells in significance.groupby(["table", "system", "other"], sort=False):
        wins = [int((cells["better"] == name).sum()) for name in (system, other)]
        rows.append([f"{system} and {other}", table, len(cells), *wins, len(cells) - sum(wins)])
    frame = pd.DataFrame(rows, columns=["systems", "table", "cells", "first better", "second better", "open"])
    text = "In how many cells one of two systems is better for sure (95 %). Each cell is in tables/significance.csv."
    return f"<h3>System against system</h3><p>{text}</p>{charts.plain_table(frame, text_columns=['table'], sortable=True)}"


def _ranks_part(ranks: pd.DataFrame) -> str:
    if ranks.empty:
        return ""
    text = "The systems' ranks (1 = best) over training seeds, and Kendall's tau between the seeds' orders (1 = always the same)."
    return f"<h3>Order over seeds</h3><p>{text}</p>{charts.plain_table(ranks, text_columns=['system', 'table'], sortable=True)}"


def speakers_tab(groups: pd.DataFrame | None, facts: dict | None, picture: bytes | None) -> str:
    """Table 2 of the corpus, how well the clusters fit known speakers, and the objective over the number of clusters."""
    if groups is None:
        return ""
    fit = "".join(
        f"<p>Against the {escape(what)} that the corpus knows: adjusted Rand index {values['adjusted_rand_index']:.2f}.</p>"
        for what, values in ((facts or {}).get("agreement") or {}).items()
        if "adjusted_rand_index" in values
    )
    image = f'<img alt="Objective of the clustering" src="data:image/png;base64,{base64.b64encode(picture).decode()}">' if picture else ""
    text = (
        "Clusters of speaker embeddings stand for speakers (script 03). Seen: the share of the training data that comes from a speaker is "
        "above the threshold; unseen: it is not, though it may not be zero (D11): never seen, rare and frequent tell these apart."
    )
    return f"<h2>Pseudo-speakers</h2><p>{text}</p>{fit}{charts.plain_table(groups, sortable=True)}<figure>{image}</figure>"


def shortcuts_tab(means: pd.DataFrame | None, chance: float) -> str:
    """How far trivial cues alone get (script 11); means: columns system, kind, variant, macro_f1, ci_low, ci_high."""
    if means is None:
        return ""
    pooled = means[means["variant"] == POOLED]
    rows = []
    for system in dict.fromkeys(pooled["system"]):
        own = pooled[pooled["system"] == system]
        points = [
            charts.Point(row.kind, percent(row.macro_f1), "", row.macro_f1, row.ci_low, row.ci_high)
            for row in own.itertuples()
            if row.kind in ("mono", "cross")
        ]
        rows.append(charts.strip_rows(escape(charts.readable(system)), points, chance))
    text = (
        "Logistic regression on cues that have nothing to do with how a source sounds: duration, silence, level, bandwidth, noise floor, "
        "spectral tilt, each alone and together, and the best trained system. A system that is not far above them has learnt little. "
        "Heard: only what is left in the crop that networks get; all: with those of the whole file."
    )
    return f"<h2>Shortcuts</h2><p>{text}</p><figure>{charts.strip_table(''.join(rows), 'Mean macro-F1 in %; dotted: chance')}</figure>"


def _points(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:+.1f}"


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{100 * low:+.1f} to {100 * high:+.1f}"
