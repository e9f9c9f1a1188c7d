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


# Who may read tables with a library itself: the reader of our own files, that of large ones of ours, the readers of lists of unknown make.
READERS = {
    "sourcetracing/runtime/files.py": ["pd.read_csv"],
    "sourcetracing/protocols/table.py": ["pa.csv.read_csv"],
    "sourcetracing/corpora/folder.py": ["csv.reader"],
    "sourcetracing/corpora/looking_at_tables.py": ["csv.reader"],
    "sourcetracing/corpora/list_files.py": ["csv.reader"],
    "sourcetracing/corpora/open_quotes.py": ["csv.reader"],
    "sourcetracing/detection/data/corpora/rows.py": ["csv.reader"],
    "sourcetracing/verification/formats.py": ["csv.reader"],
    "benchmarks/small_corpora.py": ["pd.read_csv"],  # the text that it is about to write
    "benchmarks/protocols.py": ["csv.DictReader", "pd.read_csv"],  # what the library is measured against
}
OF_LIBRARIES = {
    *(f"{library}.{name}" for library in ("pd", "pandas") for name in ("read_csv", "read_table", "read_fwf", "read_excel", "read_html")),
    *("csv.reader", "csv.DictReader", "pa.csv.read_csv", "pyarrow.csv.read_csv", "pa.csv.open_csv", "np.loadtxt", "np.genfromtxt"),
}


def readers_of(path: Path) -> list[str]:
    """What a module reads tables with, other than our own functions; also what it imports by name, as in `from pandas import read_csv`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    imported = [f"{node.module}.{alias.name}" for node in froms for alias in node.names]
    return sorted(set(called + imported) & OF_LIBRARIES)


def test_nothing_else_reads_tables_with_a_library():
    folders = ("sourcetracing", "scripts", "models", "benchmarks", "docs")
    paths = [*ROOT.glob("*.py"), *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))]
    found = {path.relative_to(ROOT).as_posix(): names for path in paths if (names := readers_of(path))}
    assert found == READERS, "use sourcetracing.runtime.files.read_csv, or sourcetracing.runtime.lists.read_list for what users bring"


@pytest.mark.parametrize("line", ["import pandas as pd\npd.read_csv('x')", "from pandas import read_csv", "import csv\ncsv.DictReader([])"])
def test_other_readers_are_found(tmp_path, line):
    (tmp_path / "module.py").write_text(line + "\n")
    assert readers_of(tmp_path / "module.py")
