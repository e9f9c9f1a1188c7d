"""The network that the settings name, for the features that are stored: a back-end, below it what is learned along with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows
from sourcetracing.features.ssl_front_end import load_trainable_ssl
from sourcetracing.models.backends.label_heads import LabelHeads
from sourcetracing.models.frontends.batch_wide_norm import BatchWideNorm
from sourcetracing.models.frontends.layer_mix import LayerMix
from sourcetracing.runtime.compute import autocast
from sourcetracing.runtime.seeding import seed_of
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.frontends import is_fine_tuned
from sourcetracing.settings.schema import Settings


def build_model(settings: Settings, feature_shape: tuple[int, ...], head_sizes: Sequence[int] = ()) -> nn.Module:
    """Maps rows of a store to (embedding (B, E), logits (B, classes)); initial weights depend on train.seed alone. Raises `UserError`.

    head_sizes: classes of each further label, whose logits come behind (`split_logits`). feature_shape: of a row, (D, T) features,
    (layers, D, T) of all layers, or (samples,). A fine-tuned system is a Sequential of `encoder` and `backend`; a learned sum of layers
    stands between them as `mix`, a published oddity before them as `level`.
    """
    torch.manual_seed(seed_of(settings.train.seed, "weights"))
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if is_fine_tuned(settings):
        if BACKENDS[settings.backend].metric_loss and settings.metric_learning.batch_wide_normalization:
            settings = replace(settings, ssl=replace(settings.ssl, normalize=False))
            parts["level"] = BatchWideNorm()
        parts["encoder"] = load_trainable_ssl(settings)
        feature_shape = _output_shape(parts["encoder"], feature_shape)
    if len(feature_shape) == 3:
        parts["mix"] = LayerMix(feature_shape[0])
    num_features, num_frames = feature_shape[-2:] if len(feature_shape) > 1 else (1, *feature_shape)
    options = vars(getattr(settings, settings.backend)) if BACKENDS[settings.backend].options else {}
    sizes = {"num_features": num_features, "num_frames": num_frames, "num_classes": len(settings.corpus.sources)}
    try:
        parts["backend"] = build_backend(settings.backend, **sizes, **options)
    except ValueError as error:
        raise UserError(f"backend={settings.backend}: {error}") from None
    if head_sizes:
        parts["backend"] = LabelHeads(parts["backend"], head_sizes)
    return nn.Sequential(parts) if len(parts) > 1 else parts["backend"]


def split_logits(logits: Tensor, num_classes: int, head_sizes: Sequence[int] = ()) -> list[Tensor]:
    """Logits (B, C + further classes) of a network -> those of the classes (B, C), then those of each further label."""
    return list(logits.split([num_classes, *head_sizes], dim=1))


def build_backend(name: str, *, num_features: int, num_frames: int, num_classes: int, **options: Any) -> nn.Module:
    """A back-end by its name; options are the class's own keyword arguments (widths, published oddities).

    Raises `UserError` for an unknown name, TypeError for an option that the class does not have.
    """
    entry, sizes = BACKENDS[name], {"num_features": num_features, "num_frames": num_frames}
    return entry.load()(*(sizes[size] for size in entry.takes), num_classes, **options)


@torch.inference_mode()
def _output_shape(encoder: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    encoder.eval()
    output = encoder(torch.zeros(1, *shape))
    encoder.train()
    return tuple(output.shape[1:])


@torch.inference_mode()
def forward(model: torch.nn.Module, rows: FeatureRows, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, E) and all logits (N, C), those of further labels behind, float32, of all rows in order."""
    outputs = []
    size = settings.evaluation.batch_size
    for start in range(0, len(rows), size):
        features, _ = rows.batch(np.arange(start, min(start + size, len(rows))))
        with autocast(features.device, settings.compute.precision):
            embedding, logits = model(features)
        outputs.append((embedding.float().cpu(), logits.float().cpu()))
    embeddings, logits = (torch.cat(parts).numpy() for parts in zip(*outputs, strict=True))
    return embeddings, logits
