"""MLAAD of any version by one reader: v5 as it is, a later one with other columns, and what is odd about either is counted and named."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.corpora.corpus import corpus_of
from sourcetracing.corpora.mlaad import read_meta, reader_of
from sourcetracing.corpora.mlaad_meta import META_COLUMNS, read_meta_table
from sourcetracing.errors import UserError
from sourcetracing.settings.recorded import protocol_recipe
from sourcetracing.settings.schema import Settings
from tests.support.mlaad_trees import LANGUAGES, MODELS, Model, write_tree


def settings_of(root, *sources: str, **mlaad: str) -> Settings:
    settings = Settings()
    settings.paths.corpus, settings.corpus.reader = str(root), "mlaad"
    settings.corpus.languages = list(LANGUAGES)
    settings.corpus.sources = list(sources) or ["griffin_lim", "suno/bark"]
    settings.corpus.unknown_sources = ["all"]
    for name, value in mlaad.items():
        setattr(settings.mlaad, name, value)
    return settings


def expected(tree) -> pd.DataFrame:
    return pd.DataFrame(tree.rows, columns=["language", "source", "stem", "reader", "words"])


def test_v5_and_a_later_version_are_read_alike(tmp_path, capsys):
    plain = tuple(Model(model.name, model.architecture, model.languages) for model in MODELS)
    for name, models, version in (("v5", plain, "v5"), ("v9", MODELS, "v9")):
        tree = write_tree(tmp_path / name, models)
        found = corpus_of(settings_of(tmp_path / name, version=version)).prepare()
        wanted = expected(tree)
        assert len(found) == len(wanted) == sum(len(model.languages) for model in MODELS) * 24
        sizes = found.groupby(["language", "source"]).size()
        pd.testing.assert_series_equal(sizes, wanted.groupby(["language", "source"]).size())
        both = found.assign(stem=found["path"].str.extract(r"/([^/]+)\.wav$")[0]).merge(wanted, on=["language", "source", "stem"])
        assert len(both) == len(found)
        assert (both["speaker"] == both["reader"]).all()
        silent = both["source"] == "xtts_v2" if version == "v9" else pd.Series(False, index=both.index)
        assert (both["transcript"][~silent] == both["words"][~silent]).all()
        assert (both["transcript"][silent] == "").all()
        assert found["utt_id"].is_monotonic_increasing and found["utt_id"].is_unique
    lines = capsys.readouterr().out
    assert "MLAAD v9: 3 of 26 models: meta.csv has no transcript (de/xtts_v2, en/xtts_v2, fr/xtts_v2)" in lines
    assert "2 of 26 models: meta.csv has no path; found by original_file (en/Llasa-8B, fr/Llasa-8B)" in lines
    assert "1 of 26 models: paths in meta.csv are names of files alone (en/Llasa-1B)" in lines
    assert "3 of 26 models: meta.csv has no model_name (de/kokoro" in lines
    assert "1 of 26 models: the folder is spelled otherwise than model_name, which counts (en/parler-mini)" in lines
    assert "MLAAD v9: the Hub's commit of v9 is not known here; the branch main is taken" in lines
    assert "MLAAD v5: " not in lines


def test_extra_columns_are_kept_and_meet_none_of_ours(tmp_path):
    write_tree(tmp_path)
    found = corpus_of(settings_of(tmp_path)).prepare().set_index("utt_id")
    assert "split" not in found
    own = found["source"] == "xtts_v1.1"
    assert set(found["meta_cer"][own]) == {"0.01"} and set(found["meta_split"][own]) == {"train"}
    assert set(found["meta_cer"][~own]) == {""}
    assert found.loc["de/suno_bark-small/anna_0", "meta_duration"] == "0.6"
    assert found.loc["de/suno_bark-small/anna_0", "training_data"] == "cv"


def test_files_that_are_missing_and_files_that_are_not_listed_are_counted_and_named(tmp_path, capsys):
    write_tree(tmp_path)
    (tmp_path / "fake/de/suno_bark/anna_0.wav").unlink()
    (tmp_path / "fake/en/xtts_v2/anna_1.wav").unlink()
    (tmp_path / "fake/en/xtts_v2/new.flac").touch()
    (tmp_path / "fake/fr/griffin_lim/meta.csv").unlink()
    strict = corpus_of(settings_of(tmp_path))
    assert len(strict.prepare()) == 26 * 24
    lines = capsys.readouterr().out
    assert "2 files of 2 models are listed, but not there: 1 of de/suno_bark, 1 of en/xtts_v2" in lines
    assert "1 files of 1 models are there, but not listed, and left out: 1 of en/xtts_v2" in lines
    assert "1 of 26 models: no meta.csv; read from the names of the files (fr/griffin_lim)" in lines
    with pytest.raises(UserError, match=r"2 of 624 files are missing, such as: fake/de/suno_bark/anna_0.wav\. Run"):
        strict.check()
    skipping = corpus_of(settings_of(tmp_path, on_missing="skip"))
    assert skipping.check() == {"utterances": 26 * 24 - 2}


def test_a_table_without_paths_and_originals_is_read_from_the_files(tmp_path):
    folder = tmp_path / "fake" / "en" / "some_model"
    folder.mkdir(parents=True)
    for name in ("a.wav", "b.flac", "notes.txt"):
        (folder / name).touch()
    (folder / "meta.csv").write_text("model_name,architecture,cer\nsome/model,vits,0.1\nsome/model,vits,0.2\n")
    settings = settings_of(tmp_path, "some/model")
    settings.corpus.languages = ["en"]
    found = corpus_of(settings).prepare()
    assert found[["path", "source", "architecture"]].to_numpy().tolist() == [
        ["fake/en/some_model/a.wav", "some/model", "vits"],
        ["fake/en/some_model/b.flac", "some/model", "vits"],
    ]
    assert "meta_cer" not in found


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('path|transcript\na.wav|say "x"; \'y\'\nb.wav|"all of it"\n', [["a.wav", "say \"x\"; 'y'"], ["b.wav", '"all of it"']]),
        ('path|transcript\na.wav|"one | two"\n', [["a.wav", "one | two"]]),
        ('path|transcript\na.wav|"say ""x"""\n', [["a.wav", 'say "x"']]),
        ('"path"|"transcript"\n"a.wav"|"x"\n', [["a.wav", "x"]]),
        ('transcript;path\r\n"a; b";a.wav\r\n\r\n', [["a.wav", "a; b"]]),
        ("\ufeffPATH,Transcript\n a.wav ,x\n", [["a.wav", "x"]]),
        ("path\ttranscript\na.wav\n", [["a.wav", ""]]),
    ],
)
def test_separators_quotation_and_line_ends(tmp_path, text, rows):
    (tmp_path / "meta.csv").write_bytes(text.encode())
    assert read_meta_table(tmp_path / "meta.csv")[["path", "transcript"]].to_numpy().tolist() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no MLAAD meta.csv: it is empty"),
        ("path|transcript\na|b|c\n", "is no MLAAD meta.csv: .*[Ee]xpected 2"),
        ("path|Path\na|b\n", "has two columns 'path'"),
        ('path,transcript\na.wav,"x\nb.wav,y\n', "line 2: a cell starts with a quotation mark"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, text, message):
    (tmp_path / "meta.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_meta_table(tmp_path / "meta.csv")


def test_the_readers_of_v5_stay_strict(tmp_path):
    (tmp_path / "meta.csv").write_text("|".join(META_COLUMNS[:-1]) + "\n")
    with pytest.raises(UserError, match="has no column 'transcript'"):
        read_meta(tmp_path / "meta.csv")
    (tmp_path / "meta.csv").write_text("|".join(META_COLUMNS) + "\n" + "|".join(["a.wav", *META_COLUMNS[1:]]) + "\n")
    with pytest.raises(UserError, match="'a.wav' is not of the form"):
        read_meta(tmp_path / "meta.csv")


def test_paths_lead_to_the_models_own_folder(tmp_path, capsys):
    folder = tmp_path / "fake" / "en" / "m"
    folder.mkdir(parents=True)
    (folder / "a.wav").touch()
    settings = settings_of(tmp_path, "m")
    settings.corpus.languages = ["en"]
    for path in ("./fake/en/m/a.wav", "MLAAD\\fake\\en\\m\\a.wav", "fake/en/old_name/a.wav", "a.wav"):
        (folder / "meta.csv").write_text(f"path\n{path}\n{path}\n")
        assert corpus_of(settings).prepare()["path"].tolist() == ["fake/en/m/a.wav"]
    lines = capsys.readouterr().out
    assert "1 of 1 models: paths in meta.csv name another folder; taken for files of their own (en/m)" in lines
    assert "1 of 1 models: meta.csv lists a file twice; the first row counts (en/m)" in lines
    (folder / "meta.csv").write_text("path\n../../a.wav\n")
    with pytest.raises(UserError, match="is no path to a file below its folder"):
        corpus_of(settings).prepare()


def test_official_splits_are_of_v5_alone():
    for reader in ("mlaad_source_tracing", "mcl_mlaad"):
        settings = Settings()
        settings.corpus.reader, settings.mlaad.version = reader, "v9"
        with pytest.raises(UserError, match=rf"mlaad.version=v9: corpus.reader={reader} reads lists of MLAAD v5, .*--propose FILE.yaml"):
            corpus_of(settings)


def test_a_version_is_recorded_and_its_archive_has_to_be_said(tmp_path):
    write_tree(tmp_path)
    settings = settings_of(tmp_path, version="v9", origin="archive")
    assert protocol_recipe(settings)["mlaad.version"] == "v9"
    (tmp_path / "fake/de/suno_bark/anna_0.wav").unlink()
    with pytest.raises(UserError, match="where the archive of MLAAD v9 lies is not known here. Give mlaad.archive_url"):
        corpus_of(settings).download()


def test_a_reader_of_m_ailabs_is_read_off_the_original():
    assert reader_of("en_US/by_book/female/judy_bieber/book/wavs/x.wav") == "en_US/judy_bieber"
    assert [reader_of(text) for text in ("it_IT/by_book/mix/book/wavs/x.wav", "x.wav", "", "en/by_book/male/x.wav")] == [""] * 4
