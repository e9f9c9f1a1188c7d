"""Front-ends: what turns audio into features; and how utterances become waveforms before, rows of a store after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sourcetracing.settings.declaring import RANGE, SOME, setting
from sourcetracing.settings.operations import OPERATIONS
from sourcetracing.settings.parts import Entry, Registry

VARIANTS = ("original", "reverb", "speech", "music", "noise")  # the paper's, which are made unless others are asked for
CHANNEL_VARIANTS = ("codec", "telephone", "rawboost", "copy_synthesis")  # these need no noises
ALL_VARIANTS = (*VARIANTS, *CHANNEL_VARIANTS)
COPY_VOCODERS = ("griffin_lim", "lpc_vocoder", "world", "phase_vocoder", "sinusoidal", "channel_vocoder")


@dataclass
class Audio:
    sample_rate: int = setting(16000, "Hz; everything is resampled to it", at_least=8000, at_most=192_000)
    crop_seconds: float = setting(4.0, "length of every network input", at_least=0.1, at_most=600)
    crop_train: str = setting(
        "random", "which part of a longer utterance, in train (random is seeded)", choices=("random", "head", "center")
    )
    crop_eval: str = setting("head", "which part, in dev and eval; random = as published (D9)", choices=("random", "head", "center"))
    min_seconds: float = setting(0.1, "shorter utterances are bad audio", at_least=0, at_most=3600)
    silence_peak_dbfs: float = setting(-80.0, "an utterance whose peak stays below is silent, hence bad audio", at_most=0, at_least=-200)
    on_bad_audio: str = setting("fail", "fail: name them and stop; skip: leave out, count and list them", choices=("fail", "skip"))
    on_truncated: str = setting(
        "fail",
        "a file that is cut off or damaged, fail: it is bad audio; skip: leave it out, count and list it; keep: use what is there of it",
        choices=("fail", "skip", "keep"),
    )
    channel: str = setting("mean", "what is heard of several channels: their mean, or one of them", choices=("mean", "left", "right"))
    trim_silence_db: float = setting(
        0.0,
        "both ends of a file are cut where frames of 20 ms, and then samples, stay so many dB below its loudest frame, such as 40; 0 = off",
        at_least=0,
        at_most=120,
    )
    normalize: str = setting(
        "none", "every network input is brought to one level, its root mean square or its peak", choices=("none", "rms", "peak")
    )
    target_dbfs: float = setting(
        -23.0, "the level of audio.normalize, dB relative to full scale; -3 is usual for peaks", at_least=-80, at_most=0
    )
    band_limit_hz: float = setting(
        0.0,
        "what lies above is removed, whatever a file's rate; 0 = off, else 1000 to half of audio.sample_rate",
        at_least=0,
        at_most=96_000,
    )


@dataclass
class Augment:
    variants: list[str] = setting(list(VARIANTS), "acoustic variants stored for each utterance", choices=ALL_VARIANTS, items=SOME)
    noise_snr_db: list[float] = setting([0.0, 15.0], "SNR range of the noise variant, dB", at_least=-100, at_most=100, items=RANGE)
    speech_snr_db: list[float] = setting(
        [13.0, 20.0], "SNR range of the speech (babble) variant, dB", at_least=-100, at_most=100, items=RANGE
    )
    music_snr_db: list[float] = setting([5.0, 15.0], "SNR range of the music variant, dB", at_least=-100, at_most=100, items=RANGE)
    babble_talkers: list[int] = setting([3, 8], "fewest and most talkers summed into babble", at_least=1, at_most=1000, items=RANGE)
    random_offset: bool = setting(True, "noise clips start at a random place; false = always at their beginning, as published (D7)")
    stacked: bool = setting(False, "each variant is made from the one before instead of the clean signal, as published (D6)")
    force_speech: bool = setting(False, "music and noise variants mix in speech, as published (D5)")
    real_rirs: bool = setting(False, "also draw from real_rirs_isotropic_noises; published: simulated only (D8)")
    codecs: list[str] = setting(
        ["mp3_64k", "mp3_32k", "aac_64k", "aac_32k", "opus_32k", "opus_16k", "vorbis_q3", "vorbis_q0"],
        "variant codec: one of them for each utterance, each as likely",
        choices=tuple(name for name, entry in OPERATIONS.items() if entry.family == "codec"),
        items=SOME,
    )
    telephones: list[str] = setting(
        ["a_law", "mu_law", "amr_nb_12k2"],
        "variant telephone: likewise, at the codec's own rate, mostly 8 kHz",
        choices=tuple(name for name, entry in OPERATIONS.items() if entry.family == "telephone"),
        items=SOME,
    )
    telephone_noisy: float = setting(0.5, "share of the calls that white noise is added to before they are coded", at_least=0, at_most=1)
    telephone_snr_db: list[float] = setting([10.0, 30.0], "SNR range of that noise, dB", at_least=-100, at_most=100, items=RANGE)
    vocoder: str = setting(
        "sinusoidal",
        "variant copy_synthesis: what each utterance goes through; none that is a source of the corpus (docs/variants.md)",
        choices=COPY_VOCODERS,
    )


@dataclass
class Rawboost:
    """RawBoost (Tak et al. 2022, arXiv:2111.04433): ranges are [least, most], drawn uniformly.

    For the variant `rawboost`, and for detection's copies.
    """

    algorithm: int = setting(
        5,
        "1: convolutive, 2: impulsive, 3: stationary noise; 4: 1, 2, 3 in series; 5: 1, 2; 6: 1, 3; 7: 2, 3; 8: 1 and 2 in parallel",
        choices=(0, 1, 2, 3, 4, 5, 6, 7, 8),
    )
    bands: int = setting(5, "notches of a filter", at_least=1, at_most=100)
    center_hz: list[float] = setting([20.0, 8000.0], "centre of a notch", at_least=0, at_most=192_000, items=RANGE)
    width_hz: list[float] = setting([100.0, 1000.0], "width of a notch", at_least=1, at_most=192_000, items=RANGE)
    taps: list[int] = setting(
        [10, 100], "length of a notch's filter; an even number becomes the next odd one", at_least=1, at_most=10000, items=RANGE
    )
    gain_db: list[float] = setting([0.0, 0.0], "gain of a filter", at_least=-200, at_most=200, items=RANGE)
    orders: int = setting(5, "algorithm 1: powers of the signal that are added up, each with a filter of its own", at_least=1, at_most=20)
    bias_db: list[float] = setting(
        [5.0, 20.0], "algorithm 1: powers above the first are weaker than gain_db by so much", at_least=-200, at_most=200, items=RANGE
    )
    impulse_percent: float = setting(10.0, "algorithm 2: at most so many percent of the samples are hit", at_least=0, at_most=100)
    impulse_gain: float = setting(2.0, "algorithm 2: the most by which they change, times their own size", at_least=0, at_most=1000)
    snr_db: list[float] = setting([10.0, 40.0], "algorithm 3: signal to noise", at_least=-100, at_most=200, items=RANGE)


@dataclass
class Lfcc:
    """LFCC as torchaudio computes it: windows of 20 ms, hops of 10 ms, not centred; 64,000 samples give (80, 399)."""

    n_lfcc: int = setting(80, "coefficients kept", at_least=1, at_most=4096)
    n_filter: int = setting(128, "linear filters between 0 and half the sample rate", at_least=1, at_most=4096)
    n_fft: int = setting(320, "samples in a transform", at_least=2, at_most=65536)
    win_length: int = setting(320, "samples in a Hann window", at_least=2, at_most=65536)
    hop_length: int = setting(160, "samples between windows", at_least=1, at_most=65536)


@dataclass
class Ssl:
    """A self-supervised encoder: wav2vec2, XLS-R, MMS, HuBERT, WavLM, data2vec, w2v-BERT 2.0 or Whisper."""

    model: str = setting(
        "facebook/wav2vec2-base",
        "id on the Hugging Face Hub, or a folder; {language} in it becomes english, german ... of the training language",
    )
    revision: str = setting("main", "commit, tag or branch of the model on the Hub; its commit is recorded")
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

    lr: float = setting(
        1e-5, "learning rate of the encoder; the back-end has train.lr. Published: 5e-4 for both (D20)", at_least=0, at_most=100
    )
    warmup_epochs: float = setting(
        1.0,
        "the encoder's learning rate grows from 0 over so many epochs (rounds, with train.steps; 1.5 is fine)",
        at_least=0,
        at_most=100_000,
    )
    freeze_cnn: bool = setting(True, "keep the convolutions before the first block as they are")
    gradient_checkpointing: bool = setting(False, "compute activations twice instead of keeping them: less memory, a third more time")
    lora_rank: int = setting(0, "0 = train all weights; else train only LoRA matrices of this rank beside them", at_least=0, at_most=1024)
    lora_alpha: float = setting(16.0, "LoRA's scale is alpha / rank", at_least=0, at_most=1_000_000)
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
class Residual:
    """The average spectrum of what a low-pass filter takes away, one number per frequency of a row."""

    cutoff_hz: float = setting(1000.0, "of the low-pass filter: there it has fallen by half", at_least=1, at_most=96_000)
    taps: int = setting(257, "its coefficients; an odd number", at_least=3, at_most=8191)
    attenuation_db: float = setting(80.0, "what it takes from the frequencies behind", at_least=21, at_most=140)
    n_fft: int = setting(128, "samples in a transform and its Hann window", at_least=4, at_most=65536)
    hop_length: int = setting(2, "samples between windows; 16 is five times as fast", at_least=1, at_most=65536)
    spectrum: str = setting(
        "difference",
        "mean log-power of the waveform less that of the filtered one, as published; residual: log-power of waveform less filtered one",
        choices=("difference", "residual"),
    )


@dataclass
class Waveform:
    """No front-end: the back-end gets the samples themselves. Nothing to set."""


@dataclass
class Store:
    dtype: str = setting("float16", "number type of stored features", choices=("float16", "float32"))
    block_rows: int = setting(320, "feature rows computed and made durable at a time", at_least=1, at_most=1_000_000)


@dataclass(frozen=True)
class FrontEndEntry(Entry):
    """target: a module class called with sample_rate and its options; maps waveforms (B, samples) float32 to features (B, ...).

    is_encoder: a large network instead, which target loads from the resolved settings: it has a device, a precision, batches, and
    a checkpoint, which its options call `model`.
    """

    is_encoder: bool = False


FRONTENDS: Registry[FrontEndEntry] = Registry(
    "front-end",
    {
        "lfcc": FrontEndEntry("sourcetracing.models.frontends.lfcc:LfccFrontEnd", Lfcc),
        "ssl": FrontEndEntry("sourcetracing.features.ssl_front_end:load_ssl", Ssl, is_encoder=True),
        "residual": FrontEndEntry("sourcetracing.models.frontends.residual:ResidualFrontEnd", Residual),
        "waveform": FrontEndEntry("sourcetracing.models.frontends.waveform:WaveformFrontEnd", Waveform),
    },
)


def is_fine_tuned(settings: Any) -> bool:
    """Whether the SSL encoder is trained with its back-end, so that the store holds waveforms."""
    return settings.frontend == "ssl" and settings.ssl.mode == "finetune"


def stored_front_end(settings: Any) -> str:
    """What the store holds the output of: the front-end, or the waveforms that a fine-tuned one is trained on."""
    return "waveform" if is_fine_tuned(settings) else settings.frontend
