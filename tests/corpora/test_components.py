"""What sources are made of: who says it, who is believed, what is refused."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.corpora.components import COMPONENTS, known_components, with_components
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings


def _settings(reader: str = "folder", components: str = "") -> Settings:
    settings = Settings()
    settings.corpus.reader, settings.corpus.components = reader, components
    return settings


def _utterances(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"utt_id": [f"u{number}" for number in range(len(columns["source"]))], **columns})


def test_the_table_that_comes_along_has_the_published_counts():
    """Counted by the csv module: 82 names, 42 of them VITS, HiFi-GAN behind 55, 21 acoustic models, 11 vocoders, 28 pairs, 11 families."""
    path = Path(__file__).parents[2] / "sourcetracing/corpora/components.csv"
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] == "mlaad"]
    assert len(rows) == len({row["source"] for row in rows}) == len(known_components("mlaad")) == 82
    acoustic, vocoders = Counter(row["acoustic_model"] for row in rows), Counter(row["vocoder"] for row in rows)
    assert (len(acoustic), acoustic["vits"], len(vocoders), vocoders["hifigan"]) == (21, 42, 11, 55)
    assert len({(row["acoustic_model"], row["vocoder"]) for row in rows}) == 28
    assert len({row["architecture"] for row in rows}) == 11
    assert all(row["confidence"] in ("high", "medium", "low") and row["evidence"] for row in rows)


def test_every_reader_gives_the_columns_and_mlaad_its_labels():
    table = _utterances(source=["suno/bark-small", "vixTTS", "new/model"], training_data=["a", "b", "c"])
    labelled = with_components(table, _settings("mlaad_source_tracing"))
    assert labelled[list(COMPONENTS)].to_numpy().tolist() == [
        ["bark", "encodec", "ar-codec-lm", "a"],
        ["xtts_v2", "hifigan", "ar-codec-lm-gpt", "b"],
        ["", "", "", "c"],
    ]
    assert (with_components(_utterances(source=["griffin_lim"]), _settings())[list(COMPONENTS)] == "").all(axis=None)


def test_a_table_of_the_user_is_believed_first_and_empty_cells_say_nothing(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("\ufeffSource;Vocoder;decoder\nvixTTS; univnet ;time\nsuno/bark;;frequency\nsuno/bark;;frequency\n", encoding="utf-8")
    table = with_components(_utterances(source=["vixTTS", "suno/bark", "jenny"]), _settings("mlaad_source_tracing", str(path)))
    assert table["vocoder"].tolist() == ["univnet", "encodec", ""][:2] + [""]
    assert table["decoder"].tolist() == ["time", "frequency", ""]


def test_a_folder_of_mlaad_can_ask_for_its_labels():
    assert with_components(_utterances(source=["f5-tts"]), _settings(components="mlaad"))["vocoder"].tolist() == ["vocos"]


def test_labels_by_utterance(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("utt_id,vocoder\nu1,nan\n", encoding="utf-8")
    assert with_components(_utterances(source=["a", "a"]), _settings(components=str(path)))["vocoder"].tolist() == ["", "nan"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source,vocoder\na,x\na,y\n", "says two things of source 'a'"),
        ("source,vocoder,Vocoder\na,x,y\n", "has two columns 'vocoder'"),
        ("source\na\n", "no column of labels beside source"),
        ("model,vocoder\na,x\n", "neither a column utt_id nor source; it has: model, vocoder"),
        ("source,vocoder\nb,x\n", "no source of it is in this corpus, such as 'b'"),
        ("", "cannot be read as a table"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        with_components(_utterances(source=["a"]), _settings(components=str(path)))


def test_a_missing_table_and_names_that_are_not_there(tmp_path, capsys):
    with pytest.raises(UserError, match=r"corpus\.components=.*nowhere\.csv is no file"):
        with_components(_utterances(source=["a"]), _settings(components=str(tmp_path / "nowhere.csv")))
    path = tmp_path / "labels.csv"
    path.write_text("source,vocoder\nalpha,x\nalpah,y\n", encoding="utf-8")
    with_components(_utterances(source=["alpha"]), _settings(components=str(path)))
    assert "1 of 2 sources are not in this corpus, such as 'alpah'" in capsys.readouterr().out
