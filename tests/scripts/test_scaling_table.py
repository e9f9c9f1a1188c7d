"""docs/scaling.md holds what benchmarks/scaling_table.py prints."""

from __future__ import annotations

import runpy

from tests.support.places import ROOT


def test_the_tables_of_the_docs_are_those_of_the_script(capsys):
    runpy.run_path(str(ROOT / "benchmarks" / "scaling_table.py"))["main"](100e12)
    printed = capsys.readouterr().out.strip()
    assert printed.count("| LFCC |") == 2
    assert printed in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
