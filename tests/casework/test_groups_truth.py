"""Lists of true sources as people write them, and figures of agreement by hand."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score

from sourcetracing.casework.groups_truth import FIGURES, agreement, read_truth, sources_of
from sourcetracing.errors import UserError


def test_figures_are_those_of_a_case_by_hand():
    """Groups {a, a, b}, {b}, {c, c}."""
    found = agreement(np.array([0, 0, 0, 1, 2, 2]), list("aabbcc"))
    assert found["purity"] == pytest.approx(5 / 6)
    # Pairs: 15; together in groups 3 + 1 = 4, in sources 3, in both 2 (aa, cc). Expected by chance: 4 * 3 / 15.
    assert found["adjusted Rand index"] == pytest.approx((2 - 0.8) / ((4 + 3) / 2 - 0.8))
    assert found["B-cubed precision"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1 + 1) / 6)
    assert found["B-cubed recall"] == pytest.approx((1 + 1 + 1 / 2 + 1 / 2 + 1 + 1) / 6)
    assert found["adjusted mutual information"] == pytest.approx(adjusted_mutual_info_score(list("aabbcc"), [0, 0, 0, 1, 2, 2]))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=2, max_size=15))
def test_figures_are_those_of_counting(files):
    labels, sources = np.array([label for label, _ in files]), [source for _, source in files]
    found, places = agreement(labels, sources), range(len(files))
    precision = [np.mean([sources[j] == sources[i] for j in places if labels[j] == labels[i]]) for i in places]
    recall = [np.mean([labels[j] == labels[i] for j in places if sources[j] == sources[i]]) for i in places]
    purity = sum(max([sources[j] for j in places if labels[j] == g].count(s) for s in "abc") for g in set(labels.tolist()))
    same = [(labels[i] == labels[j], sources[i] == sources[j]) for i, j in combinations(places, 2)]
    groups, truth, both = (sum(kind) for kind in (*zip(*same, strict=True), [a and b for a, b in same]))
    chance, most = groups * truth / len(same), (groups + truth) / 2
    assert found["B-cubed precision"] == pytest.approx(np.mean(precision))
    assert found["B-cubed recall"] == pytest.approx(np.mean(recall))
    assert found["purity"] == pytest.approx(purity / len(files))
    assert found["adjusted Rand index"] == pytest.approx((both - chance) / (most - chance) if most != chance else 1)


def test_the_same_groups_are_all_ones_and_files_alone_are_pure():
    assert all(value == pytest.approx(1) for value in agreement(np.array([0, 1, 1, 2]), list("xyyz")).values())
    alone = agreement(np.arange(4), list("aabb"))
    assert (alone["purity"], alone["adjusted Rand index"], alone["B-cubed recall"]) == (1, 0, 0.5)
    assert list(alone) == list(FIGURES)


# --- lists


@pytest.fixture
def audio(tmp_path, monkeypatch) -> Path:
    for name in ("one.wav", "two, much.wav", "ünü.wav"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


WRITTEN = {
    "plain": 'path,source\none.wav,tts\n"two, much.wav",007\nünü.wav,nan\n',
    "columns in any order, more of them, capitals": 'id,Source,PATH\n1,tts,one.wav\n2,007,"two, much.wav"\n3,nan,ünü.wav\n',
    "semicolons and blank lines": "path;source\n\none.wav;tts\ntwo, much.wav;007\nünü.wav;nan\n\n",
    "tabs": "path\tsource\none.wav\ttts\ntwo, much.wav\t007\nünü.wav\tnan",
    "Excel": "sep=;\r\npath;source\r\none.wav;tts\r\ntwo, much.wav;007\r\nünü.wav;nan\r\n",
    "a row twice": 'path,source\none.wav,tts\none.wav,tts\n"two, much.wav",007\nünü.wav,nan\n',
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_are_read_as_spreadsheets_write_them(audio, text, encoding):
    (audio / "truth.csv").write_bytes(text.encode(encoding))
    found = read_truth(audio / "truth.csv")
    assert found == {audio.resolve() / name: source for name, source in (("one.wav", "tts"), ("two, much.wav", "007"), ("ünü.wav", "nan"))}


def test_paths_may_be_as_from_the_folder_of_the_list(audio, tmp_path_factory, monkeypatch):
    (audio / "truth.csv").write_text("path,source\none.wav,tts\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert read_truth(audio / "truth.csv") == {audio.resolve() / "one.wav": "tts"}


WRONG = {
    "no column": ("file,source\na,b\n", "needs one column path; it has: file, source"),
    "a column twice": ("path,source,source\na,b,c\n", "needs one column"),
    "empty": ("", "CSV with the columns path,source"),
    "a heading alone, of another kind": ("just words\n", "needs one column path"),
    "a long row": ("path,source\none.wav,b,c\n", "saw 3"),
    "a short row": ("path,source\none.wav\n", "the source is empty"),
    "no source": ("path,source\none.wav,\n", "the source is empty"),
    "no path": ("path,source\n,tts\n", "the path is empty"),
    "two sources": ("path,source\none.wav,a\n./one.wav,b\n", "has two sources, a and b"),
    "an open quote": ('path,source\n"one.wav,a\ntwo.wav,b\n', "truth.csv"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_list_is_one_line(audio, text, message):
    (audio / "truth.csv").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_truth(audio / "truth.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), (b"path,source\n\xff\xfe\xfa,a", "UTF-8")])
def test_a_missing_or_undecodable_list_is_one_line(audio, content, message):
    if content:
        (audio / "truth.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_truth(audio / "truth.csv")


def test_a_file_has_the_source_of_any_of_its_paths(audio):
    truth = {audio.resolve() / "one.wav": "tts"}
    files = [[Path("copy.wav"), Path("one.wav")], [Path("other.wav")]]
    assert sources_of(files, truth) == ["tts", ""]
    with pytest.raises(UserError, match="the same file, with two sources, other and tts"):
        sources_of(files, {**truth, audio.resolve() / "copy.wav": "other"})
    with pytest.raises(UserError, match="names none of these files"):
        sources_of(files[1:], truth)
