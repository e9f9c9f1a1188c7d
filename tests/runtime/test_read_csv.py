"""Names in CSV files stay names, whatever pandas would take them for; and one function reads all of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.runtime.files import read_csv, write_csv
from tests.support.places import ROOT

NAMES = ["nan", "NA", "007", "1e3", "True", "null", "None", "inf", "", "N/A", "-", "acme/tts-v2", "voice, large", 'a "b"']


def test_names_come_back_as_they_were(tmp_path):
    write_csv(pd.DataFrame({"source": NAMES, "count": range(len(NAMES))}), tmp_path / "table.csv")
    for table in (read_csv(tmp_path / "table.csv", numbers=["count"]), read_csv(tmp_path / "table.csv", texts=["source"])):
        assert table["source"].tolist() == NAMES
        assert table["count"].tolist() == list(range(len(NAMES)))
        assert table["count"].dtype == "int64"


def test_names_are_names_as_headings_too(tmp_path):
    write_csv(pd.DataFrame({"language": ["nan"], **{name: [1.5] for name in NAMES if name}}), tmp_path / "table.csv")
    table = read_csv(tmp_path / "table.csv", texts=["language"])
    assert table.columns.tolist() == ["language", *filter(None, NAMES)]
    assert table["language"].tolist() == ["nan"]
    assert table["007"].tolist() == [1.5]


def test_missing_numbers_are_nan_and_truth_values_are_bool(tmp_path):
    (tmp_path / "table.csv").write_text("name,figure,empty,holds\nNA,0.25,,True\n007,,,False\n")
    table = read_csv(tmp_path / "table.csv", texts=["name"])
    assert table["figure"].tolist()[0] == 0.25
    assert table["figure"].isna().tolist() == [False, True]
    assert table["empty"].isna().all()
    assert table["holds"].tolist() == [True, False]


def test_text_where_a_number_should_be_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("name,figure\na,high\n")
    with pytest.raises(ValueError, match="high"):
        read_csv(tmp_path / "table.csv", numbers=["figure"])


def readers_of(path: Path) -> list[int]:
    """Lines that read a table with pandas themselves."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    named = {"read_csv", "read_table", "read_fwf"}
    return [call.lineno for call in calls if call.func.attr in named and ast.unparse(call.func.value) in ("pd", "pandas")]


def test_nothing_else_reads_csv_with_pandas():
    paths = [path for folder in ("sourcetracing", "scripts", "models") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = {path.relative_to(ROOT).as_posix(): lines for path in paths if (lines := readers_of(path))}
    assert list(found) == ["sourcetracing/runtime/files.py"], f"use sourcetracing.runtime.files.read_csv: {found}"
    assert len(found["sourcetracing/runtime/files.py"]) == 1
