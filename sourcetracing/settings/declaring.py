"""How a single setting is declared: its default, what `--help` says of it, and what it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any

Choices = Iterable[str | float] | Callable[[], Iterable[str | float]]  # a registry, a tuple, or what is asked when it is needed
SOME, RANGE = "some", "range"  # of a list: it has an item; it is [least, most]
LARGEST_SEED = 2**31 - 1  # that every library takes


def setting(
    default: Any,
    help: str,
    *,
    choices: Choices | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    items: str | int | None = None,
    may_repeat: bool = False,
):
    """A dataclass field with the text `--help` shows and the values it admits (for a list: what each item may be).

    Every number declares both ends of its range. items: of a list: SOME, RANGE or how many it has. may_repeat: a list in which an item may
    stand twice, as in a RANGE or one of so many; in all others it would count twice, and is refused.
    """
    metadata = {"help": help, "choices": choices, "at_least": at_least, "at_most": at_most, "items": items}
    metadata["may_repeat"] = may_repeat or items not in (None, SOME)
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def admitted(rules: Mapping[str, Any]) -> tuple | None:
    """What a setting (its field's metadata) may be; None for anything."""
    choices = rules.get("choices")
    return None if choices is None else tuple(choices() if callable(choices) else choices)


def shown(number: float) -> str:
    """An end of a range in words: 1e-06, 0.1, 2147483647."""
    return f"{number:g}" if isinstance(number, float) else str(number)
