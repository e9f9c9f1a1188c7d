"""Tables of the enrolment curve over all runs: CSV for programs, Markdown and terminal text for people, and its picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sourcetracing.enrolment.pictures import draw_curve
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.schema import Settings
from sourcetracing.verification.representations import OF_SPEAKERS
from sourcetracing.verification.tables import FLOOR_NOTE, SPEAKER_NOTE, name_of

KEYS = ["system", "train_set", "seed"]
TEXTS = ["system", "train_set", "run", "compat", "protocol", "scoring", "rests_on"]  # columns that are text
SHARES = ("accuracy", "found", "false_alarms_unseen", "false_alarms_seen", "auroc_unseen", "auroc_seen")  # shown in %
HEADINGS = {
    "accuracy": "accuracy",
    "found": "found",
    "false_alarms_unseen": "false alarms",
    "false_alarms_seen": "false alarms, seen",
    "auroc_unseen": "AUROC",
    "auroc_seen": "AUROC, seen",
    "cllr": "Cllr",
    "min_cllr": "minCllr",
}
ON_SCREEN = ("accuracy", "found", "false_alarms_unseen", "cllr")
LEGEND = (
    "Sources that training never saw, each enrolled from K files of eval; its other files are tested. accuracy: files most like their own "
    "source among the enrolled ones. found: files that are given it, for they are most like it and accepted. false alarms: files that are "
    "given a source though their own is not enrolled (each source left out in turn); seen: of the sources of training, which are not "
    "enrolled either. AUROC: how surely the best score tells a file of an enrolled source from those. In %, means over sources. Cllr in "
    "bits: 0 = perfect LLRs, 1 = no better than saying nothing, more = misleading; minCllr: after the best calibration. Thresholds and "
    "LLRs come from dev."
)
INTERVALS = (
    "In brackets: 95 % interval of one enrolment, over the draw of its files, sources and test files; the figure itself is the mean over "
    "draws. An interval without width (0.0–0.0, 100.0–100.0) is no certainty: a bootstrap cannot draw what did not occur; of N tests, up "
    "to about 3/N of its like may."
)


def write_enrolment(parts: Sequence[pd.DataFrame], settings: Settings, notes: Sequence[str]) -> str:
    """Writes tables/enrolment.{csv,md,png} from the curves of all runs; returns the text for a terminal. notes: on what is missing.

    Where no run has a curve there are no files, nor those of an earlier call.
    """
    layout, table = Layout.of(settings), pd.concat(parts, ignore_index=True)
    if table.empty:
        for path in (layout.enrolment_table, layout.enrolment_text, layout.enrolment_picture):
            path.unlink(missing_ok=True)
        return "\n".join(notes)
    table = table[[*KEYS, *(column for column in table.columns if column not in KEYS)]].astype({"seed": "Int64"})
    write_frame(table, layout.enrolment_table)
    shown = with_names(table, settings)
    write_text(layout.enrolment_text, _markdown(shown, settings, notes))
    draw_curve(shown, settings, layout.enrolment_picture)
    text = "\n".join([_terminal(shown, settings), *notes])
    return f"{text}\n\ntables: {layout.enrolment_table}, {layout.enrolment_text.name}\npicture: {layout.enrolment_picture}"


def with_names(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """With a column name: what a row is of, without the space, which may differ from K to K."""
    named = table.assign(score_norm="none")  # nothing is normalised
    names = [name_of(row, settings.experiment.floor).replace(f": {row['scoring']}", "", 1) for _, row in named.iterrows()]
    return named.assign(name=names)


def _set_line(settings: Settings) -> str:
    return f"false alarms are set to {100 * settings.enrolment.false_alarms:g} % (enrolment.false_alarms)"


def _terminal(table: pd.DataFrame, settings: Settings) -> str:
    """A block for each figure: a line for each run, a column for each K."""
    names, counts = list(dict.fromkeys(table["name"])), sorted(set(table["count"]))
    width = max(map(len, names)) + 2
    lines = [textwrap.fill(LEGEND, 140), "", f"{_counts_line(table)}; {_set_line(settings)}"]
    for figure in ON_SCREEN:
        lines.append(f"  {HEADINGS[figure]:<{width}}" + "".join(f"{f'K = {int(count)}':>9}" for count in counts))
        for name in names:
            own = table[table["name"] == name].set_index("count")[figure].reindex(counts)
            lines.append(f"    {name:<{width - 2}}" + "".join(f"{_number(value, figure):>9}" for value in own))
    return "\n".join(lines)


def _counts_line(rows: pd.DataFrame) -> str:
    """How many sources the figures rest on, and how many of them dev has."""
    first = rows.iloc[0]
    shared = f"{int(first['of_dev'])} of them are in dev, which thresholds and LLRs come from" if first["of_dev"] else "none is in dev"
    return f"{int(first['sources'])} enrolled sources, {int(first['draws'])} draws; {shared}"


def _markdown(table: pd.DataFrame, settings: Settings, notes: Sequence[str]) -> str:
    """A table for each K."""
    said = [FLOOR_NOTE if settings.experiment.floor else "", SPEAKER_NOTE if (table["system"] == OF_SPEAKERS).any() else "", *notes]
    lines = [
        f"# Sources enrolled from K files: {settings.name}",
        "",
        LEGEND,
        INTERVALS,
        *(line for note in said if note for line in ("", note)),
    ]
    for count in sorted(set(table["count"])):
        shown = figures_of_count(table, count)
        lines += ["", f"## K = {int(count)}", "", counts_line(table, count, settings), ""]
        lines += [_row(list(shown.columns)), _row(["---", *["---:"] * len(HEADINGS), "---", "---"])]
        lines += [_row(row) for row in shown.to_numpy().tolist()]
    return "\n".join(lines) + "\n"


def _threshold(row: pd.Series) -> str:
    return f"{row['threshold']:.3f} ({row['rests_on']}, {int(row['dev_sources'])} sources)"


def _number(value: float, figure: str) -> str:
    if np.isnan(value):
        return "-"
    value = max(0.0, value)  # a cost of 0 may come out as -1e-17, and is -0.0 in the CSV then
    return f"{100 * value:.1f}" if figure in SHARES else f"{value:.3f}"


def _with_interval(row: pd.Series, figure: str) -> str:
    value, low, high = (_number(row[f"{figure}{end}"], figure) for end in ("", "_low", "_high"))
    return value if low == "-" else f"{value} ({low}–{high})"


def figures_of_count(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """The rows of one K of `with_names`, for people: system, then the figures with their intervals, the space, the threshold."""
    rows = [row for _, row in table[table["count"] == count].iterrows()]
    figures = {heading: [_with_interval(row, figure) for row in rows] for figure, heading in HEADINGS.items()}
    last = {"space": [row["scoring"] for row in rows], "threshold": [_threshold(row) for row in rows]}
    return pd.DataFrame({"system": [row["name"] for row in rows], **figures, **last})


def counts_line(table: pd.DataFrame, count: int, settings: Settings) -> str:
    """What the figures of one K rest on."""
    rows = table[table["count"] == count]
    first = rows.iloc[0]
    tests = f"{int(first['tests'])} tests of them and {int(first['strangers'])} of sources of training in each"
    return f"{_counts_line(rows)}; {tests}; {_set_line(settings)}; chance: {100 * first['chance']:.1f} %"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
