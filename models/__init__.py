"""Networks, pure torch: they know nothing of files, settings or corpora.

Every back-end maps a batch to (embedding (B, E), logits (B, num_classes)) and has `embedding_dim` = E. Features come as
(B, num_features, num_frames); the `*_raw` back-ends take waveforms (B, samples). A new back-end is one file here and one line in BACKENDS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from models.aasist import Aasist
from models.aasist_raw import AasistRaw
from models.ecapa_raw import EcapaRaw
from models.ecapa_tdnn import EcapaTdnn
from models.resnet18 import ResNet18

BACKENDS: dict[str, Callable[..., nn.Module]] = {
    "aasist": lambda num_features, num_frames, num_classes, **options: Aasist(num_features, num_frames, num_classes, **options),
    "resnet18": lambda num_features, num_frames, num_classes, **options: ResNet18(num_classes, **options),
    "ecapa_tdnn": lambda num_features, num_frames, num_classes, **options: EcapaTdnn(num_features, num_classes, **options),
    "aasist_raw": lambda num_features, num_frames, num_classes, **options: AasistRaw(num_classes, **options),
    "ecapa_raw": lambda num_features, num_frames, num_classes, **options: EcapaRaw(num_classes, **options),
}


def build_backend(name: str, *, num_features: int, num_frames: int, num_classes: int, **options: Any) -> nn.Module:
    """A back-end by its name in BACKENDS; options are the class's own keyword arguments (widths, published oddities).

    Raises ValueError for an unknown name, TypeError for an option that the class does not have.
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown back-end {name!r}; there are: {', '.join(BACKENDS)}")
    return BACKENDS[name](num_features, num_frames, num_classes, **options)
