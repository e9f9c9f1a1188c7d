"""Back-ends: what turns features, or waveforms, into (embedding, logits)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sourcetracing.errors import UserError
from sourcetracing.settings.declaring import SOME, setting
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


# Of every coefficient over time, by models/backends/long_term_statistics.py.
STATISTICS = ("mean", "std", "log_std", "delta_std", "log_delta_std", "log_delta2_std", "autocorrelation", "autocorrelation_between")
STATISTICS += ("skewness", "kurtosis", "delta_kurtosis", "neighbour_correlation", "second_neighbour_correlation")
STATISTICS += ("delta_neighbour_correlation", "loudness_correlation", "loud_mean")
_STATISTICS_HELP = "what is computed of each coefficient over the whole row"
_COEFFICIENTS_HELP = "the first and the last in use, from 0; a last of -1: all there are"


@dataclass
class Statistics:
    """Long-term statistics and a linear classifier, fitted in one go: the floor."""

    statistics: list[str] = setting(["mean", "std", "delta_std"], _STATISTICS_HELP, choices=STATISTICS, items=SOME)
    coefficients: list[int] = setting([0, -1], _COEFFICIENTS_HELP, at_least=-1, at_most=65535, items=2)
    head: str = setting("logistic", "logistic regression, or lda: linear discriminant analysis", choices=("logistic", "lda"))
    c: float = setting(1.0, "of the logistic regression: 1 / strength of the penalty on weights", at_least=1e-9, at_most=1e9)


@dataclass
class Neighbours:
    """The nearest training rows by their long-term statistics vote."""

    statistics: list[str] = setting(["mean", "std", "delta_std"], _STATISTICS_HELP, choices=STATISTICS, items=SOME)
    coefficients: list[int] = setting([0, -1], _COEFFICIENTS_HELP, at_least=-1, at_most=65535, items=2)
    k: int = setting(5, "neighbours that vote; no more than the square root of the number of training rows", at_least=1, at_most=100_000)


@dataclass
class PlainNeighbours:
    """The nearest training rows by plain distance, one vote each, as TADA (arXiv:2506.05802) has it."""

    statistics: list[str] = setting(["mean"], _STATISTICS_HELP, choices=STATISTICS, items=SOME)
    coefficients: list[int] = setting([0, -1], _COEFFICIENTS_HELP, at_least=-1, at_most=65535, items=2)
    k: int = setting(21, "neighbours that vote; all, where there are fewer training rows", at_least=1, at_most=1000)
    metric: str = setting("euclidean", "distance between rows as they are, or cosine", choices=("euclidean", "cosine"))


@dataclass
class Fingerprints:
    """The mean of each source's training rows; the one that fits best."""

    score: str = setting(
        "mahalanobis",
        "minus the Mahalanobis distance by the covariance of each source's training rows; or correlation, which needs no covariance",
        choices=("mahalanobis", "correlation"),
    )


@dataclass
class DeltaTdnn:
    """A small TDNN on features without their mean, beside their differences; with `statistics` a linear classifier of these beside it."""

    channels: int = setting(32, "width of each of its four layers", at_least=1, at_most=4096)
    dropout: float = setting(0.0, "of the pooled channels before the classifier", at_least=0, at_most=0.95)
    statistics: list[str] = setting([], "of a linear classifier beside the network; empty = no such classifier", choices=STATISTICS)
    network_weight: float = setting(0.2, "with statistics: weight of the network's log-probabilities beside them", at_least=0, at_most=100)


@dataclass(frozen=True)
class BackEndEntry(Entry):
    """target: a module class called with `takes`, the number of classes, and its options; gives (embedding (B, E), logits (B, C)).

    takes: which of num_features and num_frames it wants. on_waveforms: its input is (B, samples) instead of (B, features, frames).
    metric_loss: it is trained by a loss on embeddings (`metric_learning.loss`) instead of cross-entropy.
    fitted: it has no gradients; `fit(statistics (N, S), class ids (N,))` puts what it learns into its buffers, in one go, from what its
    `statistics` make of features (see `sourcetracing.training.fitting`).
    """

    takes: tuple[str, ...] = ()
    on_waveforms: bool = False
    metric_loss: bool = False
    fitted: bool = False


_MODELS = "sourcetracing.models.backends"
BACKENDS: Registry[BackEndEntry] = Registry(
    "back-end",
    {
        "aasist": BackEndEntry(f"{_MODELS}.aasist:Aasist", Aasist, takes=("num_features", "num_frames")),
        "resnet18": BackEndEntry(f"{_MODELS}.resnet18:ResNet18", Resnet18),
        "ecapa_tdnn": BackEndEntry(f"{_MODELS}.ecapa_tdnn:EcapaTdnn", EcapaTdnn, takes=("num_features",)),
        "delta_tdnn": BackEndEntry(f"{_MODELS}.delta_tdnn:DeltaTdnn", DeltaTdnn, takes=("num_features",)),
        "embedding_head": BackEndEntry(f"{_MODELS}.embedding_head:EmbeddingHead", EmbeddingHead, takes=("num_features",), metric_loss=True),
        "statistics": BackEndEntry(f"{_MODELS}.statistics:StatisticsBackEnd", Statistics, takes=("num_features",), fitted=True),
        "neighbours": BackEndEntry(f"{_MODELS}.neighbours:NeighboursBackEnd", Neighbours, takes=("num_features",), fitted=True),
        "plain_neighbours": BackEndEntry(
            f"{_MODELS}.plain_neighbours:PlainNeighboursBackEnd", PlainNeighbours, takes=("num_features",), fitted=True
        ),
        "fingerprints": BackEndEntry(f"{_MODELS}.fingerprints:FingerprintBackEnd", Fingerprints, takes=("num_features",), fitted=True),
        "aasist_raw": BackEndEntry(f"{_MODELS}.aasist_raw:AasistRaw", AasistRaw, on_waveforms=True),
        "ecapa_raw": BackEndEntry(f"{_MODELS}.ecapa_raw:EcapaRaw", EcapaRaw, on_waveforms=True),
    },
)


def check_fitted(settings: Any) -> None:
    """Raises `UserError` for what a back-end that is fitted cannot do, or where its coefficients are no range."""
    name = settings.backend
    if not BACKENDS[name].fitted:
        return
    first, last = getattr(getattr(settings, name, None), "coefficients", [0, -1])
    if first < 0 or -1 < last < first:
        raise UserError(f"{name}.coefficients=[{first}, {last}]: first and last, counted from 0; a last of -1 means all")
    if settings.frontend == "ssl" and (settings.ssl.mode == "finetune" or settings.ssl.layer == "weighted_sum"):
        wrong = "ssl.mode=finetune" if settings.ssl.mode == "finetune" else "ssl.layer=weighted_sum"
        raise UserError(f"{wrong} is learned by gradients, and backend={name} has none. Take ssl.mode=frozen and the number of a layer")
    if settings.train.initial_weights:
        raise UserError(f"train.initial_weights: backend={name} is fitted from its training rows alone. Leave it out")
