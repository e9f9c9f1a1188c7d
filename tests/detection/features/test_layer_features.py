"""Script detection/01: all layers of all files and copies, the same bytes however often it was killed, one clear line for what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from sourcetracing.audio.reading import load_utterance
from sourcetracing.detection.data.manifest import audio_path, load_manifest
from sourcetracing.detection.features import layer_features
from sourcetracing.detection.features.layer_features import extract_layers, plan_batches, wanted_stores
from sourcetracing.detection.features.layer_store import find_layers
from sourcetracing.errors import UserError
from sourcetracing.models.frontends.layer_means import LayerMeans
from sourcetracing.models.frontends.ssl import SslEncoder
from sourcetracing.runtime.compute import pick_device
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from tests.support.audio_files import write_wav
from tests.support.layer_audio import NUM_FILES, settings_for, words_for, write_layer_audio, write_manifest
from tests.support.places import ROOT
from tests.support.tiny_ssl import NUM_BLOCKS, WIDTH, save_tiny

BATCHES = ["layer_features.batch_seconds=2"]  # as a GPU gets them


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: save_tiny(family, root / family) for family in ("xls-r", "wav2vec2", "whisper")}


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> pd.DataFrame:
    return write_layer_audio(tmp_path_factory.mktemp("audio"))


def stacked(settings: Settings, copy: str = "clean") -> np.ndarray:
    """(files, layers, width) of the store of the subset `for`."""
    return np.load(find_layers(settings, "for", copy).folder / "features.npy")


@torch.inference_mode()
@pytest.mark.parametrize("words", [[], BATCHES], ids=["alone", "batches"])
@pytest.mark.parametrize("family", ["xls-r", "wav2vec2"])
def test_every_file_has_the_means_of_its_own_whole_sound(tmp_path, audio, models, family, words):
    settings = settings_for(tmp_path, audio, models[family], *words)
    folders = extract_layers(settings)
    assert [folder.name.split("-")[:2] for folder in folders] == [["for", "clean"], ["itw", "clean"]]
    store = find_layers(settings, "for")
    assert store.layers == list(range(NUM_BLOCKS + 1)) and store.width == WIDTH
    assert store.index["file_id"].tolist() == audio["file_id"][:NUM_FILES].tolist()
    assert store.labels.tolist() == [1, 0] * 5 + [1]
    network = LayerMeans(SslEncoder(models[family]))
    for number, row in enumerate(audio[:NUM_FILES].itertuples()):
        waveform = torch.from_numpy(load_utterance(audio_path(settings, row), settings.audio))
        expected = network([network.sound(waveform)])[0]
        for position, layer in enumerate(store.layers):
            np.testing.assert_allclose(store.layer(layer)[number], expected[position], rtol=1e-4, atol=1e-5)


class Killed(Exception):
    pass


def test_on_a_cpu_files_go_alone_and_do_not_depend_on_what_lies_beside_them(tmp_path, audio, models, monkeypatch):
    sizes = []
    original = LayerMeans.forward
    monkeypatch.setattr(LayerMeans, "forward", lambda self, sounds: sizes.append(len(sounds)) or original(self, sounds))
    settings = settings_for(tmp_path / "all", audio, models["xls-r"])
    extract_layers(settings)
    assert sizes == [1] * len(audio)
    fewer = settings_for(tmp_path / "fewer", audio.iloc[[2, 3, 7, *range(NUM_FILES, len(audio))]], models["xls-r"])
    extract_layers(fewer)
    np.testing.assert_array_equal(stacked(fewer), stacked(settings)[[2, 3, 7]])
    sizes.clear()
    batches = settings_for(tmp_path / "batches", audio, models["xls-r"], *BATCHES)
    extract_layers(batches)
    assert max(sizes) > 2
    np.testing.assert_allclose(stacked(batches), stacked(settings), rtol=1e-4, atol=1e-5)
    facts = [find_layers(each, "for").facts["extraction"] for each in (settings, batches)]
    assert [each["batch_seconds"] for each in facts] == [0.0, 2.0]


@pytest.mark.parametrize("words", [[], BATCHES], ids=["alone", "batches"])
def test_a_killed_run_goes_on_at_its_last_block_and_ends_with_the_same_bytes(tmp_path, audio, models, monkeypatch, words):
    whole = settings_for(tmp_path / "whole", audio, models["xls-r"], *words)
    extract_layers(whole)
    killed = settings_for(tmp_path / "killed", audio, models["xls-r"], "compute.workers=1", *words)
    original, calls = layer_features.write_block, []

    def write_two_blocks(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise Killed
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(layer_features, "write_block", write_two_blocks)
        with pytest.raises(Killed):
            extract_layers(killed)
    with pytest.raises(UserError, match="no features of for"):
        find_layers(killed, "for")
    calls.clear()
    monkeypatch.setattr(layer_features, "write_block", lambda *arguments: calls.append(arguments) or original(*arguments))
    extract_layers(killed)
    assert [arguments[2] for arguments in calls] == [4, 8, 0]  # first rows: the two blocks that were missing, then the other subset
    for corpus in ("for", "itw"):
        folders = [find_layers(settings, corpus).folder for settings in (whole, killed)]
        for name in ("features.npy", "index.csv"):
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    calls.clear()
    extract_layers(killed)
    assert not calls  # a second run does nothing


def test_augmented_copies_are_made_of_training_subsets_only(tmp_path, audio):
    lfcc = ["layer_features.kind=lfcc"]
    settings = settings_for(tmp_path, audio, tmp_path, *lfcc, "layer_features.copies=[clean,rawboost,codec]")
    assert wanted_stores(settings) == [("for", "clean"), ("itw", "clean"), ("for", "rawboost"), ("for", "codec")]
    extract_layers(settings)
    clean, boosted, coded = (stacked(settings, copy) for copy in ("clean", "rawboost", "codec"))
    assert clean.shape == boosted.shape == coded.shape == (NUM_FILES, 1, 80)
    for one, other in ((clean, boosted), (clean, coded), (boosted, coded)):
        assert (np.abs(one - other).max(axis=(1, 2)) > 1e-2).all()
    again = settings_for(tmp_path / "again", audio, tmp_path, *lfcc, "layer_features.copies=[rawboost]", "compute.workers=1")
    extract_layers(again)
    np.testing.assert_array_equal(stacked(again, "rawboost"), boosted)
    other_seed = settings_for(tmp_path, audio, tmp_path, *lfcc, "layer_features.copies=[rawboost]", "seed=2")
    extract_layers(other_seed)
    assert (np.abs(stacked(other_seed, "rawboost") - boosted).max(axis=(1, 2)) > 1e-2).all()


def test_augmented_copies_may_have_fewer_layers(tmp_path, audio, models):
    words = ["layer_features.copies=[clean,rawboost]", "layer_features.copy_layers=[1]"]
    settings = settings_for(tmp_path, audio, models["xls-r"], *words)
    extract_layers(settings)
    assert find_layers(settings, "for").layers == [0, 1, 2, 3] and find_layers(settings, "for", "rawboost").layers == [1]
    whole = settings_for(tmp_path, audio, models["xls-r"], words[0])
    extract_layers(whole)
    np.testing.assert_array_equal(stacked(settings, "rawboost")[:, 0], stacked(whole, "rawboost")[:, 1])


def test_the_overlay_normalises_augmented_copies_and_the_very_last_layer(tmp_path, audio, models):
    overlay = str(ROOT / "configs/as_published/published_ai4t_features.yaml")
    made = {}
    for layers in ("[2]", "[]"):
        for words in ([], [overlay]):
            settings = settings_for(
                tmp_path, audio, models["xls-r"], *words, f"layer_features.layers={layers}", "layer_features.copies=[clean,rawboost]"
            )
            extract_layers(settings)
            made[layers, bool(words)] = {copy: stacked(settings, copy) for copy in ("clean", "rawboost")}
    np.testing.assert_array_equal(made["[2]", True]["clean"], made["[2]", False]["clean"])
    assert np.abs(made["[2]", True]["rawboost"] - made["[2]", False]["rawboost"]).max() > 0.1
    plain, published = (made["[]", on]["clean"] for on in (False, True))
    np.testing.assert_array_equal(plain[:, :-1], published[:, :-1])
    assert np.abs(plain[:, -1] - published[:, -1]).max() > 0.1


def test_lfcc_needs_no_model(tmp_path, audio):
    words = ["layer_features.kind=lfcc", "lfcc.n_lfcc=20", "layer_features.lfcc_deviation=true"]
    settings = settings_for(tmp_path, audio, tmp_path / "no model", *words)
    extract_layers(settings)
    store = find_layers(settings, "for")
    assert store.layers == [0] and store.layer(0).shape == (NUM_FILES, 40)
    assert np.isfinite(store.layer(0)).all() and len(np.unique(store.layer(0)[:, 0])) == NUM_FILES


def test_a_cap_takes_the_beginning_of_longer_files(tmp_path, audio, models):
    capped = settings_for(tmp_path, audio, models["xls-r"], "layer_features.max_seconds=0.5")
    full = settings_for(tmp_path, audio, models["xls-r"])
    for settings in (capped, full):
        extract_layers(settings)
    changed = np.abs(stacked(capped) - stacked(full)).max(axis=(1, 2)) > 1e-4
    assert changed.tolist() == (audio["duration_s"][:NUM_FILES] > 0.501).tolist()


def test_batches_hold_like_lengths_within_the_budget():
    durations = np.random.default_rng(1).uniform(0.5, 12, 300)
    durations[7] = 90.0
    batches = plan_batches(durations, 40.0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    assert batches[0].tolist() == [7]  # longer than the budget: alone
    padded = [len(batch) * durations[batch].max() for batch in batches[1:]]
    assert max(padded) <= 40.0
    assert sum(padded) < 1.2 * np.delete(durations, 7).sum()


def with_bad_file(tmp_path: Path, audio: pd.DataFrame, write) -> pd.DataFrame:
    """The manifest of three files, the second of which is made by `write(path)`."""
    rows = audio[audio["corpus"] == "itw"].copy()
    for row in rows.itertuples():
        target = tmp_path / "bad" / "itw" / row.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((audio.attrs["root"] / "itw" / row.path).read_bytes())
    write(tmp_path / "bad" / "itw" / "clips" / "1.wav")
    rows.loc[rows.index[1], "digest"] = ""
    rows.attrs["root"] = tmp_path / "bad"
    return rows


BAD_FILES = {
    "0 bytes": lambda path: path.write_bytes(b""),
    "cannot be read as audio": lambda path: path.write_bytes(b"no sound at all" * 40),
    r"too short \(399 samples, the front-end needs 400\)": lambda path: soundfile.write(path, np.full(399, 0.1), 16000),
    "is missing": lambda path: path.unlink(),
    "4000 of its samples are NaN or infinite": lambda path: soundfile.write(path, np.full(4000, np.nan), 16000, subtype="FLOAT"),
}


@pytest.mark.parametrize("reason", BAD_FILES)
def test_a_bad_file_is_named(tmp_path, audio, models, reason):
    rows = with_bad_file(tmp_path, audio, BAD_FILES[reason])
    settings = settings_for(tmp_path, rows, models["xls-r"], "detection.train=[ITW]", "detection.baseline_train=[ITW]")
    with pytest.raises(UserError, match=rf"clips/1\.wav: .*{reason}"):
        extract_layers(settings)


def test_a_file_that_changed_since_the_manifest_is_refused(tmp_path, audio, models):
    rows = with_bad_file(tmp_path, audio, lambda path: None)
    rows.loc[rows.index[1], "digest"] = "0" * 32
    settings = settings_for(tmp_path, rows, models["xls-r"], "detection.train=[ITW]", "detection.baseline_train=[ITW]")
    with pytest.raises(UserError, match=r"clips/1\.wav: has changed .*00_build_manifest"):
        extract_layers(settings)


@pytest.mark.parametrize(
    "words, message",
    [
        (["layer_features.layers=[99]"], r"layer_features.layers of ssl.model=.*: layer 99: .* 0 to 3"),
        (["layer_features.kind=lfcc", "layer_features.layers=[4]"], "LFCCs are one layer, number 0"),
        (["ssl.model=somebody/no-such-model"], "somebody/no-such-model is not on this machine .* hf download"),
    ],
)
def test_what_the_encoder_cannot_do_is_said_in_one_line(tmp_path, audio, models, monkeypatch, words, message):
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = settings_for(tmp_path, audio, models["xls-r"], *words)
    with pytest.raises(UserError, match=message):
        extract_layers(settings)


def test_whisper_names_the_setting_for_longer_files(tmp_path, audio, models):
    long = with_bad_file(tmp_path, audio, lambda path: write_wav(path, 31, 1))
    words = ["detection.train=[ITW]", "detection.baseline_train=[ITW]"]
    with pytest.raises(UserError, match=r"lasts 31.0 s, the encoder hears 30 s. Use layer_features.max_seconds=30"):
        extract_layers(settings_for(tmp_path, long, models["whisper"], *words))


def test_no_manifest_and_no_files_name_the_script_before(tmp_path, audio, models):
    settings = load_settings(words_for(tmp_path, audio, models["xls-r"]))
    with pytest.raises(UserError, match="files.csv is missing. Run: .*00_build_manifest"):
        extract_layers(settings)
    write_manifest(settings, audio[audio["corpus"] == "for"])
    with pytest.raises(UserError, match="lists no file of itw. Run: .*00_build_manifest"):
        extract_layers(settings)


def test_memory_that_does_not_suffice_halves_the_batch(tmp_path, audio, models, monkeypatch):
    settings = settings_for(tmp_path, audio, models["xls-r"], *BATCHES)
    original = LayerMeans.forward

    def small(self, sounds):
        if len(sounds) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, sounds)

    with monkeypatch.context() as patch:
        patch.setattr(LayerMeans, "forward", small)
        extract_layers(settings)
    plain = settings_for(tmp_path / "plain", audio, models["xls-r"])
    extract_layers(plain)
    np.testing.assert_allclose(stacked(settings), stacked(plain), rtol=1e-4, atol=1e-5)


def test_the_script_makes_the_stores_and_names_the_next(tmp_path, audio, models):
    config = tmp_path / "config.yaml"
    config.write_text("name: small\n")
    words = [str(config), *words_for(tmp_path, audio, models["xls-r"], "layer_features.kind=lfcc", "name=small")]
    settings = load_settings(words)
    write_manifest(settings, audio)
    script = ROOT / "scripts" / "detection" / "01_extract_layers.py"
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "11 files x 1 layers x 80" in done.stdout and "scripts/detection/02_layer_sweep.py" in done.stdout
    assert find_layers(settings, "itw").num_files == 3
    assert pick_device("cpu").type == "cpu" and len(load_manifest(settings)) == NUM_FILES + 3
