"""Pseudo-speakers: embeddings that go on, ECAPA2's checksum, script 03."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers import labelling
from sourcetracing.speakers.embedders import load_embedder
from sourcetracing.speakers.embeddings import embed_utterances
from sourcetracing.speakers.labelling import label_speakers
from tests.support.audio_files import write_wav
from tests.support.fake_hub import COMMIT, HUB_ID, FakeHub
from tests.support.places import GOLDEN, ROOT

GOLDEN = GOLDEN / "spherical_kmeans"
RATE = 16000


# --- embeddings


class Bands(torch.nn.Module):
    """In place of ECAPA2: the level in eight frequency bands, of waveforms (1, samples)."""

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(waveform).abs()
        return torch.nn.functional.adaptive_avg_pool1d(spectrum[:, None], 8)[:, 0]


VOICES_HZ = {"low": 600, "middle": 3200, "high": 6900}


def write_tones(root: Path, num_utterances: int = 18) -> None:
    """What scripts 01 and 02 leave: three voices, each a tone of its own in noise, in two languages and files of two sample rates."""
    rows = []
    for number in range(num_utterances):
        voice, language, rate = list(VOICES_HZ)[number % 3], ("en", "de")[number // 3 % 2], (RATE, 22050)[number % 2]
        noise = np.random.default_rng(number).normal(0, 0.02, rate // 2)
        tone = 0.3 * np.sin(2 * np.pi * VOICES_HZ[voice] * np.arange(rate // 2) / rate)
        path = Path("fake") / language / "espeak_formant" / f"{number:02d}.wav"
        (root / "corpus" / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "corpus" / path, noise + tone, rate, subtype="PCM_16")
        facts = {"utt_id": f"u{number:02d}", "path": path.as_posix(), "language": language, "source": "espeak_formant", "speaker": voice}
        rows.append({**facts, "duration_s": 0.5, "digest": digest_of_file(root / "corpus" / path)})
    table = pd.DataFrame(rows)
    (root / "exp" / "tones").mkdir(parents=True)
    table.to_csv(root / "exp" / "tones" / "utterances.csv", index=False)
    splits = [("train", "dev", "eval")[number // 6 % 3] for number in range(num_utterances)]
    table[["utt_id"]].assign(split=splits).to_csv(root / "exp" / "tones" / "protocol.csv", index=False)


def save_bands(path: Path) -> str:
    """Writes the TorchScript file; returns its checksum."""
    torch.jit.script(Bands()).save(str(path))
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def tone_words(root: Path) -> list[str]:
    corpus = [f"paths.corpus={root}/corpus", "corpus.languages=[en,de]", "corpus.sources=[espeak_formant]"]
    return [*corpus, f"paths.exp={root}/exp", "name=tones", "compute.device=cpu", "compute.workers=2", "speakers.k_max=8"]


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    write_tones(tmp_path)
    return tmp_path


def ecapa2_settings(root: Path, *words: str) -> Settings:
    checksum = save_bands(root / "bands.pt")
    own = ["speakers.embedder=ecapa2", f"speakers.ecapa2_id={root}/bands.pt", f"speakers.ecapa2_checksum={checksum}"]
    return load_settings([*tone_words(root), *own, *words])


def test_embeddings_are_of_the_whole_file_at_16_khz_and_of_length_one(tones: Path):
    settings = ecapa2_settings(tones)
    utterances = pd.read_csv(Layout.of(settings).root / "utterances.csv")
    rows = embed_utterances(settings, utterances)
    assert rows.shape == (18, 8) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    samples, _ = soundfile.read(tones / "corpus" / utterances["path"][0], dtype="float32")
    expected = Bands()(torch.from_numpy(samples)[None])[0].numpy()
    np.testing.assert_allclose(rows[0], expected / np.linalg.norm(expected), atol=1e-6)
    # A file of 22,050 Hz holds the same high tone: heard at 16 kHz, it falls into the same band.
    assert rows[5] @ rows[2] > 0.98 and rows[2].argmax() == rows[5].argmax() == 6
    backwards = embed_utterances(settings, utterances[::-1])
    assert (backwards[::-1] == rows).all()


def test_interrupted_embeddings_go_on_and_end_the_same(tones: Path):
    settings = ecapa2_settings(tones)
    utterances = pd.read_csv(Layout.of(settings).root / "utterances.csv")
    whole = embed_utterances(settings, utterances)
    array_file = Layout.of(settings).speaker_embeddings("ecapa2")
    index_file, expected = array_file.with_suffix(".csv"), (array_file.read_bytes(), array_file.with_suffix(".csv").read_bytes())
    array_file.unlink(), index_file.unlink()
    lost = tones / "corpus" / utterances["path"][11]
    lost.rename(lost.with_suffix(".away"))
    with pytest.raises(BadAudio, match="is missing"):
        embed_utterances(settings, utterances)
    assert len(pd.read_csv(index_file)) == 11
    lost.with_suffix(".away").rename(lost)
    for path in utterances["path"][:11]:
        (tones / "corpus" / path).unlink()  # what was made is not made again
    assert (embed_utterances(settings, utterances) == whole).all()
    assert (array_file.read_bytes(), index_file.read_bytes()) == expected


def test_a_kill_between_array_and_index_loses_only_what_the_index_does_not_name(tones: Path):
    settings = ecapa2_settings(tones)
    utterances = pd.read_csv(Layout.of(settings).root / "utterances.csv")
    whole = embed_utterances(settings, utterances)
    index_file = Layout.of(settings).speaker_embeddings("ecapa2").with_suffix(".csv")
    index_file.write_text("".join(index_file.read_text().splitlines(keepends=True)[:6]))
    assert (embed_utterances(settings, utterances) == whole).all()
    assert len(pd.read_csv(index_file)) == 18


def test_only_changed_audio_is_embedded_again(tones: Path):
    settings = ecapa2_settings(tones)
    utterances = pd.read_csv(Layout.of(settings).root / "utterances.csv")
    before = embed_utterances(settings, utterances)
    changed = tones / "corpus" / utterances["path"][7]
    soundfile.write(changed, np.random.default_rng(1).normal(0, 0.1, RATE), RATE, subtype="PCM_16")
    with pytest.raises(BadAudio, match="has changed since it was checked"):
        embed_utterances(settings, utterances.assign(digest=["" if number == 7 else d for number, d in enumerate(utterances["digest"])]))
    kept = pd.read_csv(Layout.of(settings).speaker_embeddings("ecapa2").with_suffix(".csv"))
    assert kept["utt_id"].tolist() == utterances["utt_id"].drop(7).tolist()
    utterances.loc[7, "digest"] = digest_of_file(changed)
    after = embed_utterances(settings, utterances)
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == [7]


def test_resemblyzers_embeddings_do_not_depend_on_workers(tmp_path: Path):
    paths = [Path(f"{number}.wav") for number in range(8)]
    waveforms = [write_wav(tmp_path / "corpus" / path, 5.0, number) for number, path in enumerate(paths)]
    digests = [digest_of_file(tmp_path / "corpus" / path) for path in paths]
    utterances = pd.DataFrame({"utt_id": [path.stem for path in paths], "path": [str(path) for path in paths], "digest": digests})
    words = [f"paths.corpus={tmp_path}/corpus", f"paths.exp={tmp_path}/exp", "compute.device=cpu", "compute.workers=4"]
    made = embed_utterances(load_settings(words), utterances)
    embed = load_embedder(load_settings(words))
    # The tests use one thread (conftest.py), as each worker is meant to. Two would show in the last digit: with files of 5 s, not of 4.
    assert (made == np.stack([embed(waveform) for waveform in waveforms])).all()


def test_labelling_finds_the_voices_and_says_so(tones: Path):
    settings = ecapa2_settings(tones)
    labelled = label_speakers(settings)
    layout, record = Layout.of(settings), labelled.record
    utterances = pd.read_csv(layout.root / "utterances.csv")
    labels = pd.read_csv(layout.pseudo_speakers)
    assert (record["k"], record["elbow"], sorted(record["cluster_sizes"])) == (3, 3, [6, 6, 6])
    assert labels["utt_id"].tolist() == utterances["utt_id"].tolist()
    assert labels["pseudo_speaker"].tolist() == [0, 1, 2] * 6
    assert record["agreement"]["speaker"] == {
        "utterances": 18,
        "values": 3,
        "adjusted_rand_index": 1.0,
        "normalized_mutual_information": pytest.approx(1.0),
    }
    assert record["agreement"]["language"]["adjusted_rand_index"] < 0.1
    curve = pd.read_csv(layout.speaker_objective)
    assert curve["k"].tolist() == list(range(1, 9)) and curve["objective"][2] == pytest.approx(record["objective"])
    assert layout.speaker_objective_figure.read_bytes().startswith(b"\x89PNG")
    assert labelled.is_new and not label_speakers(settings).is_new
    assert label_speakers(ecapa2_settings(tones, "speakers.k=2")).record["k"] == 2


def test_a_kill_over_another_corpus_leaves_nothing_that_passes_for_whole(tones: Path, monkeypatch):
    settings = ecapa2_settings(tones)
    layout, words = Layout.of(settings), (Layout.of(settings).root / "utterances.csv").read_text()
    label_speakers(settings)
    labels = layout.pseudo_speakers.read_bytes()
    layout.utterances.write_text(words.replace("low", "deep"))
    with monkeypatch.context() as patch:
        patch.setattr(labelling, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            label_speakers(settings)
    layout.utterances.write_text(words)
    layout.pseudo_speakers.write_text("utt_id,pseudo_speaker\n")  # as the killed one may have left them
    assert label_speakers(settings).is_new
    assert layout.pseudo_speakers.read_bytes() == labels
    assert not label_speakers(settings).is_new


def test_unknown_speakers_are_no_evidence(tones: Path):
    settings = ecapa2_settings(tones, "speakers.restarts=2", "speakers.k_restarts=1")
    path = Layout.of(settings).root / "utterances.csv"
    pd.read_csv(path).assign(speaker="").to_csv(path, index=False)
    assert set(label_speakers(settings).record["agreement"]) == {"language", "source"}
    with pytest.raises(UserError, match=re.escape("speakers.k=19, but there are only 18 utterances")):
        label_speakers(ecapa2_settings(tones, "speakers.k=19"))


# --- ECAPA2's checksum, and script 03 as a user runs it


class ModelHub(FakeHub):
    """Serves its files as those of a model, too."""

    def answer(self, method: str, address: str, headers: dict[str, str]):
        is_model = address.startswith(f"/{HUB_ID}/resolve/")
        return super().answer(method, f"/datasets{address}" if is_model else address, headers)


def run_script_03(words: list[str], **variables: str) -> subprocess.CompletedProcess:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_") and not name.lower().endswith("_proxy")}
    command = [sys.executable, str(ROOT / "scripts" / "03_label_speakers.py"), str(ROOT / "configs" / "demo.yaml"), *words]
    return subprocess.run(command, env={**own, **variables}, capture_output=True, text=True, timeout=120)


def test_ecapa2_comes_from_the_hub_and_is_loaded_only_when_pinned(tones: Path):
    checksum = save_bands(tones / "bands.pt")
    words = [*tone_words(tones), "speakers.embedder=ecapa2", f"speakers.ecapa2_id={HUB_ID}", f"speakers.ecapa2_revision={COMMIT}"]
    with ModelHub({"ecapa2.pt": (tones / "bands.pt").read_bytes()}) as hub:
        variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tones / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        refused = run_script_03(words, **variables)
        assert refused.returncode == 2
        assert f"then pin it with speakers.ecapa2_checksum={checksum}" in refused.stderr.splitlines()[-1]
        pinned = run_script_03([*words, f"speakers.ecapa2_checksum={checksum}"], **variables)
    assert pinned.returncode == 0, pinned.stderr
    assert "3 pseudo-speakers (the elbow) for 18 utterances" in pinned.stdout
    assert "agreement with the 3 speakers known of 18 utterances: adjusted Rand index 1.00" in pinned.stdout


def test_ecapa2_with_another_checksum_is_not_loaded(tones: Path):
    settings = ecapa2_settings(tones)
    pinned = settings.speakers.ecapa2_checksum
    settings.speakers.ecapa2_checksum = pinned[:-4] + ("0000" if pinned[-4:] != "0000" else "1111")
    with pytest.raises(UserError, match=f"bands.pt has checksum {pinned}, but speakers.ecapa2_checksum=.*It was not loaded"):
        embed_utterances(settings, pd.read_csv(Layout.of(settings).root / "utterances.csv"))
    assert not Layout.of(settings).speaker_embeddings("ecapa2").exists()


@pytest.mark.parametrize(
    ("checksum", "message"),
    [
        ("abc", "write md5: and 32 or sha256: and 64 hexadecimal digits"),
        (f"md5:{'0' * 32}", "MD5 is no protection against a forged file"),
    ],
)
def test_malformed_checksums_are_refused(tones: Path, checksum: str, message: str):
    settings = ecapa2_settings(tones)
    settings.speakers.ecapa2_checksum = checksum
    with pytest.raises(UserError, match=message):
        load_embedder(settings)


def test_a_pinned_file_that_is_no_torchscript_is_refused(tones: Path):
    settings = ecapa2_settings(tones)
    (tones / "bands.pt").write_bytes(b"no network")
    settings.speakers.ecapa2_checksum = f"sha256:{hashlib.sha256(b'no network').hexdigest()}"
    with pytest.raises(UserError, match="bands.pt has the pinned checksum, but is no TorchScript file"):
        load_embedder(settings)


def test_script_03_with_resemblyzer(tones: Path):
    words = [*tone_words(tones), "speakers.restarts=5", "speakers.k_restarts=2"]
    first, second = run_script_03(words), run_script_03(words)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "03 speakers (resemblyzer)" in first.stdout and "wrote " in first.stdout and "unchanged: " in second.stdout
    assert np.load(tones / "exp" / "tones" / "speakers" / "embeddings-resemblyzer.npy").shape == (18, 256)
    table = pd.read_csv(tones / "exp" / "tones" / "tables" / "table2.csv")
    assert table["held_out"].tolist() == ["en", "de"] and table["total"].tolist() == [3, 3]
    assert re.search(r"held_out +threshold", first.stdout) and "next: python scripts/04_preprocess_dataset.py" in first.stdout


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("speakers.embeder=ecapa2", "unknown setting 'speakers.embeder'; did you mean 'speakers.embedder'?"),
        ("speakers.embedder=ecapa", "must be one of resemblyzer, ecapa2; did you mean 'ecapa2'?"),
        ("speakers.k_max=2", "speakers.k_max=2: must be at least 3"),
        ("speakers.test_set=seen", "must be one of seen_languages, unseen_language"),
    ],
)
def test_wrong_settings_are_refused(word: str, message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        load_settings([word])
