"""Corpora: which readers there are, and the settings of each; where downloads come from; how a corpus is split."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import LARGEST_SEED, SOME, setting
from sourcetracing.settings.parts import Entry, Registry

# English names of the languages of MLAAD v5, by the codes of its folders (ISO 639-1, and zh-cn); the six of MCL-MLAAD come first.
LANGUAGE_NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "it": "Italian",
    "pl": "Polish",
    "ru": "Russian",
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "cs": "Czech",
    "da": "Danish",
    "el": "Greek",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "ga": "Irish",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mt": "Maltese",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ro": "Romanian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sv": "Swedish",
    "sw": "Swahili",
    "th": "Thai",
    "tk": "Turkmen",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh-cn": "Chinese",
}
SIX_LANGUAGES = tuple(LANGUAGE_NAMES)[:6]
SOURCE = "source"  # corpus.label as it is unless said otherwise


@dataclass(frozen=True)
class ReaderEntry(Entry):
    """target: a class that derives from `sourcetracing.corpora.corpus.Corpus`.

    shapes: settings that decide which utterances there are, or how they sound, besides corpus.*, split.*, seed and what lies at paths.*.
    They are recorded with a protocol and with speakers' labels: with others of them, others are made beside those.
    components: which of `COMING_ALONG` says what its sources are made of; "" = what the corpus itself says.
    """

    shapes: tuple[str, ...] = ()
    components: str = ""


COMING_ALONG = ("mlaad", "demo")  # tables of acoustic models, vocoders and architectures in `sourcetracing/corpora/components.csv`


# What makes other audio of the demo than it once was: left out of every record at their defaults, so that nothing older is renamed.
DEMO_CHANGES = ("demo.seed", "demo.level_spread_db", "demo.channel", "demo.trim", "demo.shared_transcripts")

PINNED_VERSION = "v5"  # of MLAAD: the one that has official splits, and whose commit and archive are known

READERS = Registry(
    "corpus reader",
    {
        "demo": ReaderEntry(
            "sourcetracing.corpora.demo:DemoCorpus",
            shapes=("demo.utterances_per_source", "demo.speakers_per_language", *DEMO_CHANGES),
            components="demo",
        ),
        "mlaad_source_tracing": ReaderEntry(
            "sourcetracing.corpora.mlaad_source_tracing:MlaadSourceTracing",
            shapes=("mlaad.version", "mlaad.keep_duplicates"),
            components="mlaad",
        ),
        "mcl_mlaad": ReaderEntry(
            "sourcetracing.corpora.mcl_mlaad:MclMlaad",
            shapes=("mlaad.version", "mlaad.keep_duplicates", "mcl_mlaad.lists"),
            components="mlaad",
        ),
        "mlaad": ReaderEntry("sourcetracing.corpora.mlaad_any:AnyMlaad", shapes=("mlaad.version", "mlaad.on_missing"), components="mlaad"),
        "folder": ReaderEntry("sourcetracing.corpora.folder:FolderCorpus", shapes=("folder.table",)),
        "awkward": ReaderEntry("sourcetracing.corpora.awkward:AwkwardCorpus", shapes=("folder.table",)),
    },
)


def shapes_of(reader: str) -> tuple[str, ...]:
    """`ReaderEntry.shapes`; one from outside may be a plain `Entry`."""
    entry = READERS[reader]
    return entry.shapes if isinstance(entry, ReaderEntry) else ()


def components_of(reader: str) -> str:
    """`ReaderEntry.components`; one from outside may be a plain `Entry`."""
    entry = READERS[reader]
    return entry.components if isinstance(entry, ReaderEntry) else ""


@dataclass
class Corpus:
    reader: str = setting("demo", "which corpus provides the utterances", choices=READERS)
    languages: list[str] = setting(list(SIX_LANGUAGES), "language codes used, in the order of the tables", items=SOME)
    label: str = setting(
        SOURCE,
        "what is traced: source, architecture, acoustic_model, vocoder, or another column of utterances.csv; corpus.sources and "
        "corpus.unknown_sources are then its values",
    )
    sources: list[str] = setting(
        ["espeak_formant", "espeak_klatt", "griffin_lim", "lpc_vocoder"],
        "sources = classes, in the order of the class ids",
        items=SOME,
    )
    unknown_sources: list[str] = setting([], "sources that are no class, for open-set trials in dev and eval; [all] = every other one")
    components: str = setting(
        "",
        "what sources are made of: a CSV with columns source (or utt_id), vocoder, acoustic_model, architecture ...; mlaad: labels that "
        "come along for its systems; empty = what the corpus says",
    )


def comparable_corpus(corpus: Corpus) -> str:
    """The reader whose published figures ours may stand beside; "" where another label than the source is traced: those are of sources."""
    return corpus.reader if corpus.label == SOURCE else ""


@dataclass
class Demo:
    """The demo corpus that the project synthesizes itself."""

    utterances_per_source: int = setting(40, "utterances for each (language, source)", at_least=5, at_most=10000)
    speakers_per_language: int = setting(6, "espeak voice variants per language", at_least=1, at_most=40)
    noises_per_category: int = setting(12, "noise files in each of music, noise, speech", at_least=2, at_most=10000)
    noise_seconds: float = setting(20.0, "length of a short noise file", at_least=5, at_most=600)
    long_noises_per_category: int = setting(
        2, "how many of them last long_noise_seconds instead (MUSAN's are minutes long)", at_least=0, at_most=1000
    )
    long_noise_seconds: float = setting(120.0, "length of a long noise file", at_least=5, at_most=1200)
    rirs_per_room_size: int = setting(12, "room responses for each of small, medium, large rooms", at_least=1, at_most=10000)
    seed: int = setting(
        -1, "seed of the audio, so that other values of `seed` split the same files; -1 = `seed`", at_least=-1, at_most=LARGEST_SEED
    )
    level_spread_db: float = setting(3.0, "levels of utterances lie up to this far from their middle, at random", at_least=0, at_most=30)
    channel: str = setting(
        "room",
        "room: a curve for each speaker and each language; file: equalizer, band limit, noise floor and codec drawn for each file",
        choices=("room", "file"),
    )
    trim: bool = setting(False, "cut what is quieter than 30 dB below the loudest 10 ms off both ends of each utterance")
    shared_transcripts: bool = setting(False, "all sources of a language read the same sentences (see split.group_by=transcript)")


@dataclass
class Mlaad:
    """Which MLAAD, and where it and its source-tracing protocols come from (docs/data.md)."""

    version: str = setting(
        PINNED_VERSION, "release, such as v9: recorded with the protocol. Official splits, commit and archive are known of v5 alone"
    )
    on_missing: str = setting(
        "fail", "files that a meta.csv lists and that are not there, of corpus.reader=mlaad: fail, or skip them", choices=("fail", "skip")
    )
    origin: str = setting(
        "hub", "hub: single files from the Hugging Face Hub; archive: its parts (eleven of v5)", choices=("hub", "archive")
    )
    hub_id: str = setting("mueller91/MLAAD", "data set on the Hub; gated: accept its terms there and set HF_TOKEN")
    hub_revision: str = setting(
        "30c3dec763fa4803f11c2df1557d3b0828395366", "commit of that data set, or a branch; of another version than v5 main, unless set"
    )
    archive_url: str = setting(
        "https://owncloud.fraunhofer.de/index.php/s/tL2Y1FKrWiX4ZtP/download?path=%2Fv5&files=", "address of a part without its file name"
    )
    archive_name: str = setting("mlaad_v5", "file name of the parts without .z01 ... .zip")
    archive_parts: int = setting(10, "parts .z01, .z02 ... before the .zip", at_least=0, at_most=999)
    protocols_url: str = setting("https://deepfake-total.com/data/mlaad4sourcetracing.zip", "address of the protocols")
    protocols_checksum: str = setting("sha256:d512a35f8a45f30eb899e898a224b9fb426d231a1c330e97b1091b7d642fedcf", "of the protocols' zip")
    keep_duplicates: bool = setting(False, "keep rows that a protocol lists twice (109 in eval), as published (D50)")


@dataclass
class MclMlaad:
    lists: str = setting("", "folder with the authors' split lists (CSV or TXT); empty = rebuild the corpus from MLAAD's protocols")
    lists_hub_id: str = setting("xxuan-speech/Multilingual_Source_Tracing_Protocals", "data set on the Hub that `lists` is filled from")
    lists_hub_revision: str = setting("main", "commit or branch of it; the commit that was fetched is recorded")
    published_counts: bool = setting(True, "refuse a rebuilt corpus whose counts are not those of Table 1 (11,700 utterances)")


@dataclass
class Folder:
    """A corpus of your own (corpus.reader=folder)."""

    table: str = setting("", "CSV with columns path, language, source [, speaker, transcript, split]; empty = <language>/<source>/*.wav")


@dataclass
class Download:
    musan_urls: list[str] = setting(
        [
            "https://www.openslr.org/resources/17/musan.tar.gz",
            "https://us.openslr.org/resources/17/musan.tar.gz",
            "https://openslr.elda.org/resources/17/musan.tar.gz",
            "https://openslr.trmal.net/resources/17/musan.tar.gz",
        ],
        "mirrors of MUSAN, tried in order",
    )
    musan_checksum: str = setting("md5:0c472d4fc0c5141eca47ad1ffeb2a7df", "of its archive (11,086,114,085 bytes)")
    rirs_urls: list[str] = setting(
        [
            "https://www.openslr.org/resources/28/rirs_noises.zip",
            "https://us.openslr.org/resources/28/rirs_noises.zip",
            "https://openslr.elda.org/resources/28/rirs_noises.zip",
            "https://openslr.trmal.net/resources/28/rirs_noises.zip",
        ],
        "mirrors of RIRS_NOISES, tried in order",
    )
    rirs_checksum: str = setting("md5:e6f48e257286e05de56413b4779d8ffb", "of its archive (1,311,166,223 bytes)")
    connections: int = setting(4, "parts of a file fetched at the same time", at_least=1, at_most=16)
    timeout_seconds: float = setting(60.0, "silence after which a connection is given up", at_least=0.1, at_most=86400)
    attempts: int = setting(8, "tries for each part of a file, with growing pauses", at_least=1, at_most=1000)
    keep_archives: bool = setting(False, "keep an archive after it was unpacked")


@dataclass
class Split:
    train: float = setting(0.6, "fraction of utterances for training", at_least=0, at_most=1)
    dev: float = setting(0.2, "fraction for development", at_least=0, at_most=1)
    eval: float = setting(0.2, "fraction for evaluation", at_least=0, at_most=1)
    stratify: bool = setting(
        True, "keep the fractions within each language x source; false = within each language only, as published (D78)"
    )
    assignment: str = setting(
        "seeded",
        "seeded: drawn here; published: the splits that come with the corpus; openset: drawn by the rules of open_split",
        choices=("seeded", "published", "openset"),
    )
    group_by: str = setting(
        "none", "keep utterances that share this in one split, against leakage", choices=("none", "transcript", "recording", "speaker")
    )
