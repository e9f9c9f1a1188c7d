"""Settings of the features for detection (scripts/detection/01) and of the two augmentations."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting

COPIES = ("clean", "rawboost", "codec")
CODECS = ("aac", "opus")


@dataclass
class LayerFeatures:
    """The mean over time of every layer of an SSL encoder (which one: ssl.model, ssl.revision, ssl.normalize), or of LFCCs (lfcc)."""

    kind: str = setting("ssl", "ssl: layers of an encoder; lfcc: one layer 0, without any model", choices=("ssl", "lfcc"))
    layers: list[int] = setting(
        [], "layers stored, 0 = input of block 1, n = raw output of block n; the encoder is cut behind the last; empty = all", at_least=0
    )
    copy_layers: list[int] = setting(
        [], "layers stored of the augmented copies, once one is chosen (published: 9); empty = the same as `layers`", at_least=0
    )
    copies: list[str] = setting(
        ["clean"], "clean: the files as they are; rawboost, codec: one augmented copy of each file as well", choices=COPIES
    )
    max_seconds: float = setting(
        0.0, "only so much of each file, from its beginning; 0 = all of it, as published (Whisper hears 30 s at most)", at_least=0
    )
    batch_seconds: float = setting(
        0.0, "sound per pass of the encoder, padding included; 0 = 10 on a CPU, 320 on a GPU; halved for lack of memory", at_least=0
    )
    block_files: int = setting(256, "files computed and made durable at a time", at_least=1)
    lfcc_deviation: bool = setting(False, "kind=lfcc: the standard deviation over time beside the mean (twice the width)")
    published_norm: bool = setting(
        False, "the last layer of augmented copies, and the encoder's very last one, pass its final LayerNorm, as published (D60)"
    )


@dataclass
class Rawboost:
    """RawBoost (Tak et al. 2022, arXiv:2111.04433): ranges are [least, most], drawn uniformly."""

    algorithm: int = setting(
        5,
        "1: convolutive, 2: impulsive, 3: stationary noise; 4: 1, 2, 3 in series; 5: 1, 2; 6: 1, 3; 7: 2, 3; 8: 1 and 2 in parallel",
        choices=(0, 1, 2, 3, 4, 5, 6, 7, 8),
    )
    bands: int = setting(5, "notches of a filter", at_least=1)
    center_hz: list[float] = setting([20.0, 8000.0], "centre of a notch", at_least=0)
    width_hz: list[float] = setting([100.0, 1000.0], "width of a notch", at_least=1)
    taps: list[int] = setting([10, 100], "length of a notch's filter; an even number becomes the next odd one", at_least=1)
    gain_db: list[float] = setting([0.0, 0.0], "gain of a filter")
    orders: int = setting(5, "algorithm 1: powers of the signal that are added up, each with a filter of its own", at_least=1)
    bias_db: list[float] = setting([5.0, 20.0], "algorithm 1: powers above the first are weaker than gain_db by so much")
    impulse_percent: float = setting(10.0, "algorithm 2: at most so many percent of the samples are hit", at_least=0, at_most=100)
    impulse_gain: float = setting(2.0, "algorithm 2: the most by which they change, times their own size", at_least=0)
    snr_db: list[float] = setting([10.0, 40.0], "algorithm 3: signal to noise")


@dataclass
class Codec:
    """Through a lossy codec and back; codec and bitrate are drawn for each file."""

    kinds: list[str] = setting(["aac", "opus"], "codecs, each as likely", choices=CODECS)
    aac_kbps: list[int] = setting([24, 32, 48, 64], "bitrates of AAC at 16 kHz mono; published: 320, which ffmpeg clamps to 96", at_least=8)
    opus_kbps: list[int] = setting([12, 16, 24, 32], "bitrates of Opus; published: 128", at_least=6)
    opus_encoder: str = setting("libopus", "libopus; opus: ffmpeg's own, experimental, as published (D57)", choices=("libopus", "opus"))
