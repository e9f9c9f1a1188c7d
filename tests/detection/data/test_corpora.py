"""Readers of the official layouts, each on a miniature tree written by hand: labels, order, speakers, and what a wrong tree is told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.detection.data.corpora import read_subset
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings

META = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript"


def settings_of(tmp_path: Path, **changes) -> Settings:
    settings = Settings()
    settings.paths.exp = str(tmp_path / "exp")
    settings.detection.roots = {corpus: str(tmp_path / corpus) for corpus in settings.detection.roots}
    for name, value in changes.items():
        setattr(settings.detection, name, value)
    return settings


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        write(root / path, "audio")


def read(tmp_path: Path, subset: str, **changes) -> pd.DataFrame:
    rows, notes = read_subset(settings_of(tmp_path, **changes), subset)
    assert notes == []
    return rows


def write_asv19(root: Path, part: str = "train.trn", key: str = "spoof") -> None:
    lines = ["LA_0079 LA_T_1138215 - - bonafide", f"LA_0080 LA_T_1000137 - A04 {key}"]
    write(root / f"ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{part}.txt", "\n".join(lines) + "\n")


def test_asvspoof_2019(tmp_path):
    write_asv19(tmp_path / "asv19")
    rows = read(tmp_path, "asv19_train")
    assert rows["path"].tolist() == [f"ASVspoof2019_LA_train/flac/LA_T_{number}.flac" for number in (1138215, 1000137)]
    assert rows["label"].tolist() == ["bonafide", "spoof"]
    assert rows["speaker"].tolist() == ["LA_0079", "LA_0080"]
    assert rows["source"].tolist() == ["", "A04"]


def test_asvspoof_2019_dev_and_eval_are_trial_lists(tmp_path):
    for part in ("dev", "eval"):
        write_asv19(tmp_path / "asv19", f"{part}.trl")
        assert read(tmp_path, f"asv19_{part}")["path"].str.startswith(f"ASVspoof2019_LA_{part}/flac/").all()


@pytest.mark.parametrize(
    ("key", "message"), [("spoofed", "row 2: 'spoofed' is no label; expected: bonafide"), ("", "line 2: 4 columns, but at least 5")]
)
def test_a_wrong_label_or_column_is_named_with_its_place(tmp_path, key, message):
    write_asv19(tmp_path / "asv19", key=key)
    with pytest.raises(UserError, match=message):
        read(tmp_path, "asv19_train")


def test_asvspoof_2021_reads_both_tracks_and_phases(tmp_path):
    root = tmp_path / "asv21"
    write(
        root / "keys/DF/CM/trial_metadata.txt",
        "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
        "TEF2 DF_E_2000013 low_m4a vcc2020 - bonafide notrim eval bonafide Task1 - FF E\n",
    )
    write(root / "keys/LA/CM/trial_metadata.txt", "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n")
    rows = read(tmp_path, "asv21")
    assert rows["path"].tolist() == [f"ASVspoof2021_DF_eval/flac/DF_E_{number}.flac" for number in (2000011, 2000013)]
    assert rows[["label", "speaker", "source"]].to_numpy().tolist() == [["spoof", "LA_0023", "A14"], ["bonafide", "TEF2", ""]]
    assert read(tmp_path, "asv21", asv21_phases=["eval"])["id"].tolist() == ["DF_E_2000013"]
    both = read(tmp_path, "asv21", asv21_tracks=["DF", "LA"])
    assert both["path"].iloc[-1] == "ASVspoof2021_LA_eval/flac/LA_E_9332881.flac"
    with pytest.raises(UserError, match=r"asv21_phases=\['hidden'\].*has eval, progress"):
        read(tmp_path, "asv21", asv21_phases=["hidden"])


@pytest.mark.parametrize("folder", ["", "ASVspoof5_protocols/"])
def test_asvspoof_5(tmp_path, folder):
    write(
        tmp_path / f"asv5/{folder}ASVspoof5.dev.track_1.tsv",
        "D_0062 D_0000000001 F - - - AC1 A11 spoof -\nD_1 D_2 M - - - - - bonafide -\n",
    )
    rows = read(tmp_path, "asv5_dev")
    assert rows["path"].tolist() == ["flac_D/D_0000000001.flac", "flac_D/D_2.flac"]
    assert rows[["label", "speaker", "source"]].to_numpy().tolist() == [["spoof", "D_0062", "A11"], ["bonafide", "D_1", ""]]


@pytest.mark.parametrize("place", ["for-norm", "for-norm/for-norm"])
def test_fake_or_real(tmp_path, place):
    parts = ("training", "validation", "testing")
    touch(tmp_path / "for" / place, *(f"{part}/{label}/{n}.wav" for part in parts for label in ("real", "fake") for n in "ab"))
    rows = read(tmp_path, "for")
    assert len(rows) == 12
    assert (rows["label"] == "bonafide").equals(rows["path"].str.contains("/real/"))
    assert rows["path"].iloc[0] == f"{place}/training/real/a.wav"
    (tmp_path / "for" / place / "testing/fake/a.wav").unlink()
    (tmp_path / "for" / place / "testing/fake/b.wav").unlink()
    with pytest.raises(UserError, match="testing/fake holds no audio"):
        read(tmp_path, "for")


def test_in_the_wild_keeps_the_order_of_its_table(tmp_path):
    write(tmp_path / "itw/meta.csv", 'file,speaker,label\n7.wav,Alec Guinness,spoof\n0.wav,"King, Larry",bona-fide\n')
    rows = read(tmp_path, "itw")
    assert rows[["id", "label", "speaker"]].to_numpy().tolist() == [["7", "spoof", "Alec Guinness"], ["0", "bonafide", "King, Larry"]]


def test_a_table_without_a_column_says_what_it_has(tmp_path):
    write(tmp_path / "itw/meta.csv", "file,person,label\n7.wav,x,spoof\n")
    with pytest.raises(UserError, match="no column 'speaker'; it has: file, person, label"):
        read(tmp_path, "itw")


def test_odss_pairs_natural_speech_with_its_copies(tmp_path):
    touch(tmp_path / "odss", "natural/vctk/p1/a.wav", "vits/vctk/p1/a.wav", "fastpitch-hifigan/vctk/p1/a.wav")
    rows = read(tmp_path, "odss")
    assert rows["label"].tolist() == ["bonafide", "spoof", "spoof"]
    assert set(rows["speaker"]) == {"vctk/p1"}
    assert set(rows["recording"]) == {"vctk/p1/a"}
    assert rows["source"].tolist() == ["", "fastpitch-hifigan", "vits"]


def test_timit_tts(tmp_path):
    real, single, multi = "VidTIMIT/fadg0/audio/sa1.wav", "CLEAN/single_speaker/gtts/sa1.wav", "CLEAN/multi_speaker/vits/p2/sa1.wav"
    touch(tmp_path / "timit", real, single, multi, "VidTIMIT/fadg0/video/head/001.wav")
    rows = read(tmp_path, "timit")
    assert rows["path"].tolist() == [real, single, multi]
    assert rows[["label", "speaker", "source"]].to_numpy().tolist() == [
        ["bonafide", "fadg0", ""],
        ["spoof", "", "gtts"],
        ["spoof", "vits/p2", "vits"],
    ]


@pytest.fixture
def mlaad(tmp_path) -> Path:
    for language, locale in (("de", "de_DE"), ("it", "it_IT")):
        original = f"{locale}/by_book/female/ann/book/wavs/b_1.wav"
        for model in ("griffin_lim", "x/y"):
            folder = model.replace("/", "_")
            line = f"./fake/{language}/{folder}/b_1.wav|{original}|{language}|True|1.0|m|{model}|arch|text"
            write(tmp_path / f"mlaad/fake/{language}/{folder}/meta.csv", f"{META}\n{line}\n")
    touch(tmp_path / "mailabs", *(f"{locale}/by_book/mix/other/wavs/o_1.wav" for locale in ("de_DE", "it_IT")))
    touch(tmp_path / "mailabs", *(f"{locale}/by_book/female/ann/book/wavs/b_1.wav" for locale in ("de_DE", "it_IT")))
    return tmp_path


def test_mlaad_and_the_recordings_it_reads(mlaad):
    fake, real = read(mlaad, "mlaad"), read(mlaad, "mailabs")
    assert set(fake["label"]) == {"spoof"}
    assert set(real["label"]) == {"bonafide"}
    assert fake["source"].tolist() == ["griffin_lim", "x/y"] * 2
    assert real["path"].tolist() == [f"{locale}/by_book/female/ann/book/wavs/b_1.wav" for locale in ("de_DE", "it_IT")]
    assert real["speaker"].tolist() == ["de_DE/ann", "it_IT/ann"]
    assert set(fake["recording"]) == set(real["recording"])


def test_mlaad_of_some_languages_and_all_of_mailabs(mlaad):
    assert read(mlaad, "mlaad", mlaad_languages=["it"])["path"].str.startswith("fake/it/").all()
    assert len(read(mlaad, "mailabs", mlaad_languages=["it"])) == 1
    everything = read(mlaad, "mailabs", mailabs_files="all")
    assert len(everything) == 4
    assert everything["speaker"].tolist().count("") == 2  # the mixed books
    with pytest.raises(UserError, match="unknown language 'xx'; .* holds de, it"):
        read(mlaad, "mlaad", mlaad_languages=["xx"])


def test_ai4t_reads_the_segments_list(tmp_path):
    lines = [
        "path,label,speaker,recording,start_s,seconds",
        "v__1.mp4/00000.wav,spoof,Ann,v__1.mp4,0.0,10.0",
        "w/00001.wav,bonafide,,w,10.0,7.5",
    ]
    write(tmp_path / "ai4trust/segments.csv", "\n".join(lines) + "\n")
    rows = read(tmp_path, "ai4trust")
    assert rows[["id", "label", "speaker", "recording"]].to_numpy().tolist() == [
        ["v__1.mp4/00000", "spoof", "Ann", "v__1.mp4"],
        ["w/00001", "bonafide", "", "w"],
    ]


@pytest.mark.parametrize("subset", ["asv19_train", "asv21", "asv5_dev", "for", "itw", "odss", "timit", "mlaad", "mailabs", "ai4trust"])
def test_a_missing_folder_or_protocol_is_one_clear_line(tmp_path, subset):
    with pytest.raises(UserError, match=r"detection.roots.*no folder"):
        read(tmp_path, subset)
    corpus = subset.split("_")[0]
    (tmp_path / corpus).mkdir()
    with pytest.raises(UserError, match="detection.roots"):
        read(tmp_path, subset)
