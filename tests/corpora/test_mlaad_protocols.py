"""The official source-tracing protocol: the real zip, every published count, and the spellings and faults a copy of it may have."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.corpora.mcl_mlaad import MclMlaad
from sourcetracing.corpora.mlaad_source_tracing import MlaadSourceTracing, read_protocols
from sourcetracing.errors import UserError
from sourcetracing.protocols.label_assignment import assign_labels, format_labels
from sourcetracing.protocols.leakage import audit
from sourcetracing.protocols.table import split_utterances
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from tests.support.places import GOLDEN

ZIP, TABLES = GOLDEN / "mlaad4sourcetracing.zip", GOLDEN / "tables"


@pytest.fixture(scope="module")
def protocols() -> pd.DataFrame:
    return read_protocols(ZIP)


def settings_of(config: str, *words: str) -> Settings:
    return load_settings([f"configs/{config}.yaml", f"paths.protocols={ZIP}", *words])


def test_the_published_counts(protocols):
    expected = pd.read_csv(TABLES / "mlaad_protocol_stats.csv").set_index("split")
    trained = set(protocols["source"][protocols["split"] == "train"])
    for split, rows in protocols.groupby("split"):
        known = rows["source"].isin(trained)
        found = [len(rows), rows["source"].nunique(), rows["language"].nunique()]
        assert found == expected.loc[split, ["unique_paths", "n_models", "n_languages"]].tolist()
        models = [rows["source"][known].nunique(), rows["source"][~known].nunique()]
        assert models == expected.loc[split, ["known_models", "ood_models"]].tolist()


def test_duplicates_are_dropped_with_a_notice_or_kept(capsys):
    dropped = read_protocols(ZIP)
    assert "109 rows" in capsys.readouterr().out
    kept = read_protocols(ZIP, keep_duplicates=True)
    expected = pd.read_csv(TABLES / "mlaad_protocol_stats.csv").set_index("split")
    trained = set(kept["source"][kept["split"] == "train"])
    for split, rows in kept.groupby("split"):
        known = rows["source"].isin(trained).sum()
        assert [len(rows), known, len(rows) - known] == expected.loc[split, ["rows", "rows_known_to_train", "rows_ood"]].tolist()
    assert len(kept) - len(dropped) == 109
    assert kept["utt_id"].is_unique
    assert kept["path"].nunique() == dropped["path"].nunique() == len(dropped)


def test_label_assignment_is_the_baselines(protocols):
    settings = settings_of("mlaad5_source_tracing")
    labels = assign_labels(MlaadSourceTracing(settings).needed["source"], settings.corpus.sources)
    pd.testing.assert_frame_equal(labels, pd.read_csv(TABLES / "refd_label_assignment.csv"), check_dtype=False)
    lines = format_labels(labels).splitlines()
    assert lines[4] == f"{'griffin_lim':<50}|4  |ID"
    assert lines[24] == f"{'facebook/mms-tts-eng':<50}|24 |OOD"


def test_official_splits_with_unknown_sources(protocols):
    settings = settings_of("mlaad5_source_tracing")
    utterances = MlaadSourceTracing(settings).needed
    unknown = [source for source in utterances["source"].unique() if source not in settings.corpus.sources]
    protocol = split_utterances(utterances, settings.split, settings.seed, unknown)
    assert protocol["split"].value_counts().to_dict() == {"train": 11_100, "dev": 12_000, "eval": 33_791}
    assert len(unknown) == 58


def test_mcl_mlaad_is_table_1():
    utterances = MclMlaad(settings_of("mcl_mlaad")).needed
    assert len(utterances) == 11_700
    table1 = pd.read_csv(TABLES / "table1.csv").dropna(subset="code").set_index("code")["samples"]
    assert utterances["language"].value_counts().to_dict() == table1.to_dict()
    composition = pd.read_csv(TABLES / "mcl_mlaad_composition.csv").set_index(["lang", "model_name"])["total"]
    assert utterances.groupby(["language", "source"]).size().to_dict() == composition.to_dict()


def test_mcl_mlaad_split_has_the_published_sizes():
    settings = settings_of("mcl_mlaad")
    utterances = MclMlaad(settings).needed
    protocol = split_utterances(utterances, settings.split, settings.seed)
    sizes = pd.crosstab(utterances["language"].to_numpy(), protocol["split"].to_numpy())
    assert sizes.loc["en", ["train", "dev", "eval"]].tolist() == [1260, 420, 420]
    assert sizes.loc["ru", ["train", "dev", "eval"]].tolist() == [720, 240, 240]
    assert protocol["split"].value_counts().to_dict() == {"train": 7020, "dev": 2340, "eval": 2340}


def test_other_counts_are_refused_unless_meant(tmp_path):
    reduced = reduce_protocol(tmp_path / "reduced.zip", rows_per_group=7)
    words = [f"paths.protocols={reduced}"]
    with pytest.raises(UserError, match="mcl_mlaad.published_counts=false"):
        MclMlaad(settings_of("mcl_mlaad", *words)).prepare()
    assert len(MclMlaad(settings_of("mcl_mlaad", *words, "mcl_mlaad.published_counts=false")).needed) < 11_700


def test_the_official_protocol_shares_recordings(protocols):
    shared = audit(protocols, protocols[["utt_id", "split"]])
    overall = shared[(shared["kind"] == "recording") & (shared["scope"] == "overall")]
    found = overall.set_index(["first", "second"])["shared"].to_dict()
    assert found == {("train", "dev"): 577, ("train", "eval"): 1539, ("dev", "eval"): 2184}


def reduce_protocol(path: Path, rows_per_group: int, prefix: str = "./") -> Path:
    """A zip with a few rows of each (model, language) of the real one."""
    with zipfile.ZipFile(ZIP) as real, zipfile.ZipFile(path, "w") as made:
        for split in ("train", "dev", "eval"):
            rows = pd.read_csv(real.open(f"{split}.csv"))
            few = rows.groupby([rows["path"].str.split("/").str[2], "model_name"]).head(rows_per_group)
            made.writestr(f"{split}.csv", few.assign(path=prefix + few["path"].str.removeprefix("./")).to_csv(index=False))
    return path


@pytest.mark.parametrize("prefix", ["./", ""])
def test_both_spellings_and_a_folder_give_the_same(tmp_path, prefix, protocols):
    archive = reduce_protocol(tmp_path / "some.zip", 5, prefix)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "folder")
    zipped, folder = read_protocols(archive), read_protocols(tmp_path / "folder")
    pd.testing.assert_frame_equal(zipped, folder)
    few = protocols.groupby(["language", "source", "split"], sort=False).head(5)
    assert set(zipped["utt_id"]) == set(few["utt_id"])
    assert zipped["path"].str.startswith("fake/").all()


def write_csvs(folder: Path, **texts: str) -> Path:
    folder.mkdir()
    good = "path,model_name\n./fake/en/a_b/{0}.wav,a/b\n"
    for number, split in enumerate(("train", "dev", "eval")):
        (folder / f"{split}.csv").write_text(texts.get(split, good.format(number)))
    return folder


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"dev": "file,model_name\nx,y\n"}, "dev.csv has no column 'path'; it has: file, model_name"),
        ({"eval": "path,model_name\n./real/en/a/x.wav,a\n"}, r"eval.csv, row 2: './real/en/a/x.wav' is not of the form"),
        ({"train": "path,model_name\nfake/en/a_b/x.wav,a/c\n"}, "train.csv, row 2: the model 'a/c' is not that of the folder"),
        ({"train": ""}, "train.csv is no CSV"),
        ({"train": "path,model_name\nfake/en/../x.wav,..\n"}, "is not of the form"),
    ],
)
def test_a_broken_list_is_named(tmp_path, texts, message):
    with pytest.raises(UserError, match=message):
        read_protocols(write_csvs(tmp_path / "lists", **texts))


def test_missing_and_broken_zips_are_named(tmp_path):
    with pytest.raises(UserError, match="01_download_resources"):
        read_protocols(tmp_path / "none.zip")
    (tmp_path / "page.zip").write_text("<html>log in</html>")
    with pytest.raises(UserError, match=r"page.zip is no readable zip"):
        read_protocols(tmp_path / "page.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(UserError, match="holds 0 files train.csv"):
        read_protocols(tmp_path / "empty.zip")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("corpus.languages=[en,xx]", "corpus.languages: .*zip has no 'xx'"),
        ("corpus.sources=[griffin_lin]", "did you mean 'griffin_lim'"),
        ("corpus.unknown_sources=[nobody]", "corpus.unknown_sources: .*zip has no 'nobody'"),
    ],
)
def test_names_that_are_nowhere_are_refused(word, message):
    with pytest.raises(UserError, match=message):
        words = [word, "experiment.train_sets=[en]", "experiment.test_sets=[en]"]
        MlaadSourceTracing(settings_of("mlaad5_source_tracing", *words)).prepare()
