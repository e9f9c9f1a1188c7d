"""Tables of robustness over all runs: CSV for programs, Markdown and terminal text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from sourcetracing.drawing.text import points
from sourcetracing.layout import Layout
from sourcetracing.postprocessing.operations import in_words
from sourcetracing.robustness.utterances import CLEAN
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import shown_system

RUN = ["system", "train_set", "seed"]
TEXTS = ["system", "train_set", "run", "compat", "protocol", "detector", "operation", "family", "in_training", "low_pass"]
WORST_TEXTS = ["system", "train_set", "operation", "source", "taken_for", "protocol"]
NUM_WORST = 10
COLUMNS = {"macro-F1": "macro_f1", "Cllr": "cllr", "known kept": "known_kept", "FPR95": "fpr95", "AUROC": "auroc"}
LEGEND = (
    "The same eval utterances clean and after each operation; behind each figure its change from clean, in brackets the 95 % interval of "
    "that change: both in the same resamples of utterances. Macro-F1, known kept, FPR95 and AUROC in %, changes in points. Cllr in bits, "
    "of log-likelihood ratios of each source against the others: 0 = perfect, 1 = saying nothing, more = misleading. Known kept: known "
    "sources accepted, and FPR95: unknown ones accepted, at the threshold that accepts 95 % of clean dev's known ones: an operation that "
    "makes all look unknown lowers both. LLRs and threshold are of clean dev, as they are in use: nothing is fitted to an operation."
)
LOW_PASS_NOTE = "Low-pass: the change of macro-F1 where the same band is taken away and nothing else: what bandwidth alone explains."
GAIN_NOTE = "quieter_20db and louder_6db change the gain alone: a system whose figures move there listens to levels."
IN_TRAINING_NOTE = "In training: the variants of that kind that the run was trained with."


def write_tables(table: pd.DataFrame, worst: pd.DataFrame, settings: Settings, notes: Sequence[str]) -> str:
    """Writes tables/robustness.{csv,md} and robustness_worst.csv from those of all runs; returns the text for a terminal."""
    layout = Layout.of(settings)
    first = [*RUN, "operation", "family", "in_training", "low_pass"]
    write_frame(table[[*first, *(name for name in table.columns if name not in first)]], layout.robustness_table)
    fallen = worst_of(worst, settings)
    write_frame(fallen, layout.robustness_worst)
    write_text(layout.robustness_text, markdown(table, fallen, settings, notes))
    shown = "\n".join([terminal(table, settings), "", *notes])
    return f"{shown}\ntables: {layout.robustness_table}, {layout.robustness_text.name}\npicture: {layout.robustness_picture}"


def worst_of(worst: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The cells operation x source whose recall falls most, over all systems but those of the floor, where there are others."""
    own = worst[~worst["system"].isin(settings.experiment.floor)]
    own = own if len(own) else worst
    columns = [*RUN, "operation", "source", "utterances", "clean_recall", "recall", "fall", "taken_for", "protocol"]
    return own.sort_values("fall", ascending=False, kind="stable")[columns].head(NUM_WORST).reset_index(drop=True)


def runs_of(table: pd.DataFrame, floor: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """(what a run is called, its rows), in the table's order."""
    for (system, train_set, seed), rows in table.groupby(RUN, sort=False):
        yield f"{shown_system(system, floor)} trained on {train_set}, seed {int(seed)}", rows


def counts_line(rows: pd.DataFrame) -> str:
    """What the figures of a run rest on."""
    first = rows.iloc[0]
    unknown = f", {int(first['unknown'])} of unknown ones (detector: {first['detector']})" if first["unknown"] else ", none of unknown ones"
    return f"eval: {int(first['known'])} utterances of {int(first['classes'])} known sources{unknown}"


def figures_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Texts for people, a row for each operation; columns of figures that no row has are left out."""
    columns = {heading: figure for heading, figure in COLUMNS.items() if not rows[figure].isna().all()}
    changes = rows.set_index("operation")["macro_f1_change"]
    shown = pd.DataFrame({"operation": rows["operation"]})
    for heading, figure in columns.items():
        shown[heading] = [with_change(row, figure) for _, row in rows.iterrows()]
    shown["low-pass"] = [f"{points(changes[name])}" if name in changes.index else "" for name in rows["low_pass"]]
    shown["in training"] = rows["in_training"].to_numpy()
    return shown


def with_change(row: pd.Series, figure: str) -> str:
    """`81.3 −4.1 (−8.0–−1.2)`: a figure, its change from clean, the interval of that."""
    value, change, low, high = (row[f"{figure}{end}"] for end in ("", "_change", "_change_low", "_change_high"))
    if np.isnan(value):
        return "–"
    show, change_of = (_percent, points) if figure != "cllr" else (_bits, _bits_change)
    if row["operation"] == CLEAN:
        return show(value)
    return f"{show(value)} {change_of(change)}" + ("" if np.isnan(low) else f" ({change_of(low)} to {change_of(high)})")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _bits(value: float) -> str:
    return f"{value:.2f}"


def _bits_change(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"


def markdown(table: pd.DataFrame, fallen: pd.DataFrame, settings: Settings, notes: Sequence[str]) -> str:
    """A table for each run, the worst cells, what each operation does."""
    lines = [f"# What survives post-processing: {settings.name}", ""]
    for note in (LEGEND, LOW_PASS_NOTE, GAIN_NOTE, IN_TRAINING_NOTE, *notes):
        lines += [note, ""]
    for name, rows in runs_of(table, settings.experiment.floor):
        lines += [f"## {name}", "", f"{counts_line(rows)}.", "", *markdown_lines(figures_table(rows)), ""]
    lines += [f"## The {NUM_WORST} cells that fall most", "", *markdown_lines(worst_table(fallen)), "", "## Operations", ""]
    lines += [f"* `{name}`: {in_words(name)}" for name in dict.fromkeys(table["operation"]) if name != CLEAN]
    return "\n".join(lines) + "\n"


def worst_table(fallen: pd.DataFrame) -> pd.DataFrame:
    """Texts for people."""
    shown = fallen[["operation", "source", "system", "train_set", "utterances"]].astype(str)
    for heading, name in (("right when clean", "clean_recall"), ("right then", "recall")):
        shown[heading] = [_percent(value) for value in fallen[name]]
    return shown.assign(**{"mostly taken for": fallen["taken_for"]})


def markdown_lines(frame: pd.DataFrame) -> list[str]:
    """The lines of a Markdown table."""
    kinds = ["---" if name in ("operation", "source", "system", "train_set", "in training") else "---:" for name in frame.columns]
    return [_row(frame.columns), _row(kinds), *(_row(row) for row in frame.to_numpy().tolist())]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def terminal(table: pd.DataFrame, settings: Settings) -> str:
    """For each run: how many utterances, then one line for each operation, without intervals."""
    lines = [textwrap.fill(LEGEND.split(" Known kept:")[0], 140)]
    width = max(map(len, table["operation"]))
    for name, rows in runs_of(table, settings.experiment.floor):
        columns = {heading: figure for heading, figure in COLUMNS.items() if not rows[figure].isna().all()}
        lines += ["", f"{name}; {counts_line(rows)}", f"  {'':<{width}}" + "".join(f"{heading:>18}" for heading in columns)]
        lines += [
            f"  {row['operation']:<{width}}" + "".join(f"{with_change(row, figure).partition(' (')[0]:>18}" for figure in columns.values())
            for _, row in rows.iterrows()
        ]
    return "\n".join(lines)
