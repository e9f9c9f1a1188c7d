"""benchmarks/mutation.py: the faults that it makes, and a dozen of them judged."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.support.places import ROOT

SOURCE = '''"""A module's text stays."""

def share(rows: list[int], least: int = 0) -> float | None:
    """Its own text too."""
    if not rows or len(rows) < least:
        raise ValueError(f"{len(rows) + 1} rows")
    return sum(rows[1:]) / max(rows, key=abs)
'''
BY_HAND = {
    (3, "constant", "0", "1"),
    (5, "and/or", "not rows or len(rows) < least", "(not rows and len(rows) < least)"),
    (5, "sign", "not rows", "rows"),
    (5, "comparison", "len(rows) < least", "(len(rows) <= least)"),
    (7, "return", "return sum(rows[1:]) / max(rows, key=abs)", "return None"),
    (7, "arithmetic", "sum(rows[1:]) / max(rows, key=abs)", "(sum(rows[1:]) * max(rows, key=abs))"),
    (7, "slice", "1:", "1 + 1:"),
    (7, "constant", "1", "2"),
    (7, "opposite", "max(rows, key=abs)", "(min(rows, key=abs))"),
    (7, "argument", "max(rows, key=abs)", "(max(rows))"),
}


@pytest.fixture
def mutants_of(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import _mutants

    return _mutants.mutants_of


def test_each_fault_of_a_small_function_is_there_once_and_nothing_else(mutants_of):
    made = [(mutant.line, mutant.kind, mutant.before, mutant.after) for mutant in mutants_of(SOURCE)]
    assert len(made) == len(set(made)) and set(made) == BY_HAND


def test_a_mutant_is_a_whole_module_that_differs_in_its_line(mutants_of):
    source = (ROOT / "sourcetracing" / "metrics" / "ranking.py").read_text(encoding="utf-8")
    for mutant in mutants_of(source):
        mutated = mutant.applied_to(source)
        assert ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source)), mutant
        assert mutated.splitlines()[: mutant.line - 1] == source.splitlines()[: mutant.line - 1]


@pytest.mark.slow
def test_a_dozen_mutants_are_judged_and_this_tree_stays_as_it_is():
    path = ROOT / "sourcetracing" / "metrics" / "ranking.py"
    before = path.read_bytes(), path.stat().st_mtime_ns
    command = [sys.executable, str(ROOT / "benchmarks" / "mutation.py"), "miniature", "workers=1"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown[0] == "12 mutants of 1 files"
    killed = int(shown[-1].split(" of 12 killed")[0])
    assert killed >= 9 and killed + sum(line.startswith("survived  ") for line in shown) == 12
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
