"""How a single setting is declared: its default, what `--help` says of it, and what it may be."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def setting(default: Any, help: str, *, choices: tuple | None = None, at_least: float | None = None, at_most: float | None = None):
    """A dataclass field with the text `--help` shows and the values it admits (for a list: what each item may be)."""
    metadata = {"help": help, "choices": choices, "at_least": at_least, "at_most": at_most}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)
