"""The manifest: authors' lists, repeated rows, missing and bad files, groups, what a second run does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.detection.data import manifest_building
from sourcetracing.detection.data.corpora import author_lists, read_subset
from sourcetracing.detection.data.groups import TRAIN, baseline_sets, named_sets, test_sets, used_subsets
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import COLUMNS, audio_path, load_manifest
from sourcetracing.detection.data.manifest_building import _to_manifest, build_manifest
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.schema import Settings


def settings_of(tmp_path: Path, **changes) -> Settings:
    """Settings of ASVspoof 2019's training part against In-the-Wild."""
    settings = Settings(name="small")
    settings.paths.exp = str(tmp_path / "exp")
    settings.compute.workers = 1
    settings.detection.roots = {corpus: str(tmp_path / corpus) for corpus in settings.detection.roots}
    settings.detection.sets = {"ASV19": ["asv19_train"], "ITW": ["itw"]}
    settings.detection.train, settings.detection.baseline_train = ["ASV19"], ["ASV19"]
    settings.detection.test, settings.detection.baseline_test = ["ITW"], ["ITW"]
    settings.detection.lists = str(tmp_path / "lists")
    for name, value in changes.items():
        setattr(settings.detection, name, value)
    return settings


def write_audio(path: Path, seed: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000)), 16000)


@pytest.fixture
def corpora(tmp_path) -> Path:
    """Four files of ASVspoof 2019, three of In-the-Wild."""
    protocol = [f"LA_{n % 2} LA_T_{n} - {'-' if n < 2 else 'A01'} {'bonafide' if n < 2 else 'spoof'}" for n in range(4)]
    path = tmp_path / "asv19/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(protocol) + "\n")
    for n in range(4):
        write_audio(tmp_path / f"asv19/ASVspoof2019_LA_train/flac/LA_T_{n}.flac", n, 0.5 + n / 10)
    (tmp_path / "itw").mkdir()
    (tmp_path / "itw/meta.csv").write_text("file,speaker,label\n2.wav,Ann,spoof\n0.wav,Ann,bona-fide\n1.wav,,bona-fide\n")
    for n in range(3):
        write_audio(tmp_path / f"itw/{n}.wav", 10 + n)
    (tmp_path / "lists").mkdir()
    return tmp_path


def write_list(corpora: Path, subset: str, *lines: str) -> None:
    (corpora / "lists" / f"{subset}_systems.csv").write_text("\n".join(lines) + "\n")


def test_one_row_per_file_in_the_order_of_the_protocols(corpora):
    settings = settings_of(corpora)
    built = build_manifest(settings)
    rows = load_manifest(settings)
    assert rows.columns.tolist() == list(COLUMNS)
    assert rows["file_id"].tolist() == [*(f"asv19_train/LA_T_{n}" for n in range(4)), "itw/2", "itw/0", "itw/1"]
    assert rows["label"].tolist() == ["bonafide"] * 2 + ["spoof"] * 3 + ["bonafide"] * 2
    assert rows["group"].tolist() == ["LA_0", "LA_1", "LA_0", "LA_1", "Ann", "Ann", "itw/1"]
    assert rows["source"].tolist() == ["", "", "A01", "A01", "", "", ""]
    for row in rows.itertuples():
        assert row.digest == digest_of_file(audio_path(settings, row))
        assert row.duration_s == pytest.approx(soundfile.info(audio_path(settings, row)).duration, abs=1e-3)
    assert built.is_new
    assert built.counts["spoof"].tolist() == [2, 1]


def test_a_second_run_changes_nothing_and_reads_no_audio(corpora, monkeypatch):
    settings = settings_of(corpora)
    first = build_manifest(settings)
    written = DetectionLayout(settings).manifest.stat().st_mtime_ns
    monkeypatch.setattr("sourcetracing.detection.data.manifest_building.check_file", None)
    second = build_manifest(settings)
    assert not second.is_new
    assert DetectionLayout(settings).manifest.stat().st_mtime_ns == written
    assert second.rows.equals(first.rows.reset_index(drop=True))


def test_a_changed_file_is_seen(corpora):
    settings = settings_of(corpora)
    before = build_manifest(settings).rows
    write_audio(corpora / "itw/1.wav", 99, 1.0)
    after = build_manifest(settings).rows
    changed = before["digest"] != after["digest"]
    assert before["file_id"][changed].tolist() == ["itw/1"]


def test_a_killed_check_goes_on_where_it_was(corpora, monkeypatch):
    settings = settings_of(corpora)
    monkeypatch.setattr("sourcetracing.detection.data.manifest_building.BLOCK_FILES", 2)
    from sourcetracing.detection.data import manifest_building

    checked, check = [], manifest_building.check_file

    def check_until(path, rules):
        if len(checked) == 5:
            raise KeyboardInterrupt
        checked.append(path.name)
        return check(path, rules)

    monkeypatch.setattr(manifest_building, "check_file", check_until)
    with pytest.raises(KeyboardInterrupt):
        build_manifest(settings)
    assert not DetectionLayout(settings).manifest.exists()
    again = []
    monkeypatch.setattr(manifest_building, "check_file", lambda path, rules: again.append(path.name) or check(path, rules))
    assert len(build_manifest(settings).rows) == 7
    assert again == ["2.wav", "0.wav", "1.wav"]


def test_missing_files_are_counted_and_named_before_audio_is_read(corpora, monkeypatch):
    for n in (1, 3):
        (corpora / f"asv19/ASVspoof2019_LA_train/flac/LA_T_{n}.flac").unlink()
    settings = settings_of(corpora)
    with monkeypatch.context() as patch:
        patch.setattr("sourcetracing.detection.data.manifest_building.check_file", None)
        with pytest.raises(UserError, match=r"2 of 7 files are missing: .*LA_T_1.flac, .*LA_T_3.flac"):
            build_manifest(settings)
    listing = DetectionLayout(settings).root / "missing_files.txt"
    assert len(listing.read_text().splitlines()) == 2
    settings.audio.on_bad_audio = "skip"
    built = build_manifest(settings)
    assert len(built.rows) == 5
    assert any("left out 2 missing files" in note for note in built.notes)


def test_bad_audio_stops_or_is_left_out_and_listed(corpora):
    (corpora / "itw/0.wav").write_bytes(b"no audio")
    settings = settings_of(corpora)
    with pytest.raises(UserError, match=r"1 of 7 audio files cannot be used: .*itw/0.wav: cannot be read"):
        build_manifest(settings)
    assert not DetectionLayout(settings).manifest.exists()
    settings.audio.on_bad_audio = "skip"
    built = build_manifest(settings)
    assert "itw/0" not in built.rows["file_id"].tolist()
    assert "itw/0" in (DetectionLayout(settings).root / "bad_audio.csv").read_text()
    write_audio(corpora / "itw/0.wav", 5)
    assert len(build_manifest(settings).rows) == 7
    assert not (DetectionLayout(settings).root / "bad_audio.csv").exists()


def test_lists_keep_their_order_and_take_speakers_from_the_protocol(corpora):
    write_list(corpora, "asv19_train", "LA_T_3|spoof", "LA_T_0|bonafide")
    write_list(corpora, "itw", "1.wav|bonafide", "2.wav|spoof")
    settings = settings_of(corpora, origin="lists")
    built = build_manifest(settings)
    assert built.rows["file_id"].tolist() == ["asv19_train/LA_T_3", "asv19_train/LA_T_0", "itw/1", "itw/2"]
    assert built.rows["speaker"].tolist() == ["LA_1", "LA_0", "", "Ann"]
    expected = "asv19_train: the list has 2 rows, 1 bona fide, 1 spoof, 0 repeated; the published one has 25380 rows, 2580 bona fide"
    assert any(note.startswith(expected) for note in built.notes)


def test_a_list_without_the_corpus_own_protocol_still_works(corpora):
    (corpora / "itw/meta.csv").unlink()
    write_list(corpora, "itw", "1.wav|bonafide")
    rows, notes = read_subset(settings_of(corpora, origin="lists"), "itw")
    assert rows["path"].tolist() == ["1.wav"]
    assert any("no speakers" in note and "meta.csv is missing" in note for note in notes)


def test_a_subset_without_a_list_is_read_from_its_layout(corpora):
    settings = settings_of(corpora, origin="lists", list_files={"asv19_train": "", "itw": ""})
    assert len(read_subset(settings, "asv19_train")[0]) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("itw|1.wav|spoof", "line 2: 3 fields between |, but path|label are expected"),
        ("1.wav|fake", "row 2: 'fake' is no label"),
        ("1.wav spoof", "line 2: 1 fields between |"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(corpora, line, message):
    write_list(corpora, "itw", "0.wav|bonafide", line)
    with pytest.raises(UserError) as caught:
        read_subset(settings_of(corpora, origin="lists"), "itw")
    assert message in str(caught.value)


def test_a_list_that_contradicts_the_protocol_is_refused(corpora):
    write_list(corpora, "itw", "2.wav|bonafide")
    with pytest.raises(UserError, match="the list says 2.wav is bonafide"):
        read_subset(settings_of(corpora, origin="lists"), "itw")


def test_templates_place_entries_and_refuse_unknown_fields(corpora):
    write_list(corpora, "itw", "/mnt/private/release/1.wav|bonafide")
    settings = settings_of(corpora, origin="lists")
    settings.detection.templates = {**settings.detection.templates, "itw": "{name}"}
    assert read_subset(settings, "itw")[0]["path"].tolist() == ["1.wav"]
    settings.detection.templates["itw"] = "{folder}/{id}"
    with pytest.raises(UserError, match=r"templates.itw=\{folder\}/\{id\}: 'folder' is no field"):
        read_subset(settings, "itw")


def test_repeated_rows_are_reported_and_dropped_or_kept(corpora):
    write_list(corpora, "itw", "1.wav|bonafide", "2.wav|spoof", "1.wav|bonafide")
    write_list(corpora, "asv19_train", "LA_T_0|bonafide", "LA_T_3|spoof")
    dropped = build_manifest(settings_of(corpora, origin="lists"))
    assert dropped.rows["file_id"].tolist()[2:] == ["itw/1", "itw/2"]
    assert "itw: 1 rows repeat a file, dropped (detection.keep_duplicates)" in dropped.notes
    kept = build_manifest(settings_of(corpora, origin="lists", keep_duplicates=True))
    assert kept.rows["file_id"].tolist()[2:] == ["itw/1", "itw/2", "itw/1#2"]
    assert kept.rows["path"].tolist()[2] == kept.rows["path"].tolist()[4]


def test_one_file_with_two_labels_is_refused(corpora):
    (corpora / "itw/meta.csv").unlink()
    write_list(corpora, "itw", "1.wav|bonafide", "1.wav|spoof")
    write_list(corpora, "asv19_train", "LA_T_0|bonafide")
    with pytest.raises(UserError, match="itw: 1.wav is listed as bonafide and as spoof"):
        build_manifest(settings_of(corpora, origin="lists"))


def test_the_same_bytes_under_two_names_are_reported(corpora):
    content = (corpora / "asv19/ASVspoof2019_LA_train/flac/LA_T_0.flac").read_bytes()
    (corpora / "itw/0.wav").write_bytes(content)
    notes = build_manifest(settings_of(corpora)).notes
    assert "asv19_train and itw: 1 audio files are in both, byte for byte" in notes


def test_published_counts_are_those_of_the_lists():
    assert author_lists.PUBLISHED_COUNTS["timit"] == (20640, 860, 19780, 430)
    assert all(rows == real + fake for rows, real, fake, _ in author_lists.PUBLISHED_COUNTS.values())


def test_sets_are_those_of_the_tables():
    settings = Settings()
    assert list(named_sets(settings, TRAIN)) == ["ASV19", "ODSS", "FoR", "TIMIT", "MLAAD", "ASV5", "ASV21"]
    assert named_sets(settings, TRAIN)["ASV19"] == ["asv19_train", "asv19_dev"]
    assert test_sets(settings) == {"ITW": ["itw"], "AI4T": ["ai4trust"]}
    assert baseline_sets(settings)["ASV19"] == ["asv19_eval"]
    assert len(used_subsets(settings)) == 13


def test_an_unknown_set_or_subset_is_refused_with_the_nearest_name():
    settings = Settings()
    settings.detection.train = ["MLAD"]
    with pytest.raises(UserError, match=r"detection.train: 'MLAD' .*did you mean 'MLAAD'"):
        named_sets(settings, TRAIN)
    settings = Settings()
    settings.detection.sets = {**settings.detection.sets, "ITW": ["in_the_wild"]}
    with pytest.raises(UserError, match="detection.sets.ITW: unknown subset 'in_the_wild'"):
        test_sets(settings)


def test_a_manifest_that_is_not_built_names_the_command(tmp_path):
    with pytest.raises(UserError, match="00_build_manifest.py"):
        load_manifest(settings_of(tmp_path))


def test_files_of_one_speaker_else_of_one_recording_else_alone_are_a_group():
    """What shares a voice, or is cut from one recording whose speaker is not known, never lies in both parts (D70)."""
    columns = ["id", "path", "label", "speaker", "recording"]
    files = [
        ("a", "a.wav", "bonafide", "Ann", "talk1"),
        ("b", "b.wav", "spoof", "Ann", "talk2"),
        ("c", "c.wav", "spoof", "", "talk1"),
        ("d", "d.wav", "spoof", "", "talk1"),
        ("e", "e.wav", "spoof", "", ""),
    ]
    rows = _to_manifest(pd.DataFrame(files, columns=columns), "ai4trust")
    assert rows["group"].tolist() == ["Ann", "Ann", "talk1", "talk1", "ai4trust/e"]
    assert rows["file_id"].tolist() == [f"ai4trust/{name}" for name in "abcde"] and set(rows["corpus"]) == {"ai4trust"}


def test_a_kill_under_another_list_leaves_nothing_that_passes_for_whole(corpora, monkeypatch):
    """Labels of a list that was put back stayed turned round: the record of the list of before still stood beside the new rows."""
    settings = settings_of(corpora)
    labels = build_manifest(settings).rows.set_index("file_id")["label"]
    meta = corpora / "itw/meta.csv"
    before = meta.read_text()
    meta.write_text(before.replace("2.wav,Ann,spoof", "2.wav,Ann,bona-fide"))
    with monkeypatch.context() as patch:
        patch.setattr(manifest_building, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_manifest(settings)
    with pytest.raises(UserError, match="was not written to its end. Run: python scripts/detection/00_build_manifest.py"):
        load_manifest(settings)
    meta.write_text(before)
    built = build_manifest(settings)
    assert built.is_new and built.rows.set_index("file_id")["label"].equals(labels)
