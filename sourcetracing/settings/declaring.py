"""How a single setting is declared: its default, what `--help` says of it, and what it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any

Choices = Iterable[str | float] | Callable[[], Iterable[str | float]]  # a registry, a tuple, or what is asked when it is needed


def setting(
    default: Any,
    help: str,
    *,
    choices: Choices | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    may_repeat: bool = False,
):
    """A dataclass field with the text `--help` shows and the values it admits (for a list: what each item may be).

    may_repeat: a list in which an item may stand twice, such as a range; in all others it would count twice, and is refused.
    """
    metadata = {"help": help, "choices": choices, "at_least": at_least, "at_most": at_most, "may_repeat": may_repeat}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def admitted(rules: Mapping[str, Any]) -> tuple | None:
    """What a setting (its field's metadata) may be; None for anything."""
    choices = rules.get("choices")
    return None if choices is None else tuple(choices() if callable(choices) else choices)
