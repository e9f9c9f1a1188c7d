"""What the demo corpus consists of: who says what through which source, which noises, which rooms. Names and words only, no audio."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sourcetracing.runtime.seeding import rng
from sourcetracing.synthesis.channel import AS_EVER, Recording
from sourcetracing.synthesis.music import INSTRUMENTS
from sourcetracing.synthesis.rooms import ROOM_SIZES
from sourcetracing.synthesis.sentences import make_sentences
from sourcetracing.synthesis.soundscapes import NOISES
from sourcetracing.synthesis.voices import Voice, make_voices

TALKERS = ("en", "de", "fr", "it", "pl", "ru")  # languages of the people who talk in the background
LOCALES = {
    "en": "en_US",
    "de": "de_DE",
    "fr": "fr_FR",
    "it": "it_IT",
    "pl": "pl_PL",
    "ru": "ru_RU",
    "es": "es_ES",
    "pt": "pt_PT",
    "nl": "nl_NL",
    "sv": "sv_SE",
}
ARCHITECTURES = {
    "espeak_formant": "espeak-ng formant synthesis",
    "espeak_klatt": "espeak-ng Klatt synthesis",
    "griffin_lim": "mel spectrogram + Griffin-Lim",
    "lpc_vocoder": "LPC vocoder",
    "world": "WORLD",
    "phase_vocoder": "phase vocoder",
    "sinusoidal": "sinusoidal model",
    "channel_vocoder": "channel vocoder",
}
TWINS = {  # pairs that differ in one number: no unknown sources, but classes that are hard to tell apart
    "griffin_lim_8": "mel spectrogram + Griffin-Lim, 8 iterations",
    "griffin_lim_60": "mel spectrogram + Griffin-Lim, 60 iterations",
    "lpc_18": "LPC vocoder of order 18",
    "lpc_24": "LPC vocoder of order 24",
    "upsampler_160": "untrained upsampling network, stride 160",
    "upsampler_200": "untrained upsampling network, stride 200",
    "upsampler_256": "untrained upsampling network, stride 256",
}
BOOK = "timetables"  # the one that everybody reads from
SENTENCES_PER_UTTERANCE = 1.5  # of a source: so most sentences are read by two or three sources, as MLAAD's recur across systems
ROOM_POSITIONS = 4
_SUBSETS = {"noise": ("free-sound", "sound-bible"), "music": ("fma", "hd-classical"), "speech": ("librivox", "us-gov")}


@dataclass(frozen=True)
class Utterance:
    """One file of the corpus. `base`: the excitation (formant or klatt) of the speech that a vocoder gets, or that is the source.

    recording: what happens to it on its way into the file.
    """

    language: str
    source: str
    stem: str
    transcript: str
    voice: Voice
    base: str
    recording: Recording = AS_EVER

    @property
    def path(self) -> str:
        """Relative to the corpus; the model directory is the source's name."""
        return f"fake/{self.language}/{self.source}/{self.stem}.wav"

    @property
    def original_file(self) -> str:
        """As in M-AILABS: `<locale>/by_book/<gender>/<speaker>/<book>/wavs/<stem>.wav`; holds the speaker."""
        return f"{LOCALES[self.language]}/by_book/{self.voice.gender}/{self.voice.name}/{BOOK}/wavs/{self.stem}.wav"


def speaker_of(original_file: str) -> str:
    """The speaker in an M-AILABS path (`<locale>/by_book/<female|male>/<speaker>/<book>/wavs/<x>.wav`), "" where it names none (mix)."""
    parts = original_file.split("/")
    named = len(parts) == 7 and parts[1] == "by_book" and parts[2] in ("female", "male")
    return parts[3] if named else ""


def plan_utterances(
    languages: list[str],
    sources: list[str],
    per_source: int,
    num_speakers: int,
    seed: int,
    *,
    shared_transcripts: bool = False,
    recording: Recording = AS_EVER,
) -> list[Utterance]:
    """`per_source` utterances of every (language, source); each depends on its language and source, not on which others there are.

    shared_transcripts: all sources of a language read the same sentences, in the same voices; else each reads its own selection.
    """
    return [
        replace(utterance, recording=recording)
        for language in languages
        for source in sources
        for utterance in _reading(language, source, per_source, num_speakers, seed, shared_transcripts)
    ]


def _reading(language: str, source: str, count: int, num_speakers: int, seed: int, shared: bool) -> list[Utterance]:
    """Speakers take turns; of a vocoder's speech half is formant, half Klatt synthesis, so that the source is the vocoder."""
    voices = make_voices(language, num_speakers, seed)
    sentences = make_sentences(language, int(SENTENCES_PER_UTTERANCE * count), seed)
    readers = (language,) if shared else (language, source)
    order = rng("reading list", seed, *readers).permutation(len(sentences))[:count]
    fixed_base = {"espeak_formant": "formant", "espeak_klatt": "klatt"}.get(source)
    return [
        Utterance(
            language=language,
            source=source,
            stem=f"{BOOK}_{number:05d}",
            transcript=sentences[number],
            voice=voices[turn % num_speakers],
            base=fixed_base or ("formant", "klatt")[turn // num_speakers % 2],
        )
        for turn, number in enumerate(order.tolist())
    ]


@dataclass(frozen=True)
class NoiseFile:
    """One file in MUSAN's layout. `kind`: of noise, an instrument, or the language of a talker."""

    category: str
    kind: str
    number: int
    seconds: float

    @property
    def path(self) -> str:
        subset = _SUBSETS[self.category][self.number % 2]
        return f"{self.category}/{subset}/{self.category}-{subset}-{self.number:04d}.wav"


def plan_noises(per_category: int, seconds: float, long_per_category: int, long_seconds: float) -> list[NoiseFile]:
    """Kinds take turns; the first `long_per_category` of each category are the long ones."""
    kinds = {"music": INSTRUMENTS, "noise": tuple(NOISES), "speech": TALKERS}
    return [
        NoiseFile(category, kinds[category][number % len(kinds[category])], number, long_seconds if number < long_per_category else seconds)
        for category in kinds
        for number in range(per_category)
    ]


@dataclass(frozen=True)
class RoomFile:
    """One response in RIRS_NOISES' layout: `position` 1 ... of room 1 ... of a size."""

    size: str
    room: int
    position: int

    @property
    def path(self) -> str:
        return f"simulated_rirs/{self.size}/Room{self.room:03d}/Room{self.room:03d}-{self.position:05d}.wav"


def plan_rooms(per_size: int) -> list[RoomFile]:
    """`per_size` responses of each size, four to a room."""
    return [RoomFile(size, 1 + n // ROOM_POSITIONS, 1 + n % ROOM_POSITIONS) for size in ROOM_SIZES for n in range(per_size)]
