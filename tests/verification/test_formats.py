"""Lists of trials in the forms of others: what is read from each, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sourcetracing.errors import UserError
from sourcetracing.verification.formats import UtteranceNames, read_trial_list, read_trial_lists

KNOWN = ["en/x/a", "en/x/b", "de/x/c", "name with blank", "ümlaut", "007"]


def write(folder: Path, text: str | bytes, name: str = "trials.txt") -> Path:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def rows(trials) -> list[tuple]:
    return list(trials.table.itertuples(index=False, name=None))


def test_our_csv_with_sets_labels_and_conditions(tmp_path):
    text = "enrol,test,label,condition\nen/x/a+en/x/b,de/x/c,0,cross\nen/x/a,name with blank,1,\nümlaut,007,,\n"
    trials = read_trial_list(write(tmp_path, text), KNOWN)
    assert trials.models == {"en/x/a+en/x/b": ("en/x/a", "en/x/b"), "en/x/a": ("en/x/a",), "ümlaut": ("ümlaut",)}
    assert rows(trials) == [
        ("en/x/a+en/x/b", "de/x/c", 0, "cross"),
        ("en/x/a", "name with blank", 1, ""),
        ("ümlaut", "007", -1, ""),
    ]


def test_our_csv_without_labels_and_with_a_file_of_models(tmp_path):
    write(tmp_path, "enrol,utt_id\nM,en/x/a\nM,en/x/b\n", "trials_models.csv")
    trials = read_trial_list(write(tmp_path, "enrol,test\nM,007\n", "trials.csv"), KNOWN)
    assert trials.models == {"M": ("en/x/a", "en/x/b")}
    assert rows(trials) == [("M", "007", -1, "")]


def test_voxceleb_and_riemannsd_lists_name_files_with_folders_and_suffixes(tmp_path):
    text = "1 fake/en/x/a.wav ./en/x/b.wav\r\n0 b.flac c\r\n"
    assert rows(read_trial_list(write(tmp_path, text), KNOWN)) == [("en/x/a", "en/x/b", 1, ""), ("en/x/b", "de/x/c", 0, "")]


def test_kaldi_lists(tmp_path):
    text = "a b target\na c nontarget\n"
    assert rows(read_trial_list(write(tmp_path, text), KNOWN)) == [("en/x/a", "en/x/b", 1, ""), ("en/x/a", "de/x/c", 0, "")]


def test_stopa_trials_with_fingerprints(tmp_path):
    head = "AbstractModel FileName Speaker Text ATK IsTargetATK IsTargetAcousticModel IsTargetVocoderModel\n"
    body = "AA01-co-10 c s t AA01 True True True\nAA01-co-10 007 s t AA02 False True True\n"
    path = write(tmp_path, head + body, "AA01-co-10_trials.txt")
    fingerprint = write(tmp_path, "Speaker FileName Text ATK\ns a t AA01\ns b t AA01\n", "AA01-co-10.txt")
    for models in (fingerprint, tmp_path):
        trials = read_trial_list(path, KNOWN, models)
        assert trials.models == {"AA01-co-10": ("en/x/a", "en/x/b")}
        assert rows(trials) == [("AA01-co-10", "de/x/c", 1, ""), ("AA01-co-10", "007", 0, "")]
    assert read_trial_list(path, KNOWN).models == trials.models  # beside it
    fingerprint.rename(tmp_path / "AA01-co-10")  # as its authors have it
    assert read_trial_list(path, KNOWN).models == trials.models
    (tmp_path / "AA01-co-10").unlink()
    with pytest.raises(UserError, match="there is no fingerprint list AA01-co-10"):
        read_trial_list(path, KNOWN)


def test_files_of_stopa_that_are_called_alike_are_told_apart_by_attack_and_part(tmp_path):
    known = {f"stopa/AA0{attack}/{part}/{name}" for attack in (1, 2) for part in ("dev", "eval") for name in ("p1", "p2")}
    head = "AbstractModel FileName Speaker Text ATK IsTargetATK\n"
    path = write(tmp_path, head + "AA01-nc-1 p1 s t AA01 True\nAA01-nc-1 p1 s t AA02 False\n", "AA01-nc-1_trials.txt")
    write(tmp_path, "Speaker FileName Text ATK\nx p1 t AA01\n", "AA01-nc-1.txt")
    trials = read_trial_list(path, known)
    assert trials.models == {"AA01-nc-1": ("stopa/AA01/dev/p1",)}
    assert trials.table["test"].tolist() == ["stopa/AA01/eval/p1", "stopa/AA02/eval/p1"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("enrol,test,label\n", "has no trials"),
        ("enrol,test,test\na,b,c\n", "the heading has 'test' twice"),
        ("hello\n", "no list of trials"),
        ("1 a nobody\n", "row 1: 'nobody' is no utterance"),
        ("1 a b\n0 a c\n1 a b\n", "row 3: the trial en/x/a, en/x/b stands twice"),
        ("1 a b\n0 a c\n1 a x/b.wav\n", "row 3: the trial en/x/a, en/x/b stands twice"),
        ("1 a a\n0 a c\n", "row 1: en/x/a is compared with itself"),
        ("enrol,test,label\na+b,b,1\na,c,0\n", "row 2: en/x/b is compared with a.b, which it is part of"),
        ("enrol,test,label\na+a,b,1\na,c,0\n", "row 2: enrol 'a.a': en/x/a stands twice in one model"),
        ("1 a b\n2 a c\n", "row 2: label '2' is neither"),
        ("enrol,test,label\na,b,yes\n", "row 2: label 'yes' is neither"),
        ("1 a b\n0 a\n", "row 2: 2 words, but row 1 has 3. Is the file complete"),
        ("enrol,test,label\na,b,1\na,c\n", "row 3: 2 cells, but the heading in row 1 has 3"),
        ("1 a b\n1 a c\n", "all labels are 1"),
        ("1 ümlaut b\n".encode("latin-1"), "is no UTF-8 text"),
        ("AbstractModel FileName ATK\nm a t\n", "without a column IsTargetATK"),
    ],
)
def test_what_is_refused(tmp_path, text, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        read_trial_list(write(tmp_path, text), KNOWN)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_missing_is_refused(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_trial_list(tmp_path / "none.txt", KNOWN)


def test_a_name_that_could_be_two_utterances_is_refused_and_other_folders_are_no_match():
    names = UtteranceNames(["en/x/a", "de/x/a", "b.1"])
    assert names.find("data/fake/en/x/a.wav") == "en/x/a"
    assert names.find("b.1") == "b.1"
    assert names.find("b.1.wav") == "b.1"
    with pytest.raises(UserError, match="could be de/x/a or en/x/a"):
        names.find("a.wav")
    with pytest.raises(UserError, match="no utterance"):
        names.find("fr/x/a.wav")


@pytest.mark.parametrize(
    "text",
    [
        "1\ta b/u 1\tu2\n0\ta b/u 1\tu3\n",
        "a b/u 1\tu2\ttarget\na b/u 1\tu3\tnontarget\n",
        "sep=;\nenrol;test;label\na b/u 1.wav;x/u2.flac;1\na b/u 1;u3;0\n",
        "\nlabel\ttest\tenrol\n\n1\tx/u2\tu 1\n0\tx/u3\tu 1\n",
        "enrol,test,label\r\nu 1,u2,1\r\nu 1,u3,0".encode("utf-16"),
    ],
)
def test_tabs_semicolons_and_what_spreadsheets_write(tmp_path, text):
    path = tmp_path / "own.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read_trial_list(path, {"a b/u 1", "x/u2", "x/u3"})
    assert rows(found) == [("a b/u 1", "x/u2", 1, ""), ("a b/u 1", "x/u3", 0, "")]


def test_a_set_in_another_order_is_the_same_model(tmp_path):
    path = write(tmp_path, "enrol,test,label\nu1+u2,u3,0\nu1,u2,1\nu2+u1,u3,0\n")
    with pytest.raises(UserError, match=r"row 4: the trial u2\+u1, u3 stands twice"):
        read_trial_list(path, {"u1", "u2", "u3"})


def test_a_folder_of_lists_is_one_list_whose_conditions_are_the_lists(tmp_path):
    """The four lists of RiemannSD-Net, and what lies beside them."""
    (tmp_path / "seen_seen_same_speaker.txt").write_text("1 a/1 a/2\n0 a/1 b/1\n")
    (tmp_path / "unseen_unseen_diff_speaker.txt").write_text("1 b/1 b/2\n0 a/2 b/2\n")
    (tmp_path / "README.md").write_text("four lists\n")
    trials = read_trial_lists(tmp_path, ["a/1", "a/2", "b/1", "b/2"])
    assert trials.table["condition"].tolist() == ["seen_seen_same_speaker"] * 2 + ["unseen_unseen_diff_speaker"] * 2
    assert trials.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"notes.md": "no list"}, "there is no list of trials in this folder"),
        (
            {"one.txt": "1 a/1 a/2\n0 a/1 b/1\n", "two.txt": "1 b/1 b/2\n0 a/1 b/1\n"},
            r"two\.txt: the trial a/1, b/1 stands in one\.txt, too",
        ),
        (
            {
                "one.csv": "enrol,test,label\nm,a/2,1\nm,b/1,0\n",
                "one_models.csv": "enrol,utt_id\nm,a/1\n",
                "two.csv": "enrol,test,label\nm,a/1,0\nm,b/1,1\n",
                "two_models.csv": "enrol,utt_id\nm,b/2\n",
            },
            "its model m has other utterances",
        ),
    ],
)
def test_a_folder_of_lists_that_is_refused(tmp_path, files, complaint):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_trial_lists(tmp_path, ["a/1", "a/2", "b/1", "b/2"])
