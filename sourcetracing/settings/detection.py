"""Settings of detection, bona fide or synthetic (scripts/detection/): corpora, features and their augmentation, classifier, experiments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sourcetracing.settings.declaring import LARGEST_SEED, SOME, setting
from sourcetracing.settings.parts import Entry, Registry

COPIES = ("clean", "rawboost", "codec")
CODECS = ("aac", "opus")
STRATEGIES = ("random", "cluster-closest", "cluster-furthest", "margin-noisy", "margin-both")
SETS = {
    "ASV19": ["asv19_train", "asv19_dev"],
    "ASV19_eval": ["asv19_eval"],
    "ODSS": ["odss"],
    "FoR": ["for"],
    "TIMIT": ["timit"],
    "MLAAD": ["mlaad", "mailabs"],
    "ASV5": ["asv5_train", "asv5_dev"],
    "ASV21": ["asv21"],
    "ITW": ["itw"],
    "AI4T": ["ai4trust"],
}


@dataclass(frozen=True)
class CorpusEntry(Entry):
    """target: the `sourcetracing.detection.data.corpora.Reader` of its rows. root: its folder, where detection.roots does not say another.

    subsets: name -> where a file of the authors' list lies below that folder, as detection.templates has it.
    """

    root: str = ""
    subsets: dict[str, str] = field(default_factory=dict)


def _entry(reader: str, root: str, **subsets: str) -> CorpusEntry:
    return CorpusEntry(f"sourcetracing.detection.data.corpora.{reader}", None, root, subsets)


_ASV19 = {f"asv19_{part}": f"ASVspoof2019_LA_{part}/flac/{{id}}.flac" for part in ("train", "dev", "eval")}
CORPORA = Registry(
    "corpus for detection",
    {
        "asv19": _entry("asvspoof:read_asv19", "data/ASVspoof2019/LA", **_ASV19),
        "asv21": _entry("asvspoof:read_asv21", "data/ASVspoof2021", asv21="ASVspoof2021_DF_eval/flac/{id}.flac"),
        "asv5": _entry("asvspoof:read_asv5", "data/ASVspoof5", asv5_train="flac_T/{id}.flac", asv5_dev="flac_D/{id}.flac"),
        "for": _entry("folders:read_fake_or_real", "data/FoR", **{"for": "{place}/{id}"}),
        "itw": _entry("listed:read_in_the_wild", "data/release_in_the_wild", itw="{id}"),
        "mailabs": _entry("mlaad:read_mailabs", "data/M-AILABS", mailabs="{id}"),
        "mlaad": _entry("mlaad:read_mlaad", "data/MLAADv5", mlaad="{id}"),
        "odss": _entry("folders:read_odss", "data/ODSS", odss="{id}"),
        "timit": _entry("folders:read_timit", "data/TIMIT-TTS", timit="CLEAN/{id}"),
        "ai4trust": _entry("listed:read_ai4trust", "data/AI4T", ai4trust="{name}"),
    },
)


def corpus_of_subset() -> dict[str, str]:
    """Subset -> its corpus, in the order of every table of files."""
    return {subset: corpus for corpus, entry in CORPORA.items() for subset in entry.subsets}


ROOTS = {corpus: entry.root for corpus, entry in CORPORA.items()}
# {id}: the text of the list; {name}: its part behind the last /; {place}: the folder of detection.for_version. ASVspoof's lists hold bare
# ids (D56).
TEMPLATES = {subset: template for entry in CORPORA.values() for subset, template in entry.subsets.items()}
LIST_FILES = {
    **{subset: f"{subset}_systems.csv" for subset in corpus_of_subset()},
    "mlaad": "mlaad_v5_xls_systems.csv",
    "ai4trust": "ai4trust_segm_systems.csv",
}


@dataclass
class Detection:
    """Bona fide or synthetic: the corpora of that question (configs/ai4t.yaml, docs/detection_data.md)."""

    sets: dict[str, Any] = setting(SETS, "name of a training or test set -> the subsets in it")
    train: list[str] = setting(
        ["ASV19", "ODSS", "FoR", "TIMIT", "MLAAD", "ASV5", "ASV21"], "training sets that are mixed and pruned, in the published order"
    )
    test: list[str] = setting(["ITW", "AI4T"], "real-life sets: never trained on")
    baseline_train: list[str] = setting(["ASV19"], "what the layer sweep and the augmented baseline train on")
    baseline_test: list[str] = setting(
        ["ASV19_eval", "FoR", "ASV21", "TIMIT", "ODSS", "MLAAD", "ASV5", "ITW", "AI4T"], "what the layer sweep is tested on"
    )
    roots: dict[str, Any] = setting(ROOTS, "corpus -> its folder, as unpacked")
    origin: str = setting(
        "layout",
        "layout: each corpus' own protocol and folders; lists: the authors' path|label files; demo: made by script 00, nobody's real voice",
        choices=("layout", "lists", "demo"),
    )
    lists: str = setting("data/processed_metadata", "origin=lists: their folder")
    list_files: dict[str, Any] = setting(LIST_FILES, "origin=lists: subset -> file in it; a subset without one is read from its layout")
    templates: dict[str, Any] = setting(
        TEMPLATES, "origin=lists: subset -> path below its root of the entry {id}, or {name} without folders"
    )
    keep_duplicates: bool = setting(False, "keep files that a list names twice (430 of TIMIT), as published (D69)")
    asv21_tracks: list[str] = setting(["DF"], "tracks of ASVspoof 2021 that make up asv21; published: DF", choices=("DF", "LA"))
    asv21_phases: list[str] = setting([], "only these phases of them; empty = all", choices=("progress", "eval", "hidden"))
    for_version: str = setting("for-norm", "version of Fake-or-Real", choices=("for-norm", "for-original", "for-2sec", "for-rerec"))
    timit_version: str = setting("CLEAN", "version of TIMIT-TTS", choices=("CLEAN", "AUG", "DTW", "DTW_AUG"))
    mlaad_languages: list[str] = setting([], "languages of MLAAD (its codes, such as en); empty = all that are there")
    mailabs_files: str = setting(
        "originals", "originals: the recordings whose sentences MLAAD speaks; all of M-AILABS", choices=("originals", "all")
    )
    segment_seconds: float = setting(10.0, "length of a segment that segment_recordings.py cuts", at_least=1, at_most=3600)
    min_segment_seconds: float = setting(2.0, "a shorter rest at the end of a recording is left out", at_least=0, at_most=3600)
    demo_folder: str = setting("data/demo_detection", "origin=demo: where the made corpora go, a folder for each")
    demo_files: int = setting(140, "origin=demo: files in each training set, before near-duplicates", at_least=8, at_most=100_000)
    demo_test_files: int = setting(240, "origin=demo: files in each real-life set", at_least=8, at_most=100_000)


@dataclass
class LayerFeatures:
    """The mean over time of every layer of an SSL encoder (which one: ssl.model, ssl.revision, ssl.normalize), or of LFCCs (lfcc)."""

    kind: str = setting("ssl", "ssl: layers of an encoder; lfcc: one layer 0, without any model", choices=("ssl", "lfcc"))
    layers: list[int] = setting(
        [],
        "layers stored, 0 = input of block 1, n = raw output of block n; the encoder is cut behind the last; empty = all",
        at_least=0,
        at_most=1000,
    )
    copy_layers: list[int] = setting(
        [], "layers stored of these copies, once one is chosen (published: 9); empty = the same as `layers`", at_least=0, at_most=1000
    )
    copies: list[str] = setting(
        ["clean"],
        "clean: the files as they are; rawboost, codec: an augmented copy of each file of detection.baseline_train",
        choices=COPIES,
        items=SOME,
    )
    max_seconds: float = setting(
        0.0,
        "only so much of each file, from its beginning; 0 = all of it, as published (Whisper hears 30 s at most)",
        at_least=0,
        at_most=86400,
    )
    batch_seconds: float = setting(
        0.0,
        "sound per pass of the encoder, padding included; 0 = one file on a CPU, 320 s on a GPU; halved for lack of memory",
        at_least=0,
        at_most=86400,
    )
    block_files: int = setting(256, "files computed and made durable at a time", at_least=1, at_most=100_000)
    lfcc_deviation: bool = setting(False, "kind=lfcc: the standard deviation over time beside the mean (twice the width)")
    published_norm: bool = setting(
        False, "every layer of augmented copies, and of plain ones the encoder's very last, pass its final LayerNorm, as published (D60)"
    )


@dataclass
class Codec:
    """Through a lossy codec and back; codec and bitrate are drawn for each file."""

    kinds: list[str] = setting(["aac", "opus"], "codecs, each as likely", choices=CODECS, items=SOME)
    aac_kbps: list[int] = setting(
        [24, 32, 48, 64], "bitrates of AAC at 16 kHz mono; published: 320, which ffmpeg clamps to 96", at_least=8, at_most=512, items=SOME
    )
    opus_kbps: list[int] = setting([12, 16, 24, 32], "bitrates of Opus; published: 128", at_least=6, at_most=256, items=SOME)
    opus_encoder: str = setting("libopus", "libopus; opus: ffmpeg's own, experimental, as published (D57)", choices=("libopus", "opus"))


@dataclass
class Logreg:
    """The linear classifier, and which features it gets."""

    c: float = setting(
        1e6, "inverse strength of the L2 penalty on the weights (not on the intercept)", at_least=1e-9, at_most=1000000000000.0
    )
    solver: str = setting(
        "newton",
        "newton: the optimum itself; published: scikit-learn's lbfgs on unscaled features, which stops short of it and copies the features",
        choices=("newton", "published"),
    )
    max_iterations: int = setting(
        50000, "of the solver; more are an error (published: 50000; 10000 in pruning)", at_least=1, at_most=1_000_000_000
    )
    tolerance: float = setting(
        1e-9, "newton stops when a step would lower the loss by less than this fraction of it", at_least=0, at_most=1
    )
    standardize: bool = setting(False, "penalise weights of standardised features; published: of features as they are (D62)")
    eer_from: str = setting(
        "decision",
        "decision: EERs from w.x + b; probability: from its sigmoid, whose ties at 0 and 1 blur them, as published (D62)",
        choices=("decision", "probability"),
    )
    layer: Any = setting("sweep", "features of scripts 03 to 06; sweep: the layer that script 02 chose; or its number (published: 9)")


@dataclass
class Selection:
    """Which part of each real-life set may choose a layer, a mixture or a pruning level; the other part reports (D70)."""

    fraction: float = setting(0.5, "of each set's groups (speakers, recordings) in the selection part", at_least=0.05, at_most=0.95)
    seed: int = setting(688, "which groups", at_least=0, at_most=LARGEST_SEED)


@dataclass
class Mixing:
    """All mixtures of training corpora."""

    train_sets: list[str] = setting([], "corpora mixed, in this order; empty = all; n of them give 2^n - 1 mixtures")
    table_rows: int = setting(20, "best mixtures shown in the terminal; the files hold all", at_least=1, at_most=1000)


@dataclass
class Pruning:
    """Which training files are kept (script 05), and how these are augmented (script 06)."""

    train: list[str] = setting(
        [],
        "sets of detection.sets, or single subsets, that are pruned, each a group of its own to the cluster strategies; "
        "empty = detection.train; published: nine of them, among them the evaluation part of ASVspoof 2019 (D54, D63)",
    )
    strategies: list[str] = setting(list(STRATEGIES), "ways to choose what is kept", choices=STRATEGIES, items=SOME)
    fractions: list[float] = setting(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "shares of the files that are kept", at_least=0.001, at_most=0.999, items=SOME
    )
    seeds: list[int] = setting([42, 123, 987], "draws of the random strategy", at_least=0, at_most=LARGEST_SEED, items=SOME)
    add_centroid: bool = setting(False, "cluster: each class mean joins the kept files as one more sample, as published (D63)")
    int_percent: bool = setting(False, "margin: ten steps of percentages cut to integers instead of `fractions`, as published (D65)")
    refit_margins: bool = setting(False, "margin: from a model fitted on what the step before left, instead of one fitted on everything")
    augment_list: str = setting(
        "chosen", "list of kept files that script 06 augments: chosen on the selection part, or a name such as margin-both_kept30"
    )
    augment_shares: list[float] = setting(
        [3.0, 2.0, 2.0], "parts of that list that become codec copies, RawBoost copies, stay clean", at_least=0, at_most=1_000_000, items=3
    )
    with_replacement: bool = setting(
        False, "augmented and clean files are drawn with replacement, half + a third + a third of the list, as published (D66)"
    )
