"""What is said of a grouping: log10 LRs, and what its own numbers contradict; all by hand."""

from __future__ import annotations

import numpy as np
import pytest

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
