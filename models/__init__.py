"""Networks, pure torch: they know nothing of files, settings or corpora.

Every back-end maps a batch to (embedding (B, E), logits (B, num_classes)) and has `embedding_dim` = E. Features come as
(B, num_features, num_frames); the `*_raw` back-ends take waveforms (B, samples). A new back-end is one file here and one line in BACKENDS.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

# Name -> (module, class, which of num_features and num_frames the class wants). Imported when asked for: torchvision alone takes a second.
BACKENDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "aasist": ("sourcetracing.models.backends.aasist", "Aasist", ("num_features", "num_frames")),
    "resnet18": ("sourcetracing.models.backends.resnet18", "ResNet18", ()),
    "ecapa_tdnn": ("sourcetracing.models.backends.ecapa_tdnn", "EcapaTdnn", ("num_features",)),
    "embedding_head": ("sourcetracing.models.backends.embedding_head", "EmbeddingHead", ("num_features",)),
    "aasist_raw": ("sourcetracing.models.backends.aasist_raw", "AasistRaw", ()),
    "ecapa_raw": ("sourcetracing.models.backends.ecapa_raw", "EcapaRaw", ()),
}


def build_backend(name: str, *, num_features: int, num_frames: int, num_classes: int, **options: Any) -> nn.Module:
    """A back-end by its name in BACKENDS; options are the class's own keyword arguments (widths, published oddities).

    Raises ValueError for an unknown name, TypeError for an option that the class does not have.
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown back-end {name!r}; there are: {', '.join(BACKENDS)}")
    module, class_name, wanted = BACKENDS[name]
    sizes = {"num_features": num_features, "num_frames": num_frames}
    return getattr(import_module(module), class_name)(*(sizes[size] for size in wanted), num_classes, **options)
