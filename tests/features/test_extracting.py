"""From audio to a feature store: same bytes for any number of workers and any interruption; a new store for any change."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.audio.reading import load_utterance
from sourcetracing.errors import UserError
from sourcetracing.features import blocks as extraction
from sourcetracing.features import extracting as features
from sourcetracing.features.blocks import cropped_utterance
from sourcetracing.features.extracting import extract_features, find_store
from sourcetracing.features.store import FeatureStore
from sourcetracing.models.frontends.lfcc import LfccFrontEnd
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.frontends import VARIANTS
from sourcetracing.settings.reading import to_yaml
from tests.support.audio_files import small_audio_settings, write_corpus, write_noises, write_responses, write_wav
from tests.support.places import ROOT


@pytest.fixture
def corpus(tmp_path):
    """(settings, utterances, protocol) of seven utterances, noises and rooms."""
    utterances, protocol = write_corpus(tmp_path / "corpus", 7)
    write_noises(tmp_path / "musan")
    write_responses(tmp_path / "RIRS_NOISES")
    settings = small_audio_settings(tmp_path)
    settings.store.block_rows = 10  # two utterances
    return settings, utterances, protocol


def test_rows_follow_the_protocol_utterance_by_utterance(corpus):
    settings, utterances, protocol = corpus
    protocol = protocol.iloc[::-1].reset_index(drop=True)
    store = FeatureStore.open(extract_features(settings, utterances, protocol))
    assert store.shape == (35, 80, 49) and store.dtype == np.float16
    assert store.index["utt_id"].tolist() == [utt_id for utt_id in protocol["utt_id"] for _ in VARIANTS]
    assert store.index["variant"].tolist() == list(VARIANTS) * 7
    assert store.index["split"].tolist() == [split for split in protocol["split"] for _ in VARIANTS]
    assert np.isfinite(store.load(range(store.shape[0]))).all()
    assert digest_of_file(store.folder / "features.npy") == store.facts["checksum"]


def test_an_original_row_is_the_lfcc_of_the_head_of_its_file(corpus):
    settings, utterances, protocol = corpus
    settings.store.dtype = "float32"
    store = FeatureStore.open(extract_features(settings, utterances, protocol))
    row = store.index.query("utt_id == 'en/source0/4' and variant == 'original'").iloc[0]
    assert row["split"] == "dev"
    waveform = load_utterance(f"{settings.paths.corpus}/fake/en/source0/4.wav", settings.audio)
    expected = LfccFrontEnd()(torch.from_numpy(waveform[None, :8000]))[0]
    np.testing.assert_array_equal(store.load([row["row"]])[0], expected.numpy())


def test_train_is_cropped_at_random_and_the_rest_at_the_head(corpus):
    settings, _, _ = corpus
    path = f"{settings.paths.corpus}/fake/en/source0/6.wav"
    waveform = load_utterance(path, settings.audio)
    crops = {split: cropped_utterance(settings, path, "u", split) for split in ("train", "dev", "eval")}
    np.testing.assert_array_equal(crops["dev"], waveform[:8000])
    np.testing.assert_array_equal(crops["eval"], waveform[:8000])
    assert not np.array_equal(crops["train"], waveform[:8000])
    np.testing.assert_array_equal(crops["train"], cropped_utterance(settings, path, "u", "train"))


def test_bytes_depend_neither_on_workers_nor_on_blocks_nor_on_other_utterances(corpus, tmp_path):
    settings, utterances, protocol = corpus
    expected = FeatureStore.open(extract_features(settings, utterances, protocol)).load(range(35))
    for workers, block_rows in [(3, 10), (1, 1000), (2, 1)]:
        settings.paths.exp = str(tmp_path / f"exp-{workers}-{block_rows}")
        settings.compute.workers, settings.store.block_rows = workers, block_rows
        store = FeatureStore.open(extract_features(settings, utterances, protocol))
        np.testing.assert_array_equal(store.load(range(35)), expected)
    few = FeatureStore.open(extract_features(settings, utterances, protocol[2:4]))
    np.testing.assert_array_equal(few.load(range(10)), expected[10:20])
    settings.augment.variants = ["music"]
    music = FeatureStore.open(extract_features(settings, utterances, protocol))
    np.testing.assert_array_equal(music.load(range(7)), expected[VARIANTS.index("music") :: 5])


def test_a_finished_store_is_found_and_not_made_again(corpus, monkeypatch):
    settings, utterances, protocol = corpus
    folder = extract_features(settings, utterances, protocol)
    monkeypatch.setattr(features, "_fill_store", lambda *_: pytest.fail("made again"))
    settings.compute.workers, settings.store.block_rows, settings.train.epochs = 5, 7, 3  # nothing that features depend on
    assert extract_features(settings, utterances, protocol) == folder
    assert find_store(settings, utterances, protocol).folder == folder


def change_audio(settings, utterances, protocol):
    path = Path(settings.paths.corpus) / utterances["path"][0]
    write_wav(path, 0.5, 77)
    utterances.loc[0, "digest"] = digest_of_file(path)


CHANGES = {
    "seed": lambda s, u, p: setattr(s, "seed", 1),
    "crop": lambda s, u, p: setattr(s.audio, "crop_eval", "center"),
    "snr": lambda s, u, p: setattr(s.augment, "noise_snr_db", [0.0, 14.0]),
    "variants": lambda s, u, p: setattr(s.augment, "variants", ["original", "noise"]),
    "filters": lambda s, u, p: setattr(s.lfcc, "n_filter", 100),
    "dtype": lambda s, u, p: setattr(s.store, "dtype", "float32"),
    "split": lambda s, u, p: p.__setitem__("split", "eval"),
    "label": lambda s, u, p: u.__setitem__("source", "another"),
    "audio": change_audio,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_anything_that_features_depend_on_makes_a_new_store(corpus, change):
    settings, utterances, protocol = corpus
    before = extract_features(settings, utterances, protocol)
    change(settings, utterances, protocol)
    with pytest.raises(UserError, match="no features for these settings.*04_preprocess"):
        find_store(settings, utterances, protocol)
    after = extract_features(settings, utterances, protocol)
    assert after != before
    assert find_store(settings, utterances, protocol).folder == after


def test_other_noises_make_a_new_store_but_absent_ones_do_not_hinder_training(corpus, tmp_path):
    settings, utterances, protocol = corpus
    before = extract_features(settings, utterances, protocol)
    write_wav(tmp_path / "musan/noise/subset/0.wav", 1.5, 999)
    assert find_store(settings, utterances, protocol).folder == before  # until script 04 has made features of the new noises
    after = extract_features(settings, utterances, protocol)
    assert find_store(settings, utterances, protocol).folder == after != before
    settings.paths.musan = str(tmp_path / "nowhere")
    assert find_store(settings, utterances, protocol).folder.parent == before.parent


def test_features_that_do_not_fit_float16_are_refused_by_name(corpus, monkeypatch):
    settings, utterances, protocol = corpus
    real = extraction.BlockMaker.features

    def huge(self, item):
        made = real(self, item)
        if item.utt_id == "en/source1/3":
            made = made.clone()
            made[2, 5, 5] = 70000.0
        return made

    monkeypatch.setattr(extraction.BlockMaker, "features", huge)
    with pytest.raises(UserError, match=r"en/source1/3, variant speech: .*float16.*70000.*store\.dtype=float32"):
        extract_features(settings, utterances, protocol)
    settings.store.dtype = "float32"
    extract_features(settings, utterances, protocol)


def test_audio_that_changed_or_vanished_is_refused_by_name(corpus, tmp_path):
    settings, utterances, protocol = corpus
    path = tmp_path / "corpus/fake/en/source0/2.wav"
    write_wav(path, 0.5, 5)
    with pytest.raises(UserError, match=r"source0/2\.wav: has changed.*02_build_protocols"):
        extract_features(settings, utterances, protocol)
    path.unlink()
    with pytest.raises(UserError, match=r"source0/2\.wav: is missing"):
        extract_features(settings, utterances, protocol)


def test_ctrl_c_keeps_the_finished_blocks(corpus, tmp_path, monkeypatch):
    settings, utterances, protocol = corpus
    expected = digest_of_file(extract_features(settings, utterances, protocol) / "features.npy")
    settings.paths.exp = str(tmp_path / "interrupted")
    commit = features.StoreWriter.commit

    def interrupt(self, block, crc):
        commit(self, block, crc)
        raise KeyboardInterrupt

    monkeypatch.setattr(features.StoreWriter, "commit", interrupt)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            extract_features(settings, utterances, protocol)
    monkeypatch.undo()
    made = []
    make = extraction.BlockMaker.__call__
    monkeypatch.setattr(extraction.BlockMaker, "__call__", lambda self, block: (made.append(block), make(self, block))[1])
    assert digest_of_file(extract_features(settings, utterances, protocol) / "features.npy") == expected
    assert len(made) == 2  # of four


SLOW_SCRIPT = """
import sys, time
sys.path[:0] = [{root!r}, {root!r} + "/scripts"]
from sourcetracing.features.blocks import BlockMaker
make = BlockMaker.features
BlockMaker.features = lambda self, item: (time.sleep(0.3), make(self, item))[1]
import runpy
sys.argv = ["scripts/04_preprocess_dataset.py", {config!r}]
runpy.run_path({root!r} + "/scripts/04_preprocess_dataset.py", run_name="__main__")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_script_goes_on_and_ends_with_the_same_bytes(corpus, tmp_path, how):
    settings, utterances, protocol = corpus
    expected = digest_of_file(extract_features(settings, utterances, protocol) / "features.npy")
    settings.paths.exp, settings.compute.workers = str(tmp_path / "killed"), 2
    settings.corpus.sources = ["source0", "source1"]
    root = tmp_path / "killed" / settings.name
    root.mkdir(parents=True)
    utterances.assign(duration_s=1.0, speaker="", transcript="").to_csv(root / "utterances.csv", index=False)
    protocol.to_csv(root / "protocol.csv", index=False)
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    code = SLOW_SCRIPT.format(root=str(ROOT), config=str(tmp_path / "config.yaml"))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if any(len(path.read_text().splitlines()) > 1 for path in root.glob("features/*/progress.jsonl")):
            break
        time.sleep(0.02)
    os.kill(process.pid, how)
    _, errors = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in errors and "interrupted" in errors
    folder = next(root.glob("features/*"))
    assert not (folder / "store.json").exists() and len((folder / "progress.jsonl").read_text().splitlines()) > 1
    settings.compute.workers = 1
    assert extract_features(settings, utterances, protocol) == folder
    assert digest_of_file(folder / "features.npy") == expected


def test_an_empty_protocol_is_the_users_mistake(corpus):
    settings, utterances, protocol = corpus
    with pytest.raises(UserError, match="names no utterance"):
        extract_features(settings, utterances, pd.DataFrame({"utt_id": ["x"], "split": ["train"]}))
