"""Metric learning: losses on embeddings, and how batches for them are drawn."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting
from sourcetracing.settings.parts import Entry, Registry


@dataclass(frozen=True)
class LossEntry(Entry):
    """target: called with what it `takes`, of the settings below, num_classes, embedding_dim and the head's normalize; gives a module.

    The module maps embeddings (N, M, E) and the class ids (N,) to a scalar, and has `logit_scale` and `after_step()`.
    """

    takes: tuple[str, ...] = ()


_MODULE = "sourcetracing.models.losses.metric_losses"
_GE2E = ("scale", "offset", "normalize", "fixed_scale", "clamp_cosines")
LOSSES: Registry[LossEntry] = Registry(
    "loss",
    {
        "ge2e": LossEntry(f"{_MODULE}:ge2e", takes=_GE2E),
        "ge2e_contrast": LossEntry(f"{_MODULE}:ge2e_contrast", takes=_GE2E),
        "supcon": LossEntry(f"{_MODULE}:supcon", takes=("temperature",)),
        "aam_softmax": LossEntry(f"{_MODULE}:aam_softmax", takes=("num_classes", "embedding_dim", "margin", "aam_scale")),
        "prototypical": LossEntry(f"{_MODULE}:PrototypicalLoss", takes=("scale",)),
    },
)


@dataclass
class MetricLearning:
    """How a system with back-end embedding_head is trained: balanced batches of classes x rows, a loss on embeddings."""

    loss: str = setting(
        "ge2e",
        "ge2e: softmax variant; ge2e_contrast; supcon: supervised contrastive; aam_softmax: ArcFace; prototypical",
        choices=LOSSES,
    )
    classes_per_batch: int = setting(10, "N, the classes in a batch", at_least=2, at_most=4096)
    rows_per_class: int = setting(4, "M, the feature rows of each of them", at_least=2, at_most=4096)
    batches_per_epoch: int = setting(
        0, "0 = as many batches as the training rows fill; the published epoch has about 132", at_least=0, at_most=1_000_000
    )
    loss_lr: float = setting(
        0.01, "learning rate of what a loss itself learns: w and b of GE2E, class vectors of aam_softmax", at_least=0, at_most=100
    )
    scale: float = setting(10.0, "w of GE2E and of the prototypical loss at the start", at_least=1e-6, at_most=1_000_000)
    offset: float = setting(-5.0, "b of GE2E at the start", at_least=-1_000_000, at_most=1_000_000)
    temperature: float = setting(0.1, "of supcon", at_least=1e-6, at_most=1_000_000)
    margin: float = setting(0.2, "of aam_softmax, radians", at_least=0, at_most=1.57)
    aam_scale: float = setting(30.0, "s of aam_softmax", at_least=1e-6, at_most=1_000_000)
    select: str = setting(
        "dev_macro_f1",
        "what picks the epoch: nearest-centroid macro-F1 on dev (ties by loss), dev_loss, or train_loss as published (D43)",
        choices=("dev_macro_f1", "dev_loss", "train_loss"),
    )
    train_on_dev: bool = setting(False, "dev is training data too, its unknown sources are classes in training, as published (D43)")
    fixed_scale: bool = setting(False, "w and b of GE2E do not learn, as published (D42)")
    clamp_cosines: bool = setting(False, "GE2E lifts cosines to 1e-6, without gradient below, as published (D42)")
    batch_wide_normalization: bool = setting(
        False, "a fine-tuned encoder gets waveforms at the mean and variance of their whole batch, as published (D41)"
    )
    neighbours: int = setting(5, "k of the nearest-neighbour figures in the evaluation", at_least=1, at_most=100_000)
