"""The published figures on unknown sources: what they are, where from, and that each says what differs."""

from __future__ import annotations

import pytest

from sourcetracing.published.openset import OFFICIAL, published_openset

EVIDENCE = {"readme", "abstract", "third-party"}


def test_every_row_has_its_source_and_what_differs():
    rows = published_openset()
    assert rows.notna().all(axis=None)
    assert (rows["differs"].str.len() > 10).all()
    assert set(rows["evidence"]) <= EVIDENCE
    assert rows["source"].str.fullmatch(r"arXiv:\d{4}\.\d{5}|README of its repository").all()
    assert not rows.duplicated(["work", "corpus", "protocol", "system", "figure"]).any()
    official = rows["protocol"] == OFFICIAL
    assert official.iloc[: official.sum()].all()


@pytest.mark.parametrize(
    ("work", "system", "figure", "percent"),
    [
        ("Baseline of the special session", "REFD baseline", "EER", 63),
        ("Baseline of the special session", "REFD baseline", "F1", 31),
        ("Pindrop open-set (Klein)", "best system", "FPR95", 8.3),
        ("Dual-branch gate (Khan)", "XLSR + CORES, gated", "EERc", 4.9),
        ("Dual-branch gate (Khan)", "XLSR + CORES, gated", "FPR95", 10.4),
    ],
)
def test_the_figures_on_the_official_lists(work, system, figure, percent):
    rows = published_openset()
    found = rows[(rows["work"] == work) & (rows["system"] == system) & (rows["figure"] == figure) & (rows["protocol"] == OFFICIAL)]
    assert found["percent"].tolist() == [percent]


def test_an_answer_is_a_copy():
    rows = published_openset()
    rows["percent"] = 0
    assert published_openset()["percent"].max() > 99
