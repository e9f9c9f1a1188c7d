"""The report's tab on verification: what stands in verification.csv, of the page's own protocol alone."""

from __future__ import annotations

import base64

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


def test_every_condition_of_eval_has_its_figures(settings):
    page = verification_tab(table(), settings, {"11112222"}, PICTURE)
    assert page.count("25.0 (15.0–35.0)") == 3  # EER in %, once for each condition of eval
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
    assert page.count("50.0 (37.5–62.5)") == 2 * 6 and page.count("0.500 (0.375–0.625)") == 2 * 2
    assert page.count("data:image/png") == 2
    assert "K = 1" not in verification_tab(table(), settings, {"11112222"}, PICTURE, enrolled.assign(protocol="0"), PICTURE)
