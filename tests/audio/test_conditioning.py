"""Cures for shortcuts: what is cut, what passes the filter, which level comes out; and nothing at all by default."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from scipy import signal

from sourcetracing.audio.checking import check_file
from sourcetracing.audio.conditioning import STOP_DB, TRANSITION_HZ, band_limited, levelled, low_pass, shaped, trimmed
from sourcetracing.audio.reading import load_utterance
from sourcetracing.audio.silence import Frames
from sourcetracing.audio.streaming import TrimmedBlocks, open_audio, open_trimmed
from sourcetracing.errors import UserError
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.reading import load_settings
from tests.support.audio_doors import RATE, speech_like, written

ALL = {"trim_silence_db": 40.0, "normalize": "rms", "band_limit_hz": 3000.0}


def noise(seconds: float, level: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * rate)).astype(np.float32)


def test_by_default_nothing_is_touched():
    waveform = speech_like(1)
    assert trimmed(waveform, Audio(), RATE) is waveform
    assert shaped(waveform, Audio()) is waveform


# --- the band limit


@pytest.mark.parametrize(("rate", "limit_hz"), [(16000, 3000), (16000, 7900), (44100, 3400), (8000, 1000)])
def test_what_lies_below_passes_and_what_lies_above_is_gone(rate, limit_hz):
    """By the spectrum of a chirp before and after, as scipy makes both."""
    times = np.arange(4 * rate) / rate
    chirp = (0.5 * signal.chirp(times, 20, times[-1], 0.499 * rate) * signal.windows.tukey(len(times), 0.1)).astype(np.float32)
    before, after = (np.abs(np.fft.rfft(wave.astype(np.float64))) for wave in (chirp, band_limited(chirp, limit_hz, rate)))
    frequencies = np.fft.rfftfreq(len(times), 1 / rate)
    gain_db = 20 * np.log10(np.maximum(after, 1e-12) / before)
    inside = (frequencies > 200) & (frequencies < limit_hz - TRANSITION_HZ)
    assert np.abs(gain_db[inside]).max() < 0.01
    assert gain_db[(frequencies > limit_hz) & (frequencies < 0.48 * rate)].max(initial=-200) < -STOP_DB + 8


def test_the_taps_are_those_of_scipy():
    taps = low_pass(3000, RATE)
    expected = signal.firwin(len(taps), 2900, window=("kaiser", 0.1102 * (STOP_DB - 8.7)), fs=RATE)
    np.testing.assert_allclose(taps, expected, atol=1e-7)
    assert len(taps) % 2 == 1
    waveform = noise(1, 0.1)
    np.testing.assert_allclose(band_limited(waveform, 3000, RATE), np.convolve(waveform, taps, mode="same"), atol=1e-6)


def test_nothing_is_delayed():
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    np.testing.assert_allclose(band_limited(tone, 3000, RATE)[1000:-1000], tone[1000:-1000], atol=1e-4)


def test_a_file_of_a_lower_rate_ends_where_all_others_do(tmp_path):
    rules = Audio(band_limit_hz=3000)
    for rate in (8000, 16000, 44100):
        path = written(tmp_path / f"{rate}.wav", noise(2, 0.1, rate=rate), rate)
        power = np.abs(np.fft.rfft(shaped(load_utterance(path, rules), rules) * np.hanning(2 * RATE))) ** 2
        assert 10 * np.log10(power[2 * 3050 :].max() / power.max()) < -80
        assert 10 * np.log10(power[2 * 2700 : 2 * 2790].mean() / power[2 * 300 : 2 * 1000].mean()) > -1


# --- the level


@pytest.mark.parametrize("level", [0.001, 0.1, 3.0])
def test_the_level_is_the_one_that_was_asked_for(level):
    waveform = noise(1, level)
    rms = shaped(waveform, Audio(normalize="rms"))
    assert 10 * np.log10(np.mean(rms.astype(np.float64) ** 2)) == pytest.approx(-23, abs=1e-3)
    peak = shaped(waveform, Audio(normalize="peak", target_dbfs=-3))
    assert 20 * np.log10(np.abs(peak).max()) == pytest.approx(-3, abs=1e-3)
    np.testing.assert_allclose(rms / np.abs(rms).max(), waveform / np.abs(waveform).max(), atol=1e-6)
    assert rms.dtype == peak.dtype == np.float32


def test_silence_is_not_made_loud():
    silence = np.zeros(RATE, np.float32)
    for measure in ("rms", "peak"):
        assert levelled(silence, measure, -23) is silence
    assert np.isfinite(shaped(silence, Audio(**ALL))).all()


def test_the_level_is_that_of_what_is_left_of_the_band():
    mixed = noise(1, 0.1) + np.sin(2 * np.pi * 6000 * np.arange(RATE) / RATE).astype(np.float32)
    made = shaped(mixed, Audio(normalize="rms", band_limit_hz=3000))
    assert 10 * np.log10(np.mean(made.astype(np.float64) ** 2)) == pytest.approx(-23, abs=1e-3)


def test_each_row_is_shaped_alone():
    rows, rules = np.stack([noise(0.5, level, seed) for seed, level in enumerate((0.01, 0.3, 0.1))]), Audio(**ALL)
    together = shaped(rows, rules)
    for row, made in zip(rows, together, strict=True):
        np.testing.assert_array_equal(made, shaped(row, rules))


# --- silence at both ends


def padded(lead_s: float, trail_s: float, floor: float = 0.0001, rate: int = RATE) -> np.ndarray:
    """A second of noise at 0.1 between quiet ends."""
    return np.concatenate([noise(lead_s, floor, 1, rate), noise(1, 0.1, 2, rate), noise(trail_s, floor, 3, rate)])


@pytest.mark.parametrize(("lead_s", "trail_s"), [(0.5, 0.25), (0.0, 0.4), (0.31, 0.0), (0.0, 0.0)])
def test_quiet_ends_are_cut(lead_s, trail_s):
    """Frames of 20 ms that are 40 dB down, then what is as quiet of the frames that are left."""
    waveform = padded(lead_s, trail_s)
    energies = [np.mean(waveform[start : start + 320].astype(np.float64) ** 2) for start in range(0, len(waveform), 320)]
    loud = [number for number, energy in enumerate(energies) if energy > 1e-4 * max(energies)]
    kept = range(loud[0] * 320, min((loud[-1] + 1) * 320, len(waveform)))
    beyond = [place for place in kept if abs(waveform[place]) > 0.01 * np.sqrt(max(energies))]
    np.testing.assert_array_equal(trimmed(waveform, Audio(trim_silence_db=40), RATE), waveform[beyond[0] : beyond[-1] + 1])
    assert beyond[0] == pytest.approx(lead_s * RATE, abs=5)
    assert beyond[-1] == pytest.approx((lead_s + 1) * RATE, abs=5)
    assert len(waveform) - len(trimmed(waveform, Audio(trim_silence_db=80), RATE)) < 100  # the ends are 60 dB down


def test_a_pause_inside_stays_and_nothing_is_cut_to_nothing():
    pause = np.concatenate([noise(0.2, 0.1), np.zeros(RATE, np.float32), noise(0.2, 0.1)])
    assert len(trimmed(pause, Audio(trim_silence_db=40), RATE)) > len(pause) - 20
    click = np.zeros(RATE, np.float32)
    click[5000] = 0.5
    assert trimmed(click, Audio(trim_silence_db=1), RATE).tolist() == [0.5]
    for waveform in (np.zeros(1000, np.float32), np.full(10, 0.1, np.float32), np.full(1000, 0.1, np.float32)):
        assert len(trimmed(waveform, Audio(trim_silence_db=40), RATE)) == len(waveform)


@pytest.mark.parametrize("block", [7, 320, 5000, 10**6])
def test_frames_do_not_depend_on_how_the_sound_comes(block):
    waveform, whole, pieces = padded(0.3, 0.21)[:-17], Frames(RATE), Frames(RATE)
    whole.add(waveform)
    for start in range(0, len(waveform), block):
        pieces.add(waveform[start : start + block])
    np.testing.assert_array_equal(pieces.energies(), whole.energies())
    expected = [np.mean(waveform[start : start + 320].astype(np.float64) ** 2) for start in range(0, len(waveform), 320)]
    np.testing.assert_allclose(whole.energies(), expected, rtol=1e-5)
    assert pieces.loud_part(40) == whole.loud_part(40)


@pytest.mark.parametrize("rate", [16000, 22050])
def test_a_stream_is_cut_where_the_loaded_file_is(tmp_path, rate):
    rules = Audio(trim_silence_db=40)
    waveform = np.concatenate([noise(1.3, 1e-4, 1, rate), *(noise(12, 0.1, seed, rate) for seed in (2, 3)), noise(11, 1e-4, 4, rate)])
    path = written(tmp_path / "a.wav", waveform, rate)
    with open_trimmed(path, rules) as (source, blocks):
        streamed = np.concatenate(list(blocks))
        start = blocks.start
    loaded = load_utterance(path, rules)
    assert len(streamed) == len(loaded)
    np.testing.assert_allclose(streamed, loaded, atol=1e-6)
    assert start / RATE == pytest.approx(1.3, abs=0.005)  # a resampler rings before what comes
    assert source.heard.num_samples == len(waveform)  # it was read to its end, and what is odd about it is known
    with open_trimmed(path, Audio()) as (_, blocks), open_audio(path, Audio()) as (_, plain):
        np.testing.assert_array_equal(np.concatenate(list(blocks)), np.concatenate(list(plain)))
        assert blocks.start == 0


@pytest.mark.parametrize("block", [1, 7, 319, 320, 321, 5000])
@pytest.mark.parametrize("seconds", [(0.0, 0.004, 0.0), (0.1, 0.01, 0.1), (0.031, 0.02, 0.5), (0.5, 1.0, 0.3)])
def test_blocks_of_any_size_are_cut_as_the_whole(block, seconds):
    lead, loud, trail = seconds
    waveform = np.concatenate([noise(lead, 1e-4, 1), noise(loud, 0.1, 2), noise(trail, 1e-4, 3)])
    frames = Frames(RATE)
    frames.add(waveform)
    blocks = TrimmedBlocks((waveform[start : start + block] for start in range(0, len(waveform), block)), frames, 40)
    expected = trimmed(waveform, Audio(trim_silence_db=40), RATE)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), expected)
    np.testing.assert_array_equal(waveform[blocks.start :][: len(expected)], expected)


def test_a_file_that_is_too_short_without_its_silence_is_bad_audio(tmp_path):
    path = written(tmp_path / "a.wav", np.concatenate([np.zeros(RATE), speech_like(0.05), np.zeros(RATE)]))
    assert check_file(path, Audio()).reason == ""
    reason = check_file(path, Audio(trim_silence_db=40)).reason
    assert reason.startswith("too short without the silence at its ends (0.0") and "audio.trim_silence_db=40" in reason
    assert check_file(path, Audio(trim_silence_db=40, min_seconds=0.01)).reason == ""


# --- facts of the check pass


def test_facts_of_a_file(tmp_path):
    sound = np.concatenate([np.zeros(RATE // 2), noise(1.5, 0.1), np.zeros(RATE // 4)])
    found = check_file(written(tmp_path / "a.wav", sound), Audio())
    assert found.coding == "WAV PCM_16"
    assert found.rms_dbfs == pytest.approx(10 * np.log10(np.mean(sound**2)), abs=0.01)
    assert (found.leading_silence_s, found.trailing_silence_s) == pytest.approx((0.5, 0.25), abs=0.021)
    assert found.bandwidth_hz > 7900
    narrow = signal.sosfiltfilt(signal.butter(12, 3000, output="sos", fs=RATE), noise(2, 0.1))
    soundfile.write(tmp_path / "b.flac", narrow, RATE, subtype="PCM_24")
    found = check_file(tmp_path / "b.flac", Audio())
    assert found.coding == "FLAC PCM_24"
    assert 3000 < found.bandwidth_hz < 4200


# --- settings


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("audio.band_limit_hz=8000", "below half of audio.sample_rate=16000"),
        ("audio.band_limit_hz=500", "at least 1000"),
        ("audio.normalize=loud", "none, rms, peak"),
        ("audio.target_dbfs=3", "at most 0"),
        ("audio.trim_silence_db=-40", "at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(word, complaint):
    with pytest.raises(UserError, match=complaint) as refused:
        load_settings([word])
    assert "\n" not in str(refused.value)
