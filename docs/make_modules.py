"""Writes docs/modules.md: every module with the first sentence of its docstring, packages in the order of the pipeline.

Run     python docs/make_modules.py      (a test compares the file with what this gives)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "modules.md"
# A package imports from those before it, never from those behind it. models/ imports none of them.
ORDER = [
    "errors",
    "settings",
    "layout",
    "runtime",
    "audio",
    "metrics",
    "drawing",
    "downloads",
    "published",
    "synthesis",
    "postprocessing",
    "corpora",
    "protocols",
    "speakers",
    "features",
    "training",
    "scoring",
    "tables",
    "openset",
    "embeddings",
    "verification",
    "enrolment",
    "shortcuts",
    "tracing",
    "robustness",
    "report",
    "explanation",
    "casework",
    "starting",
    "detection",
]
HEAD = """# Modules

Made by `python docs/make_modules.py` from the modules' docstrings: edit those, not this page. Packages stand in the order of the pipeline;
each imports only from those above it. `docs/architecture.md` says how they work together.
"""


def page() -> str:
    """The whole page: sourcetracing/ package by package, then models/."""
    packages = [ROOT / "sourcetracing" / name for name in ORDER]
    return "\n".join([HEAD, *("\n".join(_package(package)) for package in [*packages, ROOT / "sourcetracing" / "models", ROOT / "models"])])


def _package(package: Path) -> Iterator[str]:
    """Headline and table of a package; of a single module the headline alone."""
    if not package.is_dir():
        yield f"## `{_shown(package.with_suffix('.py'))}`\n\n{first_sentence(package.with_suffix('.py'))}\n"
        return
    yield f"## `{_shown(package)}/`\n\n{first_sentence(package / '__init__.py')}\n"
    yield "| module | what |\n| --- | --- |"
    for path in sorted(package.rglob("*.py"), key=lambda path: (path.parent, path.name)):
        if path.name != "__init__.py":
            yield f"| `{_shown(path)}` | {first_sentence(path)} |"
    yield ""


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def first_sentence(path: Path) -> str:
    """Of a module's docstring, made safe for a table."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    sentence = text.partition(". ")[0].rstrip(".") + "."
    return sentence.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(f"wrote {TARGET}")
