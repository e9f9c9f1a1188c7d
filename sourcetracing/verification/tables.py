"""Tables of verification figures over all runs: CSV for programs, Markdown and terminal text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.layout import Layout
from sourcetracing.published.verification import THE_SAME, published_verification
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.corpora import comparable_corpus
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import shown_system
from sourcetracing.verification.evaluation import ALL, act_dcf_name, min_dcf_name
from sourcetracing.verification.representations import OF_SPEAKERS

KEYS = ["system", "train_set", "seed", "scoring", "score_norm", "split", "condition"]
TEXTS = [*(key for key in KEYS if key != "seed"), "run", "compat", "protocol", "trials"]  # columns that are text
ROUNDING = 1e-6  # of a figure in the CSV
LEGEND = (
    "Is the source of two sides the same? EER in %, chance is 50. minDCF: the least cost of misses and false alarms at a share of "
    "same-source trials (the number behind it) over that of a system that always gives the cheaper answer, so 1 = no use; actDCF: the "
    "same at the threshold that the log-likelihood ratios (LLR) themselves name. Cllr in bits: 0 = perfect LLRs, 1 = no better than "
    "saying nothing, more = misleading; minCllr: after the best calibration that these trials allow, so the rest is miscalibration. "
    "Lower is better throughout. LLRs are fitted on dev trials. In brackets: 95 % interval over sources and utterances. "
    "No error in N: these trials hold none, N of them of the kind that is rarer. A bootstrap cannot draw errors that did not occur, so "
    "there is no interval: by the rule of three up to about 3/N of such trials may be errors (3 of 47: 6 %), more where trials share "
    "utterances and sources, as these do."
)
FLOOR_NOTE = "A system of the floor has to be beaten (experiment.floor)."
SPEAKER_NOTE = (
    "The rows of `speakers` compare voices alone, by the embeddings of script 03: a system that is not far better than them has "
    "learnt speakers."
)
PUBLISHED_LEGEND = (
    "Other people's figures, as printed, in the words of their works. Only a row that says `the same list` is of the trials of this table, "
    "and even there the last column says what else differs."
)


def columns_of(priors: Sequence[float]) -> dict[str, str]:
    """Heading -> figure, of the tables for people."""
    costs = {}
    for prior in priors:
        costs |= {f"minDCF {prior:g}": min_dcf_name(prior), f"actDCF {prior:g}": act_dcf_name(prior)}
    return {"EER": "eer", **costs, "Cllr": "cllr", "minCllr": "min_cllr"}


def write_tables(parts: Sequence[pd.DataFrame], settings: Settings, notes: Sequence[str]) -> str:
    """Writes tables/verification.{csv,md} from the figures of all runs; returns the text for a terminal. notes: on what is missing."""
    layout = Layout.of(settings)
    table = pd.concat(parts, ignore_index=True)
    table = table[[*KEYS, *(column for column in table.columns if column not in KEYS)]].astype({"seed": "Int64"})
    write_frame(table, layout.verification_table)
    write_text(layout.verification_text, markdown(table, settings, notes))
    beside = published_beside(table, settings)
    same = "of the same list" if (beside["trials"] == THE_SAME).any() else "of other trials"
    notes = [*notes, f"published figures {same} stand in {layout.verification_text.name}"] if len(beside) else notes
    shown = "\n".join([terminal(table, settings), *notes])
    return f"{shown}\n\ntables: {layout.verification_table}, {layout.verification_text.name}\npictures: {layout.verification_det}"


def headline(table: pd.DataFrame, condition: str = ALL, split: str = "eval") -> pd.DataFrame:
    """The rows of a condition, in the order of runs and scorings."""
    return table[(table["split"] == split) & (table["condition"] == condition)]


def terminal(table: pd.DataFrame, settings: Settings) -> str:
    """Over all trials of eval: how many, then a line for each run and scoring."""
    columns, floor = columns_of(settings.verification.priors), settings.experiment.floor
    rows = headline(table)
    lines = [textwrap.fill(LEGEND.split(" LLRs are fitted")[0], 140), "", counts_line(rows)]
    names = [name_of(row, floor) for _, row in rows.iterrows()]
    width = max(len(name) for name in names)
    lines.append(f"  {'':<{width}}" + "".join(f"{heading:>13}" for heading in columns))
    for name, (_, row) in zip(names, rows.iterrows(), strict=True):
        lines.append(f"  {name:<{width}}" + "".join(f"{_number(row, figure):>13}" for figure in columns.values()))
    return "\n".join(lines)


def counts_line(rows: pd.DataFrame) -> str:
    """How many trials the figures of some rows rest on."""
    first = rows.iloc[0]
    return f"{first['split']}: {int(first['targets'])} trials of one source, {int(first['nontargets'])} of two; lists: {first['trials']}"


def name_of(row: pd.Series, floor: Sequence[str]) -> str:
    """What a row is of, for people."""
    norm = "" if row["score_norm"] == "none" else f", {row['score_norm']}"
    # beside an empty cell a seed is read as a float
    what = row["run"] if row["system"] == OF_SPEAKERS else f"{row['train_set']}, seed {int(row['seed'])}"
    return f"{shown_system(row['system'], floor)}, {what}: {row['scoring']}{norm}{_as_published(row)}"


def _as_published(row: pd.Series) -> str:
    return f" (as published: {row['compat']})" if isinstance(row["compat"], str) and row["compat"] else ""


def _number(row: pd.Series, figure: str, suffix: str = "") -> str:
    value = row[f"{figure}{suffix}"]
    if np.isnan(value):
        return "-"
    value = max(0.0, value)  # a cost of 0 may come out as -1e-17, and is -0.0 in the CSV then
    return f"{100 * value:.1f}" if figure == "eer" else f"{value:.3f}"


def with_interval(row: pd.Series, figure: str) -> str:
    """A figure of a row, its interval in brackets where it has one; where no error occurred, among how many trials none did."""
    if figure != "cllr" and row[figure] < ROUNDING:  # Cllr counts no errors
        return f"{_number(row, figure)} (no error in {int(min(row['targets'], row['nontargets']))})"
    if np.isnan(row[f"{figure}_low"]):
        return _number(row, figure)
    return f"{_number(row, figure)} ({_number(row, figure, '_low')}–{_number(row, figure, '_high')})"


def markdown(table: pd.DataFrame, settings: Settings, notes: Sequence[str]) -> str:
    """A table for all eval trials, then one for each condition."""
    columns = columns_of(settings.verification.priors)
    eval_rows = table[table["split"] == "eval"]
    said = [FLOOR_NOTE if settings.experiment.floor else "", SPEAKER_NOTE if (table["system"] == OF_SPEAKERS).any() else "", *notes]
    lines = [f"# One source or two: {settings.name}", "", LEGEND, *(line for note in said if note for line in ("", note))]
    for condition in dict.fromkeys(eval_rows["condition"]):
        rows = headline(table, condition)
        lines += ["", f"## {'All trials' if condition == ALL else condition}", "", counts_line(rows), ""]
        lines += [_row(["system", *columns]), _row(["---", *["---:"] * len(columns)])]
        lines += [
            _row([name_of(row, settings.experiment.floor), *(with_interval(row, figure) for figure in columns.values())])
            for _, row in rows.iterrows()
        ]
    return "\n".join([*lines, *_published_part(table, settings)]) + "\n"


def published_beside(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Published figures that stand beside the table; empty without any."""
    rows, given = table[table["split"] == "eval"], settings.verification.trials
    counted = (rows["targets"] + rows["nontargets"]).groupby(rows["condition"]).first() if given else pd.Series(dtype=int)
    of_folder = {condition.partition(": ")[0]: int(count) for condition, count in counted.items()}
    return published_verification(
        comparable_corpus(settings.corpus), {**of_folder, **({Path(given).stem: int(counted[ALL])} if given else {})}
    )


def _published_part(table: pd.DataFrame, settings: Settings) -> list[str]:
    found = published_beside(table, settings)
    if found.empty:
        return []
    found = found.assign(percent=[f"{value:g}" for value in found["percent"]])
    rows = [_row(row) for row in found.astype(str).to_numpy().tolist()]
    return ["", "## Published", "", PUBLISHED_LEGEND, "", _row(list(found.columns)), _row(["---"] * found.shape[1]), *rows]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
