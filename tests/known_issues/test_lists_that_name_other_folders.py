"""A line `..|spoof` in a list of recordings deleted the WAV files of the folder above before anything was decoded; other lists were not
looked at either."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sourcetracing.corpora.mlaad import META_COLUMNS, read_meta
from sourcetracing.corpora.published_lists import read_lists
from sourcetracing.detection.data import segments
from sourcetracing.detection.data.corpora import read_subset
from sourcetracing.detection.data.segments import segment_recordings
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import require_inside
from sourcetracing.settings.schema import Settings
from tests.support.audio_files import write_wav

STRANGE = ("..", ".", "../x.wav", "a/../../x.wav", "a/./x.wav", "/etc/x.wav", "a\\..\\..\\x.wav", "C:\\x.wav", "", "a/", "a\0.wav")


def segment_settings() -> Settings:
    settings = Settings()
    settings.compute.workers = 1
    settings.detection.segment_seconds, settings.detection.min_segment_seconds = 1.0, 0.1
    return settings


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_path_below_a_folder_is_refused(name):
    with pytest.raises(UserError, match="list.txt: .*is no path to a file below its folder"):
        require_inside(["a/b.wav", name], "list.txt")


@pytest.mark.parametrize("name", ["x.wav", "./a/x.wav", "a..b/...wav", "été/x (1).wav", "a//x.wav", "a: b/x.wav"])
def test_odd_names_that_stay_inside_are_not(name):
    require_inside([name], "list.txt")


@pytest.mark.parametrize("name", ["..", ".", "../mine", "/"])
def test_a_list_of_recordings_deletes_nothing(tmp_path, name):
    mine = tmp_path / "corpora/mine/00000.wav"
    write_wav(mine, 0.2, 1)
    write_wav(tmp_path / "corpora/precious.wav", 0.2, 1)
    (tmp_path / "list.txt").write_text(f"{name}|spoof\n")
    with pytest.raises(UserError, match="list.txt, line 1"):
        segment_recordings(tmp_path / "list.txt", tmp_path / "in", tmp_path / "corpora/ai4t", segment_settings())
    assert mine.is_file() and (tmp_path / "corpora/precious.wav").is_file()


def cut_job(root: Path, seconds: float = 1.0) -> segments._Job:
    return segments._Job(segments.Recording("a.wav", "spoof", "", "a.wav"), root / "in/a.wav", root / "out", Settings().audio, seconds, 0.1)


def test_a_folder_that_somebody_else_filled_is_left_alone(tmp_path):
    write_wav(tmp_path / "in/a.wav", 2.0, 1)
    mine = tmp_path / "out/a.wav/00000.wav"
    write_wav(mine, 0.2, 7)
    before = mine.read_bytes()
    assert re.search(r"holds 00000\.wav, which this script did not write", segments._cut(cut_job(tmp_path)).reason)
    assert mine.read_bytes() == before
    mine.rename(tmp_path / "mine.wav")
    assert segments._cut(cut_job(tmp_path)) is None and segments._read_done(cut_job(tmp_path)) == [1.0, 1.0]
    (mine.parent / "notes.txt").write_text("mine")
    write_wav(tmp_path / "in/a.wav", 3.0, 2)  # to be cut again
    assert "holds notes.txt" in segments._cut(cut_job(tmp_path)).reason
    (mine.parent / "notes.txt").unlink()
    assert segments._cut(cut_job(tmp_path)) is None and segments._read_done(cut_job(tmp_path)) == [1.0] * 3


def test_segments_of_other_settings_are_not_taken_after_a_kill(tmp_path, monkeypatch):
    """The list of the first cut stayed while segments of another length took the places of its own."""
    write_wav(tmp_path / "in/a.wav", 4.0, 1)
    job, other = cut_job(tmp_path), cut_job(tmp_path, 2.0)
    assert segments._cut(job) is None and segments._read_done(job) == [1.0] * 4
    whole = {path.name: path.read_bytes() for path in (tmp_path / "out/a.wav").iterdir()}
    for at in ("write_audio", "_put_in_place", "write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(segments, at, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                segments._cut(other)
        if segments._read_done(job) is not None:
            assert {path.name: path.read_bytes() for path in (tmp_path / "out/a.wav").iterdir()} == whole
        assert segments._read_done(other) is None
    assert segments._cut(other) is None and segments._read_done(other) == [2.0, 2.0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "a.wav.done.json"]


def in_the_wild(root: Path, name: str) -> tuple[Settings, str]:
    (root / "meta.csv").write_text(f"file,speaker,label\n{name},Ann,spoof\n")
    settings = Settings()
    settings.detection.origin, settings.detection.roots = "official", {"itw": str(root)}
    return settings, "itw"


def asvspoof(root: Path, name: str) -> tuple[Settings, str]:
    folder = root / "ASVspoof2019_LA_cm_protocols"
    folder.mkdir()
    (folder / "ASVspoof2019.LA.cm.train.trn.txt").write_text(f"LA_1 {name} - A01 spoof\n")
    settings = Settings()
    settings.detection.origin, settings.detection.roots = "official", {"asv19": str(root)}
    return settings, "asv19_train"


def authors_list(root: Path, name: str) -> tuple[Settings, str]:
    (root / "list.txt").write_text(f"{name}|spoof\n")
    settings = Settings()
    settings.detection.origin, settings.detection.roots = "lists", {"itw": str(root)}
    settings.detection.lists, settings.detection.list_files = str(root), {"itw": "list.txt"}
    return settings, "itw"


@pytest.mark.parametrize("make", [in_the_wild, asvspoof, authors_list])
def test_every_reader_of_detection_refuses_a_way_out(tmp_path, make):
    settings, subset = make(tmp_path, "../../x")
    with pytest.raises(UserError, match=r"\.\./\.\./x.* is no path to a file below its folder"):
        read_subset(settings, subset)


def test_mlaads_own_table_is_looked_at(tmp_path):
    path = tmp_path / "meta.csv"
    row = ["../../x.wav", "o.wav", "en", "True", "1", "none", "griffin_lim", "none", "text"]
    path.write_text("|".join(META_COLUMNS) + "\n" + "|".join(row) + "\n")
    with pytest.raises(UserError, match=r"meta\.csv: '\.\./\.\./x\.wav' is no path"):
        read_meta(path)


def test_imported_lists_are_looked_at(tmp_path):
    (tmp_path / "train.csv").write_text("path\nfake/en/griffin_lim/../../../x.wav\n")
    with pytest.raises(UserError, match="is no path to a file below its folder"):
        read_lists(tmp_path, ["griffin_lim"], ["en"])


def test_a_segment_that_is_gone_is_cut_again_and_a_damaged_list_is_no_traceback(tmp_path):
    """A segment that another process had removed was still counted, whenever the script ran again."""
    write_wav(tmp_path / "in/a.wav", 3.0, 1)
    job = cut_job(tmp_path)
    assert segments._cut(job) is None and segments._read_done(job) == [1.0] * 3
    (tmp_path / "out/a.wav/00001.wav").unlink()
    assert segments._read_done(job) is None
    assert segments._cut(job) is None and segments._read_done(job) == [1.0] * 3
    for text in ("{", "[]", "{}", '{"segments": 3}'):
        segments._done_path(job).write_text(text)
        assert segments._read_done(job) is None
        assert "did not write; move that folder away" in segments._cut(job).reason
