"""Trees and lists as their authors hand them out, of which readers made something else without a word.

Seen: 4,798 segments of AI4T's list were 4,798 groups, so the parts that choose and that report shared recordings; 430 bona fide files of
TIMIT's tree were read as spoof; the folders that Kaggle's archives of Fake-or-Real unpack into were not found.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.detection.data.corpora import read_subset
from sourcetracing.detection.data.groups import files_alone
from sourcetracing.detection.experiments.scoring import selection_mask
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings


def settings_of(tmp_path: Path, **changes) -> Settings:
    settings = Settings()
    settings.detection.roots = {corpus: str(tmp_path / corpus) for corpus in settings.detection.roots}
    settings.detection.lists = str(tmp_path / "lists")
    for name, value in changes.items():
        setattr(settings.detection, name, value)
    return settings


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        write(root / path, "audio")


def ai4t_list(tmp_path: Path) -> list[str]:
    """The shape of the published list: 4,798 segments of 247 recordings, 2,793 of them bona fide; returns the names."""
    names = []
    for kind, label, num_segments, num_recordings in (("real", "bonafide", 2793, 130), ("fake", "spoof", 2005, 117)):
        numbers = [(number % num_recordings, number // num_recordings) for number in range(num_segments)]
        names += [f"{kind}{recording}_{10 * part}.wav|{label}" for recording, part in numbers]
    write(tmp_path / "lists/ai4trust_segm_systems.csv", "\n".join(names) + "\n")
    (tmp_path / "ai4trust").mkdir(exist_ok=True)
    return names


def test_segments_of_a_recording_stay_together(tmp_path):
    names = ai4t_list(tmp_path)
    settings = settings_of(tmp_path, origin="lists")
    rows, notes = read_subset(settings, "ai4trust")
    assert notes == []  # its counts are the published ones
    assert rows["path"].tolist() == [line.split("|")[0] for line in names]
    assert rows["recording"].tolist() == [line.split("_")[0] for line in names]
    assert rows["recording"].nunique() == 247
    manifest = rows.assign(corpus="ai4trust", group=rows["recording"])
    chosen = selection_mask(settings, manifest)
    assert set(manifest["group"][chosen]).isdisjoint(manifest["group"][~chosen])
    assert 0.4 < chosen.mean() < 0.6


def test_a_segments_list_that_knows_some_of_them_does_not_set_the_others_free(tmp_path):
    ai4t_list(tmp_path)
    write(tmp_path / "ai4trust/segments.csv", "path,label,speaker,recording\nreal0_0.wav,bonafide,Ann,clip\n")
    rows, _ = read_subset(settings_of(tmp_path, origin="lists"), "ai4trust")
    assert rows.loc[rows["path"] == "real0_0.wav", ["speaker", "recording"]].to_numpy().tolist() == [["Ann", "clip"]]
    assert (rows["recording"] != "").all() and rows["recording"].nunique() == 248


@pytest.mark.parametrize("name", ["clip.wav", "real10-30.wav", "_30.wav", "real10_a.wav"])
def test_a_segment_that_does_not_tell_its_recording_is_refused(tmp_path, name):
    (tmp_path / "ai4trust").mkdir()
    write(tmp_path / "lists/ai4trust_segm_systems.csv", f"real10_20.wav|bonafide\n{name}|spoof\n")
    with pytest.raises(UserError, match=f"ai4trust: {name} does not tell which recording"):
        read_subset(settings_of(tmp_path, origin="lists"), "ai4trust")


def test_files_that_nothing_holds_together_are_counted(tmp_path):
    settings = settings_of(tmp_path)
    rows = [("itw/a", "itw", "itw/a"), ("itw/b", "itw", "Ann"), ("ai4trust/c", "ai4trust", "clip"), ("odss/d", "odss", "odss/d")]
    manifest = pd.DataFrame(rows, columns=["file_id", "corpus", "group"])
    assert files_alone(settings, manifest) == ["1 of 2 files of ITW"]


REAL, SINGLE, MULTI = (
    f"CLEAN/{path}/sa1.wav" for path in ("single_speaker/real/fadg0/audio", "single_speaker/gtts", "multi_speaker/vits/p2")
)
EXPECTED = [["bonafide", "fadg0", ""], ["spoof", "", "gtts"], ["spoof", "vits/p2", "vits"]]


def test_bona_fide_speech_inside_timit_is_bona_fide(tmp_path):
    touch(tmp_path / "timit", REAL, SINGLE, MULTI)
    rows, _ = read_subset(settings_of(tmp_path), "timit")
    assert rows["path"].tolist() == [REAL, SINGLE, MULTI]
    assert rows[["label", "speaker", "source"]].to_numpy().tolist() == EXPECTED


def test_timit_by_the_authors_list_and_tree(tmp_path):
    touch(tmp_path / "timit", REAL, SINGLE, MULTI)
    lines = [
        f"{path.removeprefix('CLEAN/')}|{label[0]}"
        for path, label in zip((REAL, REAL, SINGLE, MULTI), EXPECTED[:1] + EXPECTED, strict=True)
    ]
    write(tmp_path / "lists/timit_systems.csv", "\n".join(lines) + "\n")
    rows, notes = read_subset(settings_of(tmp_path, origin="lists"), "timit")
    assert rows["path"].tolist() == [REAL, REAL, SINGLE, MULTI]
    assert rows[["label", "speaker", "source"]].to_numpy().tolist() == EXPECTED[:1] + EXPECTED
    assert "4 rows, 2 bona fide, 2 spoof, 1 repeated" in notes[0]


def test_other_versions_of_timit_find_the_bona_fide_of_the_clean_one(tmp_path):
    touch(tmp_path / "timit", REAL, *(path.replace("CLEAN", "AUG") for path in (SINGLE, MULTI)))
    rows, _ = read_subset(settings_of(tmp_path, timit_version="AUG"), "timit")
    assert rows[["label", "speaker", "source"]].to_numpy().tolist() == EXPECTED


@pytest.mark.parametrize(
    ("version", "place"),
    [
        ("for-2sec", "for-2seconds"),
        ("for-2sec", "for-2sec/for-2seconds"),
        ("for-rerec", "for-rerecorded"),
        ("for-rerec", "for-rerec/for-rerecorded"),
        ("for-rerec", "for-rerecorded/for-rerecorded"),
        ("for-norm", "for-norm/for-norm"),
        ("for-original", "for-original"),
    ],
)
def test_every_folder_that_fake_or_real_unpacks_into(tmp_path, version, place):
    files = [f"{part}/{label}/a.wav" for part in ("training", "validation", "testing") for label in ("real", "fake")]
    touch(tmp_path / "for" / place, *files)
    rows, _ = read_subset(settings_of(tmp_path, for_version=version), "for")
    assert rows["path"].tolist() == [f"{place}/{file}" for file in files]
    assert rows["label"].tolist() == ["bonafide", "spoof"] * 3
