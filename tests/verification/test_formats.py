"""Lists of trials as others write them: read as what they say, or refused with a line."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.verification.formats import read_trials

KNOWN = {"en/a/u1", "en/a/u2", "en/b/u1", "en/b/u3", "de/a/ü 4", "en/b/with+plus"}


def read(tmp_path, text: str | bytes, name: str = "own.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_trials(path, KNOWN)


def rows(trials) -> list[tuple]:
    return [(trials.models[row.enrol], row.test, row.label) for row in trials.table.itertuples()]


EXPECTED = [(("en/a/u1",), "en/a/u2", 1), (("en/a/u1",), "en/b/u3", 0)]


@pytest.mark.parametrize(
    "text",
    [
        "1 en/a/u1 en/a/u2\n0 en/a/u1 en/b/u3\n",
        "1 fake/en/a/u1.wav fake/en/a/u2.wav\r\n0 fake/en/a/u1.wav fake/en/b/u3.WAV",
        "\n1 ./en/a/u1.flac u2.wav\n\n0 a/u1.wav u3\n\n",
        "1\ten/a/u1\tu2\n0\ten/a/u1\tu3\n",
        "en/a/u1 en/a/u2 target\nen/a/u1 u3 nontarget\n",
        "enrol,test,label\na/u1,en/a/u2.wav,1\na/u1,u3,0\n",
        "sep=;\nenrol;test;label\na/u1;en/a/u2.wav;1\na/u1;u3;0\n",
        "enrol,test,label\na/u1,u2,1\na/u1,u3,0\n".encode("utf-16"),
        b"\xef\xbb\xbflabel,test,enrol\n1,u2,a/u1\n0,u3,a/u1\n",
    ],
)
def test_the_same_trials_in_all_forms(tmp_path, text):
    assert rows(read(tmp_path, text)) == EXPECTED


def test_sets_names_with_a_plus_and_with_spaces(tmp_path):
    text = "enrol,test,label,condition\na/u1+en/a/u2.wav,ü 4,1,hard one\nen/b/with+plus,u3,1,\nü 4,en/b/with+plus,0,\n"
    trials = read(tmp_path, text, "own.csv")
    assert rows(trials) == [
        (("en/a/u1", "en/a/u2"), "de/a/ü 4", 1),
        (("en/b/with+plus",), "en/b/u3", 1),
        (("de/a/ü 4",), "en/b/with+plus", 0),
    ]
    assert trials.table["condition"].tolist() == ["hard one", "", ""]


def test_a_folder_is_its_lists_each_a_condition(tmp_path):
    (tmp_path / "seen_seen_same_speaker.txt").write_text("1 a/u1 u2\n0 a/u1 u3\n")
    (tmp_path / "seen_seen_diff_speaker.txt").write_text("1 b/u1 u3\n0 u2 u3\n")
    trials = read_trials(tmp_path, KNOWN)
    counts = trials.table.groupby(["condition", "label"]).size().to_dict()
    assert counts == {(name, label): 1 for name in ("seen_seen_diff_speaker", "seen_seen_same_speaker") for label in (0, 1)}
    (tmp_path / "again.txt").write_text("0 u3 u2\n1 a/u1 u2\n")
    with pytest.raises(UserError, match="en/a/u1, en/a/u2 stands twice"):
        read_trials(tmp_path, KNOWN)


STOPA = {f"AA0{attack}/{part}/f{number}" for attack in (1, 2) for part in ("dev", "eval") for number in (1, 2)}
HEADER = "AbstractModel FileName Speaker Content ATK IsTargetATK IsTargetAcousticModel IsTargetVocoderModel\n"


def stopa(folder):
    (folder / "AA01-co-10_trials.txt").write_text(
        f"{HEADER}AA01-co-10 f1 p1 c1 AA01 True True True\nAA01-co-10 f1 p1 c1 AA02 False False True\n"
    )
    (folder / "AA01-co-10").write_text("Model FileName Speaker ATK\nAA01-co-10 f1 p9 AA01\nAA01-co-10 f2 p9 AA01\n")
    return folder / "AA01-co-10_trials.txt"


def test_lists_of_stopa(tmp_path):
    path = stopa(tmp_path)
    for place in (path, tmp_path):
        trials = read_trials(place, {f"stopa/{utt_id}" for utt_id in STOPA})
        members = ("stopa/AA01/dev/f1", "stopa/AA01/dev/f2")
        assert rows(trials) == [(members, "stopa/AA01/eval/f1", 1), (members, "stopa/AA02/eval/f1", 0)]
        assert set(trials.table["condition"]) == {"co-10"}
    (tmp_path / "AA01-co-10").write_text("Model FileName\n")
    with pytest.raises(UserError, match="AA01-co-10 names no utterances"):
        read_trials(path, STOPA)
    (tmp_path / "AA01-co-10").unlink()
    with pytest.raises(UserError, match="the list of utterances of AA01-co-10 is missing"):
        read_trials(path, STOPA)
    path.write_text(HEADER.replace(" IsTargetATK", "") + "AA01-co-10 f1 p1 c1 AA01 True True\n")
    with pytest.raises(UserError, match="has no column IsTargetATK"):
        read_trials(path, STOPA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a/u1 u2\n0 a/u1\n", "line 2 has 2 cells, the first one 3. Is the file cut off"),
        ("1 a/u1 u2\n2 a/u1 u3\n", "label '2' is neither 1"),
        ("a/u1 u2 target\na/u1 u3 spoof\n", "label 'spoof' is neither 1"),
        ("1 a/u1 u2\n0 a/u1 u9\n", "u9 is no utterance of eval"),
        ("1 u1 u2\n0 u1 u3\n", "u1 may be en/a/u1 or en/b/u1; write more of its path"),
        ("1 a/u1 u2\n0 a/u1 u3\n1 en/a/u1.wav u2\n", "en/a/u1, en/a/u2 stands twice"),
        ("1 a/u1 u2\n0 a/u1 a/u1.wav\n", "en/a/u1 is compared with itself"),
        ("1 a/u1 u2\n", "needs trials of one source"),
        ("enrol,test,label\na/u1+u2,u3,0\na/u1+u2,u2,1\n", r"en/a/u2 is compared with a/u1\+u2, which it is part of"),
        ("enrol,test,label\na/u1+u2,u3,0\nu2+a/u1,u3,0\n", "stands twice"),
        ("enrol,test,label\na/u1+u1+u2,u3,0\n", "u1 may be"),
        ("enrol,test,label\na/u1+a/u1,u3,0\n", "an utterance stands twice in the model"),
        ("enrol,test,label\na/u1,u2,1\na/u1\n", "trial 2 has no enrol or no test. Is the file cut off"),
        ("\n\n", "is no table"),
        (b"1 a/u1 \xff\xfe\xfa\n", "is no UTF-8 text"),
        ("file|speaker|system\na|b|c\n", "has no column enrol"),
    ],
)
def test_wrong_lists_get_a_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_folders_without_lists_get_a_line(tmp_path):
    with pytest.raises(UserError, match="is a folder without lists of trials"):
        read_trials(tmp_path, KNOWN)


def test_a_list_of_many_trials_keeps_their_order(tmp_path):
    known = {f"s{number % 7}/u{number}" for number in range(200)}
    pairs = [(f"s{a % 7}/u{a}", f"s{b % 7}/u{b}", int(a % 7 == b % 7)) for a in range(0, 200, 3) for b in range(0, 200, 5) if a != b]
    table = pd.DataFrame(pairs, columns=["enrol", "test", "label"])
    table[["label", "enrol", "test"]].to_csv(tmp_path / "many.txt", sep=" ", header=False, index=False)
    pd.testing.assert_frame_equal(read_trials(tmp_path / "many.txt", known).table[list(table)], table, check_dtype=False)
