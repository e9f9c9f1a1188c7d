"""The report's tab on verification: what stands in verification.csv, of the page's own protocol alone."""

from __future__ import annotations

import base64
import re

import pandas as pd
import pytest

from sourcetracing.report.verification_tab import verification_tab
from sourcetracing.settings.reading import load_settings

FIGURES = ("eer", "min_dcf_0.5", "act_dcf_0.5", "min_dcf_0.01", "act_dcf_0.01", "cllr", "min_cllr")
PICTURE = base64.b64decode(b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")


@pytest.fixture
def settings():
    return load_settings(["corpus.languages=[en]", "corpus.sources=[a,b]"])


def table(**changes) -> pd.DataFrame:
    keys = {"system": "one", "train_set": "en", "seed": 1, "scoring": "cosine", "score_norm": "none", "compat": "", "trials": "0123abcd"}
    figures = {name: 0.25 + number / 100 for number, name in enumerate(FIGURES)}
    ends = {f"{name}_{end}": figures[name] + step for name in figures for end, step in (("low", -0.1), ("high", 0.1))}
    rows = [
        {**keys, "split": split, "condition": condition, "protocol": "11112222", "targets": 40, "nontargets": 41, **figures, **ends}
        for split in ("dev", "eval")
        for condition in ("all", "unseen <b>", "seen")
    ]
    return pd.DataFrame(rows).assign(**changes)


def words(page: str) -> str:
    """Without tags."""
    return re.sub(r"<[^>]+>", "", page)


def test_every_condition_of_eval_has_its_figures(settings):
    page = verification_tab(table(), settings, {"11112222"}, PICTURE)
    assert words(page).count("25.0 (15.0–35.0)") == 3  # EER in %, once for each condition of eval
    assert page.count("40 trials of one source, 41 of two") == 3
    assert "unseen &lt;b&gt;" in page and "unseen <b>" not in page
    assert page.count("data:image/png") == 1


@pytest.mark.parametrize("frame", [None, pd.DataFrame(), table(protocol="99990000")])
def test_of_another_protocol_or_without_a_table_there_is_none(settings, frame):
    assert verification_tab(frame, settings, {"11112222"}, PICTURE) == ""


def test_a_table_of_other_priors_is_none(settings):
    settings.verification.priors = [0.3]
    assert verification_tab(table(), settings, {"11112222"}, None) == ""


def test_published_figures_stand_on_the_page_of_mlaad(settings):
    settings.corpus.reader = "mlaad_source_tracing"
    assert "RiemannSD-Net" in verification_tab(table(), settings, {"11112222"}, None)


def test_the_curve_of_enrolment_stands_below(settings):
    figures = ("accuracy", "found", "false_alarms_unseen", "false_alarms_seen", "auroc_unseen", "auroc_seen", "cllr", "min_cllr")
    keys = {"system": "one", "train_set": "en", "seed": 1, "scoring": "cosine", "compat": "", "protocol": "11112222"}
    facts = {
        "sources": 3,
        "of_dev": 0,
        "tests": 30,
        "strangers": 40,
        "draws": 20,
        "dev_sources": 4,
        "rests_on": "maxima",
        "threshold": 0.25,
    }
    values = {f"{name}{end}": value for name in figures for end, value in (("", 0.5), ("_low", 0.375), ("_high", 0.625))}
    enrolled = pd.DataFrame([{**keys, "count": count, **facts, "chance": 1 / 3, **values} for count in (1, 5)])
    page = verification_tab(table(), settings, {"11112222"}, PICTURE, enrolled, PICTURE)
    assert "<h3>K = 1</h3>" in page and "<h3>K = 5</h3>" in page
    assert words(page).count("50.0 (37.5–62.5)") == 2 * 6 and words(page).count("0.500 (0.375–0.625)") == 2 * 2
    assert words(page).count("0.250 (maxima, 4 sources)") == 2
    assert page.count("data:image/png") == 2
    assert "K = 1" not in verification_tab(table(), settings, {"11112222"}, PICTURE, enrolled.assign(protocol="0"), PICTURE)


def test_a_seed_that_was_read_beside_an_empty_one_is_whole(settings):
    frame = pd.concat([table(), table(system="speakers", train_set="", seed=float("nan"), run="resemblyzer")], ignore_index=True)
    assert frame["seed"].dtype == float
    page = words(verification_tab(frame, settings, {"11112222"}, None))
    assert page.count("one, en, seed 1: cosine") == 3 and page.count("speakers, resemblyzer: cosine") == 3


def test_notes_have_no_marks_of_markdown(settings):
    settings.corpus.reader = "mlaad_source_tracing"  # for the legend of what is published
    page = verification_tab(table(), settings, {"11112222"}, None)
    assert "`" not in page and "<code>speakers</code>" in page and "<code>the same list</code>" in page


def test_an_interval_stands_below_its_figure_and_a_line_tells_of_columns_beyond_the_page(settings):
    page = verification_tab(table(), settings, {"11112222"}, None)
    assert page.count("<span>25.0</span> <small>(15.0–35.0)</small>") == 3
    assert page.count("7 columns: the table scrolls sideways") == page.count("<table") == 3


def test_names_stay_text_where_they_may_break(settings):
    page = verification_tab(table(system="a_<b>"), settings, {"11112222"}, None)
    assert page.count("a_<wbr>&lt;b&gt;, en, seed 1: cosine") == 3
