"""What sources are made of: who knows it, who goes before whom, and lists that are refused."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.corpora.components import LABEL_COLUMNS, RESERVED, read_components, shipped_components, with_components
from sourcetracing.corpora.corpus import Corpus
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis import plan


def corpus_with(utterances: pd.DataFrame, text: str = "", tmp_path=None, **facts) -> pd.DataFrame:
    """What `describe` says of a corpus that prepares these utterances."""
    settings = Settings()
    if text:
        settings.corpus.components = str(tmp_path / "components.csv")
        (tmp_path / "components.csv").write_text(text, encoding="utf-8")
    members = {"prepare": lambda self: utterances, "download": lambda self: None, **facts}
    return type("Given", (Corpus,), members)(settings).describe()


def three(**columns) -> pd.DataFrame:
    return pd.DataFrame({"utt_id": ["1", "2", "3"], "source": ["a", "b", "a"], **columns})


def test_nothing_known_is_empty_text():
    found = corpus_with(three())
    assert found.columns.tolist() == ["utt_id", "source", *LABEL_COLUMNS] and (found[list(LABEL_COLUMNS)] == "").all(axis=None)


def test_columns_of_a_users_table_go_before_the_csv_and_that_before_what_the_corpus_says(tmp_path):
    text = "Source;Vocoder;colour\na; hifigan ;007\nc;x;\n"
    own = corpus_with(three(vocoder=["mine", "", ""]), text, tmp_path, has_own_labels=True)
    assert own["vocoder"].tolist() == ["mine", "", "hifigan"] and own["colour"].tolist() == ["007", "", "007"]
    said = corpus_with(three(vocoder=["of meta", "of meta", ""]), text, tmp_path)
    assert said["vocoder"].tolist() == ["hifigan", "of meta", "hifigan"]


def test_labels_of_single_files(tmp_path):
    assert corpus_with(three(), "utt_id,architecture\n3,nan\n", tmp_path)["architecture"].tolist() == ["", "", "nan"]


def test_shipped_tables_name_every_source_of_the_demo_once():
    demo = shipped_components("demo")
    assert sorted(demo["source"]) == sorted({**plan.ARCHITECTURES, **plan.TWINS}) and (demo != "").all(axis=None)
    found = with_components(pd.DataFrame({"utt_id": ["1"], "source": ["lpc_18"]}), [demo])
    assert found.loc[0, ["acoustic_model", "vocoder", "architecture", "training_data"]].tolist() == [
        "eSpeak NG",
        "lpc_vocoder",
        "source-filter",
        "",
    ]


def test_shipped_table_of_mlaad_has_the_counts_that_were_measured():
    mlaad = shipped_components("mlaad")
    assert len(mlaad) == mlaad["source"].nunique() == 82
    assert mlaad.nunique()[["acoustic_model", "vocoder", "architecture"]].tolist() == [21, 11, 11]
    assert len(mlaad[["acoustic_model", "vocoder"]].drop_duplicates()) == 28
    assert (mlaad["acoustic_model"] == "vits").sum() == 42 and (mlaad["vocoder"] == "hifigan").sum() == 55
    assert mlaad["vocoder"].eq("griffin_lim").sum() == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,vocoder\na,x\nb,y\na,z\n", "a is there twice, with the vocoder 'x' and 'z'"),
        ("sourse,vocoder\na,x\n", "has no column 'source'"),
        ("source,note\na,x\n", "has no label: name columns acoustic_model"),
        ("source,vocoder,Vocoder\na,x,y\n", "two columns 'vocoder'"),
        ("source,vocoder\na,x,y\n", "cannot be read as a table"),
        ("", "cannot be read as a table"),
    ],
)
def test_lists_that_are_refused(tmp_path, text, message):
    (tmp_path / "components.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_components(tmp_path / "components.csv")


def test_a_list_of_another_corpus_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no source of this corpus, such as a; it has z"):
        corpus_with(three(), "source,vocoder\nz,x\n", tmp_path)
    with pytest.raises(UserError, match="is no file"):
        read_components(tmp_path / "nowhere.csv")


def test_no_label_has_a_name_of_our_own():
    assert not set(LABEL_COLUMNS) & set(RESERVED)
