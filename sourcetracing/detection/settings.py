"""Settings of this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Detection:
    """Bona fide or synthetic: the corpora of that question (configs/ai4t.yaml)."""
