"""Facts of files against what was planted in them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.casework.audio_facts import audio_facts, sha256_of
from sourcetracing.settings.frontends import Audio

RATE = 16000


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).clip(-0.9, 0.9)


def facts_of_samples(path, samples, **how):
    soundfile.write(path, samples, RATE, **{"subtype": "PCM_16", **how})
    return audio_facts(path, Audio())


def test_digest_format_and_length(tmp_path):
    facts = facts_of_samples(tmp_path / "a.wav", np.stack([noise(1.5), noise(1.5, seed=1)], axis=1))
    content = (tmp_path / "a.wav").read_bytes()
    assert facts.sha256 == hashlib.sha256(content).hexdigest() == sha256_of(tmp_path / "a.wav")
    assert (facts.num_bytes, facts.coding, facts.is_lossy) == (len(content), "WAV PCM_16", False)
    assert (facts.rate, facts.num_channels, facts.duration_s) == (RATE, 2, 1.5)


def test_a_large_file_is_read_alike(tmp_path):
    """More than is held in memory."""
    facts = facts_of_samples(tmp_path / "a.wav", noise(140))
    content = (tmp_path / "a.wav").read_bytes()
    assert len(content) > 2**22
    assert (facts.sha256, facts.num_bytes, facts.duration_s) == (hashlib.sha256(content).hexdigest(), len(content), 140)


@pytest.mark.parametrize("channels", [1, 2])
def test_clipping_is_the_share_of_samples_at_full_scale_in_any_channel(tmp_path, channels):
    samples = noise(1)
    samples[1000:1160] = np.where(np.arange(160) % 2, 1.0, -1.0)
    frames = samples if channels == 1 else np.stack([samples, np.zeros(len(samples))], axis=1)
    facts = facts_of_samples(tmp_path / "a.wav", frames)
    read, _ = soundfile.read(tmp_path / "a.wav", always_2d=True)
    assert facts.clipped == pytest.approx((np.abs(read) >= 32767 / 32768).mean()) == pytest.approx(160 / RATE / channels)
    assert facts.peak_dbfs == pytest.approx(20 * np.log10(np.abs(read).max()), abs=1e-6)


def test_no_clipping_and_the_level(tmp_path):
    facts = facts_of_samples(tmp_path / "a.wav", noise(2))
    read, _ = soundfile.read(tmp_path / "a.wav")
    assert facts.clipped == 0
    assert facts.sound.rms_dbfs == pytest.approx(10 * np.log10(np.mean(read**2)), abs=0.01)


def test_a_low_pass_at_3_khz_is_the_bandwidth(tmp_path):
    samples = sosfiltfilt(butter(16, 3000, fs=RATE, output="sos"), noise(4))
    facts = facts_of_samples(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert 3000 <= facts.sound.bandwidth_hz <= 4000
    assert facts_of_samples(tmp_path / "b.wav", noise(4)).sound.bandwidth_hz > 7900


def test_silence_at_both_ends_and_within(tmp_path):
    parts = [np.zeros(round(0.4 * RATE)), noise(1), np.zeros(round(0.3 * RATE)), noise(1), np.zeros(round(0.2 * RATE))]
    facts = facts_of_samples(tmp_path / "a.wav", np.concatenate(parts))
    assert facts.sound.leading_silence_s == pytest.approx(0.4, abs=0.02)
    assert facts.sound.trailing_silence_s == pytest.approx(0.2, abs=0.02)
    assert facts.silence_s == pytest.approx(0.9, abs=0.06)


def test_a_lossy_file_is_said_to_be_one(tmp_path):
    soundfile.write(tmp_path / "a.ogg", noise(1), RATE, format="OGG", subtype="VORBIS")
    facts = audio_facts(tmp_path / "a.ogg", Audio())
    assert (facts.is_lossy, facts.coding) == (True, "OGG VORBIS")


def test_silence_throughout_is_no_error(tmp_path):
    facts = facts_of_samples(tmp_path / "a.wav", np.zeros(RATE))
    assert np.isnan([facts.peak_dbfs, facts.silence_s, facts.sound.rms_dbfs]).all() and facts.clipped == 0


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(BadAudio, match="missing"):
        audio_facts(tmp_path / "a.wav", Audio())
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(BadAudio, match="NaN"):
        audio_facts(tmp_path / "nan.wav", Audio())
