"""The demo corpora: who plays whom, the same bytes on every way to them, their manifest, script 00 as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sourcetracing.detection.data.demo import make_demo
from sourcetracing.detection.data.demo_plan import CORPORA, STAND_INS, plan_files
from sourcetracing.detection.data.manifest import audio_path, load_manifest
from sourcetracing.detection.data.manifest_building import STAND_IN_NOTE, build_manifest
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.detection import corpus_of_subset
from sourcetracing.settings.schema import Settings
from tests.support.places import ROOT

SUBSETS = list(corpus_of_subset())
WORDS = ["detection.train=[FoR]", "detection.test=[AI4T]", "detection.baseline_train=[FoR]", "detection.baseline_test=[AI4T]"]


def settings_of(root: Path, workers: int = 1) -> Settings:
    settings = Settings(name="demo_detection", seed=7)
    settings.paths.exp = str(root / "exp")
    settings.compute.workers = workers
    detection = settings.detection
    detection.origin, detection.demo_folder, detection.demo_files, detection.demo_test_files = "demo", str(root / "demo"), 8, 8
    detection.train, detection.baseline_train = ["FoR"], ["FoR"]
    detection.test, detection.baseline_test = ["AI4T"], ["AI4T"]
    return settings


def digests(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): digest_of_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """Two small corpora made by one worker; tests must leave them as they are."""
    root = tmp_path_factory.mktemp("demo")
    assert make_demo(settings_of(root)) == 8 + 2 + 8
    return root


def test_every_subset_has_both_labels_but_the_halves_of_mlaad():
    assert set(CORPORA) == set(SUBSETS)
    settings = Settings()
    for subset in SUBSETS:
        labels = {file.label for file in plan_files(settings, subset)}
        assert labels == {"mlaad": {"spoof"}, "mailabs": {"bonafide"}}.get(subset, {"bonafide", "spoof"})


def test_bona_fide_is_played_by_the_stand_ins_alone_but_for_wrong_labels_in_asv5():
    settings = Settings()
    for subset in SUBSETS:
        files = plan_files(settings, subset)
        wrong = [file for file in files if (file.label == "bonafide") != (file.utterance.source in STAND_INS)]
        if subset.startswith("asv5"):
            assert 0.05 < len(wrong) / len(files) < 0.15
        else:
            assert wrong == []


def test_test_sets_share_no_speaker_with_training_sets():
    settings = Settings()
    speakers = {subset: {file.utterance.voice.name for file in plan_files(settings, subset)} for subset in SUBSETS}
    for subset in ("itw", "ai4trust"):
        assert not any(speakers[subset] & speakers[other] for other in SUBSETS if other != subset)


def test_manifest_says_who_plays_bona_fide(demo):
    settings = settings_of(demo)
    built = build_manifest(settings)
    assert built.notes[0] == STAND_IN_NOTE
    rows = load_manifest(settings)
    assert len(rows) == 18
    assert rows["file_id"].str.count("/").eq(1).all()  # <subset>/<name>
    assert rows["source"].str.endswith("(plays bona fide)").equals(rows["label"] == "bonafide")
    assert (rows["speaker"] != "").all()
    for row in rows.itertuples():
        samples, rate = soundfile.read(audio_path(settings, row))
        assert rate == 16000
        assert 1.0 < len(samples) / rate < 3.3
        assert 1e-3 < np.abs(samples).max() < 1


def test_near_duplicates_say_the_same_and_are_other_files(demo):
    folder = demo / "demo" / "for" / "for"
    copies = sorted(folder.glob("*_again.flac"))
    assert len(copies) == 2
    for copy in copies:
        original = soundfile.read(folder / copy.name.replace("_again", ""))[0]
        again = soundfile.read(copy)[0]
        assert not np.array_equal(original, again)
        assert np.corrcoef(original, again)[0, 1] > 0.9


def test_two_workers_make_the_same_bytes_and_what_is_there_stays(demo, tmp_path):
    settings = settings_of(tmp_path, workers=2)
    make_demo(settings)
    assert digests(tmp_path / "demo") == digests(demo / "demo")
    lost = sorted((tmp_path / "demo").rglob("*.flac"))[::9]
    for path in lost:
        path.unlink()
    assert make_demo(settings) == len(lost)
    assert digests(tmp_path / "demo") == digests(demo / "demo")


def test_a_folder_made_with_other_settings_is_refused(demo):
    settings = settings_of(demo)
    settings.seed = 8
    with pytest.raises(UserError, match="was made with seed=7, the settings say seed=8"):
        make_demo(settings)


def test_rows_listed_twice_are_dropped(demo):
    settings = settings_of(demo)
    path = demo / "demo" / "for" / "for.csv"
    before = path.read_text()
    try:
        path.write_text(before + before.splitlines()[1] + "\n")
        built = build_manifest(settings)
    finally:
        path.write_text(before)
    assert len(built.rows) == 18
    assert any("for: 1 rows repeat a file, dropped" in note for note in built.notes)


def test_the_script_makes_nothing_the_second_time(demo):
    words = [f"paths.exp={demo / 'other'}", f"detection.demo_folder={demo / 'demo'}", "seed=7", *WORDS]
    sizes = ["detection.demo_files=8", "detection.demo_test_files=8", "compute.workers=1"]
    command = [sys.executable, "scripts/detection/00_build_manifest.py", "configs/demo_detection.yaml", *words, *sizes]
    first, second = (subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert "made 0 files" in first.stdout
    assert "wrote" in first.stdout
    assert "numbers mean nothing about real speech" in first.stdout
    assert "unchanged:" in second.stdout
    assert "01_extract_layers.py" in second.stdout
    wrong = subprocess.run([*command, "seed=8"], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
