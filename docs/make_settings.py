"""Writes docs/settings.md: every setting, as the schema and the registries have it.

Run     python docs/make_settings.py      (a test compares the file with what this gives)
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.settings.backends import BACKENDS  # noqa: E402
from sourcetracing.settings.checking import fields_of, type_name  # noqa: E402
from sourcetracing.settings.corpora import READERS  # noqa: E402
from sourcetracing.settings.declaring import admitted, shown  # noqa: E402
from sourcetracing.settings.detection import CORPORA  # noqa: E402
from sourcetracing.settings.frontends import FRONTENDS  # noqa: E402
from sourcetracing.settings.metric_learning import LOSSES  # noqa: E402
from sourcetracing.settings.openset import DETECTORS  # noqa: E402
from sourcetracing.settings.schema import Settings  # noqa: E402

TARGET = Path(__file__).with_name("settings.md")
HEAD = """# Settings

Made by `python docs/make_settings.py` from `sourcetracing/settings/schema.py`: edit that, not this page.

Any script takes them: `CONFIG.yaml [MORE.yaml ...] [key=value ...]`, later wins. In YAML a group is a mapping, `train: {epochs: 3}`;
on the command line its settings are dotted, `train.epochs=3`. A mistyped name is refused with the nearest one.
"""
PARTS = """## Parts by name

One entry in one registry makes a part; the choices below are read off them. `docs/architecture.md` says how to add one.
"""
REGISTRIES = {
    "frontend": (FRONTENDS, "sourcetracing/settings/frontends.py"),
    "backend": (BACKENDS, "sourcetracing/settings/backends.py"),
    "metric_learning.loss": (LOSSES, "sourcetracing/settings/metric_learning.py"),
    "openset.detectors, trace.detector": (DETECTORS, "sourcetracing/settings/openset.py"),
    "corpus.reader": (READERS, "sourcetracing/settings/corpora.py"),
    "detection.roots": (CORPORA, "sourcetracing/settings/detection.py"),
}
COLUMNS = ("setting", "default", "type", "meaning", "may be")


def page() -> str:
    """The whole page: parts by name, the ungrouped settings, then a table for each group."""
    groups = {name: kind for name, (kind, _) in fields_of(Settings).items() if dataclasses.is_dataclass(kind)}
    tables = [f"## `{name}`\n\n{_about(kind)}{_table(kind, f'{name}.')}" for name, kind in groups.items() if fields_of(kind)]
    return "\n".join([HEAD, PARTS, _parts(), "## Without a group\n", _table(Settings), *tables]).rstrip() + "\n"


def _parts() -> str:
    rows = [(f"`{key}`", f"`{path}`", _names(registry)) for key, (registry, path) in REGISTRIES.items()]
    return _markdown(("setting", "registry", "parts"), rows)


def _names(registry: Any) -> str:
    return ", ".join(f"`{name}`" for name in registry)


def _about(group: type) -> str:
    """A group's docstring as a paragraph; what dataclass writes where there is none says nothing."""
    text = " ".join((group.__doc__ or "").split())
    return "" if text.startswith(f"{group.__name__}(") else f"{text}\n\n"


def _table(group: type, prefix: str = "") -> str:
    return _markdown(COLUMNS, _rows(group, prefix))


def _rows(group: type, prefix: str) -> Iterator[tuple[str, ...]]:
    defaults = group()
    for name, (kind, field) in fields_of(group).items():
        if not dataclasses.is_dataclass(kind):
            default = f"`{_shown(getattr(defaults, name))}`"
            kind_name = type_name(kind).replace("typing.", "")
            yield f"`{prefix}{name}`", default, kind_name, _plain(field.metadata["help"]), _plain(_admitted(field.metadata))


def _admitted(rules: Any) -> str:
    """What it may be: the choices, or the limits."""
    limits = [f"{word} {shown(rules[key])}" for key, word in (("at_least", "at least"), ("at_most", "at most")) if rules[key] is not None]
    return ", ".join(map(str, admitted(rules) or limits))


def _plain(text: str) -> str:
    """Text that Markdown leaves alone."""
    return text.replace("<", "\\<").replace("*", "\\*")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(item)}" for key, item in value.items()) or "{}"
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value) or '""'


def _markdown(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(f"wrote {TARGET}")
