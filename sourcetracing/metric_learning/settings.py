"""Settings of this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EmbeddingHead:
    """The back-end that is trained by a metric loss."""


@dataclass
class MetricLearning:
    """How train_ge2e.py trains."""
