"""Settings of this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LayerFeatures:
    """The mean over time of every layer of an SSL encoder."""


@dataclass
class Rawboost:
    """RawBoost augmentation."""


@dataclass
class Codec:
    """Codec augmentation."""
