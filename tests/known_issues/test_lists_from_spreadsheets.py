"""Excel's first line sep=; , zero-width spaces, byte order marks, and NFC in a list against NFD on disk: understood or named."""

from __future__ import annotations

import unicodedata

import pytest

from sourcetracing.corpora.folder import FolderCorpus
from sourcetracing.corpora.published_lists import read_lists
from sourcetracing.detection.data.corpora.rows import read_columns, read_table
from sourcetracing.detection.data.segments import read_recordings
from sourcetracing.errors import UserError
from sourcetracing.runtime.lists import lookalike, read_list
from tests.corpora.test_folder import FOUR, settings_for, touch

ZERO = "\u200b"
NFC, NFD = (unicodedata.normalize(form, "grüße") for form in ("NFC", "NFD"))
ROWS = [(name, name[:2], name[3]) for name in FOUR]


def table_of(separator: str, edge: str = "", first: str = "", end: str = "\n") -> str:
    lines = [separator.join(f"{edge}{cell}{edge}" for cell in row) for row in [("path", "language", "source"), *ROWS]]
    return first + end.join(lines) + end


PLAIN = table_of(",")
DISGUISED = {
    "sep= of Excel": table_of(";", first="sep=;\r\n", end="\r\n").encode(),
    "sep= in quotes": table_of(";", first='"sep=;"\n').encode(),
    "sep= of another sign": table_of("^", first="sep=^\n").encode(),
    "byte order mark and sep=": table_of(";", first="sep=;\n").encode("utf-8-sig"),
    "two byte order marks": ("\ufeff" + table_of(",")).encode("utf-8-sig"),
    "zero-width spaces": table_of(",", edge=ZERO).encode(),
    "byte order marks within": table_of(",", edge="\ufeff").encode(),
    "no-break and ideographic blanks": table_of(",", edge="\xa0\u3000").encode(),
    "Unicode text of Excel": table_of("\t").encode("utf-16"),
    "carriage returns": table_of(",", end="\r").encode(),
}


@pytest.mark.parametrize("content", DISGUISED.values(), ids=DISGUISED)
def test_a_table_is_read_as_the_plain_one(tmp_path, content):
    touch(tmp_path, *FOUR)
    (tmp_path / "plain.csv").write_text(PLAIN)
    (tmp_path / "table.csv").write_bytes(content)
    plain, found = (FolderCorpus(settings_for(tmp_path, table=tmp_path / name)).prepare() for name in ("plain.csv", "table.csv"))
    assert found.equals(plain) and len(plain) == 4


def test_rows_are_counted_as_the_spreadsheet_does(tmp_path):
    (tmp_path / "table.csv").write_text("sep=;\n" + table_of(";") + "en/a/9.wav;en;\n")
    with pytest.raises(UserError, match="table.csv, row 7: empty source"):
        FolderCorpus(settings_for(tmp_path, table=tmp_path / "table.csv")).prepare()


@pytest.mark.parametrize("edge", ["", ZERO, "\ufeff"])
@pytest.mark.parametrize("first", ["", "sep=;\n"])
def test_lists_of_authors(tmp_path, first, edge):
    rows = [("path", "split"), *((f"fake/en/{source}/{number}.wav", "train") for source in ("a", "b") for number in range(3))]
    text = "\n".join(";".join(f"{edge}{cell}{edge}" for cell in row) for row in rows)
    (tmp_path / "train.csv").write_text(first + text + "\n", encoding="utf-8")
    found = read_lists(tmp_path, ["a", "b"], ["en"])
    assert found.utterances["path"].tolist() == sorted(row[0] for row in rows[1:])
    assert found.utterances["source"].tolist() == ["a"] * 3 + ["b"] * 3


def test_lists_of_detection(tmp_path):
    path = tmp_path / "meta.csv"
    path.write_text(f"sep=;\n\ufefffile;label{ZERO};note\n{ZERO}a.wav;spoof;x;more\n\nb.wav ;bonafide\n", encoding="utf-8-sig")
    table = read_table(path, ("file", "label"))
    assert table[["file", "label"]].to_numpy().tolist() == [["a.wav", "spoof"], ["b.wav", "bonafide"]]
    path.write_text("file;label;file\na;b;c\n")
    with pytest.raises(UserError, match="two columns 'file'"):
        read_table(path, ("file", "label"), ";")
    path.write_text("file,label\na.wav,spoof\nb.wav\n")
    with pytest.raises(UserError, match="line 3: fewer columns"):
        read_table(path, ("file", "label"))
    path.write_text(f"{ZERO}p1 a - spoof\n", encoding="utf-8-sig")
    assert read_columns(path, ("speaker", "id"), 4)["speaker"].tolist() == ["p1"]
    path.write_text(f"sep=|\n{ZERO}one.mp3 |{ZERO}spoof\ntwo.mp3|bona-fide|\ufeffAnna\n", encoding="utf-8-sig")
    assert [(one.path, one.label, one.speaker) for one in read_recordings(path)] == [
        ("one.mp3", "spoof", ""),
        ("two.mp3", "bonafide", "Anna"),
    ]


@pytest.mark.parametrize(("listed", "on_disk"), [(NFC, NFD), (NFD, NFC)])
def test_a_file_in_the_other_unicode_form_is_named(tmp_path, listed, on_disk):
    touch(tmp_path, f"en/{on_disk}/1.wav")
    (tmp_path / "table.csv").write_text(f"path,language,source\nen/{listed}/1.wav,en,a\n", encoding="utf-8")
    corpus = FolderCorpus(settings_for(tmp_path, table=tmp_path / "table.csv", languages=["en"], sources=["a"]))
    with pytest.raises(UserError, match="1 of 1 files are missing.* looks the same, but .* is in Unicode form NF[CD], not NF[CD]"):
        corpus.check()
    assert lookalike(tmp_path / "en" / on_disk / "1.wav") == "" == lookalike(tmp_path / "en" / "other")


@pytest.mark.parametrize(("wanted", "there"), [(NFC, NFD), (NFD, NFC), (NFC, NFC.replace("ü", f"ü{ZERO}"))])
def test_a_source_that_only_looks_like_one_of_the_settings_is_named(tmp_path, wanted, there):
    touch(tmp_path, f"en/{there}/1.wav", f"en/{wanted}/2.wav")
    with pytest.raises(UserError, match="corpus.sources: .* looks as in .*Make the two the same") as refused:
        FolderCorpus(settings_for(tmp_path, languages=["en"], sources=[wanted])).prepare()
    assert ("U+200B" if ZERO in there else "NFC") in str(refused.value)


def test_a_hidden_sign_inside_a_name_is_named_with_its_row(tmp_path):
    (tmp_path / "table.csv").write_text(PLAIN + f"en/a/2.wav,en,a{ZERO}b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"row 6: the source 'ab' holds the invisible sign U\+200B; type it anew"):
        FolderCorpus(settings_for(tmp_path, table=tmp_path / "table.csv")).prepare()


def test_a_line_that_only_begins_like_excels_is_data(tmp_path):
    (tmp_path / "list.txt").write_text("sep=;x\nb\n")
    assert read_list(tmp_path / "list.txt").lines == ["sep=;x", "b"]
