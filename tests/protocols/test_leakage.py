"""The audit: what splits share is counted exactly, what is unknown is never counted as zero."""

from __future__ import annotations

import zipfile

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.protocols.leakage import PAIRS, audit, overall_table, read_audit, summarize, worst_cells
from sourcetracing.protocols.table import split_utterances
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.corpora import Split
from tests.support.places import GOLDEN

PROTOCOLS = GOLDEN / "mlaad4sourcetracing.zip"
ROWS = [  # language, source, split, transcript, speaker, digest
    ("en", "a", "train", "hello", "ann", "1"),
    ("en", "a", "train", "hello", "ann", "2"),
    ("en", "a", "train", "bye", "bob", "3"),
    ("en", "a", "dev", "hello", "", "4"),
    ("en", "b", "dev", "hello", "", "5"),
    ("en", "b", "dev", "yes", "", "6"),
    ("de", "a", "dev", "bye", "", "7"),
    ("de", "b", "eval", "yes", "ann", "1"),
    ("de", "b", "eval", "", "eve", "8"),
]


def make_corpus() -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.DataFrame(ROWS, columns=["language", "source", "split", "transcript", "speaker", "digest"])
    table["utt_id"] = [f"u{number}" for number in range(len(table))]
    return table.assign(path="fake/" + table["utt_id"] + ".wav").drop(columns="split"), table[["utt_id", "split"]]


def row(table: pd.DataFrame, kind: str, pair: str, language: str = "all", source: str = "all") -> pd.Series:
    found = table[(table["kind"] == kind) & (table["first"] + " " + table["second"] == pair)]
    found = found[(found["language"] == language) & (found["source"] == source)]
    assert len(found) == 1
    return found.iloc[0]


def figures(table: pd.DataFrame, *where: str) -> list:
    return row(table, *where)[["values", "shared", "affected", "affected_anywhere", "utterances"]].tolist()


def test_counts_of_a_corpus_counted_by_hand():
    table = audit(*make_corpus())
    assert figures(table, "transcript", "train dev") == [2, 2, 3, 3, 4]
    assert figures(table, "transcript", "train eval") == [2, 0, 0, 0, 2]
    assert figures(table, "transcript", "dev eval") == [3, 1, 1, 1, 2]
    assert figures(table, "transcript", "train dev", "en") == [2, 1, 2, 2, 3]
    assert figures(table, "transcript", "train dev", "de") == [0, 0, 0, 1, 1]
    assert figures(table, "transcript", "train dev", "all", "a") == [2, 2, 2, 2, 2]
    assert figures(table, "transcript", "train dev", "en", "a") == [2, 1, 1, 1, 1]
    assert figures(table, "transcript", "train dev", "en", "b") == [0, 0, 0, 1, 2]
    assert figures(table, "audio", "train eval") == [3, 1, 1, 1, 2]
    assert figures(table, "speaker", "train eval") == [2, 1, 1, 1, 2]
    assert row(table, "transcript", "dev eval")["percent"] == 50
    assert row(table, "transcript", "train dev", "en", "b")["percent_anywhere"] == 50


def test_there_are_rows_only_where_the_second_split_has_utterances():
    table = audit(*make_corpus())
    cells = table[(table["kind"] == "file") & (table["scope"] == "cell")]
    there = {(line.language + line.source, line.second) for line in cells.itertuples()}
    assert there == {("ena", "dev"), ("enb", "dev"), ("dea", "dev"), ("deb", "eval")}


def test_the_official_protocol_shares_577_1539_and_2184_recordings():
    with zipfile.ZipFile(PROTOCOLS) as archive:
        lists = [pd.read_csv(archive.open(f"{split}.csv")).assign(split=split) for split in ("train", "dev", "eval")]
    table = pd.concat(lists, ignore_index=True)
    table = table.assign(path=table["path"].str.removeprefix("./"), source=table["model_name"]).drop_duplicates("path", ignore_index=True)
    parts = table["path"].str.extract(r"fake/(?P<language>[^/]+)/.*/(?P<recording>[^/]+)\.wav")
    table = table.assign(utt_id=table["path"], **parts)
    result = audit(table, table[["utt_id", "split"]])
    overall = result[(result["kind"] == "recording") & (result["scope"] == "overall")]
    assert overall["shared"].tolist() == [577, 1539, 2184]
    assert overall["values"].tolist() == [10880, 10880, 11588]
    assert overall["utterances"].tolist() == [12000, 33791, 33791]
    assert result.query("kind == 'file'")["shared"].eq(0).all()


def brute_force(table: pd.DataFrame, column: str, first: str, second: str) -> tuple[int, int]:
    values = {split: set(table[(table["split"] == split) & (table[column] != "")][column]) for split in (first, second)}
    shared = values[first] & values[second]
    return len(shared), int(((table["split"] == second) & table[column].isin(shared)).sum())


def test_agrees_with_sets_in_every_language_source_and_cell():
    generator, size = rng("leakage"), 600
    table = pd.DataFrame({"utt_id": [f"u{number}" for number in range(size)]})
    for column, choices in [("language", ["de", "en", "ru"]), ("source", list("abcd")), ("split", ["train", "dev", "eval"])]:
        table[column] = generator.choice(choices, size)
    table["transcript"] = [str(number) if number else "" for number in generator.integers(0, 80, size)]
    result = audit(table.drop(columns="split"), table[["utt_id", "split"]])
    result = result[result["kind"] == "transcript"]
    assert len(result) == 3 * (1 + 3 + 4 + 12)
    for line in result.itertuples():
        inside = table[table["language"].eq(line.language) | (line.language == "all")]
        inside = inside[inside["source"].eq(line.source) | (line.source == "all")]
        assert (line.shared, line.affected) == brute_force(inside, "transcript", line.first, line.second)
        train = set(table["transcript"][table["split"] == line.first]) - {""}
        assert line.affected_anywhere == ((inside["split"] == line.second) & inside["transcript"].isin(train)).sum()


def test_order_of_rows_does_not_matter():
    utterances, protocol = make_corpus()
    shuffled = audit(utterances.sample(frac=1, random_state=1), protocol.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(shuffled, audit(utterances, protocol))


def test_what_is_unknown_is_not_checked_and_never_zero():
    utterances, protocol = make_corpus()
    table = audit(utterances.assign(transcript="").drop(columns="digest"), protocol)
    for kind, reason in [
        ("transcript", "no transcript is known"),
        ("recording", "no source recording is known"),
        ("audio", "was not read"),
    ]:
        lines = table[table["kind"] == kind]
        assert len(lines) == len(PAIRS)
        assert lines[["values", "shared", "affected", "affected_anywhere", "percent"]].isna().all().all()
        assert lines["note"].str.startswith("not checked").all()
        assert lines["note"].str.contains(reason).all()
    assert pd.isna(row(table, "speaker", "train dev")["shared"])
    assert row(table, "speaker", "train dev")["note"] == "not checked: no speaker is known in train or dev"
    assert row(table, "speaker", "train eval")["note"] == "known for 5 of 9 utterances"
    assert pd.isna(row(table, "speaker", "train dev", "en", "a")["shared"])
    assert row(table, "speaker", "dev eval", "de", "b")["shared"] == 0  # no dev utterance there
    assert pd.isna(row(table, "speaker", "dev eval", "de", "b")["affected_anywhere"])  # but elsewhere, by someone unknown
    apart = utterances.assign(speaker=["ann"] * 3 + [""] * 4 + ["eve"] * 2)
    assert summarize(audit(apart, protocol))[3].startswith("speaker: nothing shared where it is known; ")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.assign(path=table["path"].replace({"fake/u7.wav": "./fake/u0.wav"})),
        lambda table: table.assign(utt_id=table["utt_id"].replace({"u7": "u0"})),
    ],
)
def test_a_file_in_two_splits_is_found_by_its_path_and_by_its_id(change):
    utterances, protocol = make_corpus()
    utterances = change(utterances)
    result = audit(utterances, protocol.assign(utt_id=utterances["utt_id"]))
    assert row(result, "file", "train eval")[["shared", "affected"]].tolist() == [1, 1]
    assert row(result, "file", "train dev")["shared"] == 0


def test_an_id_listed_in_two_splits_of_the_protocol_is_found():
    utterances, protocol = make_corpus()
    both = pd.concat([protocol, pd.DataFrame({"utt_id": ["u0"], "split": ["dev"]})])
    assert row(audit(utterances, both), "file", "train dev")["shared"] == 1


def test_protocols_that_name_something_else_are_refused():
    utterances, protocol = make_corpus()
    with pytest.raises(UserError, match="u0 is not among the utterances"):
        audit(utterances[1:], protocol)
    with pytest.raises(UserError, match="unknown split 'test' of u0"):
        audit(utterances, protocol.replace("train", "test"))


def test_a_missing_split_shares_nothing():
    utterances, protocol = make_corpus()
    table = audit(utterances, protocol.replace("dev", "train"))
    assert row(table, "transcript", "train dev")[["shared", "utterances"]].tolist() == [0, 0]
    assert summarize(table)[0] == "file: nothing shared by two splits"


def test_summary_says_what_is_shared_what_to_do_and_what_was_not_checked():
    utterances, protocol = make_corpus()
    assert summarize(audit(utterances, protocol)) == [
        "file: nothing shared by two splits",
        "transcript: 2 of 2 train transcripts also in dev (75.0 % of dev utterances); "
        "1 of 3 dev transcripts also in eval (50.0 % of eval utterances); "
        "known for 8 of 9 utterances; split.assignment=seeded split.group_by=transcript builds a split without it",
        "recording: not checked: no source recording is known",
        "speaker: 1 of 2 train speakers also in eval (50.0 % of eval utterances); "
        "not checked: no speaker is known in train or dev; known for 5 of 9 utterances; not checked: no speaker is known in dev or eval; "
        "split.assignment=seeded split.group_by=speaker builds a split without it",
        "audio: 1 of 3 train digests also in eval (50.0 % of eval utterances)",
    ]


def test_a_split_by_groups_has_nothing_left_to_find():
    utterances, _ = make_corpus()
    utterances = pd.concat(
        [utterances.assign(utt_id=f"{n}" + utterances["utt_id"], transcript=utterances["transcript"] + f"{n}") for n in range(9)]
    )
    shared = {}
    for group_by in ("none", "transcript"):
        table = audit(utterances, split_utterances(utterances, Split(group_by=group_by), 688))
        shared[group_by] = table[(table["kind"] == "transcript") & (table["scope"] == "overall")]["shared"].sum()
    assert shared["none"] > 0
    assert shared["transcript"] == 0


def test_written_and_read_again_it_is_the_same(tmp_path):
    table = audit(*make_corpus())
    table.to_csv(tmp_path / "leakage.csv", index=False)
    again = read_audit(tmp_path / "leakage.csv")
    pd.testing.assert_frame_equal(again, table)
    assert summarize(again) == summarize(table)


def test_short_tables():
    table = audit(*make_corpus())
    overall = overall_table(table).set_index("kind")
    assert overall.loc["transcript", "train → dev"] == "2 (75.0 %)"
    assert overall.loc["recording"].tolist() == ["–", "–", "–", "not checked: no source recording is known"]
    worst = worst_cells(table, 2)
    assert worst[["language", "source", "first", "second"]].to_numpy().tolist() == [
        ["de", "a", "train", "dev"],
        ["en", "a", "train", "dev"],
    ]
    assert (worst["percent_anywhere"] == 100).all()


def test_a_protocol_without_rows_is_not_checked():
    utterances, protocol = make_corpus()
    table = audit(utterances, protocol.iloc[:0])
    assert set(table["language"]) == {"all"} and table["percent"].isna().all()
    assert table["note"].str.startswith("not checked").all()


def test_an_audit_does_not_go_by_the_index_of_its_tables():
    utterances, protocol = make_corpus()
    renumbered = utterances.set_index(pd.Index(range(100, 100 + len(utterances))))
    pd.testing.assert_frame_equal(audit(renumbered, protocol), audit(utterances, protocol))
