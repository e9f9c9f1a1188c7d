"""Variants that need no noises: what each does to a signal, by formulas of its own; seeds; what is refused."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from sourcetracing.audio import codecs, ffmpeg
from sourcetracing.errors import UserError
from sourcetracing.features.augment import Augmenter
from sourcetracing.features.channels import copy_synthesis, drawn_operation, refuse_channels
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.frontends import CHANNEL_VARIANTS, COPY_VOCODERS, VARIANTS, Augment, Rawboost
from sourcetracing.settings.operations import OPERATIONS
from sourcetracing.synthesis.vocoders import CHECKPOINTS, VOCODERS
from tests.support.audio_doors import needs_ffmpeg, speech_like

RATE = 16000
SPEECH = speech_like(1.5, seed=3)


def made(variant: str, clean: np.ndarray = SPEECH, utt_id: str = "u", rate: int = RATE, boost: dict | None = None, **changes) -> np.ndarray:
    augmenter = Augmenter(Augment(variants=[variant], **changes), {}, seed=7, rate=rate, boost=Rawboost(**(boost or {})))
    return augmenter.variants(clean, utt_id)[0]


def power(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


def share_above(samples: np.ndarray, hz: float) -> float:
    """Of the power."""
    frequencies, density = scipy.signal.welch(samples.astype(np.float64), RATE, nperseg=1024)
    return density[frequencies > hz].sum() / density.sum()


# ------------------------------------------------------------------------------------------------ RawBoost


@pytest.mark.parametrize("snr_db", [3.0, 25.0])
def test_rawboost_3_adds_noise_at_its_snr(snr_db):
    noise = made("rawboost", boost={"algorithm": 3, "snr_db": [snr_db, snr_db]}).astype(np.float64) - SPEECH
    assert 10 * np.log10(power(SPEECH) / power(noise)) == pytest.approx(snr_db, abs=0.01)


def test_rawboost_2_changes_a_share_of_samples_by_a_part_of_themselves():
    quiet = 0.3 * SPEECH  # below the ceiling, so that nothing is scaled
    changed = made("rawboost", quiet, boost={"algorithm": 2, "impulse_percent": 20.0, "impulse_gain": 2.0}) - quiet
    assert 0 < (changed != 0).mean() <= 0.2
    assert (np.abs(changed) <= 2.0 * np.abs(quiet) + 1e-6).all()


def test_rawboost_1_by_the_formula_of_the_paper():
    """Tak et al. 2022: the sum of powers of the signal, each through a filter; with flat filters of given gains it can be written down."""
    flat = {"algorithm": 1, "bands": 1, "taps": [1, 1], "orders": 3, "bias_db": [6.0, 6.0], "gain_db": [-3.0, -3.0]}
    louder, softer = 10 ** (-3 / 20), 10 ** (-9 / 20)
    clean = SPEECH.astype(np.float64)
    # One tap is a flat filter; each comes out one sample early, as published.
    expected = np.append((louder * clean + softer * clean**2 + softer * clean**3)[1:], 0.0)
    ours = made("rawboost", boost=flat)
    expected -= expected.mean()
    np.testing.assert_allclose(np.abs(np.corrcoef(ours, expected)[0, 1]), 1, atol=1e-6)
    np.testing.assert_allclose(ours, expected / max(1, np.abs(expected).max()), atol=1e-6)


def test_each_algorithm_is_another_sound_and_0_is_none():
    sounds = {number: made("rawboost", boost={"algorithm": number}).tobytes() for number in range(9)}
    assert sounds[0] == SPEECH.tobytes() and len(set(sounds.values())) == 9


# ------------------------------------------------------------------------------------------------ codecs and telephones


@needs_ffmpeg
@pytest.mark.parametrize("name", ["mp3_32k", "aac_32k", "opus_16k", "vorbis_q0"])
def test_a_codec_changes_the_sound_and_keeps_its_place(name):
    coded = made("codec", codecs=[name])
    assert coded.shape == SPEECH.shape and coded.dtype == np.float32
    assert 1e-4 < power(coded - SPEECH) / power(SPEECH) < 0.5
    likeness = scipy.signal.correlate(coded, SPEECH)
    assert abs(int(likeness.argmax()) - (len(SPEECH) - 1)) <= 2


@needs_ffmpeg
@pytest.mark.parametrize("name", ["mu_law", "a_law"])
def test_a_call_has_nothing_above_4_khz(name):
    assert share_above(SPEECH, 4100) > 0.05
    assert share_above(made("telephone", telephones=[name], telephone_noisy=0.0), 4100) < 1e-4


@needs_ffmpeg
def test_a_noisy_call_has_its_snr_in_the_band_that_is_left():
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
    call = {"telephones": ["mu_law"], "telephone_snr_db": [10.0, 10.0]}
    quiet, noisy = made("telephone", tone, **call, telephone_noisy=0.0), made("telephone", tone, **call, telephone_noisy=1.0)
    # White noise of all of 8 kHz, of which the call keeps about a half.
    assert 10 * np.log10(power(tone) / power(noisy - quiet)) == pytest.approx(10 + 3, abs=0.7)


@needs_ffmpeg
def test_about_as_many_calls_are_noisy_as_asked():
    silence_after = np.concatenate([SPEECH[:4000], np.zeros(4000, np.float32)])
    calls = [made("telephone", silence_after, f"u{number}", telephones=["mu_law"], telephone_noisy=0.25) for number in range(40)]
    num_noisy = sum(power(call[5000:]) > 1e-6 for call in calls)
    assert scipy.stats.binomtest(num_noisy, 40, 0.25).pvalue > 0.01


def test_each_codec_is_as_likely():
    names = ["mp3_64k", "aac_32k", "opus_8k"]
    augment = Augment(variants=["codec"], codecs=names)
    counts = Counter(drawn_operation(augment, "codec", rng(1, f"u{number}", "codec")) for number in range(900))
    assert set(counts) == set(names) and scipy.stats.chisquare(list(counts.values())).pvalue > 0.01


def test_what_may_be_drawn_by_default_is_there():
    augment = Augment()
    assert {OPERATIONS[name].family for name in augment.codecs} == {"codec"}
    assert {OPERATIONS[name].family for name in augment.telephones} == {"telephone"}


# ------------------------------------------------------------------------------------------------ copy synthesis


def test_copy_synthesis_is_the_vocoder_of_the_demo_at_its_rate():
    expected = VOCODERS["sinusoidal"](SPEECH, rng(7, "u", "copy_synthesis"), **CHECKPOINTS["sinusoidal"][0])
    expected = expected * np.sqrt(np.mean(np.square(SPEECH, dtype=float)) / np.mean(np.square(expected, dtype=float)))  # as loud
    np.testing.assert_allclose(made("copy_synthesis", vocoder="sinusoidal"), expected, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_a_copy_is_as_long_and_as_loud_over_time(rate):
    times = np.arange(round(1.5 * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 150 * k * times) / k for k in range(1, 8))
    clean = (0.1 * voice * np.sin(np.pi * 2.2 * times) ** 2).astype(np.float32)
    copy = copy_synthesis(clean, rate, "sinusoidal", rng(1))
    assert copy.shape == clean.shape and not np.array_equal(copy, clean)
    size = rate // 20
    levels = [np.square(each[: len(each) // size * size].reshape(-1, size)).mean(axis=1) for each in (clean, copy)]
    assert np.corrcoef(*levels)[0, 1] > 0.8


def test_the_vocoders_that_may_be_chosen_are_there():
    assert set(COPY_VOCODERS) <= CHECKPOINTS.keys()


@pytest.mark.parametrize(
    ("vocoder", "source"), [("griffin_lim", "griffin_lim"), ("griffin_lim", "griffin_lim_60"), ("griffin_lim", "Griffin-Lim")]
)
def test_a_vocoder_that_is_a_source_is_refused(vocoder, source):
    with pytest.raises(UserError, match=f"augment.vocoder={vocoder} is what makes the source {source}.*wrong labels"):
        refuse_channels(Augment(variants=["copy_synthesis"], vocoder=vocoder), ["bark", source])
    refuse_channels(Augment(variants=["original"], vocoder=vocoder), [source])
    refuse_channels(Augment(variants=["copy_synthesis"], vocoder="sinusoidal"), [source])


# ------------------------------------------------------------------------------------------------ all of them


@needs_ffmpeg
def test_a_variant_depends_on_seed_and_utterance_alone():
    augment = Augment(variants=list(CHANNEL_VARIANTS))
    together = Augmenter(augment, {}, seed=7).variants(SPEECH, "u")
    for row, variant in enumerate(CHANNEL_VARIANTS):
        np.testing.assert_array_equal(together[row], made(variant))
        assert len({made(variant, utt_id=f"u{number}").tobytes() for number in range(6)}) > 1  # a codec may be drawn twice
    other_seed = Augmenter(augment, {}, seed=8).variants(SPEECH, "u")
    assert not np.array_equal(together, other_seed)


@needs_ffmpeg
@pytest.mark.parametrize("variant", CHANNEL_VARIANTS)
@pytest.mark.parametrize(("num_samples", "rate"), [(800, 8000), (1600, 16000), (100, 16000)])
def test_sounds_shorter_than_a_frame_of_a_codec(variant, num_samples, rate):
    short = made(variant, SPEECH[:num_samples], rate=rate)
    assert short.shape == (num_samples,) and np.isfinite(short).all()


@needs_ffmpeg
@pytest.mark.parametrize("variant", CHANNEL_VARIANTS)
def test_silence_stays_finite(variant):
    assert np.isfinite(made(variant, np.zeros(4000, np.float32))).all()


@needs_ffmpeg
def test_stacked_as_published_each_starts_from_the_one_before():
    augment = Augment(variants=["rawboost", "telephone"], stacked=True, telephones=["mu_law"])
    first, second = Augmenter(augment, {}, seed=7).variants(SPEECH, "u")
    np.testing.assert_array_equal(second, made("telephone", first, telephones=["mu_law"]))


def test_an_encoder_that_is_not_here_is_named(monkeypatch):
    monkeypatch.setattr("sourcetracing.postprocessing.operations.known_encoders", lambda: frozenset({"pcm_mulaw"}))
    with pytest.raises(UserError, match="augment.telephones: amr_nb_12k2 .* no encoder libopencore_amrnb.*imageio-ffmpeg"):
        refuse_channels(Augment(variants=["telephone"], telephones=["mu_law", "amr_nb_12k2"]), [])
    refuse_channels(Augment(variants=list(VARIANTS)), [])  # whose settings nothing reads


def test_without_ffmpeg_only_what_needs_it_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    caches = (ffmpeg.ffmpeg_program, codecs.known_encoders)
    for cached in caches:
        cached.cache_clear()
    try:
        with pytest.raises(UserError, match="without an ffmpeg program .*imageio-ffmpeg"):
            refuse_channels(Augment(variants=["codec"]), [])
        refuse_channels(Augment(variants=["rawboost", "copy_synthesis"]), [])
        assert asdict(Rawboost()) and np.isfinite(made("rawboost")).all()
    finally:
        for cached in caches:
            cached.cache_clear()
