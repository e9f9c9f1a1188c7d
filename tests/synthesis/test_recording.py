"""How a corpus is recorded: as ever by default, file by file, louder and softer, trimmed; twins among the vocoders."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from sourcetracing.runtime.seeding import rng
from sourcetracing.synthesis import channel, plan, spectra
from sourcetracing.synthesis.channel import Recording
from sourcetracing.synthesis.upsampler import kernel_of, upsampler
from sourcetracing.synthesis.vocoders import CHECKPOINTS, VOCODERS, vocode

RATE = 16000
PAIRS = [("griffin_lim_8", "griffin_lim_60"), ("lpc_18", "lpc_24"), ("upsampler_160", "upsampler_200"), ("upsampler_200", "upsampler_256")]


def noise(*keys: str | int, seconds: float = 1.0) -> np.ndarray:
    return (0.1 * rng("noise", *keys).standard_normal(round(seconds * RATE))).astype(np.float32)


def vowels(seconds: float = 2.0) -> np.ndarray:
    """Pulses at a gliding pitch through a falling spectrum, with some noise."""
    num_samples = int(seconds * RATE)
    pitch_hz = np.linspace(100, 150, int(seconds * 100))
    pulses = spectra.excitation(pitch_hz, np.full(len(pitch_hz), True), RATE // 100, num_samples, RATE, rng("pulses"))
    falling = np.fft.irfft(np.fft.rfft(pulses) / (1 + np.arange(num_samples // 2 + 1) / (500 * seconds)), num_samples)
    return (0.3 * falling + 0.001 * rng("breath").standard_normal(num_samples)).astype(np.float32)


def recorded_as_ever(x: np.ndarray, speaker: str, language: str, seed: int, draw: np.random.Generator) -> np.ndarray:
    """What `record` was before there was a choice, step by step."""
    curve = channel._curve_db(1.0, rng("microphone", seed, speaker)) + channel._curve_db(2.0, rng("room tone", seed, language))
    heard = channel._filtered(x, 10 ** (curve / 20))
    floor_db = draw.uniform(28.0, 42.0)
    heard = heard + channel.rms(heard) * 10 ** (-floor_db / 20) * draw.standard_normal(len(x), np.float32)
    frequency_hz = np.arange(8001)
    high, low = np.clip((frequency_hz - 7200.0) / 300.0, 0, 1), np.clip((80.0 - frequency_hz) / 40.0, 0, 1)
    heard = channel._filtered(heard, 10 ** (-60.0 * (high + low) / 20))
    first, last = draw.integers(0, 480, 2)
    heard = heard[first : len(heard) - last]
    gain = 10 ** ((-23.0 + draw.uniform(-3.0, 3.0)) / 20) / channel.rms(heard)
    return heard * np.float32(min(gain, 0.97 / np.abs(heard).max()))


@pytest.mark.parametrize("number", range(4))
def test_by_default_the_bytes_are_those_of_ever(number):
    x = noise(number)
    made = channel.record(x, "someone", "de", 3, rng("draw", number))
    assert made.tobytes() == recorded_as_ever(x, "someone", "de", 3, rng("draw", number)).tobytes()


def test_the_plan_of_the_demo_is_that_of_ever():
    """The reading list and the talkers in the background: languages and sources that came later change nothing."""
    utterances = plan.plan_utterances(["ru"], ["espeak_klatt", "world"], 8, 3, seed=688)
    numbers = [int(utterance.stem.split("_")[1]) for utterance in utterances]
    assert numbers == [6, 7, 8, 4, 1, 0, 5, 2, 5, 3, 6, 2, 11, 10, 1, 9]
    talkers = [noise.kind for noise in plan.plan_noises(8, 5.0, 0, 5.0) if noise.category == "speech"]
    assert talkers == ["en", "de", "fr", "it", "pl", "ru", "en", "de"]


def test_a_channel_by_file_knows_no_speaker_language_or_source():
    """Band levels of the same noise through many channels: wide apart from file to file, and alike for two sources."""
    how, x = Recording(by_file=True), noise("same")
    one, other = (channel.record(x, speaker, language, 3, rng("draw"), how) for speaker, language in [("a", "de"), ("b", "fr")])
    assert one.tobytes() == other.tobytes()
    levels_db = {}
    for source in ("one", "other"):
        heard = [channel.record(x, "a", "de", 3, rng("utterance", source, number), how) for number in range(60)]
        levels_db[source] = np.array([band_levels_db(samples) for samples in heard])
    spread_db = levels_db["one"].std(axis=0)
    assert spread_db.min() > 2
    standard_error = np.sqrt((levels_db["one"].var(axis=0) + levels_db["other"].var(axis=0)) / 60)
    assert (np.abs(levels_db["one"].mean(axis=0) - levels_db["other"].mean(axis=0)) / standard_error).max() < 3.5


def band_levels_db(samples: np.ndarray) -> np.ndarray:
    """(7,) of the bands of one kilohertz, relative to the whole."""
    power = np.abs(np.fft.rfft(samples, RATE)) ** 2
    return 10 * np.log10(power[:7000].reshape(7, 1000).sum(axis=1) / power.sum())


def test_band_limits_by_file_reach_from_telephone_to_wide():
    top_hz = []
    for number in range(60):
        heard = channel.record(noise("same"), "a", "de", 3, rng("limit", number), Recording(by_file=True))
        power = np.abs(np.fft.rfft(heard, RATE)) ** 2
        smooth = np.convolve(power, np.ones(100) / 100, "same")
        top_hz.append(np.flatnonzero(smooth > 1e-3 * np.median(smooth[500:3000])).max())
    assert min(top_hz) < 4200 and max(top_hz) > 6500 and min(top_hz) > 3400


@pytest.mark.parametrize("codec", ["mu_law", "8_bit", "resampled"])
def test_codecs_cost_quality_within_reason(codec, monkeypatch):
    monkeypatch.setattr(channel, "FILE_NOISE_FLOOR_DB", (90.0, 91.0))

    def through(name: str) -> np.ndarray:
        monkeypatch.setattr(channel, "CODECS", (name,) * 5)
        return channel.file_channel(vowels(), rng("codec"))

    clean, coded = through("none"), through(codec)
    assert coded.shape == clean.shape and coded.dtype == np.float32
    low_clean, low_coded = (soxr.resample(samples, RATE, 4000) for samples in (clean, coded))  # what every codec lets through
    noise_db = 10 * np.log10(np.sum((low_coded - low_clean) ** 2) / np.sum(low_clean**2))
    assert -60 < noise_db < -10


@pytest.mark.parametrize("spread_db", [0.0, 12.0])
def test_levels_lie_below_the_same_loudest_whatever_their_spread(spread_db):
    heard = [channel.record(noise(number), "a", "de", 3, rng("level", number), Recording(spread_db)) for number in range(40)]
    levels_dbfs = np.array([20 * np.log10(channel.rms(samples)) for samples in heard])
    assert levels_dbfs.max() <= -20 + 0.01 and levels_dbfs.min() >= -20 - 2 * spread_db - 0.01
    assert np.ptp(levels_dbfs) > 1.8 * spread_db - 0.01


def test_trimming_takes_the_quiet_ends_and_no_pause():
    quiet = np.zeros(RATE // 2, np.float32)
    x = np.concatenate([quiet, noise("a"), quiet, noise("b"), quiet])
    how = Recording(trim=True)
    assert len(channel.record(x, "a", "de", 3, rng("draw"), how)) == pytest.approx(2.5 * RATE, abs=0.03 * RATE)
    assert len(channel.record(x, "a", "de", 3, rng("draw"))) > 3.3 * RATE


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_twins_differ_from_each_other_and_never_from_themselves(one, other):
    speech = vowels()
    made = {source: vocode(source, "en", speech, rng("draw")) for source in (one, other)}
    assert not np.array_equal(made[one], made[other])
    for source, samples in made.items():
        assert np.array_equal(samples, vocode(source, "en", speech, rng("draw")))
        assert np.array_equal(samples, vocode(source, "it", speech, rng("draw")))
        assert np.abs(samples).max() < 15 * channel.rms(samples)  # no click that the level, and the trimming, would go by
    levels = [band_levels_db(samples) for samples in made.values()]
    assert np.abs(levels[0] - levels[1]).max() < 6  # no tell that needs no listening


def test_every_twin_is_a_vocoder_and_every_vocoder_is_described():
    assert set(plan.TWINS) <= set(VOCODERS) == set(CHECKPOINTS)
    assert set(VOCODERS) <= {*plan.ARCHITECTURES, *plan.TWINS} and not plan.TWINS.keys() & plan.ARCHITECTURES.keys()


@pytest.mark.parametrize(("strides", "hop"), [((5, 4, 4, 2), 160), ((5, 5, 4, 2), 200), ((8, 8, 2, 2), 256)])
def test_upsampling_leaves_a_ripple_at_the_rate_of_its_frames(strides, hop):
    """The envelope of steady noise that went through: a line at the frame rate that the noise does not have."""
    x = noise("steady", seconds=8.0)
    made = upsampler(x, rng("draw"), strides=strides, num_bands=32)
    frame_hz = RATE / hop

    def line_db(samples: np.ndarray) -> float:
        power = samples[: 7 * RATE].astype(np.float64) ** 2
        spectrum = np.abs(np.fft.rfft(power - power.mean(), 8 * RATE)) ** 2
        place = round(8 * frame_hz)
        return float(10 * np.log10(spectrum[place - 2 : place + 3].max() / np.median(spectrum[place - 100 : place + 100])))

    assert line_db(made) > 20 > line_db(x)


def test_kernels_nearly_interpolate():
    for stride in (2, 4, 5, 8):
        kernel = kernel_of(stride, 0, 160)
        assert kernel.shape == (2 * stride,)
        phases = kernel[:stride] + kernel[stride:]
        assert 0.4 < phases.min() < phases.max() < 1.7
        assert phases.std() > 0.02
