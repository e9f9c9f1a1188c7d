"""What is said of a grouping: log10 LRs, and what its own numbers contradict; all by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sourcetracing.casework.grouping import neighbours_of
from sourcetracing.casework.grouping_result import GroupingResult
from sourcetracing.casework.groups_page import write_groups_page
from tests.casework.test_groups_page import result_of
from tests.support.web_pages import Page


def test_log10_is_what_terminal_table_and_page_show(tmp_path):
    result = result_of(tmp_path, 3, 6)
    llrs, labels = result.llrs.astype(float), result.labels
    pairs = [llrs[i, j] for i in range(18) for j in range(18) if i != j and labels[i] == labels[j] == 0]
    expected = f"{np.mean(pairs) / np.log(10):+.2f}"
    assert f"mean log10 LR {expected} [" in result.lines()[1]
    line = result.verifier.line(1, 1)
    assert f"log10 LR {line.low / np.log(10):.2f} to {line.high / np.log(10):+.2f}, Cllr" in result.basis()
    table = result.table().set_index("digest")
    for row in range(18):
        others = {g: np.mean([llrs[row, j] for j in range(18) if labels[j] == g]) for g in set(labels.tolist()) - {labels[row]}}
        found = table.loc[result.files[row].digest]
        assert found["log10_lr_nearest"] == pytest.approx(max(others.values()) / np.log(10), abs=1e-5)
        own = [llrs[row, j] for j in range(18) if j != row and labels[j] == labels[row]]
        assert found["log10_lr_within"] == pytest.approx(np.mean(own) / np.log(10), abs=1e-5)
    write_groups_page(tmp_path / "page.html", result)
    texts = "".join(Page((tmp_path / "page.html").read_text(encoding="utf-8")).texts)
    assert f"mean log10 LR {expected}" in texts
    assert "log10 LR to nearest" in texts
    assert "mean LLR" not in texts + "".join(result.lines())


def regrouped(result: GroupingResult, labels: list[int]) -> GroupingResult:
    return replace(result, labels=np.array(labels), neighbours=neighbours_of(result.llrs, np.array(labels)))


def test_a_sound_grouping_has_no_contradictions(tmp_path):
    result = result_of(tmp_path, 3, 6)
    assert not result.contradictions()
    assert (result.table()["doubts"].fillna("") == "").all()
    write_groups_page(tmp_path / "page.html", result)
    assert "⚠" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_groups_and_files_that_their_own_llrs_contradict_are_named(tmp_path):
    """Three sources of six files: the first two make group 1, but for one file that is put into group 2, the third source."""
    result = regrouped(result_of(tmp_path, 3, 6), [0] * 11 + [1] * 7)
    pairs = [result.llrs[i, j].astype(float) for i in range(11) for j in range(11) if i != j]
    assert np.mean(pairs) < 0 < np.mean([result.llrs[i, j] for i in range(11, 18) for j in range(11, 18) if i != j])
    means = {(i, g): np.mean([result.llrs[i, j] for j in range(18) if j != i and (j > 10) == g]) for i in range(18) for g in (False, True)}
    assert [i for i in range(18) if means[i, i <= 10] > means[i, i > 10]] == [10, 11]  # the rest of the second source is one of two
    mixed, misplaced = result.contradictions()
    assert mixed == f"LLRs speak for two sources, not one, within 1 group: group 1 (mean log10 LR {np.mean(pairs) / np.log(10):+.2f})"
    names = [f"{result.files[11].name} (in group 2, nearer to group 1)", f"{result.files[10].name} (in group 1, nearer to group 2)"]
    assert misplaced == f"2 files are nearer to another group than to their own: {', '.join(names)}"
    assert [line for line in result.lines() if "contradicted" in line] == [
        f"contradicted by its own numbers: {line}" for line in (mixed, misplaced)
    ]
    said, doubts = "its LLRs speak for two sources", result.table().set_index("digest")["doubts"]
    assert doubts[result.files[11].digest] == "nearer to group 1"
    assert [doubts[result.files[row].digest] for row in (0, 10, 12)] == [said, f"nearer to group 2; {said}", ""]
    write_groups_page(tmp_path / "page.html", result)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("⚠ its LLRs speak for two sources") == text.count("⚠ nearer to group 1") == text.count("⚠ nearer to group 2") == 1
    assert mixed in "".join(Page(text).texts)


def test_the_first_few_contradictions_are_named(tmp_path):
    result = regrouped(result_of(tmp_path, 5, 6), [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5 + [0, 1, 2, 3, 4])
    shown = result.contradictions()[-1]
    assert shown.count("(in group") == 3
    assert shown.endswith(" ...")
