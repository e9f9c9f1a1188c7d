"""The page of a source-tracing experiment (its frame: `report_page`).

Reads   the computed tables, history.csv and model.json of the runs, the settings, the environment, the protocol's counts and its audit
Writes  exp/<name>/report.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sourcetracing.metrics import classification as metrics
from sourcetracing.protocols.leakage import overall_table, worst_cells
from sourcetracing.report import charts
from sourcetracing.report.page import commit_of, notes_box, settings_section, write_page
from sourcetracing.report.table_tabs import published_part, table_tab
from sourcetracing.settings.corpora import LANGUAGE_NAMES
from sourcetracing.settings.frontends import VARIANTS
from sourcetracing.tables.axes import CROSS, MONO, POOLED
from sourcetracing.tables.making import Tables, matrix_of, mean_of
from sourcetracing.tables.pictures import read_histories, summed_confusion
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.tables.text import ABSENT, mean_text, percent, spread_text

# Pooled and each variant: the choice that is ticked shows its panel.
PICKER_RULES = ", ".join(f".v{n}:checked ~ .panels > .p{n}" for n in range(len(VARIANTS) + 1)) + " { display: grid; }"
VARIANT_NAMES = {"original": "clean", "reverb": "in a room", "speech": "babble", "music": "music", "noise": "noise"}


def write_report(
    tables: Tables,
    runs: Sequence[ScoredRun],
    out_path: Path,
    *,
    name: str,
    settings_yaml: str,
    environment: Mapping[str, Any],
    corpus: pd.DataFrame | None = None,
    leakage: pd.DataFrame | None = None,
    more_tabs: Mapping[str, str] | None = None,
) -> Path:
    """Writes the page. `corpus`: the protocol's counts and hours by language, last row the total; `leakage`: its audit
    (`leakage.read_audit`); `environment`: of the runs; `more_tabs`: title -> HTML, shown behind the first table.
    """
    tabs = {
        tables.plan.tab: _detailed_tab(tables),
        **{title: [body] for title, body in (more_tabs or {}).items()},
        "Training": [_training_section(tables, runs)],
        "Corpus": [_corpus_section(corpus), _leakage_section(leakage)],
        "How to read": [_reading_section(tables)],
        "Settings": [settings_section(settings_yaml, environment)],
    }
    return write_page(
        out_path,
        title=f"{name}: source tracing",
        eyebrow=f"Source tracing · experiment {name}",
        headline="Who made this voice, and can one still tell in another language?",
        lead=_lead(tables),
        notes=notes_box(tables.notes),
        tabs=tabs,
        footer=f"Made from stored scores by scripts/13_make_tables.py; its numbers are in tables/. Commit {commit_of(environment)}.",
        rules=PICKER_RULES,
    )


def tabs_of_tables(made: Sequence[Tables]) -> dict[str, str]:
    """A tab for each table behind the first: what its plan asks for."""
    return {tables.plan.tab: "".join(_detailed_tab(tables)) if tables.plan.has_details else table_tab(tables) for tables in made}


def _detailed_tab(tables: Tables) -> list[str]:
    sections = (_matrix_section, _means_section, _variants_section, _confusion_section, _classes_section, published_part)
    return [make(tables) for make in sections]


def _lead(tables: Tables) -> str:
    axes = tables.axes
    systems = "1 system was" if len(axes.systems) == 1 else f"{len(axes.systems)} systems were"
    variants = f", {len(axes.variants)} acoustic variants of each utterance" if len(axes.variants) > 1 else ""
    text = (
        f"{systems} trained on each of {_sets(axes.train_sets)} and tested on {_sets(axes.test_sets)}, to name the one of "
        f"{len(axes.classes)} sources that made an utterance{variants}. Scores are macro-F1 in percent on the {axes.split} split; "
        f"guessing gives {percent(_chance(tables), 0)}."
    )
    return f'<p class="lead">{text}</p>'


def _sets(sets: Sequence[str]) -> str:
    kind = "language" if all("+" not in name for name in sets) else "set of languages"
    plural = kind.replace("language", "languages", 1) if kind == "language" else "sets of languages"
    return f"1 {kind}" if len(sets) == 1 else f"{len(sets)} {plural}"


def _matrix_section(tables: Tables) -> str:
    """One matrix for each system, behind one choice of variant."""
    axes, chance = tables.axes, _chance(tables)
    choices, panels = [], []
    for number, variant in enumerate(_shown_variants(tables)):
        checked = " checked" if number == 0 else ""
        name = f"{escape(tables.plan.file_prefix)}v{number}"
        choices.append(
            f'<input type="radio" name="variant of {escape(tables.plan.name)}" class="v{number}" id="{name}"{checked}>'
            f'<label for="{name}">{escape(variant)}</label>'
        )
        panels.append(
            f'<div class="panel pair p{number}">{"".join(_matrix_figure(tables, system, variant) for system in axes.systems)}</div>'
        )
    return (
        "<h2>Train language × test language</h2>"
        "<p>Rows: trained on. Columns: tested on. Framed: mono, the test language was trained on. Small: 95&nbsp;% interval.</p>"
        f'<div class="picker" role="group" aria-label="Acoustic variant">{"".join(choices)}'
        f'<div class="panels">{"".join(panels)}</div></div>'
        f'<div class="key"><span>macro-F1, %</span>{charts.colour_key(chance)}<span>orange mark: chance, {percent(chance, 0)}</span></div>'
    )


def _matrix_figure(tables: Tables, system: str, variant: str) -> str:
    values, low, high = (matrix_of(tables, system, variant, column) for column in ("macro_f1", "ci_low", "ci_high"))
    means = ", ".join(f"{kind} mean <b>{mean_text(tables, system, kind, variant)}</b>" for kind in (MONO, CROSS))
    if len(tables.axes.seeds) > 1:  # the interval of one run is none for a mean over runs
        low, high = low * math.nan, high * math.nan
    return f"<figure><h3>{escape(system)}</h3>{charts.heat_matrix(values, low, high, LANGUAGE_NAMES, means, tables.axes)}</figure>"


def _means_section(tables: Tables) -> str:
    chance, systems = _chance(tables), tables.axes.systems
    rows = "".join(charts.strip_rows(escape(charts.readable(system)), _mean_points(tables, system, POOLED), chance) for system in systems)
    return (
        "<h2>Within a language and across languages</h2>"
        "<p>Mono: mean over the framed cells. Cross: mean over the cells whose test language was not trained on. All variants pooled.</p>"
        f"<figure>{charts.strip_table(rows, 'Mean macro-F1 in %; bar: 95 % interval; dotted: chance')}</figure>"
    )


def _variants_section(tables: Tables) -> str:
    if len(tables.axes.variants) < 2:
        return ""
    figures = []
    for system in tables.axes.systems:
        labels = {
            v: f"{escape(v)}<br><small>{VARIANT_NAMES[v]}</small>" if VARIANT_NAMES.get(v, v) != v else escape(v)
            for v in tables.axes.variants
        }
        rows = "".join(charts.strip_rows(labels[v], _mean_points(tables, system, v), _chance(tables)) for v in tables.axes.variants)
        figures.append(f"<figure><h3>{escape(system)}</h3>{charts.strip_table(rows, 'Mean macro-F1 in %')}</figure>")
    text = "The same test utterances: clean, in a room, under babble, music and noise. Every variant is made from the clean signal."
    return f'<h2>By acoustic variant</h2><p>{text}</p><div class="pair">{"".join(figures)}</div>'


def _mean_points(tables: Tables, system: str, variant: str) -> list[charts.Point]:
    points = []
    for kind in (MONO, CROSS):
        if (row := mean_of(tables, system, kind, variant)) is not None:
            remark = "" if row.cells == row.expected_cells else f"{row.cells} of {row.expected_cells} cells"
            text = f"{percent(row.macro_f1)}{spread_text(row.sd)}"
            points.append(charts.Point(kind, text, remark, row.macro_f1, row.ci_low, row.ci_high))
    return points


def _confusion_section(tables: Tables) -> str:
    figures, classes = [], tables.axes.classes
    for system in tables.axes.systems:
        for kind in (MONO, CROSS):
            confusion = summed_confusion(tables, system, kind)
            if confusion.sum():
                caption = f'<span class="{kind}">{kind}</span> cells, % of each true source'
                figures.append(f"<figure><h3>{escape(system)}</h3>{charts.confusion_table(confusion, classes, caption)}</figure>")
    minis = "".join(_minis(tables, system) for system in tables.axes.systems)
    return (
        "<h2>What is taken for what</h2>"
        "<p>Predictions for each true source, all variants pooled, summed over cells. Small: scored rows.</p>"
        f'<div class="pair">{"".join(figures)}</div>'
        "<details><summary>One confusion matrix for each cell</summary>"
        "<p>Rows true, columns predicted, sources in the order above; darker is more. Framed: mono.</p>"
        f'<div class="pair">{minis}</div></details>'
    )


def _minis(tables: Tables, system: str) -> str:
    axes, num_classes = tables.axes, len(tables.axes.classes)
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in axes.columns)
    body = []
    for row in axes.rows:
        cells = []
        for column in axes.columns:
            train, test = axes.cell_at(row, column)
            found = [matrix for key, matrix in tables.confusions.items() if key[:4] == (system, train, test, POOLED)]
            total = sum(found, np.zeros((num_classes, num_classes), dtype=np.int64))
            framed = ' class="m"' if axes.is_mono(row, column) else ""
            label = f"{system}: trained on {train}, tested on {test}"
            cells.append(f"<td{framed}>{charts.mini_confusion(total, label) if found else ABSENT}</td>")
        body.append(f'<tr><th scope="row">{escape(row)}</th>{"".join(cells)}</tr>')
    table = f'<table class="minis"><thead><tr><td></td>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    return f'<figure><h3>{escape(system)}</h3><div class="scroll" tabindex="0">{table}</div></figure>'


def _classes_section(tables: Tables) -> str:
    figures = []
    for system in tables.axes.systems:
        frame = pd.DataFrame({"source": [charts.readable(name) for name in tables.axes.classes]})
        for kind in (MONO, CROSS):
            figures_of = metrics.class_figures(summed_confusion(tables, system, kind))
            for column in ("precision", "recall", "f1"):
                frame[f"{kind} {column}"] = [percent(value) for value in getattr(figures_of, column)]
        columns = ["source", *2 * ["prec.", "rec.", "F1"]]
        table = charts.plain_table(frame.set_axis(columns, axis=1), groups=[("", 1), (MONO, 3), (CROSS, 3)])
        figures.append(f"<figure><h3>{escape(system)}</h3>{table}</figure>")
    text = "Precision, recall and F1 of each source in percent, from the summed matrices above (zero for a source never predicted)."
    return f'<h2>By source</h2><p>{text}</p><div class="pair">{"".join(figures)}</div>'


def _training_section(tables: Tables, runs: Sequence[ScoredRun]) -> str:
    histories = read_histories(list(runs))
    blocks = []
    for system in tables.axes.systems:
        own = {key: history for key, history in histories.items() if key[0] == system}
        if not own:
            continue
        top = _round_up(max(float(history[["train_loss", "dev_loss"]].max().max()) for history in own.values()))
        figures = []
        for train in tables.axes.train_sets:
            found = [history for key, history in own.items() if key[1] == train]
            if found:
                figures.append(
                    f"<figure><h3>{escape(train)}</h3>{charts.curves(found, top)}<figcaption>{_best_phrase(found)}</figcaption></figure>"
                )
        minutes = sum(float(history["seconds"].sum()) for history in own.values()) / 60
        spent = f"{len(own)} runs, {minutes:.1f} minutes of training altogether"
        blocks.append(f'<h3>{escape(system)}</h3><p class="soft">{spent}</p><div class="curves">{"".join(figures)}</div>')
    if not blocks:
        return ""
    text = (
        "For each training language, above: loss in training (dashed, on mixed-up rows where mixup is on) and on dev (orange); "
        "below: dev macro-F1 in percent (blue), with a dot at the epoch whose weights were kept. The eval split chose nothing."
    )
    return f"<h2>Training</h2><p>{text}</p>{'<br>'.join(blocks)}"


def _best_phrase(histories: Sequence[pd.DataFrame]) -> str:
    phrases = []
    for history in histories:
        best = history[history["epoch"] == history.attrs.get("best_epoch")]
        if len(best):
            phrases.append(f"epoch {int(best['epoch'].iloc[0])}: dev {percent(float(best['dev_macro_f1'].iloc[0]))}")
    return "; ".join(phrases)


def _corpus_section(corpus: pd.DataFrame | None) -> str:
    if corpus is None or corpus.empty:
        return ""
    text = "Utterances of each language: in all, in each split, of each source; hours of speech."
    return f"<h2>Corpus</h2><p>{text}</p>{charts.plain_table(corpus, last_is_sum=True)}"


def _leakage_section(leakage: pd.DataFrame | None) -> str:
    if leakage is None or leakage.empty:
        return ""
    text = (
        "What two splits have in common: how many files, transcripts, source recordings, speakers and audio of the same bytes, and in "
        "brackets the share of the second split's utterances that have one of them."
    )
    overall = overall_table(leakage)
    if not overall["note"].any():
        overall = overall.drop(columns="note")
    overall = charts.plain_table(overall, text_columns=["note"])
    return f"<h2>Leakage</h2><p>{text}</p>{overall}{_worst_leakage(worst_cells(leakage))}"


def _worst_leakage(cells: pd.DataFrame) -> str:
    if cells.empty:
        return ""
    columns = ["language", "source", "shared", "splits", "utterances", "of", "percent_anywhere"]
    table = cells.assign(shared=cells["kind"], splits=cells["first"] + " → " + cells["second"], utterances=cells["affected_anywhere"])
    table = table.assign(of=cells["utterances"])[columns].rename(columns={"percent_anywhere": "%"})
    text = "Where most utterances of the second split have something that the first split has, in any language and source:"
    return f"<p>{text}</p>{charts.plain_table(table, text_columns=['source', 'shared', 'splits'])}"


def _reading_section(tables: Tables) -> str:
    chance, seeds = percent(_chance(tables), 1), len(tables.axes.seeds)
    chosen = ", ".join(sorted(set(tables.cells["chosen_by"])))
    terms = {
        "Macro-F1": "The mean over sources of F1, the harmonic mean of precision and recall. Every source weighs the same, however many "
        "utterances it has; a source never predicted counts as 0. Published tables hold this figure. The column macro_f1_harmonic of "
        f"tables/{tables.plan.name}.csv has the other formula in use: the harmonic mean of mean precision and mean recall.",
        "Chance": f"A system that guesses evenly among {len(tables.axes.classes)} sources of equal size scores {chance}.",
        "Pooled": "All acoustic variants of the test utterances together, as one test set. Single variants show what a mixture hides.",
        "Mono and cross": "Mono: every test language was trained on. Cross: none was. The difference is what the language costs. "
        "A test set of which some languages were trained on counts in neither mean.",
        "95 % interval": "From a bootstrap over test utterances within their source; the variants of an utterance are drawn together. "
        "It says how far the score would move with other utterances of the same kind and speakers. It does not cover another training run"
        + (": read the ± for that, the standard deviation over seeds." if seeds > 1 else ", of which there is one here for each cell.")
        + " Intervals of systems tested on the same utterances may overlap although the difference is sure.",
        "Selection": f"The kept epoch is the best on the dev split of the training languages ({escape(chosen)}). Eval only reports.",
    }
    body = "".join(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in terms.items())
    return f"<h2>How to read this</h2><dl>{body}</dl>"


def _shown_variants(tables: Tables) -> list[str]:
    return tables.axes.all_variants if len(tables.axes.variants) > 1 else tables.axes.variants


def _chance(tables: Tables) -> float:
    return 1 / len(tables.axes.classes)


def _round_up(value: float) -> float:
    """The next of 0.5, 1, 1.5, ...; 1 for what is not finite."""
    return max(0.5, math.ceil(2 * value) / 2) if math.isfinite(value) else 1.0
