"""Back-ends: what turns features, or waveforms, into (embedding, logits)."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting
from sourcetracing.settings.parts import Entry, Registry


@dataclass
class Aasist:
    channels: list[int] = setting([32, 64], "width of the first two and of the other residual blocks", at_least=1, at_most=1024, items=2)
    gat_dims: list[int] = setting([64, 32], "width of the graph layers", at_least=1, at_most=1024, items=2)
    random_pos_s: bool = setting(False, "LFCC input: draw the position embedding afresh at every forward, as published (D14)")


@dataclass
class Resnet18:
    width: int = setting(64, "channels of the first stage; the others have 2, 4 and 8 times as many", at_least=1, at_most=512)


@dataclass
class EcapaTdnn:
    channels: int = setting(192, "C, the width of the SE-Res2 blocks; a multiple of 8", at_least=8, at_most=4096)
    logit_bn: bool = setting(False, "BatchNorm on the logits, as published (D17)")


@dataclass
class AasistRaw:
    """clovaai's AASIST with its own sinc filters."""

    channels: list[int] = setting([32, 64], "width of the first two and of the other residual blocks", at_least=1, at_most=1024, items=2)
    gat_dims: list[int] = setting([64, 32], "width of the graph layers", at_least=1, at_most=1024, items=2)


@dataclass
class EcapaRaw:
    """ECAPA-TDNN with its own log-mel front-end and a 192-d embedding."""

    channels: int = setting(1024, "C, the width of the SE-Res2 blocks; a multiple of 8", at_least=8, at_most=4096)


@dataclass
class EmbeddingHead:
    """The back-end that is trained by a metric loss: mean over time, Linear, ReLU, Linear; one centroid for each class."""

    hidden: int = setting(256, "width between the two linear layers", at_least=1, at_most=8192)
    embedding: int = setting(256, "width of the embedding", at_least=2, at_most=8192)
    normalize: bool = setting(True, "embeddings have length 1, also before they are averaged; false = as published (D42)")


@dataclass(frozen=True)
class BackEndEntry(Entry):
    """target: a module class called with `takes`, the number of classes, and its options; gives (embedding (B, E), logits (B, C)).

    takes: which of num_features and num_frames it wants. on_waveforms: its input is (B, samples) instead of (B, features, frames).
    metric_loss: it is trained by a loss on embeddings (`metric_learning.loss`) instead of cross-entropy.
    """

    takes: tuple[str, ...] = ()
    on_waveforms: bool = False
    metric_loss: bool = False


_MODELS = "sourcetracing.models.backends"
BACKENDS: Registry[BackEndEntry] = Registry(
    "back-end",
    {
        "aasist": BackEndEntry(f"{_MODELS}.aasist:Aasist", Aasist, takes=("num_features", "num_frames")),
        "resnet18": BackEndEntry(f"{_MODELS}.resnet18:ResNet18", Resnet18),
        "ecapa_tdnn": BackEndEntry(f"{_MODELS}.ecapa_tdnn:EcapaTdnn", EcapaTdnn, takes=("num_features",)),
        "embedding_head": BackEndEntry(f"{_MODELS}.embedding_head:EmbeddingHead", EmbeddingHead, takes=("num_features",), metric_loss=True),
        "aasist_raw": BackEndEntry(f"{_MODELS}.aasist_raw:AasistRaw", AasistRaw, on_waveforms=True),
        "ecapa_raw": BackEndEntry(f"{_MODELS}.ecapa_raw:EcapaRaw", EcapaRaw, on_waveforms=True),
    },
)
