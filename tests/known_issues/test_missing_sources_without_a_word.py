"""A language that lacks a source had a macro-F1 of 75.0 for a perfect system, and no script said why."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.protocols import building
from sourcetracing.protocols.coverage import count_cells, missing_lines, require_classes, unknown_lines
from sourcetracing.protocols.table import count_utterances, split_utterances
from sourcetracing.settings.corpora import Corpus, Split
from sourcetracing.settings.reading import load_settings

CORPUS = Corpus(languages=["en", "de", "fr"], sources=["a", "b", "c"], unknown_sources=["x"])


def corpus_of(counts: dict[tuple[str, str], str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(utterances, protocol); counts: (language, source) -> train/dev/eval such as 6/2/2."""
    rows = [
        (language, source, split)
        for (language, source), text in counts.items()
        for split, number in zip(("train", "dev", "eval"), map(int, text.split("/")), strict=True)
        for _ in range(number)
    ]
    table = pd.DataFrame(rows, columns=["language", "source", "split"])
    table["utt_id"] = [f"u{number:03d}" for number in range(len(table))]
    return table.drop(columns="split"), table[["utt_id", "split"]].sample(frac=1, random_state=1)


ONE_CLASS = (
    "en: no utterance of b; no train or eval utterance of c: macro-F1 of en is over 1 of 3 classes; script 05 refuses to train on it"
)
LAST_EPOCH = "trained on it, a system keeps its last epoch"
FULL = {(language, source): "6/2/2" for language in CORPUS.languages for source in CORPUS.sources}


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        (
            {("en", "c"): "0/0/0"},
            ["en: no utterance of c: macro-F1 of en is over 2 of 3 classes; trained on it, a system learns 2 of 3 classes"],
        ),
        ({("en", "c"): "6/2/0"}, ["en: no eval utterance of c: macro-F1 of en is over 2 of 3 classes"]),
        ({("en", "c"): "0/2/2"}, ["en: no train utterance of c: trained on it, a system learns 2 of 3 classes"]),
        ({("en", "c"): "6/0/2"}, ["en: no dev utterance of c"]),
        ({("en", "b"): "0/0/0", ("en", "c"): "0/2/0"}, [ONE_CLASS]),
        ({("de", source): "1/0/1" for source in "abc"}, [f"de: no dev utterance: {LAST_EPOCH}"]),
        ({("de", source): "6/2/0" for source in "abc"}, ["de: no eval utterance: it is not tested"]),
        ({("fr", source): "0/0/0" for source in "abc"}, ["fr: no utterance of a known source"]),
        ({(language, "c"): "0/0/0" for language in ("en", "de")}, ["en: no utterance of c", "de: no utterance of c"]),
    ],
)
def test_each_language_says_what_it_lacks_and_what_follows(changes, lines):
    found = missing_lines(count_cells(*corpus_of(FULL | changes)), CORPUS)
    assert len(found) == len(lines)
    assert all(line.startswith(wanted) for line, wanted in zip(found, lines, strict=True)), found


def test_only_what_the_experiment_trains_and_tests_on_is_spoken_of():
    cells = count_cells(*corpus_of(FULL | {("en", "c"): "0/0/0", ("de", "c"): "0/2/2", ("fr", "a"): "6/2/0"}))
    assert missing_lines(cells, CORPUS, ["en+fr"], ["de", "de+fr"]) == []
    assert missing_lines(cells, CORPUS, ["en+de"], ["en", "fr"]) == [
        "en: no eval utterance of c: macro-F1 of en is over 2 of 3 classes",
        "fr: no eval utterance of a: macro-F1 of fr is over 2 of 3 classes",
        "en+de: no train utterance of c: trained on it, a system learns 2 of 3 classes",
    ]


def test_many_missing_sources_are_counted_and_not_named():
    corpus = Corpus(languages=["en"], sources=list("abcdefgh"))
    cells = count_cells(*corpus_of({("en", "a"): "6/2/2", ("en", "b"): "6/2/2"}))
    assert missing_lines(cells, corpus)[0].startswith("en: no utterance of 6 of the 8 known sources: macro-F1 of en is over 2 of 8 classes")


def test_two_utterances_for_each_source_leave_no_dev_and_one_source_nothing_to_tell_apart():
    utterances = pd.DataFrame({"language": "en", "source": ["a", "a", "b", "b"], "utt_id": ["1", "2", "3", "4"]})
    protocol = split_utterances(utterances, Split(), 688)
    found = missing_lines(count_cells(utterances, protocol), Corpus(languages=["en"], sources=["a", "b"]))
    assert found[0].startswith("dev has no utterance of a known source: every run keeps its last epoch")
    found = missing_lines(count_cells(*corpus_of({("en", "a"): "6/2/2"})), Corpus(languages=["en"], sources=["a"]))
    assert found == ["a is the only known source: there is nothing to tell apart, and script 05 trains nothing"]


def test_unknown_sources_are_in_the_table_and_in_a_line():
    """The columns of Table 1 summed to 102 of 194 utterances."""
    utterances, protocol = corpus_of(FULL | {("en", "x"): "0/3/4", ("fr", "y"): "0/0/5"})
    counts = count_utterances(utterances.assign(duration_s=1.0), protocol, CORPUS.sources, CORPUS.languages).set_index("language")
    assert counts["unknown_sources"].to_dict() == {"en": 7, "de": 0, "fr": 5, "total": 12}
    assert (counts[[*CORPUS.sources, "unknown_sources"]].sum(axis=1) == counts["utterances"]).all()
    cells = count_cells(utterances, protocol)
    assert unknown_lines(cells, CORPUS) == ["unknown sources (dev/eval): 3/9: x 3/4, y 0/5"]
    without = count_cells(*corpus_of(FULL | {("en", "x"): "0/0/4"}))
    assert unknown_lines(without, CORPUS)[1] == "dev has no utterance of an unknown source: script 07 needs them in both"
    assert unknown_lines(count_cells(*corpus_of(FULL)), Corpus(sources=["a", "b", "c"])) == []
    plain = count_utterances(corpus_of(FULL)[0].assign(duration_s=1.0), corpus_of(FULL)[1], CORPUS.sources, CORPUS.languages)
    assert "unknown_sources" not in plain


def grouped(num_texts: int, sources: str) -> pd.DataFrame:
    rows = [(f"{source}{number}", "en", source, f"text {number}") for source in sources for number in range(num_texts)]
    return pd.DataFrame(rows, columns=["utt_id", "language", "source", "transcript"])


def test_an_unknown_source_that_says_a_known_ones_sentences_does_not_empty_its_training_set():
    """Known sources got 0/21/14, and 04 to 08 ran on to a macro-F1 of 62.0 for a source that the system never heard."""
    utterances, split = grouped(35, "abx"), Split(group_by="transcript")
    corpus = Corpus(languages=["en"], sources=["a", "b"], unknown_sources=["x"])
    own = grouped(40, "b").assign(utt_id=lambda table: table["utt_id"] + " more", transcript=lambda table: table["transcript"] + " more")
    utterances = pd.concat([utterances, own], ignore_index=True)
    protocol = split_utterances(utterances, split, 688, ["x"])
    cells = count_cells(utterances, protocol)
    assert cells.loc[("en", "a"), "train"] == 0 < cells.loc[("en", "b"), "train"]
    with pytest.raises(UserError, match=r"^corpus.sources: a has no .* 35 of its 35 utterances share their transcript .* such as x"):
        require_classes(utterances, cells, corpus, split)


def test_a_training_set_that_grouping_robs_of_a_source_is_refused_and_others_are_not():
    """A source with one speaker had 0 training utterances in five languages, said as `largest deviation 60 points`."""
    split = Split(group_by="speaker")
    cells = count_cells(*(pair := corpus_of(FULL | {("en", "c"): "0/10/0"})))
    utterances = pair[0].assign(speaker="")
    with pytest.raises(UserError, match=r"^split.group_by=speaker leaves c no .* in en \(train/dev/eval 0/10/0\). Choose another"):
        require_classes(utterances, cells, CORPUS, split, ["en+de", "en"])
    require_classes(utterances, cells, CORPUS, split, ["en+de", "de"])
    require_classes(utterances, cells, CORPUS, Split(), ["en"])  # as published, or by utterance: 02 says it
    few = count_cells(*(pair := corpus_of(FULL | {("en", "c"): "0/0/0", ("de", "c"): "0/0/0"})))
    require_classes(pair[0].assign(speaker=""), few, CORPUS, split, ["en", "en+de"])  # there is nothing to take


def test_what_cannot_be_meant_is_refused_before_any_audio_is_read(tmp_path, monkeypatch):
    for source in ("a", "b"):
        for number in range(4):
            path = tmp_path / "corpus" / "en" / source / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"never opened")
    words = ["corpus.reader=folder", "corpus.languages=[en]", "corpus.sources=[a,b]", "split.train=0", "split.dev=0.5", "split.eval=0.5"]
    settings = load_settings([f"paths.corpus={tmp_path}/corpus", f"paths.exp={tmp_path}/exp", *words])
    monkeypatch.setattr(building, "check_corpus", lambda *_: pytest.fail("audio was read"))
    with pytest.raises(UserError, match="^corpus.sources: a has no training utterance in these splits; move it"):
        building.build_protocols(settings)


@pytest.mark.parametrize(("share", "is_refused"), [(0.4, False), (0.6, True)])
def test_one_utterance_is_taken_by_grouping_only_where_a_draw_would_have_trained_on_it(share, is_refused):
    utterances, protocol = corpus_of(FULL | {("en", "c"): "0/0/1"})
    split = Split(group_by="speaker", train=share, dev=round((1 - share) / 2, 1), eval=round((1 - share) / 2, 1))
    arguments = (utterances.assign(speaker=""), count_cells(utterances, protocol), CORPUS, split, ["en"])
    if is_refused:
        with pytest.raises(UserError, match="leaves c no training utterance in en"):
            require_classes(*arguments)
    else:
        require_classes(*arguments)


def test_a_language_without_dev_keeps_no_last_epoch_where_other_languages_choose_it():
    cells = count_cells(*corpus_of(FULL | {("en", source): "6/0/2" for source in CORPUS.sources}))
    assert any("keeps its last epoch" in line for line in missing_lines(cells, CORPUS, ["en"], ["en"]))
    assert not any("keeps its last epoch" in line for line in missing_lines(cells, CORPUS, ["en"], ["en"], own_dev=False))
