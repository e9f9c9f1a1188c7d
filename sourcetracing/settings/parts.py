"""Parts that a user chooses by name: one registry for each kind, one entry for each part.

An entry says where a part's class lies, which settings are its own, and what it takes. Everything else is read off the registries: what a
setting may be, the groups that `--help` shows, the nearest name in a complaint, the tables of docs/settings.md, the model card.

A part from outside this project: a module that adds entries (`BACKENDS.add("mine", BackEndEntry("my_module:Mine"))`), named by the
environment variable SOURCETRACING_PARTS (several joined by commas), so that worker processes know it too. It is imported while the settings
are, so the part itself lies in another module.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from sourcetracing.errors import UserError
from sourcetracing.settings.checking import did_you_mean

OUTSIDE_VARIABLE = "SOURCETRACING_PARTS"


@dataclass(frozen=True)
class Entry:
    """target: "module:name", imported when it is asked for. options: the dataclass of its own settings, a group named as the part is."""

    target: str
    options: type | None = None

    def load(self) -> Any:
        """What `target` names."""
        module, _, name = self.target.partition(":")
        try:
            found = import_module(module)
            return getattr(found, name) if name else found
        except (AttributeError, ModuleNotFoundError) as error:
            if isinstance(error, ModuleNotFoundError) and error.name != module:
                raise
            raise UserError(
                f"a part is said to lie in {self.target}, but there is no such {'name' if name else 'module'}: {error}"
            ) from None


E = TypeVar("E", bound=Entry)


class Registry(dict[str, E], Generic[E]):
    """The parts of one kind by name, in the order in which choices are shown. kind: what messages call them."""

    def __init__(self, kind: str, entries: dict[str, E] | None = None):
        super().__init__(entries or {})
        self.kind = kind

    def add(self, name: str, entry: E) -> None:
        """A further part. Raises ValueError where the name is taken."""
        if name in self:
            raise ValueError(f"there is a {self.kind} {name!r} already")
        self[name] = entry

    def __missing__(self, name: str) -> E:
        raise UserError(f"unknown {self.kind} {name!r}{did_you_mean(name, self)}")


def load_outside_parts() -> None:
    """Imports the modules that SOURCETRACING_PARTS names; each adds its entries while it is imported."""
    for name in filter(None, os.environ.get(OUTSIDE_VARIABLE, "").split(",")):
        try:
            import_module(name.strip())
        except ImportError as error:
            print(f"error: {OUTSIDE_VARIABLE} names {name.strip()!r}, which cannot be imported: {error}", file=sys.stderr)
            raise SystemExit(2) from None
