"""corpus.label: which sources a reader is asked for, what is said of each class, what is refused, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.corpora.labels import (
    SYSTEM,
    choose_by_label,
    labelled_corpus,
    relabelled,
    strata_by_label,
    utterances_by_label,
    with_true_sources,
)
from sourcetracing.errors import UserError
from sourcetracing.openset.tables import add_published, with_published_rows
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.settings.corpora import Corpus, comparable_corpus
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.recorded import (
    corpus_facts,
    differences,
    label_recipe,
    name_of_recipe,
    name_of_table_recipe,
    protocol_recipe,
    table_recipe,
    traced,
)
from sourcetracing.settings.schema import Settings
from tests.support.audio_files import write_wav

# source -> vocoder; of "bare" none is known, "mixed" has both.
VOCODERS = {"a": "hifigan", "b": "hifigan", "c": "lpc", "d": "world", "bare": ""}
FILES = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Five files of each source in en; table.csv, and vocoders.csv which says the same by source."""
    root = tmp_path_factory.mktemp("labels")
    rows = [(f"en/{source}/{number}.wav", "en", source, vocoder) for source, vocoder in VOCODERS.items() for number in range(FILES)]
    rows += [(f"en/mixed/{number}.wav", "en", "mixed", ("hifigan", "lpc")[number % 2]) for number in range(FILES)]
    for seed, (path, *_) in enumerate(rows):
        write_wav(root / path, 0.2, seed)
    pd.DataFrame(rows, columns=["path", "language", "source", "vocoder"]).to_csv(root / "table.csv", index=False)
    pd.DataFrame(VOCODERS.items(), columns=["source", "vocoder"]).to_csv(root / "vocoders.csv", index=False)
    return root


def settings_for(folder: Path, *words: str) -> Settings:
    said = ["corpus.reader=folder", f"paths.corpus={folder}", f"folder.table={folder}/table.csv", "corpus.languages=[en]"]
    return load_settings([*said, "corpus.label=vocoder", "corpus.sources=[hifigan,lpc]", "compute.workers=1", *words])


def test_a_reader_is_asked_for_the_sources_that_have_a_label(folder):
    corpus, lines = choose_by_label(settings_for(folder))
    assert corpus.settings.corpus.sources == ["a", "b", "c", "mixed"]
    assert lines == [
        "classes by vocoder, and the sources that each is made of: hifigan (a, b, mixed), lpc (c, mixed)",
        "corpus.label=vocoder: left out 5 of 30 utterances whose vocoder is not known (bare)",
    ]
    assert set(labelled_corpus(settings_for(folder, "corpus.unknown_sources=[world]")).prepare()["source"]) == {"a", "b", "c", "d", "mixed"}


def test_every_other_value_is_unknown_but_not_an_absent_one(folder):
    settings = settings_for(folder, "corpus.sources=[lpc]", "corpus.unknown_sources=[all]")
    found = utterances_by_label(labelled_corpus(settings).prepare(), settings)
    assert set(found["source"]) == {"lpc", "hifigan", "world"}
    assert "bare" not in set(found[SYSTEM])


def test_labels_of_a_users_csv_for_a_tree(folder):
    words = ["folder.table=", f"corpus.components={folder}/vocoders.csv"]
    corpus, lines = choose_by_label(settings_for(folder, *words))
    assert corpus.settings.corpus.sources == ["a", "b", "c"]
    assert lines[1].startswith("corpus.label=vocoder: left out 10 of 30 utterances")


def test_the_demo_makes_the_sources_of_its_architectures(tmp_path):
    words = [f"paths.corpus={tmp_path}", "corpus.languages=[en]", "corpus.label=architecture"]
    settings = load_settings([*words, "corpus.sources=[formant-synthesis,phase-reconstruction]"])
    assert labelled_corpus(settings).settings.corpus.sources == ["espeak_formant", "espeak_klatt", "griffin_lim", "phase_vocoder"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["corpus.label=vocodr"], "corpus.label: 'vocodr' is no column of the utterances .*; did you mean 'vocoder'?"),
        (["corpus.label=transcript"], "corpus.label: 'transcript' cannot be traced .*; there are: acoustic_model, architecture, source"),
        (["corpus.label=acoustic_model"], "the acoustic_model of every utterance is unknown. Name a table of labels as corpus.components"),
        (
            ["corpus.sources=[hifigen,lpc]"],
            r"corpus.sources: the column vocoder \(hifigan, lpc, world\) has no 'hifigen'; did you mean 'hifi",
        ),
        (["corpus.sources=[a,b]"], r"corpus.sources: the column vocoder \(hifigan, lpc, world\) has no 'a'"),
        (["corpus.unknown_sources=[wrld]"], "corpus.unknown_sources: the column vocoder .* has no 'wrld'; did you mean 'world'?"),
    ],
)
def test_what_is_no_label_is_refused(folder, words, message):
    with pytest.raises(UserError, match=message):
        choose_by_label(settings_for(folder, *words))


def test_a_label_that_is_everywhere_the_same_is_refused(tmp_path):
    rows = [("en/a/1.wav", "en", "a", "lpc"), ("en/b/1.wav", "en", "b", "")]
    pd.DataFrame(rows, columns=["path", "language", "source", "vocoder"]).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(UserError, match="corpus.label=vocoder: all that is known is lpc: nothing to tell apart"):
        choose_by_label(settings_for(tmp_path, "corpus.sources=[lpc]"))


def test_labels_and_true_sources_change_places_and_back(folder):
    settings = settings_for(folder)
    table = pd.read_csv(folder / "table.csv", keep_default_na=False)
    swapped = relabelled(table, settings)
    assert swapped["source"].tolist() == table["vocoder"].tolist()
    assert swapped[SYSTEM].tolist() == table["source"].tolist()
    pd.testing.assert_frame_equal(with_true_sources(swapped, settings), table)
    plain = settings_for(folder, "corpus.label=source")
    assert relabelled(table, plain) is table and with_true_sources(table, plain) is table


def test_a_protocol_of_a_label_keeps_the_shares_of_each_source_and_the_true_names(folder, tmp_path):
    settings = settings_for(folder, "corpus.unknown_sources=[world]", f"paths.exp={tmp_path}")
    built = build_protocols(settings)
    counts = built.counts.set_index("language").loc["en"]
    assert (counts["hifigan"], counts["lpc"], counts["unknown_sources"]) == (13, 7, 5)
    written = pd.read_csv(tmp_path / "demo" / "utterances.csv", keep_default_na=False)
    assert set(written["source"]) == {"a", "b", "c", "d", "mixed"} and SYSTEM not in written
    utterances, protocol = load_protocol(settings, unknown=True)
    placed = utterances.merge(protocol, on="utt_id")
    assert set(placed["source"]) == {"hifigan", "lpc", "world"}
    shares = pd.crosstab(placed["system"], placed["split"]).reindex(columns=["train", "dev", "eval"])
    assert shares.loc["a"].tolist() == shares.loc["b"].tolist() == shares.loc["c"].tolist() == [3, 1, 1]
    assert shares.loc["d", "train"] == 0
    assert set(load_protocol(settings)[0]["source"]) == {"hifigan", "lpc"}
    assert build_protocols(settings).is_new is False


def test_a_source_with_several_labels_is_several_strata(folder):
    table = pd.read_csv(folder / "table.csv", keep_default_na=False).query("vocoder != ''")
    names = strata_by_label(table, settings_for(folder))["source"].value_counts()
    assert names.to_dict() == {"a": 5, "b": 5, "c": 5, "d": 5, "mixed [hifigan]": 3, "mixed [lpc]": 2}


def test_another_label_is_another_recipe_and_the_default_renames_nothing():
    plain, other = load_settings([]), load_settings(["corpus.label=vocoder"])
    for recipe in (protocol_recipe, label_recipe):
        assert differences(recipe(plain), recipe(other)) == ["corpus.label"]
        older = {name: value for name, value in recipe(plain).items() if name != "corpus.label"}
        assert name_of_recipe(recipe(plain)) == name_of_recipe(older) != name_of_recipe(recipe(other))
        assert differences(older, recipe(plain)) == []
    older = {name: value for name, value in table_recipe(plain).items() if name != "corpus.label"}
    assert name_of_table_recipe(table_recipe(plain)) == name_of_table_recipe(older) != name_of_table_recipe(table_recipe(other))
    corpus = Corpus()
    assert "label" not in corpus_facts(corpus) and traced(corpus) == [corpus.sources, corpus.unknown_sources]
    assert corpus_facts(replace(corpus, label="vocoder"))["label"] == traced(replace(corpus, label="vocoder"))[-1] == "vocoder"


def test_published_figures_are_of_sources_alone():
    assert comparable_corpus(Corpus(reader="mcl_mlaad")) == "mcl_mlaad"
    assert comparable_corpus(Corpus(reader="mcl_mlaad", label="vocoder")) == ""
    settings = load_settings(["corpus.reader=mlaad_source_tracing", "corpus.label=vocoder"])
    table = pd.DataFrame({"split": ["eval"]})
    assert with_published_rows(table, settings) is table and add_published(table, settings) is table
