"""Figures as people read them: no certainty where no error was seen, no costs below 0, names without fractions."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from sourcetracing.runtime.files import read_csv
from sourcetracing.settings.reading import load_settings
from sourcetracing.verification.tables import LEGEND, TEXTS, columns_of, markdown, name_of, terminal, with_interval

FIGURES = columns_of([0.5, 0.01]).values()


def table(value: str = "0.250000", low: str = "0.125000", high: str = "0.375000") -> pd.DataFrame:
    """Of a run and of voices, as script 10 writes and script 13 reads it: with voices beside it, a seed is read as a float."""
    head = ["system", "train_set", "seed", "scoring", "score_norm", "split", "condition", "targets", "nontargets"]
    head += [f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high")] + ["run", "compat", "protocol", "trials"]
    figures = [cell for _ in FIGURES for cell in (value, low, high)]
    rows = [
        ["net", "en+de", "688", "cosine", "none", "eval", "all", "47", "48", *figures, "net-688", "", "0a", "0b"],
        ["speakers", "", "", "cosine", "none", "eval", "all", "47", "48", *figures, "resemblyzer", "", "0a", "0b"],
    ]
    return read_csv(io.StringIO("\n".join(",".join(row) for row in [head, *rows])), texts=TEXTS)


@pytest.mark.parametrize(("figure", "shown"), [("eer", "0.0"), ("min_dcf_0.5", "0.000"), ("act_dcf_0.01", "0.000"), ("min_cllr", "0.000")])
@pytest.mark.parametrize("zero", ["0.000000", "-0.000000"])
def test_without_an_error_there_is_no_interval_but_how_many_trials_had_none(figure, shown, zero):
    assert with_interval(table(zero, zero, zero).iloc[0], figure) == f"{shown} (no error in 47)"


def test_cllr_counts_no_errors_and_small_figures_are_not_none():
    assert with_interval(table("0.000000", "-0.000000", "-0.000000").iloc[0], "cllr") == "0.000 (0.000–0.000)"
    assert with_interval(table("0.000010", "0.000000", "0.002000").iloc[0], "eer") == "0.0 (0.0–0.2)"


def test_no_cost_is_below_zero():
    frame, settings = table("-0.000000", "-0.000000", "-0.000000"), load_settings([])
    assert "-0.0" not in markdown(frame, settings, []) and "-0.0" not in terminal(frame, settings)
    tiny = table("-1e-17", "-1e-17", "0.1").iloc[0]
    assert with_interval(tiny, "cllr") == "0.000 (0.000–0.100)"


def test_the_legend_says_what_no_error_means():
    assert "3/N" in LEGEND and "No error in N" in LEGEND and LEGEND in markdown(table(), load_settings([]), [])


def test_names_have_a_whole_seed_and_voices_the_name_of_the_picture():
    frame = table()
    assert frame["seed"].dtype == float
    assert [name_of(row, []) for _, row in frame.iterrows()] == ["net, en+de, seed 688: cosine", "speakers, resemblyzer: cosine"]
