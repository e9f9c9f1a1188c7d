"""Each trivial cue on a signal whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from sourcetracing.shortcuts.cues import ALL_CUES, GROUPS, HEARD_CUES, crop_cues, effective_bits, file_cues, spectrum

RATE = 16000


def tone(seconds: float = 2.0, amplitude: float = 0.1, frequency_hz: float = 1000.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def noise(seconds: float = 4.0, level: float = 0.1, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def shaped_noise(db_per_octave: float) -> np.ndarray:
    """White noise whose power changes by so much from octave to octave."""
    spectrum_of_noise = np.fft.rfft(noise())
    frequencies = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    return np.fft.irfft(spectrum_of_noise * np.maximum(frequencies, 20) ** (db_per_octave / 20 / np.log10(2))).astype(np.float32)


def silent(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def test_every_cue_of_a_group_is_computed_and_no_other():
    cues = file_cues(tone(), RATE, 4.0) | crop_cues(tone(), RATE)
    assert set(cues) == set(ALL_CUES)
    assert len(ALL_CUES) == len(set(ALL_CUES)) == sum(map(len, GROUPS.values()))
    assert set(ALL_CUES) - set(HEARD_CUES) == {
        "file_duration_s",
        "file_sample_rate_hz",
        "file_leading_silence_s",
        "file_trailing_silence_s",
    }


def test_duration_and_the_part_of_a_crop_that_is_repeated():
    cues = file_cues(tone(1.5), RATE, 4.0)
    assert (cues["file_duration_s"], cues["crop_wrap_padding_s"], cues["file_sample_rate_hz"]) == (1.5, 2.5, RATE)
    assert file_cues(tone(5.0), RATE, 4.0)["crop_wrap_padding_s"] == 0


def test_silence_before_and_after():
    signal = np.concatenate([silent(0.3), tone(1.0), silent(0.45)]) + 1e-4 * noise(1.75, 0.1)
    of_file, of_crop = file_cues(signal, RATE, 4.0), crop_cues(signal, RATE)
    assert (of_file["file_leading_silence_s"], of_file["file_trailing_silence_s"]) == pytest.approx((0.3, 0.45), abs=0.001)
    assert (of_crop["crop_leading_silence_s"], of_crop["crop_trailing_silence_s"]) == pytest.approx((0.3, 0.45), abs=0.001)


def test_silence_is_relative_to_the_peak():
    quiet_start = np.concatenate([tone(0.5, 0.002), tone(1.0, 0.1)])  # 34 dB below the peak: not silent
    assert crop_cues(quiet_start, RATE)["crop_leading_silence_s"] < 0.001
    assert crop_cues(np.concatenate([tone(0.5, 0.0005), tone(1.0, 0.1)]), RATE)["crop_leading_silence_s"] == pytest.approx(0.5, abs=0.001)


def test_levels_of_a_tone():
    cues = crop_cues(tone(amplitude=0.1), RATE)
    assert cues["crop_peak_dbfs"] == pytest.approx(-20, abs=0.01)
    assert cues["crop_rms_dbfs"] == pytest.approx(-23.01, abs=0.01)
    assert cues["crop_crest_factor_db"] == pytest.approx(3.01, abs=0.01)
    assert cues["crop_clipped_fraction"] == 0


def test_clipped_samples_are_counted():
    clipped = np.clip(tone(amplitude=2.0, frequency_hz=997), -1, 32767 / 32768)
    assert crop_cues(clipped, RATE)["crop_clipped_fraction"] == pytest.approx(2 / 3, abs=0.01)  # |sin| > 1/2 two thirds of the time


def test_a_band_that_ends_at_4_khz():
    band = scipy.signal.sosfilt(scipy.signal.cheby2(16, 90, 4000, fs=RATE, output="sos"), noise()).astype(np.float32)
    cues, white = crop_cues(band, RATE), crop_cues(noise(), RATE)
    assert cues["crop_highest_frequency_hz"] == pytest.approx(3950, abs=100)
    assert cues["crop_rolloff_99_hz"] < 3800
    assert cues["crop_energy_above_4khz_db"] < -60
    assert white["crop_highest_frequency_hz"] == 8000
    assert (white["crop_rolloff_95_hz"], white["crop_rolloff_99_hz"]) == pytest.approx((7600, 7920), abs=40)
    assert (white["crop_energy_above_4khz_db"], white["crop_energy_above_7khz_db"]) == pytest.approx((-3.01, -9.03), abs=0.2)


def test_dc_offset_leaves_the_spectrum_alone():
    plain, shifted = crop_cues(tone(), RATE), crop_cues(tone() + np.float32(0.01), RATE)
    assert shifted["crop_dc_offset_fraction"] == pytest.approx(0.01, abs=1e-6)
    assert plain["crop_dc_offset_fraction"] == pytest.approx(0, abs=1e-6)
    assert shifted["crop_rolloff_95_hz"] == plain["crop_rolloff_95_hz"] == pytest.approx(1000, abs=63)


def test_noise_floor_is_that_of_the_pauses():
    signal = np.where(np.arange(4 * RATE) % RATE < RATE // 2, 0.1, 0.001).astype(np.float32) * noise(level=1.0)
    assert crop_cues(signal, RATE)["crop_noise_floor_dbfs"] == pytest.approx(-60.5, abs=0.7)


def test_samples_that_repeat_and_zeros():
    cues = crop_cues(np.concatenate([np.repeat(noise(0.5), 2), silent(1.0)]), RATE)
    assert cues["crop_repeated_samples_fraction"] == pytest.approx(0.75, abs=0.001)
    assert cues["crop_zero_samples_fraction"] == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24), ("FLOAT", 24)])
def test_bits_of_a_file(tmp_path: Path, subtype: str, bits: int):
    soundfile.write(tmp_path / "x.wav", noise(), RATE, subtype=subtype)
    samples, _ = soundfile.read(tmp_path / "x.wav", dtype="float32")
    assert effective_bits(samples) == bits
    assert effective_bits(samples * np.float32(0.7)) == 24  # another level, and the steps are gone


@pytest.mark.parametrize("db_per_octave", [-6.0, 0.0, 3.0])
def test_tilt(db_per_octave: float):
    cues = crop_cues(shaped_noise(db_per_octave), RATE)
    assert cues["crop_tilt_db_per_octave"] == pytest.approx(db_per_octave, abs=0.3)


def test_low_to_high():
    both = tone(amplitude=0.1, frequency_hz=500) + tone(amplitude=0.01, frequency_hz=2000) + tone(amplitude=0.2, frequency_hz=6000)
    assert crop_cues(both, RATE)["crop_low_to_high_db"] == pytest.approx(20, abs=0.1)


def test_the_spectrum_is_welchs():
    frequencies, power = spectrum(shaped_noise(-3), RATE)
    expected_frequencies, expected = scipy.signal.welch(shaped_noise(-3), RATE, nperseg=512, scaling="spectrum")
    np.testing.assert_allclose(frequencies, expected_frequencies)
    # Welch's density counts the bins between the first and the last twice, since they stand for negative frequencies too.
    np.testing.assert_allclose(power[1:-1], expected[1:-1] / expected.max(), rtol=1e-4)


@pytest.mark.parametrize(
    "signal", [silent(0.5), silent(0.5) + np.float32(0.25), np.eye(1, 8000, 4000, dtype=np.float32)[0], 10 * noise(0.1)]
)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_every_cue_of_a_strange_signal_is_a_number(signal: np.ndarray, rate: int):
    cues = file_cues(signal, rate, 0.5) | crop_cues(signal, rate)
    assert all(isinstance(value, float) and np.isfinite(value) for value in cues.values()), cues


def test_a_silent_crop_is_silent_from_both_ends():
    cues = crop_cues(silent(0.5), RATE)
    assert (cues["crop_leading_silence_s"], cues["crop_trailing_silence_s"], cues["crop_rms_dbfs"]) == (0.5, 0.5, -120)
