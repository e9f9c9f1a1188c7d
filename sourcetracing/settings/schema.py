"""Typed settings: what every script reads from `CONFIG.yaml [MORE.yaml ...] [key=value ...]`.

Order, later wins: defaults here < configs/systems/<system>.yaml < each YAML file, then its `systems.<system>` part < key=value.
An unknown key is refused with the nearest name, a wrong type with both types (`sourcetracing.settings.checking`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sourcetracing.settings.declaring import setting
from sourcetracing.settings.detection import Detection
from sourcetracing.settings.detection_experiments import Logreg, Mixing, Pruning, Selection
from sourcetracing.settings.detection_features import Codec, LayerFeatures, Rawboost
from sourcetracing.settings.embeddings import EmbeddingPictures
from sourcetracing.settings.metric_learning import EmbeddingHead, MetricLearning
from sourcetracing.settings.openset import Openset
from sourcetracing.settings.speakers import Speakers
from sourcetracing.settings.tracing import Trace

VARIANTS = ("original", "reverb", "speech", "music", "noise")
SPLITS = ("train", "dev", "eval")
LANGUAGE_NAMES = {"en": "English", "de": "German", "fr": "French", "it": "Italian", "pl": "Polish", "ru": "Russian"}
READERS = ("demo", "mlaad_source_tracing", "mcl_mlaad", "folder")
FRONTENDS = ("lfcc", "ssl", "waveform")
BACKENDS = ("aasist", "resnet18", "ecapa_tdnn", "embedding_head", "aasist_raw", "ecapa_raw")
RAW_BACKENDS = ("aasist_raw", "ecapa_raw")  # these take waveforms, the others features


@dataclass
class Paths:
    corpus: str = setting("data/demo", "root of the corpus: holds fake/<language>/<model_dir>/*.wav and meta.csv (MLAAD's layout)")
    protocols: str = setting(
        "data/MLAADv5_for_sourcetracing/mlaad4sourcetracing.zip",
        "MLAAD's source-tracing protocols: the zip, or a folder with its three CSVs",
    )
    musan: str = setting("data/demo/musan", "root of the noises: holds {music,noise,speech}/<subset>/*.wav (MUSAN's layout)")
    rirs: str = setting("data/demo/RIRS_NOISES", "root of the room responses (RIRS_NOISES' layout)")
    exp: str = setting("exp", "where everything that is computed goes, in a folder named after `name`")


@dataclass
class Corpus:
    reader: str = setting("demo", "which corpus module provides the utterances", choices=READERS)
    languages: list[str] = setting(list(LANGUAGE_NAMES), "language codes used, in the order of the tables")
    sources: list[str] = setting(
        ["espeak_formant", "espeak_klatt", "griffin_lim", "lpc_vocoder"], "sources = classes, in the order of the class ids"
    )
    unknown_sources: list[str] = setting([], "sources that are no class, for open-set trials in dev and eval; [all] = every other one")


@dataclass
class Demo:
    """The demo corpus that the project synthesizes itself."""

    utterances_per_source: int = setting(40, "utterances for each (language, source)", at_least=5)
    speakers_per_language: int = setting(6, "espeak voice variants per language", at_least=1, at_most=40)
    noises_per_category: int = setting(12, "noise files in each of music, noise, speech", at_least=2)
    noise_seconds: float = setting(20.0, "length of a short noise file", at_least=5)
    long_noises_per_category: int = setting(2, "how many of them last long_noise_seconds instead (MUSAN's are minutes long)", at_least=0)
    long_noise_seconds: float = setting(120.0, "length of a long noise file", at_least=5)
    rirs_per_room_size: int = setting(12, "room responses for each of small, medium, large rooms", at_least=1)


@dataclass
class Mlaad:
    """Where MLAAD v5 and its source-tracing protocols come from (docs/data.md)."""

    origin: str = setting("hub", "hub: single files from the Hugging Face Hub; archive: the eleven parts of v5", choices=("hub", "archive"))
    hub_id: str = setting("mueller91/MLAAD", "data set on the Hub; gated: accept its terms there and set HF_TOKEN")
    hub_revision: str = setting("30c3dec763fa4803f11c2df1557d3b0828395366", "commit of that data set, or a branch such as main")
    archive_url: str = setting(
        "https://owncloud.fraunhofer.de/index.php/s/tL2Y1FKrWiX4ZtP/download?path=%2Fv5&files=", "address of a part without its file name"
    )
    archive_name: str = setting("mlaad_v5", "file name of the parts without .z01 ... .zip")
    archive_parts: int = setting(10, "parts .z01, .z02 ... before the .zip", at_least=0)
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
    timeout_seconds: float = setting(60.0, "silence after which a connection is given up", at_least=0.1)
    attempts: int = setting(8, "tries for each part of a file, with growing pauses", at_least=1)
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
        "seeded", "seeded: drawn here; published: the splits that come with the corpus", choices=("seeded", "published")
    )
    group_by: str = setting(
        "none", "keep utterances that share this in one split, against leakage", choices=("none", "transcript", "recording", "speaker")
    )


@dataclass
class Audio:
    sample_rate: int = setting(16000, "Hz; everything is resampled to it", at_least=8000)
    crop_seconds: float = setting(4.0, "length of every network input", at_least=0.1)
    crop_train: str = setting(
        "random", "which part of a longer utterance, in train (random is seeded)", choices=("random", "head", "center")
    )
    crop_eval: str = setting("head", "which part, in dev and eval; random = as published (D9)", choices=("random", "head", "center"))
    min_seconds: float = setting(0.1, "shorter utterances are bad audio", at_least=0)
    silence_peak_dbfs: float = setting(-80.0, "an utterance whose peak stays below is silent, hence bad audio", at_most=0)
    on_bad_audio: str = setting("fail", "fail: name them and stop; skip: leave out, count and list them", choices=("fail", "skip"))


@dataclass
class Augment:
    variants: list[str] = setting(list(VARIANTS), "acoustic variants stored for each utterance", choices=VARIANTS)
    noise_snr_db: list[float] = setting([0.0, 15.0], "SNR range of the noise variant, dB")
    speech_snr_db: list[float] = setting([13.0, 20.0], "SNR range of the speech (babble) variant, dB")
    music_snr_db: list[float] = setting([5.0, 15.0], "SNR range of the music variant, dB")
    babble_talkers: list[int] = setting([3, 8], "fewest and most talkers summed into babble")
    random_offset: bool = setting(True, "noise clips start at a random place; false = always at their beginning, as published (D7)")
    stacked: bool = setting(False, "each variant is made from the one before instead of the clean signal, as published (D6)")
    force_speech: bool = setting(False, "music and noise variants mix in speech, as published (D5)")
    real_rirs: bool = setting(False, "also draw from real_rirs_isotropic_noises; published: simulated only (D8)")


@dataclass
class Lfcc:
    """LFCC as torchaudio computes it (spec 2.3); 64,000 samples give (80, 399)."""

    n_lfcc: int = setting(80, "coefficients kept", at_least=1)
    n_filter: int = setting(128, "linear filters between 0 and half the sample rate", at_least=1)
    n_fft: int = setting(320, "samples in a transform", at_least=2)
    win_length: int = setting(320, "samples in a Hann window", at_least=2)
    hop_length: int = setting(160, "samples between windows", at_least=1)


@dataclass
class Ssl:
    """A self-supervised encoder: wav2vec2, XLS-R, MMS, HuBERT, WavLM, data2vec, w2v-BERT 2.0 or Whisper."""

    model: str = setting(
        "facebook/wav2vec2-base",
        "id on the Hugging Face Hub, or a folder; {language} in it becomes english, german ... of the training language",
    )
    revision: str = setting("main", "commit, tag or branch of the model on the Hub")
    layer: Any = setting(
        "last", "last: the encoder's output; a number: 0 = input of block 1, n = raw output of block n; weighted_sum: of all, learned"
    )
    normalize: bool = setting(True, "zero mean and unit variance of each waveform; false = as the published code (D21)")
    mode: str = setting(
        "frozen", "frozen: features are computed once, to disk; finetune: trained with the back-end", choices=("frozen", "finetune")
    )


@dataclass
class Finetune:
    """How an SSL encoder is trained along with its back-end (ssl.mode=finetune)."""

    lr: float = setting(1e-5, "learning rate of the encoder; the back-end has train.lr. Published: 5e-4 for both (D20)", at_least=0)
    warmup_epochs: float = setting(1.0, "the encoder's learning rate grows from 0 over so many epochs (a fraction is fine)", at_least=0)
    freeze_cnn: bool = setting(True, "keep the convolutions before the first block as they are")
    gradient_checkpointing: bool = setting(False, "compute activations twice instead of keeping them: less memory, a third more time")
    lora_rank: int = setting(0, "0 = train all weights; else train only LoRA matrices of this rank beside them", at_least=0)
    lora_alpha: float = setting(16.0, "LoRA's scale is alpha / rank", at_least=0)
    regularization: str = setting(
        "explicit",
        "explicit: the four settings below; checkpoint: what its config.json says, as published (D21)",
        choices=("explicit", "checkpoint"),
    )
    dropout: float = setting(0.1, "on attention, hidden states and projected features", at_least=0, at_most=1)
    layerdrop: float = setting(0.0, "probability that a block is skipped", at_least=0, at_most=1)
    mask_time_prob: float = setting(0.0, "SpecAugment: fraction of frames masked, in spans of 10 frames", at_least=0, at_most=1)
    mask_feature_prob: float = setting(0.0, "SpecAugment: fraction of features masked, in spans of 10 features", at_least=0, at_most=1)


@dataclass
class Waveform:
    """No front-end: the back-end gets the samples themselves. Nothing to set."""


@dataclass
class Store:
    dtype: str = setting("float16", "number type of stored features", choices=("float16", "float32"))
    block_rows: int = setting(320, "feature rows computed and made durable at a time", at_least=1)


@dataclass
class Aasist:
    channels: list[int] = setting([32, 64], "width of the first two and of the other residual blocks")
    gat_dims: list[int] = setting([64, 32], "width of the graph layers")
    random_pos_s: bool = setting(False, "LFCC input: draw the position embedding afresh at every forward, as published (D14)")


@dataclass
class Resnet18:
    width: int = setting(64, "channels of the first stage; the others have 2, 4 and 8 times as many", at_least=1)


@dataclass
class EcapaTdnn:
    channels: int = setting(192, "C, the width of the SE-Res2 blocks; a multiple of 8", at_least=8)
    logit_bn: bool = setting(False, "BatchNorm on the logits, as published (D17)")


@dataclass
class AasistRaw:
    """clovaai's AASIST with its own sinc filters."""

    channels: list[int] = setting([32, 64], "width of the first two and of the other residual blocks")
    gat_dims: list[int] = setting([64, 32], "width of the graph layers")


@dataclass
class EcapaRaw:
    """ECAPA-TDNN with its own log-mel front-end and a 192-d embedding."""

    channels: int = setting(1024, "C, the width of the SE-Res2 blocks; a multiple of 8", at_least=8)


@dataclass
class Train:
    languages: list[str] = setting([], "training languages of a single run (train_refd.py); empty = all of the corpus")
    seed: int = setting(688, "seed of initial weights, batches, mixup and dropout", at_least=0)
    epochs: int = setting(50, "passes over the training rows", at_least=0)
    batch_size: int = setting(16, "rows per step, before mixup doubles them", at_least=2)
    rows_per_epoch: int = setting(0, "0 = all training rows in each epoch; else so many of them, drawn afresh for each epoch", at_least=0)
    micro_batch_size: int = setting(0, "rows computed at a time, their gradients added up; 0 = the whole batch", at_least=0)
    mixup: str = setting("regmix", "regmix: originals + mixed (published); mixed_only; none", choices=("regmix", "mixed_only", "none"))
    mixup_alpha: float = setting(0.5, "lambda ~ Beta(alpha, alpha), one per batch", at_least=1e-6)
    lr: float = setting(5e-4, "learning rate of Adam", at_least=0)
    lr_decay: float = setting(0.5, "factor applied every lr_interval epochs", at_least=0, at_most=1)
    lr_interval: int = setting(10, "epochs between two decays", at_least=1)
    beta_1: float = setting(0.9, "Adam", at_least=0, at_most=1)
    beta_2: float = setting(0.999, "Adam", at_least=0, at_most=1)
    eps: float = setting(1e-8, "Adam", at_least=0)
    weight_decay: float = setting(5e-4, "L2 term inside Adam", at_least=0)
    select: str = setting("dev_macro_f1", "which dev figure picks the epoch (F1: ties by loss)", choices=("dev_macro_f1", "dev_loss"))
    variants: list[str] = setting([], "acoustic variants to train and develop on; empty = all stored", choices=VARIANTS)
    dev_variants: list[str] = setting([], "acoustic variants that dev chooses the epoch on; empty = train.variants", choices=VARIANTS)
    initial_weights: str = setting("", "checkpoint (ours or a published .pth/.pt) to start from; with epochs=0 it is only evaluated")


@dataclass
class Experiment:
    """What scripts 05, 06 and 08 make: the tables, and for each system and seed the training cells that these need, each once."""

    tables: list[str] = setting(["table4"], "names of files in configs/experiments: which cells are trained, tested and shown together")
    systems: list[str] = setting(["lfcc_ecapa_tdnn"], "names of files in configs/systems")
    train_sets: list[str] = setting([], "of Table 4: each a language or languages joined by +, such as en or en+de; empty = each alone")
    test_sets: list[str] = setting([], "likewise; empty = each language alone")
    seeds: list[int] = setting([688], "one training run for each")


@dataclass
class Evaluation:
    splits: list[str] = setting(["eval"], "splits that get scored", choices=SPLITS)
    variants: list[str] = setting([], "acoustic variants that dev and eval are scored on; empty = all stored", choices=VARIANTS)
    batch_size: int = setting(64, "rows per forward pass", at_least=1)
    zero_division: float = setting(0.0, "precision of a class that was never predicted; published 1.0 (D49)", choices=(0.0, 1.0))
    bootstrap_samples: int = setting(1000, "resamples of utterances behind each 95 % confidence interval", at_least=0)
    bootstrap_by: str = setting(
        "utterance",
        "what is drawn together, with all its variants: an utterance, or all utterances of a source that say the same",
        choices=("utterance", "transcript"),
    )
    embeddings: bool = setting(True, "store the embedding of each row beside its logits")


@dataclass
class Compute:
    device: str = setting("auto", "auto: cuda, else mps, else cpu", choices=("auto", "cpu", "cuda", "mps"))
    workers: int = setting(0, "processes for synthesis, features and training cells; 0 = one per core, at most 8", at_least=0)
    encoder_batch: int = setting(
        0, "waveforms per pass of a frozen SSL encoder; 0 = 1 on a CPU, 64 on a GPU; halved for lack of memory", at_least=0
    )
    compile: bool = setting(False, "torch.compile the frozen SSL encoder: minutes at the start, faster after")
    precision: str = setting("auto", "auto: bf16 autocast on CUDA, float32 elsewhere", choices=("auto", "float32", "bf16"))


@dataclass
class Executor:
    """Where blocks of features (script 04) and training cells (05) are computed. `executor=ray` is short for `executor.kind=ray`."""

    kind: str = setting("local", "local: this machine; ray: the machines of a Ray cluster (docs/scaling.md)", choices=("local", "ray"))
    address: str = setting("auto", "of the Ray cluster; auto: the one that this machine belongs to")


@dataclass
class Settings:
    name: str = setting("demo", "name of the experiment: its folder below paths.exp")
    seed: int = setting(688, "seed of synthesis, split, crops and augmentation", at_least=0)
    system: str = setting("lfcc_ecapa_tdnn", "a file in configs/systems: front-end, back-end and what differs for them")
    frontend: str = setting("lfcc", "what turns audio into features", choices=FRONTENDS)
    backend: str = setting("ecapa_tdnn", "what turns features into a source", choices=BACKENDS)
    paths: Paths = field(default_factory=Paths)
    corpus: Corpus = field(default_factory=Corpus)
    demo: Demo = field(default_factory=Demo)
    mlaad: Mlaad = field(default_factory=Mlaad)
    mcl_mlaad: MclMlaad = field(default_factory=MclMlaad)
    folder: Folder = field(default_factory=Folder)
    download: Download = field(default_factory=Download)
    split: Split = field(default_factory=Split)
    audio: Audio = field(default_factory=Audio)
    augment: Augment = field(default_factory=Augment)
    lfcc: Lfcc = field(default_factory=Lfcc)
    ssl: Ssl = field(default_factory=Ssl)
    finetune: Finetune = field(default_factory=Finetune)
    waveform: Waveform = field(default_factory=Waveform)
    store: Store = field(default_factory=Store)
    aasist: Aasist = field(default_factory=Aasist)
    resnet18: Resnet18 = field(default_factory=Resnet18)
    ecapa_tdnn: EcapaTdnn = field(default_factory=EcapaTdnn)
    aasist_raw: AasistRaw = field(default_factory=AasistRaw)
    ecapa_raw: EcapaRaw = field(default_factory=EcapaRaw)
    embedding_head: EmbeddingHead = field(default_factory=EmbeddingHead)
    train: Train = field(default_factory=Train)
    metric_learning: MetricLearning = field(default_factory=MetricLearning)
    experiment: Experiment = field(default_factory=Experiment)
    evaluation: Evaluation = field(default_factory=Evaluation)
    speakers: Speakers = field(default_factory=Speakers)
    openset: Openset = field(default_factory=Openset)
    embedding_pictures: EmbeddingPictures = field(default_factory=EmbeddingPictures)
    trace: Trace = field(default_factory=Trace)
    detection: Detection = field(default_factory=Detection)
    layer_features: LayerFeatures = field(default_factory=LayerFeatures)
    rawboost: Rawboost = field(default_factory=Rawboost)
    codec: Codec = field(default_factory=Codec)
    logreg: Logreg = field(default_factory=Logreg)
    selection: Selection = field(default_factory=Selection)
    mixing: Mixing = field(default_factory=Mixing)
    pruning: Pruning = field(default_factory=Pruning)
    compute: Compute = field(default_factory=Compute)
    executor: Executor = field(default_factory=Executor)
    systems: dict[str, Any] = setting({}, "per system: settings that differ from configs/systems/<name>.yaml in this file")
