"""The report's tab on robustness: what stands in robustness.csv, of the page's own protocol alone."""

from __future__ import annotations

import base64
import re

import numpy as np
import pandas as pd
import pytest

from sourcetracing.layout import Layout
from sourcetracing.report.robustness_tab import robustness_tab
from sourcetracing.robustness.evaluation import FIGURES
from sourcetracing.robustness.tables import worst_of, write_tables
from sourcetracing.settings.reading import load_settings

PICTURE = base64.b64decode(b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")


@pytest.fixture
def settings(tmp_path):
    return load_settings(["corpus.languages=[en]", "corpus.sources=[a,b]", f"paths.exp={tmp_path}"])


def table(**changes) -> pd.DataFrame:
    keys = {"train_set": "en", "seed": 1, "run": "r", "compat": "", "protocol": "11112222", "detector": "max_softmax"}
    keys |= {"family": "codec", "in_training": "", "known": 40, "unknown": 9, "classes": 2}
    rows = []
    for system in ("one", "stats_logreg"):
        for number, operation in enumerate(("clean", "lowpass_7k3", "mp3_64k", "mp3_64k+opus_16k")):
            row = {**keys, "system": system, "operation": operation, "low_pass": "lowpass_7k3" if operation == "mp3_64k" else ""}
            for figure in FIGURES:
                row |= {figure: 0.9 - 0.1 * number, f"{figure}_low": 0.1, f"{figure}_high": 1.0}
                row |= {f"{figure}_change": -0.1 * number, f"{figure}_change_low": -0.1 * number - 0.05, f"{figure}_change_high": 0.01}
            rows.append(row)
    return pd.DataFrame(rows).assign(**changes)


def worst() -> pd.DataFrame:
    row = {"train_set": "en", "seed": 1, "source": "a <b>", "utterances": 7, "clean_recall": 1.0, "recall": 0.25, "taken_for": "b"}
    rows = [
        {**row, "system": system, "operation": "mp3_64k", "fall": 0.5 + n / 100, "protocol": "1"} for n, system in enumerate(["one"] * 12)
    ]
    return pd.DataFrame([*rows, {**rows[0], "system": "stats_logreg", "fall": 0.99}])


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_figures_changes_and_the_low_pass_beside_a_codec(settings):
    page = robustness_tab(table(), worst_of(worst(), settings), settings, {"11112222"}, PICTURE)
    assert "70.0 -20.0 (-25.0 to +1.0)" in words(page)  # macro-F1 of mp3_64k
    assert "0.70 -0.20 (-0.25 to +0.01)" in words(page)  # its Cllr
    assert "mp3 64k + opus 16k" in words(page) and "a &lt;b&gt;" in page and "a <b>" not in page
    assert page.count("data:image/png") == 1 and "stats_logreg (floor) trained on en, seed 1" in words(page)
    assert "eval: 40 utterances of 2 known sources, 9 of unknown ones (detector: max_softmax)" in words(page)


@pytest.mark.parametrize("frame", [None, pd.DataFrame(), table(protocol="99990000")])
def test_of_another_protocol_or_without_a_table_there_is_none(settings, frame):
    assert robustness_tab(frame, None, settings, {"11112222"}, PICTURE) == ""


def test_without_unknown_sources_their_columns_are_left_out(settings):
    frame = table(unknown=0, **{name: np.nan for name in table() if name.startswith(("auroc", "fpr95", "known_kept"))})
    page = words(robustness_tab(frame, None, settings, {"11112222"}, None))
    assert "none of unknown ones" in page and "Cllr" in page.split("trained on")[-1] and "AUROC" not in page.split("trained on")[-1]


def test_the_ten_worst_leave_the_floor_out(settings):
    ten = worst_of(worst(), settings)
    assert len(ten) == 10 and set(ten["system"]) == {"one"} and ten["fall"].iloc[0] == pytest.approx(0.61)
    assert ten["fall"].is_monotonic_decreasing


def test_tables_as_files(settings):
    text = write_tables(table(), worst(), settings, ["left out: gsm: no encoder"])
    assert "left out: gsm: no encoder" in text and "one trained on en, seed 1" in text
    markdown = Layout.of(settings).robustness_text.read_text()
    assert "| mp3_64k | 70.0 -20.0 (-25.0 to +1.0) |" in markdown and "| -10.0 |" in markdown.split("| mp3_64k |")[1].splitlines()[0]
    assert "* `mp3_64k+opus_16k`: MP3 at 64 kbit/s, then Opus at 16 kbit/s" in markdown
    assert len(pd.read_csv(Layout.of(settings).robustness_worst)) == 10


def test_what_variants_in_training_buy(settings):
    keys = {"system": "more", "than": "stats_logreg", "train_set": "en", "seed": 1, "protocol": "11112222"}
    row = {"macro_f1": 0.8, "macro_f1_less": 0.5, "gain": 0.3, "gain_low": 0.2, "gain_high": 0.4}
    spared = {"spared": 0.25, "spared_low": -0.01, "spared_high": 0.5}
    gains = pd.DataFrame([{**keys, **row, **spared, "operation": name} for name in ("clean", "mp3_64k")])
    page = robustness_tab(table(), None, settings, {"11112222"}, None, gains)
    assert "more against stats_logreg (floor), trained on en, seed 1" in words(page)
    assert "64k 80.0 50.0 +30.0 (+20.0 to +40.0) +25.0 (-1.0 to +50.0)" in words(page)
    other = robustness_tab(table(), None, settings, {"11112222"}, None, gains.assign(protocol="3333"))
    assert "What variants" in words(page) and "What variants" not in words(other)
