"""Settings of this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Openset:
    """Known or unknown source (script 07)."""
