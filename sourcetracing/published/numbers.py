"""What the MCL-MLAAD paper prints, in the words of our tables: our system names, sets of languages joined by +, fractions.

The CSV files beside this module hold the numbers as printed (percent, the paper's names); README.md says where each comes from.
They are read when first asked for and kept; every answer is a copy.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv

FOLDER = Path(__file__).parent
PAPER_SYSTEMS = {
    "xlsr_aasist": "XLSR-AASIST",
    "w2v2_en_self_aasist": "W2V2EN-AASIST",  # by the checkpoint behind the numbers, not by the one that the paper names (D4)
    "w2v2_language_aasist": "W2V2 (xx)-AASIST",
    "lfcc_aasist": "LFCC-AASIST",
    "lfcc_resnet18": "LFCC-ResNet18",
    "lfcc_ecapa_tdnn": "LFCC-ECAPA-TDNN",
}
SCORE_TABLES = ("table4", "figure4", "table5", "table6")
OTHER_TABLES = ("table1", "table2", "table3")
# Columns of the CSV files that are no text.
NUMBERS = (
    *("macro_f1_percent", "printed_percent", "recomputed_percent", "precision", "recall", "f1", "support", "class_id", "row", "threshold"),
    *("utterances", "duration_seconds", "seen_utterances", "unseen_utterances", "pretrained_thousand_hours"),
)
SEEN, UNSEEN = "seen", "unseen"
CELL_COLUMNS = ["system", "train", "test", "condition"]


def paper_system(system: str) -> str | None:
    """The paper's name of one of our systems (`xlsr_aasist` -> `XLSR-AASIST`); None for systems that the paper does not have."""
    return PAPER_SYSTEMS.get(system)


def published_table(table: str) -> pd.DataFrame:
    """A table without scores: `table1` (corpus), `table2` (speaker groups), `table3` (SSL checkpoints), in the columns of its CSV file.

    Durations are in seconds and as printed, thresholds are fractions. Table 1 ends with the paper's `Total` row, which has no
    language code. `system` in table 3 is our name.
    """
    if table not in OTHER_TABLES:
        raise UserError(f"published table without scores: {table!r} is none of {', '.join(OTHER_TABLES)}")
    rows = _read(table).copy()
    return _with_our_systems(rows) if "system" in rows else rows


def published_cells(table: str) -> pd.DataFrame:
    """The scores of `table4`, `figure4`, `table5` or `table6`: columns system, train, test, condition, macro_f1 (fraction).

    `system` is our name; sets are languages joined by +, in the order of Table 1 (en de fr it pl ru). Tables 5 and 6 train on five
    languages. Condition in Table 5: `seen` (tested on the five) or `unseen` (on the sixth); in Table 6: seen or unseen *speakers*,
    tested on the five, as the counts of Table 2 show, not on the sixth, as the paper says (D10). Else it is empty.
    """
    if table not in SCORE_TABLES:
        raise UserError(f"published scores: {table!r} is none of {', '.join(SCORE_TABLES)}")
    return _cells(table).copy()


def published_means() -> pd.DataFrame:
    """Every average the paper prints: columns table, system, kind, printed_percent, recomputed_percent, basis.

    `system` is our name. `kind` is mono or cross (Table 4), seen or unseen (Tables 5 and 6), en_to_others (text of section 4.2: the
    five cross-lingual cells of training language en). Both values are *percent*: as printed, with two decimals, and the mean of the
    printed cells, with three. `basis` says how the printed one is known: `quoted` (stated by a review) or `agrees` (it was checked
    against the mean of the cells and lies within 0.005 of it, which tells its two decimals but for a tie: nan).
    """
    return _with_our_systems(_read("means"))


def why_not_comparable(table: str, system: str) -> str:
    """Why a system that has a paper's words but not the network behind its numbers stands without them, `... (D4)`; "" for all others."""
    rows = _read("not_comparable")
    return " ".join(rows[(rows["table"] == table) & (rows["system"] == system)]["note"])


def published_notes() -> pd.DataFrame:
    """Known errors and suspicious cells: columns table, about, system, train, test, condition, kind, discrepancy, note.

    `about`: cell, mean (its kind stands under condition), system, table, or text (what the paper says about the number). `kind`: error,
    suspicious (no proof) or reading (needed to compare). Systems and sets are written as in `published_cells`; an empty field stands for
    all. `discrepancy` is a row of docs/fidelity.md (D1 to D91).
    """
    return _notes().copy()


def notes_of_cell(table: str, system: str, train: str, test: str, condition: str = "") -> pd.DataFrame:
    """The rows of `published_notes` on one cell of `published_cells`, named by the same words."""
    notes = _notes()
    matches = (notes["table"] == table) & (notes["about"] == "cell")
    for column, value in zip(CELL_COLUMNS, (system, train, test, condition), strict=True):
        matches &= notes[column].isin(["", value])
    return notes[matches].reset_index(drop=True)


def notes_of_mean(table: str, system: str, kind: str) -> pd.DataFrame:
    """The rows of `published_notes` on one average of `published_means`, named by the same words."""
    notes = _notes()
    matches = (notes["table"] == table) & (notes["about"] == "mean") & (notes["system"] == system) & (notes["condition"] == kind)
    return notes[matches].reset_index(drop=True)


def published_reports() -> pd.DataFrame:
    """The score reports behind Figure 4, a row for each class: system, train, test, class_id, source, figures (fractions), counts.

    precision, recall, f1 are as printed (six digits), support is the number of test items. hits (right ones) and predicted are the
    only whole numbers which give that recall and precision.
    """
    return _reports().copy()


@cache
def _cells(table: str) -> pd.DataFrame:
    rows = _with_our_systems(_read(table))
    if "held_out" in rows:
        sets = [_left_out_sets(table, *row) for row in zip(rows["held_out"], rows["condition"], strict=True)]
        rows["train"], rows["test"] = zip(*sets, strict=True)
    else:
        rows = _with_our_sets(rows).assign(condition="")
    rows["macro_f1"] = (rows["macro_f1_percent"] / 100).round(4)
    return rows[[*CELL_COLUMNS, "macro_f1"]]


@cache
def _notes() -> pd.DataFrame:
    notes = _with_our_sets(_with_our_systems(_read("notes").fillna("")))
    left_out = notes["train"].str.startswith("-")
    for row in notes.index[left_out]:
        held_out = notes.loc[row, "train"].removeprefix("-")
        notes.loc[row, ["train", "test"]] = _left_out_sets(notes.loc[row, "table"], held_out, notes.loc[row, "condition"])
    return notes


@cache
def _reports() -> pd.DataFrame:
    rows = _with_our_sets(_with_our_systems(_read("family_reports")))
    rows["hits"] = np.rint(rows["recall"] * rows["support"]).astype(int)
    rows["predicted"] = np.rint(rows["hits"] / rows["precision"]).astype(int)
    return rows


@cache
def _read(name: str) -> pd.DataFrame:
    return read_csv(FOLDER / f"{name}.csv", numbers=NUMBERS).replace("", np.nan)  # an empty cell of the paper's is one it does not have


@cache
def _languages() -> dict[str, list[str]]:
    """Family -> its languages, in the order of Table 1."""
    rows = _read("table1").dropna(subset="code")
    return rows.groupby("family", sort=False)["code"].agg(list).to_dict()


def _with_our_systems(rows: pd.DataFrame) -> pd.DataFrame:
    our_names = {paper: ours for ours, paper in PAPER_SYSTEMS.items()}
    return rows.assign(system=rows["system"].replace(our_names))


def _with_our_sets(rows: pd.DataFrame) -> pd.DataFrame:
    sets = {family: "+".join(members) for family, members in _languages().items()}
    return rows.assign(train=rows["train"].replace(sets), test=rows["test"].replace(sets))


def _left_out_sets(table: str, held_out: str, condition: str) -> tuple[str, str]:
    """Train and test set of a cell of Table 5 or 6 whose systems never saw the language `held_out`."""
    others = "+".join(code for members in _languages().values() for code in members if code != held_out)
    return others, held_out if table == "table5" and condition == UNSEEN else others
