"""Benchmarks run as their first lines say: from any folder, with nothing installed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from tests.support.places import ROOT

BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
PATH_SETTERS = {"_bench_audio", "preprocessing", "ssl_extraction"}  # which set it themselves


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_the_project_is_on_the_path_before_it_is_imported(path):
    """`python benchmarks/rawboost.py` once ended with: No module named 'sourcetracing'."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    is_on_path = False
    for node in sorted((node for node in ast.walk(tree) if hasattr(node, "lineno")), key=lambda node: (node.lineno, node.col_offset)):
        names = names_of(node)
        is_on_path |= isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path.insert"
        is_on_path |= bool(PATH_SETTERS & set(names))
        assert is_on_path or not any(name.split(".")[0] == "sourcetracing" for name in names), f"{path.name}:{node.lineno}"


def test_one_that_failed_starts_in_another_folder(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = f"import runpy, sys; sys.path[0] = {str(ROOT / 'benchmarks')!r}; runpy.run_path({str(ROOT / 'benchmarks' / 'rawboost.py')!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_part_of_the_gpu_benchmark_runs_in_miniature(tmp_path):
    command = [sys.executable, "benchmarks/gpu.py", "miniature", "device=cpu", "epochs=1", f"record={tmp_path / 'r.md'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "failed" not in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## extraction",
        "## finetuning",
        "## training",
        "## speedrun",
    ]
    assert text.count("x real time") == 4 and text.count("s an epoch") == 3 and "6 cells, 1 epochs each" in text
