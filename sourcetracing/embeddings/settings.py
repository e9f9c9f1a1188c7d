"""Settings of this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EmbeddingPictures:
    """Pictures of embeddings (script 11)."""
