"""Settings of this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Logreg:
    """The linear classifier."""


@dataclass
class Mixing:
    """All mixtures of training corpora."""


@dataclass
class Pruning:
    """Which training files are kept."""
