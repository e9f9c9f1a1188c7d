"""A corpus of one's own: what is read from a tree and from a table, and every mistake in them as one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sourcetracing.corpora.corpus import UTTERANCE_COLUMNS
from sourcetracing.corpora.folder import FolderCorpus
from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import Corpus, Folder
from sourcetracing.settings.paths import Paths
from sourcetracing.settings.schema import Settings


def settings_for(root: Path, *, table: Path | str = "", languages=("en", "de"), sources=("a", "b"), unknown=()) -> Settings:
    corpus = Corpus(reader="folder", languages=list(languages), sources=list(sources), unknown_sources=list(unknown))
    paths = Paths(corpus=str(root), musan=str(root / "musan"), rirs=str(root / "RIRS_NOISES"), exp=str(root / "exp"))
    return Settings(paths=paths, corpus=corpus, folder=Folder(table=str(table)))


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def write_table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "table.csv").write_bytes(text.encode(encoding))
    return root / "table.csv"


FOUR = "en/a/1.wav", "en/b/1.wav", "de/a/1.wav", "de/b/1.wav"
HEADER = "path,language,source\n"
FOUR_ROWS = "".join(f"{name},{name[:2]},{name[3]}\n" for name in FOUR)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    touch(tmp_path, *FOUR)
    return tmp_path


def test_a_tree_yields_one_row_per_audio_file(tree, capsys):
    touch(tree, "en/a/book one/2.FLAC", "en/a/3.v2.mp3")
    table = FolderCorpus(settings_for(tree)).prepare()
    assert table.columns.tolist() == list(UTTERANCE_COLUMNS)
    assert table["utt_id"].tolist() == ["de/a/1", "de/b/1", "en/a/1", "en/a/3.v2", "en/a/book one/2", "en/b/1"]
    assert table["path"].tolist()[3:5] == ["en/a/3.v2.mp3", "en/a/book one/2.FLAC"]
    assert table.set_index("utt_id").loc["en/a/book one/2", ["language", "source", "speaker", "transcript"]].tolist() == ["en", "a", "", ""]
    assert capsys.readouterr().out == ""


def test_hidden_files_noises_and_foreign_files_are_no_utterances_and_the_latter_are_counted(tree, capsys):
    touch(tree, "en/a/._1.wav", "en/.cache/x/1.wav", "musan/noise/free-sound/n.wav", "exp/demo/report/x.wav")
    touch(tree, "en/a/notes.txt", "en/a/2.json", "en/stray.wav")
    assert len(FolderCorpus(settings_for(tree)).prepare()) == 4
    (line,) = capsys.readouterr().out.splitlines()
    assert "ignored 3 other files" in line and "1 .json" in line and "1 .wav outside <language>/<source>/" in line


def test_rows_outside_the_settings_are_left_out_in_one_line(tree, capsys):
    touch(tree, "fr/a/1.wav", "fr/a/2.wav", "en/c/1.wav")
    assert len(FolderCorpus(settings_for(tree)).prepare()) == 4
    (line,) = capsys.readouterr().out.splitlines()
    assert "left out 3 of 7 utterances" in line and "corpus.languages" in line


def test_unknown_sources_are_named_or_all_others(tree):
    touch(tree, "en/c/1.wav", "de/d/1.wav")
    assert set(FolderCorpus(settings_for(tree, unknown=["c"])).prepare()["source"]) == {"a", "b", "c"}
    assert set(FolderCorpus(settings_for(tree, unknown=["all"])).prepare()["source"]) == {"a", "b", "c", "d"}
    with pytest.raises(UserError, match=r"corpus.unknown_sources: .* has no 'x'; there are: a, b, c, d"):
        FolderCorpus(settings_for(tree, unknown=["x"])).prepare()


def test_a_source_with_slashes_is_found_in_its_folder(tmp_path):
    touch(tmp_path, "en/tts_models_multi_bark/1.wav")
    row = FolderCorpus(settings_for(tmp_path, languages=["en"], sources=["tts_models/multi/bark"])).prepare().iloc[0]
    assert (row["source"], row["utt_id"]) == ("tts_models/multi/bark", "en/tts_models_multi_bark/1")


def test_links_are_followed_but_not_in_circles(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    touch(elsewhere, "1.wav")
    (tree / "en" / "c").symlink_to(elsewhere)
    (tree / "en" / "a" / "loop").symlink_to(tree / "en")
    ids = FolderCorpus(settings_for(tree, sources=["a", "b", "c"])).prepare()["utt_id"].tolist()
    assert "en/c/1" in ids and not any("loop" in utt_id for utt_id in ids)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"languages": ["en", "es"]}, ["corpus.languages", "has no 'es'", "did you mean 'en'"]),
        ({"sources": ["a", "bb"]}, ["corpus.sources", "has no 'bb'", "did you mean 'b'"]),
    ],
)
def test_what_the_corpus_lacks_is_named_with_what_there_is(tree, changes, words):
    with pytest.raises(UserError) as error:
        FolderCorpus(settings_for(tree, **changes)).prepare()
    assert all(word in str(error.value) for word in words)


def test_a_language_that_only_other_sources_speak_is_refused(tree):
    touch(tree, "es/c/1.wav")
    with pytest.raises(UserError, match="corpus.languages: .* has 'es', but not together"):
        FolderCorpus(settings_for(tree, languages=["en", "es"])).prepare()


def test_two_files_of_one_name_are_both_named(tree):
    touch(tree, "en/a/1.flac")
    with pytest.raises(UserError, match=r"en/a/1.flac and en/a/1.wav would both be utterance en/a/1"):
        FolderCorpus(settings_for(tree)).prepare()


def test_an_absent_or_empty_tree_shows_the_expected_layout(tmp_path):
    for verb in (FolderCorpus.prepare, FolderCorpus.check, FolderCorpus.download):
        with pytest.raises(UserError, match="paths.corpus.*<language>/<source>/"):
            verb(FolderCorpus(settings_for(tmp_path / "absent")))
    touch(tmp_path, "1.wav", "en/a/1.json")
    with pytest.raises(UserError, match=r"holds no <language>/<source>/\*.*1 .json"):
        FolderCorpus(settings_for(tmp_path)).prepare()


def test_a_file_name_that_is_no_text_is_refused(tree):
    with open(os.fsencode(tree / "en" / "a") + b"/\xff.wav", "wb"):
        pass
    with pytest.raises(UserError, match="en/a/.*not UTF-8"):
        FolderCorpus(settings_for(tree)).prepare()


def test_verbs_of_a_tree(tree):
    settings = settings_for(tree, languages=["de", "en"], sources=["b", "a"])
    assert FolderCorpus(settings).check() == {"utterances": 4}
    assert FolderCorpus(settings).missing_files() == [] and FolderCorpus(settings).resources() == []
    table = FolderCorpus(settings).inventory()
    assert table.to_numpy().tolist() == [["de", "b", 1, 1], ["de", "a", 1, 1], ["en", "b", 1, 1], ["en", "a", 1, 1]]
    FolderCorpus(settings).download()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_in_every_separator(tree, separator, encoding):
    text = "Source, PATH ,Language,speaker,transcript,recording,Split\n"
    text += "a,en/a/1.wav,en,s1,Zażółć,r1,train\nb,./en//b/1.wav,en,s1,,r2,valid\na,de\\a\\1.wav,de,s2,,,TEST\nb,de/b/1.wav,de,s2,,,dev\n\n"
    table = write_table(tree, text.replace(",", separator).replace("\n", "\r\n"), encoding)
    rows = FolderCorpus(settings_for(tree, table=table)).prepare()
    assert rows.columns.tolist() == [*UTTERANCE_COLUMNS, "split"]
    assert rows["utt_id"].tolist() == ["de/a/1", "de/b/1", "en/a/1", "en/b/1"]
    assert rows["split"].tolist() == ["eval", "dev", "train", "dev"]
    assert rows.iloc[2][["speaker", "transcript", "recording"]].tolist() == ["s1", "Zażółć", "r1"]
    assert FolderCorpus(settings_for(tree, table=table)).check() == {"utterances": 4}


def test_transcripts_hold_commas_quotes_and_line_breaks(tree):
    text = 'path,language,source,transcript\n"en/a/1.wav",en,a,"He said ""no, never"",\nand left"\nde/b/1.wav,de,b,nan\n'
    rows = FolderCorpus(settings_for(tree, table=write_table(tree, text))).prepare()
    assert rows["transcript"].tolist() == ["nan", 'He said "no, never",\nand left']


def test_a_table_counts_its_missing_files(tree):
    settings = settings_for(tree, table=write_table(tree, HEADER + FOUR_ROWS + "".join(f"en/a/x{n}.wav,en,a\n" for n in range(5))))
    assert FolderCorpus(settings).missing_files() == [f"en/a/x{n}.wav" for n in range(5)]
    table = FolderCorpus(settings).inventory()
    assert table.query("language == 'en' and source == 'a'")[["needed", "present"]].to_numpy().tolist() == [[6, 1]]
    with pytest.raises(UserError, match=r"5 of 9 files are missing, such as: en/a/x0.wav, en/a/x1.wav, en/a/x2.wav. "):
        FolderCorpus(settings).check()
    assert len(FolderCorpus(settings).prepare()) == 9


def test_absolute_paths_inside_are_relative_and_outside_keep_their_place(tree, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    touch(outside, "9.wav")
    text = HEADER + f"{tree}/en/a/1.wav,en,a\nen/b/1.wav,en,b\n{outside}/9.wav,en,b\n"
    settings = settings_for(tree, table=write_table(tree, text), languages=["en"])
    rows = FolderCorpus(settings).prepare()
    assert rows["path"].tolist() == ["en/a/1.wav", "en/b/1.wav", f"{outside}/9.wav"]
    assert rows["utt_id"].iloc[2] == f"{outside}/9".lstrip("/")
    assert FolderCorpus(settings).check() == {"utterances": 3}
    with pytest.raises(UserError, match="rows 2 and 3: both list en/a/1.wav"):
        FolderCorpus(
            settings_for(tree, table=write_table(tree, HEADER + f"{tree}/en/a/1.wav,en,a\nen/a/1.wav,en,a\n"), languages=["en"])
        ).prepare()


def test_further_columns_are_kept_but_for_names_that_we_write_ourselves(tree, capsys):
    text = "path,language,source,mood,digest,\n" + "".join(f"{name},{name[:2]},{name[3]},x,y,\n" for name in FOUR)
    rows = FolderCorpus(settings_for(tree, table=write_table(tree, text))).prepare()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("ignored the columns digest, which the pipeline writes itself")
    assert set(rows["mood"]) == {"x"} and "digest" not in rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEADER, "lists no utterances"),
        ("path,lang,source\nx,en,a\n", "no column 'language'; did you mean 'lang'?"),
        ("path,language,source,Path\nx,en,a,y\n", "two columns 'path'"),
        (HEADER + "en/a/1.wav,en,a\n,en,a\n,de,a\n", r"row 3: empty path \(and 1 more rows\)"),
        (HEADER + "en/a/1.wav, ,a\n", "row 2: empty language"),
        (HEADER + "\nen/a/1.wav,en\n", "row 3: empty source"),
        (HEADER + "en/a/1.wav,en,a\n./en/a/1.wav,en,a\n", "rows 2 and 3: both list en/a/1.wav"),
        (HEADER + "en/a/1.wav,en,a\n../up.wav,en,a\n", r"row 3: \.\./up.wav leaves its folder"),
        (HEADER + "en/a/../../../etc/x.wav,en,a\n", "row 2: .* leaves its folder"),
        (HEADER + "en/a/,en,a\n", "row 2: en/a/ is a folder"),
        ("path,language,source,split\nen/a/1.wav,en,a,train\nde/a/1.wav,de,a,held\n", "row 3: unknown split 'held'"),
        ("path,language,source,split\nen/a/1.wav,en,a,train\nde/a/1.wav,de,a,\n", "row 3: no split, but row 2 has 'train'"),
        (HEADER + "en/a/1.wav,en,a,b\n", "row 2: more cells"),
        (HEADER + "en/a/1.wav,en,a\nen/b/1.wav,en,a,b\n", "cannot be read as a table: .*line 3"),
        (HEADER + 'en/a/1.wav,en,"a\n', "line 2: a cell starts with a quotation mark that does not end with the cell. Close"),
        (
            'path\tlanguage\tsource\ttranscript\nen/a/1.wav\ten\ta\t"Yes\nde/a/1.wav\tde\ta\tNo"\n',
            "line 2: a cell starts with a quotation mark that does not end with the cell, and so 1 more lines are lost",
        ),
        (
            'path,language,source,transcript\nen/a/1.wav,en,a,"Yes\nen/b/1.wav,en,b,Well\nde/a/1.wav,de,a,No"\n',
            "line 2: a cell .* 2 more lines are lost",
        ),
    ],
)
def test_a_bad_table_is_refused_with_its_row(tree, text, message):
    with pytest.raises(UserError, match=message) as error:
        FolderCorpus(settings_for(tree, table=write_table(tree, text))).prepare()
    assert "\n" not in str(error.value)


def test_a_table_without_any_split_has_no_split_column(tree):
    text = "path,language,source,split\n" + "".join(f"{name},{name[:2]},{name[3]},\n" for name in FOUR)
    assert "split" not in FolderCorpus(settings_for(tree, table=write_table(tree, text))).prepare()


@pytest.mark.parametrize("encoding", ["utf-16-be", "latin-1"])
def test_a_table_in_another_encoding_is_refused(tree, encoding):
    with pytest.raises(UserError, match="no UTF-8 text"):
        FolderCorpus(settings_for(tree, table=write_table(tree, HEADER + "en/a/größe.wav,en,a\n", encoding))).prepare()


def test_an_absent_table_is_refused(tree):
    for verb in (FolderCorpus.prepare, FolderCorpus.download):
        with pytest.raises(UserError, match="folder.table=.*path, language, source"):
            verb(FolderCorpus(settings_for(tree, table=tree / "none.csv")))


def test_a_source_may_have_two_vocoders_and_holes(tree):
    cells = ["hifigan", "NA", "", "hifigan"]
    text = "path,language,source,Vocoder\n" + "".join(
        f"{name},{name[:2]},{name[3]},{cell}\n" for name, cell in zip(FOUR, cells, strict=True)
    )
    rows = FolderCorpus(settings_for(tree, table=write_table(tree, text))).prepare().set_index("path")
    assert rows.loc[list(FOUR), "vocoder"].tolist() == cells
