"""Operations against independent checks: SNR by hand, lag by SciPy's correlation, bandwidth by Welch, lengths by arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, correlate, sosfilt, welch

from sourcetracing.audio import codecs as audio_codecs
from sourcetracing.audio import ffmpeg
from sourcetracing.errors import UserError
from sourcetracing.postprocessing.operations import apply, at_hand, family_of, in_words
from sourcetracing.settings.operations import FAMILIES, OPERATIONS

RATE = 16000
NOT_ENCODABLE = {"amr_wb_12k65", "gsm", "speex_nb_8k"}  # with the build of imageio-ffmpeg
HERE = [name for name, entry in OPERATIONS.items() if name not in NOT_ENCODABLE and not entry.clips]
CODED = [name for name in HERE if OPERATIONS[name].family in ("codec", "telephone")]
IN_STEP = [name for name in HERE if OPERATIONS[name].family not in ("time", "length")]


def voice(seconds: float = 2.0, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Noise of 3 to 5 bursts a second, strongest below 3 kHz, something everywhere."""
    random, times = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    noise = random.normal(0, 1, len(times))
    low = sosfilt(butter(2, [300, 3000], "bandpass", fs=rate, output="sos"), noise)
    return (0.1 * np.abs(np.sin(2 * np.pi * 1.9 * times)) * (low + 0.05 * noise)).astype(np.float32)


def white(seconds: float = 3.0) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


class Bank:
    """Clips without a bank's files."""

    def __init__(self, *clips: np.ndarray):
        self.clips, self.lengths = clips, [len(clip) for clip in clips]

    def read(self, clip: int, start: int = 0, num_samples: int | None = None) -> np.ndarray:
        return np.take(self.clips[clip], np.arange(start, start + (num_samples or self.lengths[clip])), mode="wrap")


BANKS = {"speech": Bank(*(voice(3, seed) for seed in range(6))), "music": Bank(voice(1.0, 9))}


def test_every_entry_is_complete():
    for name, entry in OPERATIONS.items():
        assert callable(entry.load()) and entry.family in FAMILIES and entry.says, name
        assert not entry.low_pass or entry.low_pass in OPERATIONS, name
        assert name.isidentifier()


@pytest.mark.parametrize("name", HERE)
def test_samples_are_finite_float32_and_the_same_again(name):
    clean = voice()
    once, again = (apply(name, clean, RATE, 688, "u/1") for _ in range(2))
    assert once.dtype == np.float32 and once.ndim == 1 and np.isfinite(once).all() and once.flags.c_contiguous
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(clean, voice())  # the input is left alone


@pytest.mark.parametrize("name", IN_STEP)
@pytest.mark.parametrize("num_samples", [200, 32000, 23457])
def test_the_length_stays(name, num_samples):
    assert len(apply(name, voice(2)[:num_samples], RATE, 1, "u")) == num_samples


@pytest.mark.parametrize("name", IN_STEP)
def test_it_is_in_step_with_the_original(name):
    clean = voice(3, seed=5)
    made = apply(name, clean, RATE, 1, "u")
    lag = int(correlate(made, clean).argmax()) - (len(clean) - 1)
    assert abs(lag) <= (8 if OPERATIONS[name].family == "telephone" else 4), lag


@pytest.mark.parametrize("name", ["mp3_32k", "aac_32k", "opus_16k", "amr_nb_12k2", "g722", "denoise_12db"])
def test_nothing_is_lost_at_the_end(name):
    """A codec that is late would leave silence there, or cut what it has not given out yet."""
    clean = voice(2.1)
    made = apply(name, clean, RATE, 1, "u")[-1600:]
    assert np.corrcoef(made, clean[-1600:])[0, 1] > 0.5


def kept_hz(name: str) -> float:
    """The highest frequency at which white noise keeps a tenth of its power."""
    frequencies, before = welch(white(), RATE, nperseg=512)
    _, after = welch(apply(name, white(), RATE, 1, "u"), RATE, nperseg=512)
    return float(frequencies[after > 0.1 * before].max())


@pytest.mark.parametrize(
    "name, expected_hz",
    [
        ("mp3_64k", 7250),
        ("mp3_16k", 5500),
        ("aac_16k", 3850),
        ("opus_8k", 4200),
        ("vorbis_q0", 7500),
        ("a_law", 3900),
        ("resample_8k", 3850),
    ]
    + [("lowpass_3k4", 3300), ("lowpass_3k9", 3800), ("lowpass_4k2", 4100), ("lowpass_5k5", 5400), ("lowpass_7k3", 7200), ("g722", 7900)],
)
def test_bandwidths(name, expected_hz):
    assert abs(kept_hz(name) - expected_hz) < 250


@pytest.mark.parametrize("name", [name for name, entry in OPERATIONS.items() if entry.low_pass and name in HERE])
def test_the_low_pass_beside_a_codec_keeps_the_same_band(name):
    """Within a third: what AMR-NB lets through of noise near 4 kHz it has made up."""
    assert 0.8 < kept_hz(name) / kept_hz(OPERATIONS[name].low_pass) < 1.25


@pytest.mark.parametrize("kind", ["noise", "babble", "music"])
@pytest.mark.parametrize("snr_db", [20, 10, 5])
def test_snrs_are_exact(kind, snr_db):
    clean = voice(2, seed=3)
    noise = apply(f"{kind}_{snr_db}db", clean, RATE, 1, "u", clips=BANKS).astype(np.float64) - clean
    assert 10 * np.log10((clean.astype(np.float64) ** 2).sum() / (noise**2).sum()) == pytest.approx(snr_db, abs=0.01)


def test_the_same_noise_twice_in_a_chain_is_two_noises():
    """Powers add up: 10 dB and 10 dB are 7.0 dB. One noise twice would be 4.0 dB."""
    clean = voice(2, seed=3)
    noise = apply("noise_10db+noise_10db", clean, RATE, 1, "u").astype(np.float64) - clean
    assert 10 * np.log10((clean.astype(np.float64) ** 2).sum() / (noise**2).sum()) == pytest.approx(7.0, abs=0.3)


def test_what_is_drawn_hangs_on_words_and_name():
    clean = voice()
    first = apply("noise_10db", clean, RATE, 1, "u/1") - clean
    other = apply("noise_10db", clean, RATE, 1, "u/2") - clean
    quieter = apply("noise_20db", clean, RATE, 1, "u/1") - clean
    assert max(abs(np.corrcoef(first, noise)[0, 1]) for noise in (other, quieter)) < 0.05


def test_gain_is_gain_alone():
    clean = voice()
    np.testing.assert_allclose(apply("quieter_20db", clean, RATE), clean / 10, rtol=1e-6)
    assert np.abs(apply("louder_6db", clean, RATE)).max() == pytest.approx(10**0.3 * np.abs(clean).max(), rel=1e-6)


def test_clipping():
    clean = voice()
    made = apply("clipped_6db", clean, RATE)
    assert made.max() <= 1 and made.min() >= -1
    expected = (np.abs(clean) >= np.abs(clean).max() / 10**0.3 * (1 + 1e-6)).sum()
    assert abs(int((np.abs(made) == 1).sum()) - expected) <= 1 and expected > 10


@pytest.mark.parametrize("kind", ["tempo", "speed"])
@pytest.mark.parametrize("percent", [95, 105])
def test_stretched_lengths(kind, percent):
    assert len(apply(f"{kind}_{percent}pct", voice(2), RATE)) == round(32000 * 100 / percent)


@pytest.mark.parametrize(
    "name, hertz", [("tempo_105pct", 1000), ("tempo_95pct", 1000), ("pitch_105pct", 1050), ("pitch_95pct", 950), ("speed_105pct", 1050)]
)
def test_pitches(name, hertz):
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    made = apply(name, 0.5 * tone, RATE)
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    assert spectrum.argmax() * RATE / len(made) == pytest.approx(hertz, abs=3)


def test_pitch_keeps_the_length():
    assert len(apply("pitch_105pct", voice(2), RATE)) == len(voice(2))


def test_silence():
    loud = 0.3 * np.ones(8000, np.float32) * np.where(np.arange(8000) % 2, 1, -1)
    padded = np.pad(loud, (4000, 1600)).astype(np.float32)
    assert len(apply("silence_trimmed", padded, RATE)) == 8000
    added = apply("silence_added", loud, RATE)
    np.testing.assert_array_equal(added[8000:16000], loud)
    assert len(added) == 24000 and not added[:8000].any() and not added[16000:].any()


def test_beginnings():
    clean = voice(3)
    np.testing.assert_array_equal(apply("first_1s", clean, RATE), clean[:RATE])
    np.testing.assert_array_equal(apply("first_8s", clean, RATE), clean)  # shorter than that: as it is


@pytest.mark.parametrize("size", ["small", "large"])
def test_reverberation_keeps_the_level_and_rings_on(size):
    click = np.zeros(RATE, np.float32)
    click[4000] = 0.5
    wet = apply(f"reverb_{size}", click, RATE, 1, "u")
    assert (wet**2).sum() == pytest.approx((click**2).sum(), rel=1e-4)
    # what is stronger than half the peak begins where the click is, and something follows
    assert abs(int(np.argmax(np.abs(wet) > 0.5 * np.abs(wet).max())) - 4000) <= 1 and np.abs(wet[4100:6000]).max() > 1e-4


@pytest.mark.parametrize("name, share", [("denoise_12db", 0.35), ("denoise_24db", 0.25)])
def test_denoising_takes_noise_away(name, share):
    """In the pauses, which hold nothing else."""
    times = np.arange(3 * RATE) / RATE
    speaks = times % 1 < 0.6
    clean = (0.2 * np.sin(2 * np.pi * 500 * times) * speaks).astype(np.float32)
    noisy = apply("noise_20db", clean, RATE, 1)
    pause = ~speaks & (times > 1.0) & (times % 1 > 0.7) & (times % 1 < 0.9)
    assert (apply(name, noisy, RATE)[pause] ** 2).mean() < share * (noisy[pause] ** 2).mean()


def test_chains_go_one_after_the_other():
    clean = voice()
    chain = apply("mp3_64k+lowpass_3k9", clean, RATE, 1, "u")
    np.testing.assert_array_equal(chain, apply("lowpass_3k9", apply("mp3_64k", clean, RATE, 1, "u"), RATE, 1, "u"))
    assert family_of("mp3_64k+lowpass_3k9") == "chain" and family_of("mp3_64k") == "codec"
    assert in_words("mp3_64k+first_1s") == "MP3 at 64 kbit/s, then the first 1 s alone"


@pytest.mark.parametrize("name, meant", [("mp3_32", "mp3_32k"), ("opus_16k+mp3_46k", "mp3_"), ("amr_nb_12.2k", "amr_nb_12k2"), ("", "")])
def test_wrong_names_are_told_the_nearest(name, meant):
    with pytest.raises(UserError, match=f"unknown operation .*{meant}") as told:
        apply(name, voice(0.1), RATE)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("num_samples", [1, 50])
def test_a_few_samples_are_survived(name, num_samples):
    assert np.isfinite(apply(name, voice()[1000 : 1000 + num_samples], RATE, 1, "u")).all()


@pytest.mark.parametrize("name", IN_STEP)
def test_silence_stays_silent(name):
    assert np.abs(apply(name, np.zeros(RATE, np.float32), RATE, 1, "u")).max() < 2e-3


@pytest.mark.parametrize("name", ["mp3_32k", "opus_16k", "amr_nb_12k2", "g722", "reverb_small", "pitch_105pct"])
@pytest.mark.parametrize("rate", [22050, 8000])
def test_other_rates(name, rate):
    clean = voice(2, seed=5, rate=rate) if rate > 8000 else voice(2, seed=5)[::2]
    made = apply(name, clean, rate, 1, "u")
    assert len(made) == len(clean)
    if name != "pitch_105pct":
        assert abs(int(correlate(made, clean).argmax()) - (len(clean) - 1)) <= 8


def test_an_encoder_that_ffmpeg_lacks_is_named_and_left_out(monkeypatch):
    monkeypatch.setattr("sourcetracing.postprocessing.operations.known_encoders", lambda: frozenset({"aac"}))
    able, unable = at_hand(["aac_32k", "mp3_32k", "aac_32k+opus_16k", "lowpass_3k4", "babble_10db", "aac_32k"])
    assert able == ["aac_32k", "lowpass_3k4"]
    assert unable == {
        "mp3_32k": "this ffmpeg has no encoder libmp3lame",
        "aac_32k+opus_16k": "this ffmpeg has no encoder libopus",
        "babble_10db": "there are no speech clips at hand",
    }
    with pytest.raises(UserError, match="operation mp3_32k: this ffmpeg has no encoder libmp3lame"):
        apply("mp3_32k", voice(0.1), RATE)


def test_a_fake_ffmpeg_is_asked_for_what_it_has(monkeypatch, tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ' A....D aac  AAC'\necho ' ..  atempo  A->A'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    caches = (ffmpeg.ffmpeg_program, audio_codecs.known_encoders, audio_codecs.known_filters)
    for cached in caches:
        cached.cache_clear()
    try:
        able, unable = at_hand(["aac_32k", "opus_16k", "tempo_105pct", "denoise_12db"])
    finally:
        for cached in caches:
            cached.cache_clear()
    assert able == ["aac_32k", "tempo_105pct"] and set(unable) == {"opus_16k", "denoise_12db"}
