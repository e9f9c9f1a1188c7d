"""Folders of audio that nobody described: which layout is found, what is renamed, left out and refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sourcetracing.corpora.found_files import UNKNOWN_LANGUAGE, usable_language, usable_source
from sourcetracing.corpora.looking import look_at_folder
from sourcetracing.corpora.mlaad import META_COLUMNS
from sourcetracing.errors import UserError
from sourcetracing.settings.names import require_usable_names


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def triples(root: Path) -> set[tuple[str, str, str]]:
    rows = look_at_folder(root).rows
    return set(zip(rows["path"], rows["language"], rows["source"], strict=True))


def test_the_layout_of_the_reader_needs_no_table(tmp_path):
    found = look_at_folder(touch(tmp_path, "en/a/1.wav", "en/b/deep/er/1.flac", "de/a/1.mp3"))
    assert (found.is_as_read, found.root, found.notes) == (True, tmp_path, [])
    assert found.layout == "<language>/<source>/*.wav"
    assert found.rows["path"].tolist() == ["de/a/1.mp3", "en/a/1.wav", "en/b/deep/er/1.flac"]
    assert (found.languages, found.sources) == (["de", "en"], ["a", "b"])


def test_languages_by_their_names_in_either_order(tmp_path):
    touch(tmp_path / "one", "English/a/1.wav", "German/b/1.wav", "min-nan/b/1.wav")
    assert {row[1] for row in triples(tmp_path / "one")} == {"English", "German", "min-nan"}  # most of them are languages
    touch(tmp_path / "two", "tts/en/1.wav", "tts/de/1.wav", "vocoder/en/1.wav")
    found = look_at_folder(tmp_path / "two")
    assert found.layout == "<source>/<language>/*.wav"
    assert not found.is_as_read
    assert ("tts/de/1.wav", "de", "tts") in triples(tmp_path / "two")


def test_folders_of_sources_alone_are_one_language_and_a_note_says_so(tmp_path):
    found = look_at_folder(touch(tmp_path, "bark/1.wav", "xtts/speaker1/1.wav"))
    assert triples(tmp_path) == {("bark/1.wav", UNKNOWN_LANGUAGE, "bark"), ("xtts/speaker1/1.wav", UNKNOWN_LANGUAGE, "xtts")}
    assert not found.is_as_read
    assert "one language, 'xx'" in found.notes[0]


def test_split_folders_are_splits(tmp_path):
    found = look_at_folder(touch(tmp_path, "train/en/a/1.wav", "train/en/b/1.wav", "test/de/a/2.wav", "Dev/en/a/3.wav"))
    assert dict(zip(found.rows["path"], found.rows["split"], strict=True)) == {
        "train/en/a/1.wav": "train",
        "train/en/b/1.wav": "train",
        "test/de/a/2.wav": "eval",
        "Dev/en/a/3.wav": "dev",
    }
    assert found.languages == ["de", "en"]


def test_noises_results_and_a_folder_around_everything_are_no_languages(tmp_path):
    touch(tmp_path, "fake/en/a/1.wav", "fake/en/b/1.wav", "exp/demo/x/y.wav", "RIRS/simulated_rirs/small/1.wav")
    touch(tmp_path, *(f"noises/{kind}/x/1.wav" for kind in ("music", "noise", "speech")))
    found = look_at_folder(tmp_path)
    assert found.root == tmp_path / "fake"
    assert found.rows["path"].tolist() == ["en/a/1.wav", "en/b/1.wav"]


def test_meta_csv_gives_transcripts_recordings_speakers_and_names_of_models(tmp_path):
    touch(tmp_path, "fake/en/acme_tts/1.wav", "fake/en/other/1.wav")
    original = "en_US/by_book/female/mary/book/wavs/1.wav"
    with open(tmp_path / "fake/en/acme_tts/meta.csv", "w", encoding="utf-8") as file:
        row = ["./fake/en/acme_tts/1.wav", original, "en", "True", "1", "x", "acme/tts", "x", "Hello"]
        csv.writer(file, delimiter="|").writerows([META_COLUMNS, row])
    (tmp_path / "fake/en/other/meta.csv").write_text("something else\n")
    found = look_at_folder(tmp_path)
    first, second = found.rows.to_dict("records")
    assert (first["source"], first["transcript"], first["speaker"], first["recording"]) == ("acme/tts", "Hello", "mary", original)
    assert (second["source"], second["transcript"]) == ("other", "")
    assert not found.is_as_read
    assert any("not used" in note and "meta.csv" in note for note in found.notes)


@pytest.mark.parametrize("name", ["all", "zh cn", "a:b", "..", "-", "pooled", "e\u200bn", "${x}", "???", " en ", "e\u0301", "a\nb", ""])
def test_any_name_becomes_a_usable_one(name):
    language, source = usable_language(name), usable_source(name)
    require_usable_names([language], [source])
    assert "${" not in language + source and "???" not in (language, source)
    assert (usable_language(language), usable_source(source)) == (language, source)


def test_bad_names_are_renamed_and_two_forms_of_one_name_become_one(tmp_path):
    found = look_at_folder(touch(tmp_path, "en/caf\u00e9/1.wav", "en/cafe\u0301/2.wav", "en/train/1.wav"))
    assert found.sources == ["caf\u00e9", "train_1"]
    assert not found.is_as_read
    assert any("'train' is 'train_1'" in note for note in found.notes)


def test_files_that_no_list_can_hold_and_twins_are_left_out(tmp_path):
    touch(tmp_path, "en/a/1.wav", "en/a/1.flac", "en/b/1.wav", "en/b/x\ny.wav", "en/stray.wav")
    (tmp_path / "en/b" / "caf\udce9.wav").write_bytes(b"")  # Latin-1
    found = look_at_folder(tmp_path)
    assert found.rows["path"].tolist() == ["en/a/1.flac", "en/b/1.wav"]
    assert [note.partition(",")[0] for note in found.notes] == ["left out 1 file"] * 4


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["en/a/readme.txt"], r"holds no audio file .*there is: 1 \.txt"),
        ([], "holds no audio file .*there is: nothing"),
        (["1.wav", "2.wav"], "no source .*nothing to tell apart.*<language>/<source>"),
        (["en/1.wav", "de/1.wav"], "no source .*nothing to tell apart"),
        (["en/only/1.wav", "de/only/1.wav"], "one source only, 'only'"),
    ],
)
def test_what_cannot_be_an_experiment_is_refused_in_one_line(tmp_path, names, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        look_at_folder(touch(tmp_path, *names))
    assert "\n" not in str(caught.value)
