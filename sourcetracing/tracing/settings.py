"""Settings of this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Trace:
    """Tracing files (script 12)."""
