"""HTML from templates, which lie in templates/ beside the module that fills them. What is filled in is escaped, unless it is Markup."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.environment import TemplateModule
from markupsafe import Markup

from sourcetracing.drawing import colours, text


def render(module_file: str, template: str, **values: object) -> Markup:
    """A template beside a module (its `__file__`), filled in. A name that the template wants and is not given is an error of ours."""
    return Markup(_environment(Path(module_file).parent / "templates").get_template(template).render(**values))


def macros(module_file: str, template: str) -> TemplateModule:
    """The macros of a template beside a module, as functions that give Markup."""
    return _environment(Path(module_file).parent / "templates").get_template(template).module


def data_uri(content: bytes, kind: str) -> str:
    """A picture as the address that holds it; kind: `png`, `svg+xml`."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@cache
def _environment(folder: Path) -> Environment:
    shared = Path(__file__).parent / "templates"  # macros that all pages share
    loader = FileSystemLoader([folder, shared])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {each.__name__: each for each in (text.percent, text.readable, text.plain, data_uri)}
    environment.globals["colours"] = colours
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment
