"""Noises and rooms on disk: found, sorted into categories, decoded once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sourcetracing.downloads import records
from sourcetracing.errors import UserError
from sourcetracing.features import noise_bank, noise_files
from sourcetracing.features.noise_bank import noises_at_hand, open_banks, prepare_banks
from sourcetracing.features.noise_files import find_clips, find_noises, find_responses, needed_kinds
from tests.support.audio_files import small_audio_settings, write_noises, write_responses, write_wav


@pytest.fixture
def settings(tmp_path):
    write_noises(tmp_path / "musan")
    write_responses(tmp_path / "RIRS_NOISES")
    return small_audio_settings(tmp_path)


def test_a_bank_holds_every_file_exactly(settings, tmp_path):
    banks = open_banks(prepare_banks(settings))
    assert {kind: len(bank) for kind, bank in banks.items()} == {"music": 4, "noise": 4, "rir": 3, "speech": 4}
    expected, _ = soundfile.read(tmp_path / "musan/noise/subset/2.wav", dtype="float32")
    np.testing.assert_array_equal(banks["noise"].read(2), expected)
    assert banks["noise"].samples.dtype == np.int16
    response, _ = soundfile.read(tmp_path / "RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav", dtype="float32")
    np.testing.assert_array_equal(banks["rir"].read(1), np.trim_zeros(response, "b"))


def test_a_second_call_decodes_nothing_and_a_changed_file_decodes_anew(settings, tmp_path, monkeypatch):
    first = prepare_banks(settings)
    digests = {kind: bank.digest for kind, bank in open_banks(first).items()}
    monkeypatch.setattr(noise_bank, "_build_bank", lambda *_: pytest.fail("decoded again"))
    assert prepare_banks(settings) == first
    monkeypatch.undo()
    write_wav(tmp_path / "musan/noise/subset/0.wav", 1.5, 999)
    second = prepare_banks(settings)
    assert second["noise"] != first["noise"] and second["music"] == first["music"]
    assert open_banks(second)["noise"].digest != digests["noise"]


def test_another_rate_or_number_type_is_resampled_and_never_clipped(settings, tmp_path):
    time = np.arange(44100) / 44100
    loud = 3 * np.sin(2 * np.pi * 300 * time)
    soundfile.write(tmp_path / "musan/noise/subset/loud.wav", loud, 44100, subtype="FLOAT")
    bank = open_banks(prepare_banks(settings))["noise"]
    clip = bank.read(4)
    assert len(clip) == pytest.approx(16000, abs=2)
    np.testing.assert_allclose(clip[500:15500], 3 * np.sin(2 * np.pi * 300 * np.arange(16000) / 16000)[500:15500], atol=5e-3)


def test_only_what_the_variants_draw_from_is_needed(settings, tmp_path):
    augment = settings.augment
    assert needed_kinds(augment) == ["music", "noise", "rir", "speech"]
    augment.variants = ["original", "music", "reverb"]
    assert needed_kinds(augment) == ["music", "rir"]
    augment.force_speech = True
    assert needed_kinds(augment) == ["rir", "speech"]
    augment.variants = ["original"]
    settings.paths.musan = settings.paths.rirs = str(tmp_path / "nowhere")
    assert prepare_banks(settings) == {}


def test_the_category_is_the_third_component_from_the_end(tmp_path):
    root = tmp_path / "speech"  # a root that is named like a category must not matter
    write_noises(root)
    assert {kind: len(files) for kind, files in find_noises(root).items()} == {"music": 4, "noise": 4, "speech": 4}
    write_noises(tmp_path / "outer" / "musan")
    assert len(find_noises(tmp_path / "outer")["noise"]) == 4


@pytest.mark.parametrize("place", ["babble/subset/a.wav", "a.wav", "subset/a.wav"])
def test_an_unknown_category_is_refused(tmp_path, place):
    write_noises(tmp_path / "musan")
    write_wav(tmp_path / "musan" / place, 0.1, 0)
    with pytest.raises(UserError, match=r"a\.wav: unknown category"):
        find_noises(tmp_path / "musan")


def test_measured_rooms_are_an_option_without_the_noises_beside_them(tmp_path):
    write_responses(tmp_path)
    for name in ("RVB2014_type1_rir_largeroom1_far_angla", "RVB2014_type1_noise_largeroom1_1"):
        write_wav(tmp_path / "real_rirs_isotropic_noises" / f"{name}.wav", 0.1, 0)
    assert len(find_responses(tmp_path, real=False)) == 3
    real = [path.stem[:17] for path in find_responses(tmp_path, real=True).files if "real" in path.parent.name]
    assert real == ["RVB2014_type1_rir"]


def test_several_microphones_give_the_first_ones_response(settings, tmp_path):
    settings.augment.real_rirs = True
    response = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32) * 0.1
    (tmp_path / "RIRS_NOISES/real_rirs_isotropic_noises").mkdir()
    soundfile.write(tmp_path / "RIRS_NOISES/real_rirs_isotropic_noises/air_rir.wav", response, 16000, subtype="FLOAT")
    bank = open_banks(prepare_banks(settings))["rir"]
    files = json.loads(prepare_banks(settings)["rir"].read_text())["files"]
    index = next(number for number, file in enumerate(files) if file.endswith("air_rir.wav"))
    np.testing.assert_array_equal(bank.read(index), response[:, 0])


def test_what_is_missing_or_broken_is_named(settings, tmp_path):
    broken = tmp_path / "musan/noise/subset/0.wav"
    broken.write_bytes(b"junk")
    with pytest.raises(UserError, match=r"noise/subset/0\.wav: cannot be read as audio"):
        prepare_banks(settings)
    broken.unlink()
    soundfile.write(tmp_path / "RIRS_NOISES/simulated_rirs/smallroom/Room001/silent.wav", np.zeros(100), 16000)
    with pytest.raises(UserError, match=r"silent\.wav: a room response without any sound"):
        prepare_banks(settings)
    settings.paths.rirs = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"nowhere.*paths\.rirs.*01_download_resources"):
        prepare_banks(settings)


def test_too_little_disk_is_said_before_anything_is_decoded(settings, tmp_path, monkeypatch):
    """A bank is a second copy of MUSAN: 12.6 GB, which nobody had asked the disk for."""
    seconds = {"music": 4.6, "noise": 4.6, "speech": 4.6}  # 1.0 + 1.1 + 1.2 + 1.3 s of each
    needed_bytes = sum(round(value * 16000) * 2 for value in seconds.values()) + 3 * 1600 * 4
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(noise_bank, "_build_bank", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(records, "disk_usage", lambda _: usage._replace(free=needed_bytes - 1))
    complaint = (
        f"noise_bank: the noise bank .music, noise, rir, speech: .* needs {needed_bytes / 1e3:.2f} kB, but only .* run the same command"
    )
    with pytest.raises(UserError, match=complaint):
        prepare_banks(settings)
    monkeypatch.undo()
    monkeypatch.setattr(records, "disk_usage", lambda _: usage._replace(free=needed_bytes))
    made = prepare_banks(settings)
    stored = sum(path.with_suffix(".npy").stat().st_size - 128 for path in made.values())  # a header each
    assert stored == needed_bytes
    monkeypatch.setattr(records, "disk_usage", lambda _: usage._replace(free=0))
    assert prepare_banks(settings) == made  # nothing is left to be made


def test_files_that_look_as_before_are_compared_with_nothing(settings, tmp_path, monkeypatch):
    """RIRS_NOISES has 60,000: their digests were read from JSON and hashed again by every script that opened a store."""
    monkeypatch.setattr(noise_files, "SETTLED_NS", -(10**12))  # these were written a moment ago
    made = prepare_banks(settings)
    digests_of, asked = noise_bank.content_digests, []
    monkeypatch.setattr(noise_bank, "content_digests", lambda clips, settings: asked.append(len(clips)) or digests_of(clips, settings))
    assert prepare_banks(settings) == made and set(noises_at_hand(settings)) == set(made) and not asked
    response = tmp_path / "RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav"
    content = bytearray(response.read_bytes())
    content[-1] ^= 1
    response.write_bytes(content)
    assert set(noises_at_hand(settings)) == set(made) - {"rir"}  # in place, and no folder's time tells
    assert asked == [3]
    content[-1] ^= 1
    response.write_bytes(content)
    assert prepare_banks(settings) == made


def test_each_file_is_looked_at_once(settings, monkeypatch):
    """Counted at two sizes: what a search costs grows with the number of files and no faster."""
    looked = []
    is_audio_name = noise_files.is_audio_name
    monkeypatch.setattr(noise_files, "is_audio_name", lambda name: looked.append(name) or is_audio_name(name))
    counts = []
    for num_files in (3, 30):
        write_responses(Path(settings.paths.rirs), num_files)
        looked.clear()
        find_clips(settings)
        counts.append(len(looked))
    assert counts == [3 + 15, 30 + 15]  # 3 categories of 4 noises and a licence


def test_what_was_just_written_is_not_believed_next_time(settings, monkeypatch):
    monkeypatch.setattr(noise_files, "SETTLED_NS", 10**12)
    prepare_banks(settings)
    assert not noise_files.remembered(Path(settings.paths.exp) / "noise_bank" / noise_bank.LOOKS_NAME, noise_files.is_digest)


@pytest.mark.parametrize("fact", [None, 5, [], "../../x", "ABCDEF01", [1, 2, 3, None], [1, 2, 3, 7], [1, 2]])
def test_what_only_spares_work_is_not_believed_where_it_is_no_such_thing(settings, monkeypatch, fact):
    monkeypatch.setattr(noise_files, "SETTLED_NS", -(10**12))
    made = prepare_banks(settings)
    folder = Path(settings.paths.exp) / "noise_bank"
    for name in (noise_bank.LOOKS_NAME, noise_files.DIGESTS_NAME):
        facts = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(dict.fromkeys(facts, fact)), encoding="utf-8")
    assert prepare_banks(settings) == made


def test_a_folder_that_may_not_be_read_is_passed_over_as_by_os_walk(settings, tmp_path, monkeypatch):
    """A disk of its own has a lost+found, which is root's."""
    (tmp_path / "musan/lost+found").mkdir()
    scandir = noise_files.os.scandir

    def guarded(folder):
        if str(folder).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(noise_files.os, "scandir", guarded)
    assert {kind: len(clips) for kind, clips in find_clips(settings).items()} == {"music": 4, "noise": 4, "rir": 3, "speech": 4}


def test_a_link_that_leads_nowhere_is_one_line_and_no_reason_to_lose_a_store(settings, tmp_path):
    prepare_banks(settings)
    (tmp_path / "musan/noise/subset/dead.wav").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"dead\.wav cannot be read \(No such file or directory\)\. Remove it"):
        prepare_banks(settings)
    assert noises_at_hand(settings) == {}


def test_links_to_folders_are_not_followed(settings, tmp_path):
    (tmp_path / "musan/noise/again.wav").symlink_to(tmp_path / "musan/noise/subset")
    (tmp_path / "musan/noise/subset/linked.wav").symlink_to(tmp_path / "musan/noise/subset/0.wav")
    assert [Path(name).name for name in find_clips(settings)["noise"].names] == ["0.wav", "1.wav", "2.wav", "3.wav", "linked.wav"]
