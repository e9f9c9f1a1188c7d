"""The makers behind the demo corpus: voices that speak six languages, vocoders, channel, noises, rooms."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sourcetracing.runtime.seeding import rng
from sourcetracing.synthesis import channel, plan, spectra
from sourcetracing.synthesis.espeak import SAMPLE_RATE as ESPEAK_RATE
from sourcetracing.synthesis.espeak import Espeak
from sourcetracing.synthesis.music import INSTRUMENTS, make_music
from sourcetracing.synthesis.rooms import ROOM_SIZES, make_room, place_talker, room_response
from sourcetracing.synthesis.sentences import make_sentences
from sourcetracing.synthesis.soundscapes import NOISES, make_noise
from sourcetracing.synthesis.vocoders import CHECKPOINTS, VOCODERS, griffin_lim, vocode
from sourcetracing.synthesis.voices import make_voices

RATE = 16000


@pytest.fixture(scope="module")
def speaker(tmp_path_factory) -> Espeak:
    return Espeak(tmp_path_factory.mktemp("espeak"))


def say(speaker: Espeak, language: str, base: str = "formant", voice: int = 0, sentence: int = 0, seed: int = 1) -> np.ndarray:
    text = make_sentences(language, 3, seed=1)[sentence]
    return speaker.speak(text, language, make_voices(language, 3, seed=1)[voice].variant(base), 165, seed)


def vowels(seconds: float = 1.0) -> np.ndarray:
    """A pulse train at 120 Hz with noise: enough speech for a vocoder."""
    num_samples = int(seconds * RATE)
    pulses = spectra.excitation(np.full(200, 120.0), np.full(200, True), RATE // 100, num_samples, RATE, rng("x"))
    falling = np.fft.irfft(np.fft.rfft(pulses) / (1 + np.arange(num_samples // 2 + 1) / (500 * seconds)), num_samples)
    return (0.3 * falling + 0.001 * rng("y").standard_normal(num_samples)).astype(np.float32)


@pytest.mark.parametrize("language", plan.LOCALES)
@pytest.mark.parametrize("base", ["formant", "klatt"])
def test_six_languages_speak_with_distinct_voices(speaker, language, base):
    first, second = say(speaker, language, base, voice=0), say(speaker, language, base, voice=1)
    for speech in (first, second):
        assert 2 * ESPEAK_RATE < len(speech) < 9 * ESPEAK_RATE
        assert 1000 < np.abs(speech.astype(int)).max() < 32767
    assert first.tobytes() != second.tobytes()


def test_speech_does_not_depend_on_what_was_said_before_nor_on_the_clock(speaker):
    first = [say(speaker, "en"), say(speaker, "pl", "klatt"), say(speaker, "ru", voice=2)]
    time.sleep(1.1)  # the library seeds itself with the second it starts in
    again = [say(speaker, "ru", voice=2), say(speaker, "en"), say(speaker, "pl", "klatt")]
    assert [x.tobytes() for x in first] == [again[number].tobytes() for number in (1, 2, 0)]


def test_excitations_differ(speaker):
    assert say(speaker, "de", "formant").tobytes() != say(speaker, "de", "klatt").tobytes()


@pytest.mark.parametrize("language", plan.LOCALES)
def test_hundreds_of_distinct_sentences(language):
    sentences = make_sentences(language, 400, seed=3)
    assert len(set(sentences)) == 400
    assert not any("{" in sentence or "|" in sentence for sentence in sentences)
    assert make_sentences(language, 10, seed=3) == sentences[:10]


def test_voices_are_distinct_and_of_both_genders():
    voices = make_voices("it", 20, seed=5)
    assert len({voice.variant("klatt") for voice in voices}) == 20
    assert {voice.gender for voice in voices} == {"female", "male"}


def test_vocoded_sources_use_both_excitations_and_all_speakers_evenly():
    utterances = plan.plan_utterances(["fr"], ["lpc_vocoder", "espeak_klatt"], 24, 6, seed=1)
    lpc = [utterance for utterance in utterances if utterance.source == "lpc_vocoder"]
    assert [sum(utterance.base == base for utterance in lpc) for base in ("formant", "klatt")] == [12, 12]
    assert {utterance.base for utterance in utterances if utterance.source == "espeak_klatt"} == {"klatt"}
    speakers = [utterance.voice.name for utterance in lpc]
    assert {speakers.count(name) for name in speakers} == {4}


def test_speaker_of_reads_our_paths_and_those_of_m_ailabs():
    utterance = plan.plan_utterances(["pl"], ["espeak_formant"], 1, 1, seed=1)[0]
    assert plan.speaker_of(utterance.original_file) == utterance.voice.name
    assert plan.speaker_of("en_US/by_book/female/judy_bieber/dorothy/wavs/x.wav") == "judy_bieber"
    assert plan.speaker_of("it_IT/by_book/mix/novelle/wavs/x.wav") == ""


@pytest.mark.parametrize("source", VOCODERS)
@pytest.mark.parametrize("number", [0, 1])
def test_vocoders_keep_length_and_pitch(source, number):
    if source == "world":
        pytest.importorskip("pyworld")
    speech = vowels()
    made = VOCODERS[source](speech, rng("draw"), **CHECKPOINTS[source][number])
    assert made.shape == speech.shape
    assert np.isfinite(made).all()
    pitch_hz, voiced = spectra.track_pitch(made[2000:-2000], RATE, 160)
    assert voiced.mean() > 0.5
    assert np.median(pitch_hz[voiced]) == pytest.approx(120, rel=0.03)


@pytest.mark.parametrize("pitch_hz", [66, 70])
def test_no_vocoder_clicks_where_a_low_voice_begins(pitch_hz):
    """A channel vocoder once made its loudest 10 ms of a frame that held no pulse yet; what was trimmed to that was 40 ms long."""
    times = np.arange(RATE) / RATE
    voice = (sum(np.cos(2 * np.pi * pitch_hz * harmonic * times) for harmonic in range(1, 60)) / 60).astype(np.float32)
    made = VOCODERS["channel_vocoder"](voice, rng("draw"), num_bands=32)
    power = (made**2).reshape(-1, RATE // 100).mean(axis=1)
    assert 10 * np.log10(power.max() / power.mean()) < 8


def test_griffin_lim_gets_nearer_to_its_magnitudes_with_every_iteration():
    speech = vowels()
    wanted = np.abs(spectra.stft(speech, 1024, 256))

    def distance(num_iterations: int) -> float:
        made = griffin_lim(speech, rng("draw"), n_fft=1024, num_mels=300, num_iterations=num_iterations)
        return float(np.linalg.norm(np.abs(spectra.stft(made, 1024, 256)) - wanted) / np.linalg.norm(wanted))

    assert distance(16) < 0.8 * distance(0)


def test_checkpoints_differ_between_languages():
    speech = vowels()
    assert not np.array_equal(vocode("lpc_vocoder", "en", speech, rng("d")), vocode("lpc_vocoder", "de", speech, rng("d")))


def test_stft_is_inverted():
    x = rng("x").standard_normal(5000).astype(np.float32)
    assert np.allclose(spectra.istft(spectra.stft(x, 512, 128), 512, 128, len(x)), x, atol=1e-5)


def test_recording_limits_band_sets_level_and_never_clips():
    for number in range(5):
        heard = channel.record(vowels(2.0), "someone", "en", 1, rng("draw", number))
        assert np.abs(heard).max() <= channel.PEAK_CEILING
        assert -26.1 < 20 * np.log10(channel.rms(heard)) < -19.9
        power = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))) ** 2
        frequency_hz = np.fft.rfftfreq(len(heard), 1 / RATE)
        assert power[frequency_hz > 7600].mean() < 1e-4 * power[(frequency_hz > 6000) & (frequency_hz < 7000)].mean()
        assert power[frequency_hz < 30].mean() < 1e-4 * power[(frequency_hz > 100) & (frequency_hz < 200)].mean()


def test_recording_takes_offsets_away_and_cuts_both_ends_at_random():
    speech = vowels(2.0) + np.float32(0.1)
    heard = [channel.record(speech, "someone", "en", 1, rng("draw", number)) for number in range(20)]
    lost_seconds = [(len(speech) - len(one)) / RATE for one in heard]
    assert 0 <= min(lost_seconds) < 0.02 < 0.04 < max(lost_seconds) <= 2 * channel.MOST_CUT_SECONDS
    assert max(abs(one.mean()) for one in heard) < 1e-3


def test_trimming_cuts_both_ends_only():
    tone = np.sin(np.arange(RATE))
    whole = np.concatenate([np.zeros(RATE), tone, np.zeros(RATE), tone, np.zeros(RATE)])
    assert len(channel.trim_silence(whole, RATE)) == pytest.approx(3 * RATE, abs=RATE // 50)


@pytest.mark.parametrize(("make", "kind"), [*((make_noise, kind) for kind in NOISES), *((make_music, kind) for kind in INSTRUMENTS)])
def test_noises_and_music_sound_differently_each_time(make, kind):
    first, second = (make(kind, 5 * RATE, rng("draw", number)) for number in range(2))
    assert first.shape == (5 * RATE,)
    assert first.dtype == np.float32
    assert np.abs(first).max() == pytest.approx(0.5, abs=1e-6)
    assert np.abs(np.corrcoef(first, second)[0, 1]) < 0.5
    assert np.array_equal(first, make(kind, 5 * RATE, rng("draw", 0)))


@pytest.mark.parametrize("size", ROOM_SIZES)
def test_room_responses_fade_away(size):
    for number in range(3):
        sides_m, seconds = make_room(size, rng("room", size, number))
        response = room_response(sides_m, seconds, rng("position", size, number))
        assert len(response) == int(seconds * RATE) + 1
        assert np.abs(response).max() == pytest.approx(0.9)
        tenth = len(response) // 10
        early = response[np.argmax(np.abs(response)) :][:tenth]
        assert np.mean(response[-tenth:] ** 2) < 10**-2.5 * np.mean(early**2)


def test_longer_reverberation_decays_more_slowly():
    sides_m = np.array([6.0, 5.0, 3.0])

    def seconds_to_20_db(nominal_seconds: float) -> float:
        response = room_response(sides_m, nominal_seconds, rng("position"))
        left_db = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1])  # Schroeder's backward integration
        return np.argmax(left_db < left_db[0] - 20) / RATE

    assert seconds_to_20_db(0.2) < 0.7 * seconds_to_20_db(0.4) < 0.49 * seconds_to_20_db(0.8)


def test_room_response_starts_with_the_direct_sound():
    for number in range(5):
        sides_m = make_room("mediumroom", rng("room", number))[0]
        talker, microphone = place_talker(sides_m, rng("position", number))
        assert ((talker > 0) & (talker < sides_m)).all()
        response = room_response(sides_m, 0.3, rng("position", number))
        delay = np.linalg.norm(talker - microphone) / 343 * RATE
        assert np.argmax(np.abs(response) > 0.2) == pytest.approx(delay, abs=2)
