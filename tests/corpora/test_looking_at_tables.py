"""Tables of audio files that nobody described: columns by many names, paths relative to what fits, gaps that are filled or left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from sourcetracing.corpora.looking_at_tables import look_at_table
from sourcetracing.errors import UserError
from tests.corpora.test_looking import touch

FILES = ("x/1.wav", "x/2.wav", "y/1.wav")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return touch(tmp_path / "corpus", *FILES)


def table(folder: Path, text: str, name: str = "list.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_table_that_the_reader_takes_is_kept(corpus):
    own = table(corpus, "path,language,source,split\nx/1.wav,en,a,train\nx/2.wav,en,b,test\ny/1.wav,de,a,train\n")
    found = look_at_table(own)
    assert (found.is_as_read, found.table, found.root, found.notes) == (True, own, corpus, [])
    assert found.rows["split"].tolist() == ["train", "eval", "train"]


def test_other_headings_separators_and_folders_need_a_table_of_ours(corpus):
    listed = 'Model;File Name;Lang;Text\na;corpus/x/1.wav;en;"Hello; you"\nb;corpus/x/2.wav;en;Bye\n'
    found = look_at_table(table(corpus.parent / "lists", listed))
    assert found.root == corpus.parent
    assert found.rows["path"].tolist() == ["corpus/x/1.wav", "corpus/x/2.wav"]
    assert found.rows["transcript"].tolist() == ["Hello; you", "Bye"]
    assert not found.is_as_read
    assert "source (model)" in found.layout


def test_absolute_paths_and_those_with_dots(corpus):
    listed = f"path\tsource\n{corpus}/x/1.wav\ta\nx/../y/1.wav\tb\n.\\x\\2.wav\tb\n"
    found = look_at_table(table(corpus, listed, "list.tsv"))
    assert {Path(found.root / path).resolve() for path in found.rows["path"]} == {(corpus / name).resolve() for name in FILES}
    assert set(found.rows["language"]) == {"xx"}
    assert any("no column names the languages" in note for note in found.notes)


def test_rows_with_gaps_are_filled_or_left_out_with_a_note_each(corpus):
    listed = "path,language,source,split\nx/1.wav,,a,train\nx/1.wav,en,a,train\nx/2.wav,en,b,\ny/1.wav,en,,eval\ngone.wav,en,a,eval\n"
    found = look_at_table(table(corpus, listed))
    assert found.rows[["path", "language", "source", "split"]].to_numpy().tolist() == [
        ["x/1.wav", "xx", "a", ""],
        ["x/2.wav", "en", "b", ""],
    ]
    assert not found.is_as_read
    assert [note.split(",")[0].split(":")[0] for note in found.notes] == [
        "left out 1 file",
        "left out 1 file",
        "left out 1 file",
        "1 rows have no language",
        "the column of splits is not used",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "lists no files"),
        ("path,source\n", "lists no files"),
        ("source,language\na,en\n", "has no column path"),
        ("path,language\nx/1.wav,en\n", r"has no column source .*its first row is: path, language"),
        ("path,source\nq/1.wav,a\nq/2.wav,b\n", "none of the 2 files that it lists is there"),
        ("path,source\nx/1.wav,a\nx/2.wav,a\n", "one source only, 'a'"),
        ("x/1.wav,en,a\nx/2.wav,en,b\n", "has no header: its first row is that of a file, x/1.wav. Put a line"),
        ('path,source,text\nx/1.wav,a,Yes\nx/2.wav,b,"No\ny/1.wav,b,Well\n', "line 3: a cell .* does not end with the cell, and so 1 more"),
        ('path,source,text\nx/1.wav,a,"Yes\nx/2.wav,b,No\ny/1.wav,b,Well"\n', "line 2: a cell .*, and so 2 more lines are lost in it"),
        ('path,source\nx/1.wav,a\nx/2.wav,"b\n', "line 3: a cell starts with a quotation mark"),
    ],
)
def test_what_cannot_be_an_experiment_is_refused_in_one_line(corpus, text, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        look_at_table(table(corpus, text))
    assert "\n" not in str(caught.value)


def test_a_text_of_several_lines_is_one_cell(corpus):
    found = look_at_table(table(corpus, 'path,source,text\nx/1.wav,a,"Yes,\nindeed, ""sir"""\nx/2.wav,b,No\n'))
    assert found.rows["path"].tolist() == ["x/1.wav", "x/2.wav"]
