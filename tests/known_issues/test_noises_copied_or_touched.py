"""Copying the noises, touching them, naming them by an absolute path, losing one of them or the folder exp/noise_bank made a finished
experiment unusable, and script 04 then decoded all noises a second time."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from sourcetracing.errors import UserError
from sourcetracing.features import noise_bank, noise_files
from sourcetracing.features.extracting import extract_features, find_store
from sourcetracing.features.noise_bank import noises_at_hand, prepare_banks
from sourcetracing.runtime.files import digest_of_json
from tests.support.audio_files import small_audio_settings, write_corpus, write_noises, write_responses


@pytest.fixture
def corpus(tmp_path):
    utterances, protocol = write_corpus(tmp_path / "corpus", 3)
    write_noises(tmp_path / "musan")
    write_responses(tmp_path / "RIRS_NOISES")
    return small_audio_settings(tmp_path), utterances, protocol


def copied(settings, root: Path) -> None:
    shutil.copytree(root / "musan", root / "elsewhere/noises", copy_function=shutil.copyfile)  # with other times
    settings.paths.musan = str(root / "elsewhere/noises")


def touched(settings, root: Path) -> None:
    for path in root.rglob("*.wav"):
        os.utime(path)


def relative(settings, root: Path) -> None:
    settings.paths.musan = os.path.relpath(root / "musan")


@pytest.mark.parametrize("change", [copied, touched, relative])
def test_the_same_noises_are_the_same_bank(corpus, tmp_path, monkeypatch, change):
    settings, *_ = corpus
    made = prepare_banks(settings)
    change(settings, tmp_path)
    monkeypatch.setattr(noise_bank, "_build_bank", lambda *_: pytest.fail("decoded again"))
    assert prepare_banks(settings) == made
    assert noises_at_hand(settings) == {kind: json.loads(path.read_text())["digest"] for kind, path in made.items()}


def one_removed(root: Path) -> None:
    (root / "musan/noise/subset/2.wav").unlink()


def bank_deleted(root: Path) -> None:
    shutil.rmtree(root / "exp/noise_bank")


def half_a_bank_deleted(root: Path) -> None:
    for path in (root / "exp/noise_bank").glob("*.npy"):
        path.unlink()


@pytest.mark.parametrize("loss", [one_removed, bank_deleted, half_a_bank_deleted])
def test_what_is_lost_does_not_make_features_unusable(corpus, tmp_path, loss):
    settings, utterances, protocol = corpus
    made = extract_features(settings, utterances, protocol)
    loss(tmp_path)
    assert find_store(settings, utterances, protocol).folder == made


def test_script_04_is_content_with_what_is_there_when_the_noises_are_gone(corpus, tmp_path):
    settings, utterances, protocol = corpus
    made = extract_features(settings, utterances, protocol)
    shutil.rmtree(tmp_path / "musan")
    assert extract_features(settings, utterances, protocol) == made
    settings.seed += 1  # other features, which need them
    with pytest.raises(UserError, match="01_download_resources"):
        extract_features(settings, utterances, protocol)


def test_files_are_read_again_only_when_they_change(corpus, tmp_path, monkeypatch):
    settings, *_ = corpus
    monkeypatch.setattr(noise_files, "SETTLED_NS", -(10**12))  # these were written a moment ago
    made, read = prepare_banks(settings), []
    digest_of_file = noise_files.digest_of_file
    monkeypatch.setattr(noise_files, "digest_of_file", lambda path: read.append(Path(path).name) or digest_of_file(path))
    assert prepare_banks(settings) == made and not read
    path = tmp_path / "musan/noise/subset/3.wav"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as large as before, and as old: only its other time tells
    assert prepare_banks(settings)["noise"] != made["noise"]
    assert read[0] == "3.wav"


def test_a_bank_that_was_called_after_paths_and_times_is_taken_over(corpus, monkeypatch):
    settings, *_ = corpus
    for kind, path in prepare_banks(settings).items():
        files = noise_files.find_clips(settings)[kind].files
        facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        old = path.with_name(f"{kind}-{digest_of_json([noise_bank.BANK_FORMAT, settings.audio.sample_rate, facts])[:8]}.json")
        for suffix in (".npy", ".json"):
            path.with_suffix(suffix).rename(old.with_suffix(suffix))
    monkeypatch.setattr(noise_bank, "_build_bank", lambda *_: pytest.fail("decoded again"))
    assert all(path.is_file() for path in prepare_banks(settings).values())
