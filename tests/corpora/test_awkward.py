"""The awkward corpus: the same bytes again, its table, and what it refuses. Its shape: tests/whole_pipeline/test_awkward.py."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import soundfile

from sourcetracing.corpora.corpus import corpus_of
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis import awkward
from tests.support.places import ROOT


def settings_for(root: Path) -> Settings:
    places = [f"paths.corpus={root}", f"folder.table={root}/table.csv", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs"]
    sizes = ["demo.noises_per_category=2", "demo.noise_seconds=5.0", "demo.rirs_per_room_size=1", "compute.workers=1"]
    return load_settings([str(ROOT / "configs" / "awkward.yaml"), *places, *sizes])


@pytest.fixture
def few(monkeypatch):
    """Six files for each language, among them the shortest and the longest."""
    whole = awkward.plan_files
    monkeypatch.setattr("sourcetracing.corpora.awkward.plan_files", lambda seed: [file for file in whole(seed) if file.number < 6][:6])


def test_files_and_table_are_made_once_and_the_same_again(tmp_path, few):
    for root in (tmp_path / "one", tmp_path / "two"):
        corpus_of(settings_for(root)).download()
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").glob("*.wav"))
    assert [str(name) for name in names] == [f"{number:04d}.wav" for number in range(1, 7)]
    for name in [*names, Path("table.csv")]:
        assert digest_of_file(tmp_path / "one" / name) == digest_of_file(tmp_path / "two" / name)
    seconds = [soundfile.info(tmp_path / "one" / name).duration for name in names]
    assert (seconds[0], seconds[5]) == (pytest.approx(0.3, abs=1e-3), pytest.approx(40.0, abs=1e-3))
    times = [path.stat().st_mtime_ns for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    corpus_of(settings_for(tmp_path / "one")).download()
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()] == times


def test_the_plan_holds_what_the_counts_say():
    files = awkward.plan_files(688)
    for source, counts in awkward.COUNTS.items():
        for language, sizes in counts.items():
            own = [file.split for file in files if (file.source, file.language) == (source, language)]
            assert tuple(own.count(split) for split in ("train", "dev", "eval")) == sizes
    assert len({file.path for file in files}) == len(files)
    people = {(file.speaker, file.language) for file in files}
    assert len({name for name, _ in people}) == len(people), "a speaker's name belongs to one person"
    assert len({int(name) for name, _ in people}) < len(people), "but not when it is read as a number"


def test_the_table_holds_names_as_they_are(tmp_path, few):
    corpus_of(settings_for(tmp_path)).download()
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["transcript"] for row in rows} >= {"NA", "null", "1234", 'She said, "nan".'}


def test_audio_of_somebody_else_is_not_touched(tmp_path):
    soundfile.write(tmp_path / "0001.wav", [0.1] * 100, 16000)
    with pytest.raises(UserError, match="did not make"):
        corpus_of(settings_for(tmp_path)).download()


def test_a_table_has_to_have_a_place(tmp_path):
    settings = settings_for(tmp_path)
    settings.folder.table = ""
    with pytest.raises(UserError, match="folder.table"):
        corpus_of(settings).download()
