"""What the demo corpora for detection consist of. BONA FIDE IS PLAYED BY SYNTHETIC SPEECH: no recording of a person can be had offline.

espeak-ng's own output stands in for people (sources `STAND_INS`); the same kind of speech through a vocoder is the spoof. Each corpus
has its own languages, vocoders and channel, as the real ones do, so that what is learned on one does not simply hold for another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF
from sourcetracing.runtime.seeding import rng, seed_of
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis.plan import Utterance
from sourcetracing.synthesis.sentences import make_sentences
from sourcetracing.synthesis.voices import make_voices

STAND_INS = ("espeak_formant", "espeak_klatt")
VOCODERS = ("griffin_lim", "lpc_vocoder", "phase_vocoder", "sinusoidal", "channel_vocoder")
WRONG_LABELS = 0.1  # share of asv5_train and asv5_dev
NEAR_DUPLICATES = 0.25  # of the files of `for`: the same speech again at another level, in other noise
REPEATED_ROWS = 6  # of timit, bona fide, as in the published list
SENTENCES = 60  # of a corpus and language


@dataclass(frozen=True)
class Channel:
    """What a file goes through after its recording. Ranges are drawn from uniformly; `room_share` of the files stand in a room."""

    snr_db: tuple[float, float] = (35.0, 45.0)
    low_hz: tuple[float, float] = (60.0, 80.0)
    high_hz: tuple[float, float] = (7000.0, 7600.0)
    mu_law_share: float = 0.0
    room_share: float = 0.0
    level_dbfs: tuple[float, float] = (-26.0, -20.0)


@dataclass(frozen=True)
class Corpus:
    """`share`: of detection.demo_files (or demo_test_files, where is_test). `spoofed`: share of spoof."""

    languages: tuple[str, ...]
    spoofs: tuple[str, ...]
    channel: Channel
    share: float = 1.0
    spoofed: float = 0.6
    num_speakers: int = 6
    is_test: bool = False


_CLEAN = Channel()
_PHONE = Channel(snr_db=(20.0, 35.0), low_hz=(200.0, 320.0), high_hz=(3300.0, 3700.0), mu_law_share=0.7)
_CROWD = Channel(snr_db=(15.0, 35.0), high_hz=(4000.0, 7600.0), room_share=0.3, level_dbfs=(-34.0, -18.0))
_WILD = Channel((12.0, 35.0), (60.0, 150.0), (4500.0, 7600.0), 0.1, 0.3, (-30.0, -18.0))
_WEB = Channel((5.0, 25.0), (80.0, 250.0), (3400.0, 7000.0), 0.25, 0.6, (-34.0, -16.0))
CORPORA = {
    "asv19_train": Corpus(("en",), ("griffin_lim", "lpc_vocoder"), _CLEAN, 0.65),
    "asv19_dev": Corpus(("en",), ("griffin_lim", "lpc_vocoder"), _CLEAN, 0.35),
    "asv19_eval": Corpus(("en",), ("griffin_lim", "lpc_vocoder", "channel_vocoder"), _CLEAN, 0.5),
    "asv21": Corpus(("en",), ("griffin_lim", "lpc_vocoder", "sinusoidal"), _PHONE),
    "asv5_train": Corpus(("en",), ("channel_vocoder", "griffin_lim", "phase_vocoder"), _CROWD, 0.6),
    "asv5_dev": Corpus(("en",), ("channel_vocoder", "sinusoidal"), _CROWD, 0.4),
    "for": Corpus(("en",), ("sinusoidal", "griffin_lim"), Channel(snr_db=(25.0, 40.0), level_dbfs=(-21.0, -19.0)), spoofed=0.5),
    "mailabs": Corpus(("de", "en", "fr", "it", "pl", "ru"), (), Channel(snr_db=(30.0, 40.0), high_hz=(6500.0, 7600.0)), 0.5, 0.0),
    "mlaad": Corpus(("de", "en", "fr", "it", "pl", "ru"), VOCODERS, Channel(snr_db=(33.0, 43.0)), 0.5, 1.0),
    "odss": Corpus(("en", "de", "fr"), ("phase_vocoder", "griffin_lim"), Channel(level_dbfs=(-24.0, -22.0))),
    "timit": Corpus(("en",), VOCODERS, Channel(high_hz=(5500.0, 6500.0)), spoofed=0.8),
    "itw": Corpus(("en",), VOCODERS, _WILD, 1.0, 0.4, 16, True),
    "ai4trust": Corpus(("de", "it", "pl", "ru"), VOCODERS, _WEB, 1.0, 0.42, 16, True),
}


@dataclass(frozen=True)
class DemoFile:
    """One file. `label` is what the list says (wrong for some, the utterance's source is not). `copy` 1: a near-duplicate."""

    subset: str
    label: str
    utterance: Utterance
    recording: str
    copy: int = 0

    @property
    def stem(self) -> str:
        """Name of the file without suffix."""
        return self.utterance.stem + ("_again" if self.copy else "")

    @property
    def path(self) -> str:
        """Below the corpus' folder."""
        return f"{self.subset}/{self.stem}.flac"


def plan_files(settings: Settings, subset: str) -> list[DemoFile]:
    """The files of a subset, in the order of its list. They depend on the settings' seed and the numbers of files alone."""
    corpus = CORPORA[subset]
    total = settings.detection.demo_test_files if corpus.is_test else settings.detection.demo_files
    count = max(4, round(corpus.share * total))
    files = [_plan_file(settings.seed, subset, number, count) for number in range(count)]
    if subset.startswith("asv5"):
        files = _with_wrong_labels(files, settings.seed)
    if subset == "for":
        files += [replace(file, copy=1) for file in files[: round(NEAR_DUPLICATES * count)]]
    return files


def repeated(files: list[DemoFile]) -> list[DemoFile]:
    """Files that timit's list names twice."""
    return [file for file in files if file.subset == "timit" and file.label == BONAFIDE][:REPEATED_ROWS]


def _plan_file(seed: int, subset: str, number: int, count: int) -> DemoFile:
    """Spoof and bona fide are spread evenly; speaker, words, source and language are drawn for each file."""
    corpus = CORPORA[subset]
    draw = rng("detection demo plan", seed, subset, number)
    is_spoof = int((number + 1) * corpus.spoofed) > int(number * corpus.spoofed)
    language = corpus.languages[draw.integers(len(corpus.languages))]
    voices = make_voices(language, corpus.num_speakers, seed, group=subset.removesuffix("_eval"))
    speaker = int(draw.integers(corpus.num_speakers))
    base = ("formant", "klatt")[draw.integers(2)]
    source = corpus.spoofs[draw.integers(len(corpus.spoofs))] if is_spoof else f"espeak_{base}"
    sentences = make_sentences(language, SENTENCES, seed_of("detection demo", seed, subset))
    utterance = Utterance(language, source, f"{subset}_{number:05d}", sentences[draw.integers(SENTENCES)], voices[speaker], base)
    recording = f"recording{number * 24 // count:02d}" if subset == "ai4trust" else ""  # several segments of each
    return DemoFile(subset, SPOOF if is_spoof else BONAFIDE, utterance, recording)


def _with_wrong_labels(files: list[DemoFile], seed: int) -> list[DemoFile]:
    wrong = set(rng("wrong labels", seed, files[0].subset).permutation(len(files))[: round(WRONG_LABELS * len(files))].tolist())
    other = {BONAFIDE: SPOOF, SPOOF: BONAFIDE}
    return [replace(file, label=other[file.label]) if number in wrong else file for number, file in enumerate(files)]
