"""Published figures beside ours: only the very list makes them comparable, and it says so."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from sourcetracing.published.numbers import FOLDER
from sourcetracing.published.verification import OTHERS, THE_SAME, published_verification
from sourcetracing.settings.reading import load_settings
from sourcetracing.verification.tables import markdown, published_beside

MLAAD = "mlaad_source_tracing"


def test_the_published_list_is_known_by_name_and_size():
    found = published_verification("folder", {"unseen_unseen_diff_speaker": 27530})
    assert set(found["trials"]) == {THE_SAME}
    assert dict(zip(found["system"], found["percent"], strict=True))["ResNet34 + RiemannSD-AAM"] == 7.13
    assert set(found["protocol"]) == {"P-IV: unseen source different speaker"}


def test_a_list_of_that_name_and_another_size_is_another_list():
    found = published_verification(MLAAD, {"unseen_unseen_diff_speaker": 27529})
    assert set(found["trials"]) == {OTHERS}
    assert published_verification("demo", {"unseen_unseen_diff_speaker": 27529}).empty


def test_drawn_trials_over_mlaad_stand_beside_mlaads_figures_and_the_demo_beside_none():
    assert set(published_verification(MLAAD, {})["trials"]) == {OTHERS}
    assert not published_verification(MLAAD, {})["work"].str.startswith("STOPA").any()
    assert published_verification("demo", {}).empty


def test_stopas_lists_stand_beside_stopas_figures():
    found = published_verification("folder", {"AA01-nc-10_trials": 1000})
    assert {"STOPA", "Zero-shot and few-shot open-set tracing", "Hidden cost of pairwise verification"} == set(found["work"])
    assert set(found["trials"]) == {OTHERS}


def test_the_mean_over_the_four_lists_is_the_printed_one():
    with (FOLDER / "verification.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["system"] == "ResNet34 + RiemannSD-AAM"]
    assert len(rows) == 4
    assert sum(float(row["percent"]) for row in rows) / 4 == pytest.approx(3.27, abs=0.006)  # printed beside them


def test_the_table_for_people_says_which_trials_they_are_of():
    settings = load_settings([f"corpus.reader={MLAAD}", "corpus.languages=[en]", "corpus.sources=[a,b]"])
    keys = {"system": "x", "train_set": "en", "seed": 1, "scoring": "cosine", "score_norm": "none", "split": "eval", "condition": "all"}
    figures = dict.fromkeys(("eer", "min_dcf_0.5", "act_dcf_0.5", "min_dcf_0.01", "act_dcf_0.01", "cllr", "min_cllr"), 0.1)
    ends = {f"{name}_{end}": 0.1 for name in figures for end in ("low", "high")}
    table = pd.DataFrame([{**keys, "targets": 10, "nontargets": 10, "trials": "0", "compat": "", **figures, **ends}])
    text = markdown(table, settings, [])
    four = [table.assign(condition=name, targets=13765, nontargets=13765) for name in ("seen_seen_same_speaker", "seen_seen_diff_speaker")]
    settings.verification.trials = "lists/"
    found = published_beside(pd.concat([table, *four], ignore_index=True), settings)
    assert set(found["trials"]) == {THE_SAME}
    assert {protocol.partition(":")[0] for protocol in found["protocol"]} == {"P-I", "P-II"}
    assert "## Published" in text
    assert "| Hidden cost of pairwise verification |" in text
    assert THE_SAME not in text.partition("even there")[2]
