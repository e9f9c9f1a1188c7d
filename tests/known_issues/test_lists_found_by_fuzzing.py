"""Lists that ended in a traceback, or moved all columns by one: found by tests/fuzz."""

from __future__ import annotations

import pytest

from sourcetracing.corpora.list_columns import Vocabulary
from sourcetracing.corpora.list_files import read_list_file
from sourcetracing.corpora.mlaad import META_COLUMNS, read_meta
from sourcetracing.corpora.mlaad_source_tracing import read_protocols
from sourcetracing.errors import UserError
from sourcetracing.protocols.table import read_table
from sourcetracing.runtime.files import read_csv


def test_a_path_of_mlaad_without_folders_is_named_with_its_row(tmp_path):
    (tmp_path / "meta.csv").write_text("|".join(META_COLUMNS) + "\n" + "|".join(["fake", *META_COLUMNS[1:]]) + "\n")
    with pytest.raises(UserError, match=r"meta\.csv, row 2: 'fake' is not of the form"):
        read_meta(tmp_path / "meta.csv")


def test_rows_longer_than_the_header_do_not_move_the_columns(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("path,model\na,b,c\n")
    with pytest.raises(ValueError, match="row 2: more cells than the header has columns"):
        read_csv(path)


def test_rows_of_a_protocol_longer_than_the_header(tmp_path):
    for split in ("train", "dev", "eval"):
        (tmp_path / f"{split}.csv").write_text("path,model_name\n./fake/en/a/0.wav,a,more\n")
    with pytest.raises(UserError, match=r"train\.csv is no CSV: row 2"):
        read_protocols(tmp_path)


def test_a_heading_that_is_no_utf_8(tmp_path):
    (tmp_path / "utterances.csv").write_bytes(b"utt_\xb8id,path\na,b\n")
    with pytest.raises(UserError, match=r"utterances\.csv is damaged"):
        read_table(tmp_path / "utterances.csv", ["utt_id"], "python scripts/02_build_protocols.py CONFIG.yaml")


def test_a_list_of_a_heading_alone_is_no_list(tmp_path):
    (tmp_path / "list.csv").write_text("path,language,")
    assert read_list_file(tmp_path / "list.csv", "list.csv", Vocabulary(["vits"], ["en"])) is None


def test_a_name_with_a_line_break_leaves_a_message_one_line():
    assert str(UserError("a\nb\x85c\u2028d\ud800 é 日本")) == r"a\nb\x85c\u2028d\ud800 é 日本"
