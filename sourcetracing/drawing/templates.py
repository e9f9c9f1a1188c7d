"""HTML from templates, which lie in templates/ beside the module that fills them. What is filled in is escaped, unless it is Markup."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def render(module_file: str, template: str, **values: object) -> Markup:
    """A template beside a module (its `__file__`), filled in. A name that the template wants and is not given is an error of ours."""
    return Markup(_environment(Path(module_file).parent / "templates").get_template(template).render(**values))


@cache
def _environment(folder: Path) -> Environment:
    shared = Path(__file__).parent / "templates"  # macros that all pages share
    return Environment(
        loader=FileSystemLoader([folder, shared]), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
