"""The awkward corpus: few files, shaped as real corpora are and the demo is not (configs/awkward.yaml).

Sources of unequal size, missing in some languages; unknown ones in dev or in eval only; a language without dev; names that programs take
for numbers, truth values or missing ones; files from 0.3 s to 40 s, 8 kHz to 48 kHz, stereo, 24 bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from sourcetracing.audio.writing import write_audio
from sourcetracing.runtime.seeding import rng, seed_of
from sourcetracing.synthesis import channel
from sourcetracing.synthesis.make import SAMPLE_RATE, speak
from sourcetracing.synthesis.sentences import make_sentences
from sourcetracing.synthesis.vocoders import VOCODERS, vocode
from sourcetracing.synthesis.voices import Voice, make_voices

SPLITS = ("train", "dev", "eval")
# The language that is spoken under each code. nan is the code of Min Nan; an Italian voice stands in for it.
SPOKEN = {"en": "en", "de": "de", "fr": "fr", "nan": "it"}
# Of each source: the synthesizer or vocoder that makes it, and the language whose settings that has.
MADE_BY = {
    "007": ("espeak_formant", "en"),
    "nan": ("espeak_klatt", "en"),
    "NA": ("griffin_lim", "en"),
    "acme/tts-v2": ("lpc_vocoder", "en"),
    "voice, large": ("phase_vocoder", "en"),
    "1e3": ("sinusoidal", "en"),
    "True": ("channel_vocoder", "en"),
    "null": ("griffin_lim", "de"),
    "inf": ("lpc_vocoder", "de"),
    "None": ("sinusoidal", "de"),
}
# Utterances in train, dev, eval. The last three have none in train: they are the unknown ones.
COUNTS: dict[str, dict[str, tuple[int, int, int]]] = {
    "007": {"en": (10, 4, 6), "de": (8, 3, 5), "fr": (6, 2, 4), "nan": (5, 0, 4)},
    "nan": {"en": (7, 3, 4), "de": (5, 2, 4), "fr": (4, 2, 3), "nan": (4, 0, 3)},
    "NA": {"en": (6, 2, 4), "de": (4, 2, 3), "fr": (4, 2, 3)},
    "acme/tts-v2": {"en": (5, 2, 3), "de": (4, 1, 2), "fr": (3, 1, 2), "nan": (3, 0, 2)},
    "voice, large": {"en": (4, 2, 3), "fr": (3, 1, 2), "nan": (3, 0, 2)},
    "1e3": {"en": (4, 1, 2), "de": (3, 1, 2)},
    "True": {"de": (4, 2, 3)},
    "null": {"en": (0, 3, 0), "de": (0, 2, 0)},
    "inf": {"en": (0, 0, 4), "fr": (0, 0, 3)},
    "None": {"de": (0, 0, 3), "nan": (0, 0, 2)},
}
# Labels with holes and odd names. Of "inf" and "True" nothing is known; two known sources share a vocoder, an unknown one has it, too.
COMPONENTS: dict[str, tuple[str, str, str]] = {
    "007": ("espeak-ng", "nan", "formant, old"),
    "nan": ("espeak-ng", "", "formant, old"),
    "NA": ("espeak-ng", "1e3", "phase"),
    "acme/tts-v2": ("NA", "lpc/18", ""),
    "voice, large": ("", "1e3", "phase"),
    "1e3": ("", "007", "sinusoids"),
    "null": ("espeak-ng", "1e3", "phase"),
    "None": ("", "007", ""),
}
TABLE_COLUMNS = ("path", "language", "source", "speaker", "transcript", "split", "acoustic_model", "vocoder", "architecture")
UTTERANCES_PER_SPEAKER = 2
_SENTENCES = 24  # of a language: fewer than its utterances, so that most are read by several sources, in several splits
_TRANSCRIPTS = ("NA", "null", "1234", 'She said, "nan".')  # of the first utterances of each language, in place of a sentence
_RATES_HZ = (16000, 8000, 44100, 22050, 48000, 11025, 16000)
_ODD_SECONDS = {0: 0.3, 5: 40.0}  # of the first and the sixth file of each language
_SECONDS = (0.8, 2.5)  # of the others
_PEAK = 0.8  # resampling may go above the peak at 16 kHz


@dataclass(frozen=True)
class AwkwardFile:
    """One file. number: among those of its language, which decides rate, channels and depth; seconds: its exact length."""

    language: str
    source: str
    split: str
    number: int
    speaker: str
    voice: Voice
    transcript: str
    seconds: float
    rate_hz: int
    channels: int
    subtype: str

    @property
    def path(self) -> str:
        """Those of English lie in the corpus folder itself: their utt_ids are 0001, 0002 ..."""
        name = f"{self.number + 1:04d}"
        return f"{name}.wav" if self.language == "en" else f"{self.language}/{self.source}/{name}.{self._suffix}"

    @property
    def _suffix(self) -> str:
        return "flac" if self.number % 3 == 1 else "wav"

    @property
    def row(self) -> tuple[str, ...]:
        """Its cells below `TABLE_COLUMNS`."""
        components = COMPONENTS.get(self.source, ("", "", ""))
        return self.path, self.language, self.source, self.speaker, self.transcript, self.split, *components


def plan_files(seed: int) -> list[AwkwardFile]:
    """All files, language by language."""
    return [file for language in SPOKEN for file in _files_of(language, seed)]


def _files_of(language: str, seed: int) -> list[AwkwardFile]:
    places = [
        (source, split)
        for source, counts in COUNTS.items()
        for split, count in zip(SPLITS, counts.get(language, (0, 0, 0)), strict=True)
        for _ in range(count)
    ]
    draw = rng("awkward", seed, language)
    places = [places[turn] for turn in draw.permutation(len(places))]  # else a speaker would be a source, and a rate a split
    voices = make_voices(SPOKEN[language], -(-len(places) // UTTERANCES_PER_SPEAKER), seed, group="awkward")
    sentences = [*_TRANSCRIPTS, *make_sentences(SPOKEN[language], _SENTENCES, seed)]
    return [
        AwkwardFile(
            language=language,
            source=source,
            split=split,
            number=number,
            speaker=_speaker_name(language, number // UTTERANCES_PER_SPEAKER),
            voice=voices[number // UTTERANCES_PER_SPEAKER],
            transcript=sentences[number % len(sentences)],
            seconds=_ODD_SECONDS.get(number) or round(draw.uniform(*_SECONDS), 2),
            rate_hz=_RATES_HZ[number % len(_RATES_HZ)],
            channels=2 if number % 4 == 2 else 1,
            subtype="PCM_24" if number % 5 == 3 else "PCM_16",
        )
        for number, (source, split) in enumerate(places)
    ]


def _speaker_name(language: str, number: int) -> str:
    """Different people in each language, who become one where their names are read as numbers: 07, 007, 0007, 00007."""
    return f"{number + 1:0{2 + list(SPOKEN).index(language)}d}"


def make_file(file: AwkwardFile, root: str, seed: int) -> None:
    """Speaks, vocodes, records, brings to length, rate and channels, and writes one file."""
    keys = ("awkward", seed, file.language, file.number)
    draw = rng(*keys)
    made_by, settings_of = MADE_BY[file.source]
    language = SPOKEN[file.language]
    base = {"espeak_formant": "formant", "espeak_klatt": "klatt"}.get(made_by) or ("formant", "klatt")[file.number // 2 % 2]
    speech = channel.dither(speak(_spoken(file), language, file.voice, base, seed_of(*keys)), draw)
    if made_by in VOCODERS:
        speech = vocode(made_by, settings_of, speech, draw)
    heard = channel.record(speech, file.voice.name, file.language, seed, draw)
    heard = np.resize(heard, round(file.seconds * SAMPLE_RATE))  # a shorter one is said again, a longer one cut off
    heard = soxr.resample(heard, SAMPLE_RATE, file.rate_hz)
    heard = heard * np.float32(min(1.0, _PEAK / np.abs(heard).max()))
    samples = np.stack([heard, 0.7 * np.roll(heard, 3)], axis=1) if file.channels == 2 else heard
    write_audio(Path(root) / file.path, samples, file.rate_hz, file.subtype)


def _spoken(file: AwkwardFile) -> str:
    """A word alone is too short for analysis frames."""
    return file.transcript if len(file.transcript) > 20 else f"{file.transcript}, {file.transcript}, {file.transcript}, {file.transcript}"
